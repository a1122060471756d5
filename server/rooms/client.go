package rooms

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Viewer is whom an event is shown to.
type Viewer struct {
	User   matrix.UserID
	Device matrix.DeviceID
	// Plain leaves out what the events that relate to an event come to.
	Plain bool
}

// ClientEvent is the event as the viewer's client is told it: with its age, the sending
// device's transaction id, what a state event replaced, why it was redacted, and what relates
// to it. The room id is filled in; /sync leaves it out by itself.
func (k *Keeper) ClientEvent(r kv.Reader, e *Event, v Viewer) matrix.ClientEvent {
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
	if e.Replaces != 0 {
		if before, ok := k.EventAt(r, e.Room, e.Replaces); ok {
			u.PrevContent, u.PrevSender, u.ReplacesState = before.Content, before.Sender, before.ID
		}
	}
	if e.RedactedBy != "" {
		if why, ok := k.Event(r, e.RedactedBy); ok {
			shown := k.ClientEvent(r, why, v)
			u.RedactedBecause = &shown
		}
	}
	if !v.Plain {
		u.Relations = k.aggregate(r, e, v)
	}
	u.Membership = k.MembershipAt(r, e.Room, v.User, e.Position)
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
