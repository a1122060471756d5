package matrix

import "encoding/json"

// ClientEvent is an event as clients are shown it (spec: client-server API, room event
// format, ClientEvent). Where the room is plain from the context, as in /sync, RoomID
// stays empty.
type ClientEvent struct {
	Content  json.RawMessage `json:"content"`
	EventID  EventID         `json:"event_id"`
	TS       int64           `json:"origin_server_ts"` // ms
	RoomID   RoomID          `json:"room_id,omitempty"`
	Sender   UserID          `json:"sender"`
	StateKey *string         `json:"state_key,omitempty"`
	Type     string          `json:"type"`
	Redacts  EventID         `json:"redacts,omitempty"`
	Unsigned *Unsigned       `json:"unsigned,omitempty"`
}

// Unsigned is what the server tells a client about an event beside what its sender signed.
type Unsigned struct {
	Age             int64           `json:"age"` // ms since the event, by this server's clock
	TransactionID   string          `json:"transaction_id,omitempty"`
	PrevContent     json.RawMessage `json:"prev_content,omitempty"`
	PrevSender      UserID          `json:"prev_sender,omitempty"`
	ReplacesState   EventID         `json:"replaces_state,omitempty"`
	RedactedBecause *ClientEvent    `json:"redacted_because,omitempty"`
	Membership      string          `json:"membership,omitempty"`
	Relations       *Relations      `json:"m.relations,omitempty"`
}

// Relations is what the events that relate to an event come to (spec: client-server API,
// aggregations of child events).
type Relations struct {
	Replace   *ClientEvent `json:"m.replace,omitempty"` // the newest edit
	Reference *References  `json:"m.reference,omitempty"`
	Thread    *Thread      `json:"m.thread,omitempty"`
}

// References are the events that refer to an event, oldest first.
type References struct {
	Chunk []Reference `json:"chunk"`
}

// Reference is one event that refers to another.
type Reference struct {
	EventID EventID `json:"event_id"`
}

// Thread is what a client is told of the thread that starts at an event.
type Thread struct {
	Latest       ClientEvent `json:"latest_event"`
	Count        int         `json:"count"` // of events, the root not among them
	Participated bool        `json:"current_user_participated"`
}

// StrippedEvent is a state event reduced to what somebody outside a room is shown
// (spec: client-server API, stripped state).
type StrippedEvent struct {
	Content  json.RawMessage `json:"content"`
	Sender   UserID          `json:"sender"`
	StateKey string          `json:"state_key"`
	Type     string          `json:"type"`
}
