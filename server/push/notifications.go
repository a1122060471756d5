package push

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// maxLogBack is how many changes one page of notifications looks back at; what is behind
// them is on the next.
const maxLogBack = 20_000

// Notification is an event of which a user was notified.
type Notification struct {
	Event   *rooms.Event
	Actions json.RawMessage
	Read    bool
}

// Notifications is a page of the events of which a user was notified, newest first, in the
// rooms where the user is or is invited, without those of people whom the user ignores. from is where the page before ended, or 0; next is
// where this one did, 0 if nothing is behind it. A page may be shorter than limit, or empty,
// though more follow.
func (k *Keeper) Notifications(r kv.Reader, user matrix.UserID, from changes.Position, limit int, highlights bool) (page []Notification, next changes.Position) {
	in := map[matrix.RoomID]*stay{}
	for room, m := range k.Rooms.Memberships(r, user) {
		switch m.State {
		case "join":
			in[room] = &stay{member: m}
		case "invite":
			in[room] = &stay{member: m, since: m.Position, until: m.Position}
		}
	}
	ignored := k.Rooms.Ignored(r, user)
	last := k.Changes.Last(r)
	if from == 0 || from > last {
		from = last + 1
	}
	looked := 0
	for pos, c := range k.Changes.Before(r, from-1) {
		if looked++; looked > maxLogBack || len(page) == limit {
			return page, pos + 1
		}
		if c.Kind != changes.Event || in[c.Room] == nil {
			continue
		}
		if n, ok := k.notification(r, user, in[c.Room], c.Room, pos, highlights); ok && !ignored[n.Event.Sender] {
			page = append(page, n)
		}
	}
	return page, 0
}

// stay is what of a room belongs to a user: the events from one position to another.
type stay struct {
	member       rooms.Membership
	since, until changes.Position // until 0: no end; since 0: not looked for yet
}

func (k *Keeper) notification(r kv.Reader, user matrix.UserID, in *stay, room matrix.RoomID, pos changes.Position, highlights bool) (n Notification, ok bool) {
	trace, _ := k.Rooms.TraceAt(r, room, pos)
	notice := trace.Notice
	if notice == nil {
		return n, false
	}
	g := notice.For(user)
	if g == nil || highlights && !g.Highlight {
		return n, false
	}
	if in.since == 0 {
		in.since = k.Rooms.JoinedSince(r, room, in.member)
	}
	if pos < in.since || in.until != 0 && pos > in.until {
		return n, false
	}
	n.Event, ok = k.Rooms.EventAt(r, room, pos)
	n.Actions = json.RawMessage(g.Actions)
	if in.until == 0 {
		n.Read = k.isRead(r, user, room, notice, pos)
	}
	return n, ok
}
