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
// side, at most Config.MaxPage.
func (k *Keeper) Context(r kv.Reader, v rooms.Viewer, room matrix.RoomID, id matrix.EventID, limit *int, f RoomEventFilter) (Context, error) {
	e, err := k.visibleEvent(r, v, room, id)
	if err != nil {
		return Context{}, err
	}
	n, err := k.pageLimit(PageArgs{Limit: limit, Filter: f})
	if err != nil {
		return Context{}, err
	}
	back := PageArgs{Room: room, Backwards: true, Filter: f}
	before, start, _ := k.page(r, v.User, back, e.Position-1, 0, n/2)
	after, end, _ := k.page(r, v.User, PageArgs{Room: room, Filter: f}, e.Position, now, n-n/2)

	around := append(append([]*rooms.Event{e}, before...), after...)
	last := e.Position
	if len(after) > 0 {
		last = after[len(after)-1].Position
	}
	var state []*rooms.Event
	for s := range k.Rooms.StateSetAt(r, room, last) {
		if f.LazyLoadMembers && s.Type == "m.room.member" || !f.MatchEvent(s) {
			continue
		}
		state = append(state, s)
	}
	if f.LazyLoadMembers {
		state = append(state, k.sendersAt(r, room, around, last)...)
	}
	return Context{
		Start: Token(start), End: Token(end),
		Before: k.clientEvents(r, v, before), After: k.clientEvents(r, v, after),
		Event: k.Rooms.ClientEvent(r, e, v), State: k.clientEvents(r, v, state),
	}, nil
}
