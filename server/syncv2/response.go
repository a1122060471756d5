package syncv2

import (
	"encoding/json"

	"porchlight/server/matrix"
)

// Response is the answer of /sync (spec: client-server API, GET /sync).
type Response struct {
	NextBatch      string         `json:"next_batch"`
	Rooms          Rooms          `json:"rooms"`
	Presence       *Events        `json:"presence,omitempty"`
	AccountData    *Events        `json:"account_data,omitempty"`
	ToDevice       *Events        `json:"to_device,omitempty"`
	DeviceLists    *DeviceLists   `json:"device_lists,omitempty"`
	OneTimeKeys    map[string]int `json:"device_one_time_keys_count"`
	UnusedFallback []string       `json:"device_unused_fallback_key_types"`

	next Token // what NextBatch says
	news bool  // there is something to tell
}

// Rooms are the rooms of an answer, by what the user is in them.
type Rooms struct {
	Join   map[matrix.RoomID]*JoinedRoom  `json:"join"`
	Invite map[matrix.RoomID]*InvitedRoom `json:"invite"`
	Knock  map[matrix.RoomID]*KnockedRoom `json:"knock"`
	Leave  map[matrix.RoomID]*LeftRoom    `json:"leave"`
}

// JoinedRoom is what is new in a room that the user is in.
type JoinedRoom struct {
	Summary     Summary           `json:"summary"`
	State       *Events           `json:"state,omitempty"`
	StateAfter  *Events           `json:"state_after,omitempty"`
	Timeline    Timeline          `json:"timeline"`
	Ephemeral   Events            `json:"ephemeral"`
	AccountData Events            `json:"account_data"`
	Unread      Counts            `json:"unread_notifications"`
	Threads     map[string]Counts `json:"unread_thread_notifications,omitempty"`
}

// LeftRoom is what is new in a room that the user is not in any more.
type LeftRoom struct {
	State       *Events  `json:"state,omitempty"`
	StateAfter  *Events  `json:"state_after,omitempty"`
	Timeline    Timeline `json:"timeline"`
	AccountData Events   `json:"account_data"`
}

// InvitedRoom is a room to which the user is invited.
type InvitedRoom struct {
	State StrippedEvents `json:"invite_state"`
}

// KnockedRoom is a room that the user asks to be let into.
type KnockedRoom struct {
	State StrippedEvents `json:"knock_state"`
}

// StrippedEvents is state shown to somebody outside.
type StrippedEvents struct {
	Events []matrix.StrippedEvent `json:"events"`
}

// Summary is what a client needs to name a room; what did not change is left out.
type Summary struct {
	Heroes  []matrix.UserID `json:"m.heroes,omitempty"`
	Joined  *int            `json:"m.joined_member_count,omitempty"`
	Invited *int            `json:"m.invited_member_count,omitempty"`
}

// Timeline is the end of a room's timeline.
type Timeline struct {
	Events    []any  `json:"events"`
	Limited   bool   `json:"limited"` // older ones were left out
	PrevBatch string `json:"prev_batch"`
}

// Events is a list of events, each of which is anything that becomes an event in JSON.
type Events struct {
	Events []any `json:"events"`
}

// DeviceLists says whose keys to ask for again, and whose not to follow any more.
type DeviceLists struct {
	Changed []matrix.UserID `json:"changed"`
	Left    []matrix.UserID `json:"left"`
}

// Counts are unread notifications.
type Counts struct {
	Notifications int `json:"notification_count"`
	Highlights    int `json:"highlight_count"`
}

// contentEvent is an event that is only a type and a content.
type contentEvent struct {
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// noEvents is an empty list that is not null in JSON.
func noEvents() Events { return Events{[]any{}} }
