package history

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// Context is an event and what stands around it (spec: client-server API,
// GET /rooms/{roomId}/context/{eventId}).
type Context struct {
	Start  string               `json:"start"`
	End    string               `json:"end"`
	Before []matrix.ClientEvent `json:"events_before"` // newest first
	Event  matrix.ClientEvent   `json:"event"`
	After  []matrix.ClientEvent `json:"events_after"`
	State  []matrix.ClientEvent `json:"state"`
}

// Context finds what stands around an event: limit events in all, half of them on either
// side, at most Config.MaxPage. The state is as much of it as the viewer may know: none for
// who may see the event but was never in the room.
func (k *Keeper) Context(r kv.Reader, v rooms.Viewer, room matrix.RoomID, id matrix.EventID, limit *int, f RoomEventFilter) (Context, error) {
	e, err := k.visibleEvent(r, v, room, id)
	if err != nil {
		return Context{}, err
	}
	n, err := k.pageLimit(PageArgs{Limit: limit, Filter: f})
	if err != nil {
		return Context{}, err
	}
	before, after, start, end := k.Around(r, v.User, e, n/2, n-n/2, f)
	around := append(append([]*rooms.Event{e}, before...), after...)
	last := e.Position
	if len(after) > 0 {
		last = after[len(after)-1].Position
	}
	sight := k.Rooms.Sight(r, v.User, room)
	var state []*rooms.Event
	for s := range sight.StateSetAt(last) {
		if f.LazyLoadMembers && s.Type == "m.room.member" || !f.MatchEvent(s) {
			continue
		}
		state = append(state, s)
	}
	if f.LazyLoadMembers {
		state = append(state, sendersAt(sight, around, last)...)
	}
	return Context{
		Start: start, End: end,
		Before: k.clientEvents(r, v, before), After: k.clientEvents(r, v, after),
		Event: k.Rooms.ClientEvent(r, e, v), State: k.clientEvents(r, v, state),
	}, nil
}

// Around are the visible events right before and right behind one, the nearest first, and
// the tokens from which one can go on in either direction.
func (k *Keeper) Around(r kv.Reader, user matrix.UserID, e *rooms.Event, before, after int, f RoomEventFilter) (earlier, later []*rooms.Event, start, end string) {
	back := PageArgs{Room: e.Room, Backwards: true, Filter: f}
	earlier, from, _ := k.page(r, user, back, e.Position-1, 0, before)
	later, to, _ := k.page(r, user, PageArgs{Room: e.Room, Filter: f}, e.Position, now, after)
	return earlier, later, Token(from), Token(to)
}
