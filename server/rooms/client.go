package rooms

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Viewer is whom an event is shown to.
type Viewer struct {
	User   matrix.UserID
	Device matrix.DeviceID
	// Plain leaves out what the events that relate to an event come to.
	Plain bool
	// Whole is for who is told of every event, as an application service is: nothing that
	// is attached to one is held back.
	Whole bool
}

// ClientEvent is the event as the viewer's client is told it: with its age, the sending
// device's transaction id, and what is attached to it as far as the viewer may see that;
// redacted if its sender wants to be forgotten. Whether the viewer may see the event itself
// is for Visible to say. The room id is filled in; /sync leaves it out by itself.
func (k *Keeper) ClientEvent(r kv.Reader, e *Event, v Viewer) matrix.ClientEvent {
	e = k.Served(r, e, v.User)
	out := matrix.ClientEvent{
		Content: e.Content, EventID: e.ID, TS: e.TS, RoomID: e.Room,
		Sender: e.Sender, StateKey: e.StateKey, Type: e.Type,
	}
	u := &matrix.Unsigned{Age: max(0, k.Now().UnixMilli()-e.TS)}
	out.Unsigned = u
	if e.Type == "m.room.redaction" && e.RedactedBy == "" {
		// Clients of every age find what is redacted in either place
		// (spec: rooms/v11, moving the redacts property).
		out.Redacts = e.Redacts
		out.Content = withRedacts(e)
	}
	if e.TxnID != "" && e.Sender == v.User && e.Device == v.Device {
		u.TransactionID = e.TxnID
	}
	k.attach(r, e, v, u)
	return out
}

// withRedacts is the content of a redaction with what it redacts.
func withRedacts(e *Event) json.RawMessage {
	content, err := matrix.ParseObject(e.Content)
	if err != nil || content.Has("redacts") || e.Redacts == "" {
		return e.Content
	}
	content.SetText("redacts", string(e.Redacts))
	return content.Encode()
}

// Served is the event as the viewer may see it: itself, or a redacted copy if its sender has
// asked to be forgotten and the viewer did not see it before that (spec: client-server API,
// POST account/deactivate, erase). Whether the viewer may see it at all is Visible's to say.
//
// Of state, only what the sender said of themselves is hidden: a name that they gave a room
// is the room's, and everybody in it goes by it.
func (k *Keeper) Served(r kv.Reader, e *Event, viewer matrix.UserID) *Event {
	if k.People == nil || e.RedactedBy != "" || e.IsState() && !e.Is("m.room.member", string(e.Sender)) {
		return e
	}
	m, ok := k.memberships.Get(r, membershipKey{e.Sender, e.Room})
	if ok && m.State == "join" && !k.leaving(r, e.Sender) {
		return e // who closed the account has left: no need to look further
	}
	at, erased := k.People.ErasedAt(r, e.Sender)
	if !erased || k.sawBefore(r, e, viewer, at) {
		return e
	}
	redacted, err := k.Redacted(r, e)
	if err != nil {
		k.DB.Fail(r, "rooms: event of an erased user in "+string(e.Room), err)
		return &Event{Position: e.Position, ID: e.ID, Room: e.Room, Sender: e.Sender, Type: e.Type, StateKey: e.StateKey, TS: e.TS, Content: []byte("{}")}
	}
	return redacted
}

// sawBefore says whether the viewer was in the room when the event was sent, or came in
// before a position and could look back.
func (k *Keeper) sawBefore(r kv.Reader, e *Event, viewer matrix.UserID, before changes.Position) bool {
	switch k.MembershipAt(r, e.Room, viewer, e.Position) {
	case "join":
		return true
	case "invite":
		if k.visibilityAt(r, e.Room, e.Position) == "invited" {
			return true
		}
	}
	return k.nextJoin(r, e.Room, viewer, e.Position, before) != 0
}
