package clientapi

// The operations of room_send.yaml, room_state.yaml and redaction.yaml.

import (
	"encoding/json"
	"net/http"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

// maxEventBody is the largest content of an event in bytes that is read at all; what is
// too large for an event is told apart from it (spec: client-server API, size limits).
const maxEventBody = 2 * matrix.MaxEventBytes

type eventIDOut struct {
	Event matrix.EventID `json:"event_id"`
}

type sendMessageIn struct {
	Room matrix.RoomID   `path:"roomId"`
	Type string          `path:"eventType"`
	Body json.RawMessage `body:"raw"`
}

// sendMessage: spec: client-server API, PUT send.
func (a *API) sendMessage(c *web.Call, tx *kv.WriteTx, in sendMessageIn) (eventIDOut, error) {
	if err := refuseDelay(c); err != nil {
		return eventIDOut{}, err
	}
	if err := a.refuseSuspended(c, tx, in.Room, in.Type, redacted(in.Body)); err != nil {
		return eventIDOut{}, err
	}
	if err := a.refuseToSpeak(c, tx, in.Room); err != nil {
		return eventIDOut{}, err
	}
	ts, err := timestamp(c)
	if err != nil {
		return eventIDOut{}, err
	}
	return a.send(tx, rooms.SendArgs{
		Room: in.Room, Sender: c.User, Type: in.Type, Content: in.Body, Device: c.Device, TxnID: c.TxnID, TS: ts,
	})
}

// refuseDelay refuses what is to be sent later (MSC4140), as servers do that do not know how:
// sent at once, it would say something else than was meant.
func refuseDelay(c *web.Call) error {
	q := c.R.URL.Query()
	for _, name := range []string{"org.matrix.msc4140.delay", "org.matrix.msc4140.parent_delay_id", "delay"} {
		if q.Has(name) {
			return &matrix.Error{Status: http.StatusBadRequest, Code: "M_UNKNOWN", Message: "this server does not send events with a delay",
				Extra: map[string]any{"org.matrix.msc4140.errcode": "M_MAX_DELAY_UNSUPPORTED"}}
		}
	}
	return nil
}

// redacted is the event that the content of a redaction names, if it does.
func redacted(content json.RawMessage) matrix.EventID {
	o, err := matrix.ParseObject(content)
	if err != nil {
		return ""
	}
	event, _ := o.Text("redacts")
	return matrix.EventID(event)
}

// refuseSuspended lets suspended users redact their own events and send nothing else, but
// in the room in which the house writes to them (spec: client-server API, account suspension).
func (a *API) refuseSuspended(c *web.Call, r kv.Reader, room matrix.RoomID, eventType string, redacts matrix.EventID) error {
	if !c.Suspended || eventType != "m.room.redaction" && a.Notices.Holds(r, c.User, room) {
		return nil
	}
	if e, ok := a.Rooms.Event(r, redacts); eventType == "m.room.redaction" && ok && e.Sender == c.User {
		return nil
	}
	return matrix.UserSuspended()
}

func (a *API) send(tx *kv.WriteTx, args rooms.SendArgs) (eventIDOut, error) {
	e, err := a.Rooms.Send(tx, args)
	if err != nil {
		return eventIDOut{}, err
	}
	return eventIDOut{e.ID}, nil
}

type setRoomStateWithKeyIn struct {
	Room     matrix.RoomID   `path:"roomId"`
	Type     string          `path:"eventType"`
	StateKey string          `path:"stateKey"`
	Body     json.RawMessage `body:"raw"`
}

// queryMember is queryInvited for an invitation that is sent as a state event.
func (a *API) queryMember(c *web.Call, in setRoomStateWithKeyIn) error {
	if in.Type != "m.room.member" {
		return nil
	}
	if content, err := matrix.ParseObject(in.Body); err == nil {
		if membership, _ := content.Text("membership"); membership == "invite" {
			return a.queryInvited(c, matrix.UserID(in.StateKey))
		}
	}
	return nil
}

// setRoomStateWithKey: spec: client-server API, PUT state.
func (a *API) setRoomStateWithKey(c *web.Call, tx *kv.WriteTx, in setRoomStateWithKeyIn) (eventIDOut, error) {
	if err := refuseDelay(c); err != nil {
		return eventIDOut{}, err
	}
	if err := a.refuseToSpeak(c, tx, in.Room); err != nil {
		return eventIDOut{}, err
	}
	ts, err := timestamp(c)
	if err != nil {
		return eventIDOut{}, err
	}
	return a.send(tx, rooms.SendArgs{
		Room: in.Room, Sender: c.User, Type: in.Type, StateKey: &in.StateKey, Content: in.Body, Device: c.Device, TS: ts,
	})
}

type redactEventIn struct {
	Room   matrix.RoomID  `path:"roomId"`
	Event  matrix.EventID `path:"eventId"`
	Reason *string        `json:"reason"`
}

// redactEvent: spec: client-server API, PUT redact.
func (a *API) redactEvent(c *web.Call, tx *kv.WriteTx, in redactEventIn) (eventIDOut, error) {
	if err := a.refuseSuspended(c, tx, in.Room, "m.room.redaction", in.Event); err != nil {
		return eventIDOut{}, err
	}
	content, err := json.Marshal(struct {
		Reason *string `json:"reason,omitempty"`
	}{in.Reason})
	if err != nil {
		return eventIDOut{}, err
	}
	return a.send(tx, rooms.SendArgs{
		Room: in.Room, Sender: c.User, Type: "m.room.redaction", Content: content, Redacts: in.Event,
		Device: c.Device, TxnID: c.TxnID,
	})
}
