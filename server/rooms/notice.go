package rooms

import (
	"bytes"
	"iter"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Notice says whom an event notifies. Package push decides that in the event's transaction,
// as a witness that sets Event.Notice; it is kept in the event's own row, which is written
// anyway, so that a message writes nothing per member. Of a redacted event only Thread and Undone
// remain.
type Notice struct {
	Thread matrix.EventID `cbor:"1,keyasint,omitempty"` // root of the event's thread; empty: none
	Groups []NoticeGroup  `cbor:"2,keyasint,omitempty"`
	// Silent are those who are not notified where one of Groups is of all the others; the
	// sender is among them.
	Silent []matrix.UserID `cbor:"3,keyasint,omitempty"`
	// Undone is, of a redaction, the position of an event that notified somebody.
	Undone changes.Position `cbor:"4,keyasint,omitempty"`
}

// NoticeGroup is users whom an event notifies in the same way.
type NoticeGroup struct {
	Actions   []byte          `cbor:"1,keyasint"` // those of the push rule, JSON
	Highlight bool            `cbor:"2,keyasint,omitempty"`
	Users     []matrix.UserID `cbor:"3,keyasint,omitempty"` // empty: all the others who were joined
}

// For is how the event notifies a user who was joined when it came, or whom it invited; nil
// if it does not.
func (n *Notice) For(user matrix.UserID) *NoticeGroup {
	var rest *NoticeGroup
	for i := range n.Groups {
		g := &n.Groups[i]
		if len(g.Users) == 0 {
			rest = g
		} else if slices.Contains(g.Users, user) {
			return g
		}
	}
	if rest == nil || slices.Contains(n.Silent, user) {
		return nil
	}
	return rest
}

// kept is what remains of a notice when its event is redacted: nobody is notified any more, but
// the event was still sent in its thread, and what it undid stays undone.
func (n *Notice) kept() *Notice {
	if n == nil || n.Thread == "" && n.Undone == 0 {
		return nil
	}
	return &Notice{Thread: n.Thread, Undone: n.Undone}
}

// Trace is what an event's row tells of notifying without the event being read.
type Trace struct {
	Position  changes.Position
	Notice    *Notice // may be nil
	Automatic bool    // see Event
	pdu       []byte
}

// senderKey stands before the sender in a PDU. In canonical JSON only a string that is the value
// of this key of an object looks like that, and of these objects the PDU itself is the last: its
// later keys hold no such object.
var senderKey = []byte(`"sender":"`)

// Sender is who sent the event.
func (t *Trace) Sender() matrix.UserID {
	at := bytes.LastIndex(t.pdu, senderKey)
	if at < 0 {
		return ""
	}
	text := t.pdu[at+len(senderKey):]
	end := bytes.IndexByte(text, '"')
	if end < 0 {
		return ""
	}
	if bytes.IndexByte(text[:end], '\\') < 0 {
		return matrix.UserID(text[:end])
	}
	event, err := matrix.ParseObject(t.pdu)
	if err != nil {
		return ""
	}
	sender, _ := event.Text("sender")
	return matrix.UserID(sender)
}

// MayRelate says whether the event may relate to another one, or redact it.
func (t *Trace) MayRelate() bool {
	return bytes.Contains(t.pdu, []byte(`"m.relates_to"`)) || bytes.Contains(t.pdu, []byte(`"redacts"`))
}

// Notices yields every event of a room behind a position, oldest first.
func (k *Keeper) Notices(r kv.Reader, room matrix.RoomID, after changes.Position) iter.Seq[Trace] {
	return k.notices(r, kv.Prefix(room).After(uint64(after)))
}

// NoticesBackwards is Notices, newest first.
func (k *Keeper) NoticesBackwards(r kv.Reader, room matrix.RoomID, after changes.Position) iter.Seq[Trace] {
	return k.notices(r, kv.Prefix(room).After(uint64(after)).Reverse())
}

func (k *Keeper) notices(r kv.Reader, rg kv.Range) iter.Seq[Trace] {
	return func(yield func(Trace) bool) {
		for key, row := range k.events.Scan(r, rg) {
			if !yield(Trace{changes.Position(key.Position), row.Notice, row.Automatic, row.PDU}) {
				return
			}
		}
	}
}

// TraceAt is the trace of the event at a position.
func (k *Keeper) TraceAt(r kv.Reader, room matrix.RoomID, pos changes.Position) (Trace, bool) {
	row, ok := k.events.Get(r, eventKey{room, uint64(pos)})
	return Trace{pos, row.Notice, row.Automatic, row.PDU}, ok
}

// JoinedSince is the position of the event with which a user who is in the room came in.
func (k *Keeper) JoinedSince(r kv.Reader, room matrix.RoomID, m Membership) changes.Position {
	since := m.Position
	for pos := m.Position; pos != 0; {
		e, ok := k.EventAt(r, room, pos)
		if !ok || e.Membership() != "join" {
			break
		}
		since, pos = pos, e.Replaces
	}
	return since
}

// DisplayNameIn is a user's display name in a room; empty if there is none.
func (k *Keeper) DisplayNameIn(r kv.Reader, room matrix.RoomID, user matrix.UserID) string {
	e, ok := k.State(r, room, "m.room.member", string(user))
	if !ok {
		return ""
	}
	return contentText(e.Content, "displayname")
}

// noticed keeps what a witness noted of the event, if anything.
func (k *Keeper) noticed(tx *kv.WriteTx, key eventKey, row eventRow, e *Event) {
	if e.Notice != nil {
		row.Notice = e.Notice
		k.events.Put(tx, key, row)
	}
}
