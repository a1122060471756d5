package slidingsync

import (
	"encoding/json"

	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Response is an answer (MSC4186, response body).
type Response struct {
	Pos        string                        `json:"pos"`
	TxnID      string                        `json:"txn_id,omitempty"`
	Lists      map[string]ListResult         `json:"lists"`
	Rooms      map[matrix.RoomID]*RoomResult `json:"rooms"`
	Extensions ExtensionResults              `json:"extensions"`

	news bool // there is something to tell
}

// ListResult is how many rooms a list has, whatever its range.
type ListResult struct {
	Count int `json:"count"`
}

// RoomResult is what is new of a room; what is left out has not changed.
type RoomResult struct {
	Initial    bool             `json:"initial,omitempty"`
	BumpStamp  changes.Position `json:"bump_stamp,omitempty"`
	Membership string           `json:"membership,omitempty"`
	Lists      []string         `json:"lists,omitempty"`
	Name       json.RawMessage  `json:"name,omitempty"`   // a text, or null where it went
	Avatar     json.RawMessage  `json:"avatar,omitempty"` // likewise
	Heroes     []Hero           `json:"heroes,omitempty"`
	DM         *bool            `json:"is_dm,omitempty"`

	Required  []matrix.ClientEvent `json:"required_state,omitempty"`
	Timeline  []matrix.ClientEvent `json:"timeline,omitempty"`
	PrevBatch string               `json:"prev_batch,omitempty"`
	Limited   bool                 `json:"limited,omitempty"`
	Live      *int                 `json:"num_live,omitempty"`
	Joined    *int                 `json:"joined_count,omitempty"`
	Invited   *int                 `json:"invited_count,omitempty"`

	Expanded         bool                   `json:"expanded_timeline,omitempty"`
	UnstableExpanded bool                   `json:"unstable_expanded_timeline,omitempty"`
	Stripped         []matrix.StrippedEvent `json:"stripped_state,omitempty"`
	UnstableStripped []matrix.StrippedEvent `json:"invite_state,omitempty"`
}

// Hero is a member by whom a room without a name is called.
type Hero struct {
	User   matrix.UserID `json:"user_id"`
	Name   string        `json:"displayname,omitempty"`
	Avatar string        `json:"avatar_url,omitempty"`
}

// ExtensionResults is what the answer tells besides rooms.
type ExtensionResults struct {
	ToDevice    *ToDeviceResult    `json:"to_device,omitempty"`
	E2EE        *E2EEResult        `json:"e2ee,omitempty"`
	AccountData *AccountDataResult `json:"account_data,omitempty"`
	Receipts    *RoomsResult       `json:"receipts,omitempty"`
	Typing      *RoomsResult       `json:"typing,omitempty"`
}

// ToDeviceResult is messages to the device.
type ToDeviceResult struct {
	Next   string            `json:"next_batch"`
	Events []json.RawMessage `json:"events"`
}

// E2EEResult is what end-to-end encryption needs.
type E2EEResult struct {
	Lists          *DeviceLists   `json:"device_lists,omitempty"`
	OneTimeKeys    map[string]int `json:"device_one_time_keys_count"`
	UnusedFallback []string       `json:"device_unused_fallback_key_types"`
}

// DeviceLists says whose keys to ask for again, and whose not to follow any more.
type DeviceLists struct {
	Changed []matrix.UserID `json:"changed"`
	Left    []matrix.UserID `json:"left"`
}

// AccountDataResult is account data, of no room and of rooms.
type AccountDataResult struct {
	Global []ContentEvent                   `json:"global,omitempty"`
	Rooms  map[matrix.RoomID][]ContentEvent `json:"rooms,omitempty"`
}

// ContentEvent is an event that is only a type and a content.
type ContentEvent struct {
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// RoomsResult is one event of each room.
type RoomsResult struct {
	Rooms map[matrix.RoomID]json.RawMessage `json:"rooms"`
}
