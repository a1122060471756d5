package history

import (
	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// PageArgs asks for a page of a timeline.
type PageArgs struct {
	Room matrix.RoomID
	// From and To are tokens; empty is the end that Backwards starts at, and no end.
	From, To  string
	Backwards bool
	Limit     *int // events wanted; nil: DefaultPage
	Filter    RoomEventFilter
}

// Page is a part of a timeline (spec: client-server API, GET /rooms/{roomId}/messages).
type Page struct {
	Start string               `json:"start"`
	End   string               `json:"end,omitempty"` // where the next page starts; empty: there is none
	Chunk []matrix.ClientEvent `json:"chunk"`
	State []matrix.ClientEvent `json:"state,omitempty"`
}

// Messages is a page of a room's timeline, as far as the viewer may see it.
func (k *Keeper) Messages(r kv.Reader, v rooms.Viewer, a PageArgs) (Page, error) {
	horizon, err := k.Horizon(r, a.Room, v.User)
	if err != nil {
		return Page{}, err
	}
	from, to, err := k.bounds(r, a, horizon)
	if err != nil {
		return Page{}, err
	}
	limit, err := k.pageLimit(a)
	if err != nil {
		return Page{}, err
	}
	found, next, more := k.page(r, v.User, a, from, to, limit)
	page := Page{Start: a.From, Chunk: k.clientEvents(r, v, found)}
	if page.Start == "" {
		page.Start = Token(from)
	}
	if more {
		page.End = Token(next)
	}
	if a.Filter.LazyLoadMembers && len(found) > 0 {
		sight := k.Rooms.Sight(r, v.User, a.Room)
		page.State = k.clientEvents(r, v, sendersAt(sight, found, found[0].Position))
	}
	return page, nil
}

// bounds are the places where a page starts and where it ends at the latest.
func (k *Keeper) bounds(r kv.Reader, a PageArgs, horizon changes.Position) (from, to changes.Position, err error) {
	if a.From != "" {
		if from, err = ParseToken(a.From); err != nil {
			return 0, 0, err
		}
	}
	if a.To != "" {
		if to, err = ParseToken(a.To); err != nil {
			return 0, 0, err
		}
	}
	if a.Backwards {
		if a.From == "" {
			from = k.end(r, a.Room, horizon)
		}
		return min(from, horizon), to, nil
	}
	if a.To == "" {
		to = horizon
	}
	return from, min(to, horizon), nil
}

// end is the position of the last event of a room that lies at or before horizon.
func (k *Keeper) end(r kv.Reader, room matrix.RoomID, horizon changes.Position) changes.Position {
	for e := range k.Rooms.Backwards(r, room, horizon) {
		return e.Position
	}
	return 0
}

func (k *Keeper) pageLimit(a PageArgs) (int, error) {
	limit := DefaultPage
	if a.Limit != nil {
		limit = *a.Limit
	}
	if limit < 0 {
		return 0, matrix.InvalidParam("The limit can't be negative.")
	}
	if a.Filter.Limit != nil {
		limit = min(limit, *a.Filter.Limit)
	}
	return min(limit, k.MaxPage), nil
}

// page walks from a place towards another and gathers what is visible and matches. next is
// the place where it stopped, more whether it is worth to go on from there.
func (k *Keeper) page(r kv.Reader, user matrix.UserID, a PageArgs, from, to changes.Position, limit int) (found []*rooms.Event, next changes.Position, more bool) {
	next = from
	if limit == 0 || a.Filter.Nothing() {
		return nil, next, false
	}
	events := k.Rooms.Forwards(r, a.Room, from)
	if a.Backwards {
		events = k.Rooms.Backwards(r, a.Room, from)
	}
	read := 0
	for e := range events {
		if a.Backwards && e.Position <= to || !a.Backwards && e.Position > to {
			return found, next, false
		}
		if read++; read > k.ScanLimit {
			return found, next, true
		}
		if a.Filter.MatchEvent(e) && k.Rooms.Visible(r, user, e) {
			if len(found) == limit {
				return found, next, true
			}
			found = append(found, e)
		} else if len(found) == limit {
			continue // next stays right behind the page's last event
		}
		next = e.Position
		if a.Backwards {
			next = e.Position - 1
		}
	}
	return found, next, false
}

// sendersAt are the member events of those who sent the events, as of a position, as far as
// the viewer may see them (spec: client-server API, lazy-loading room members).
func sendersAt(sight *rooms.Sight, events []*rooms.Event, at changes.Position) []*rooms.Event {
	var members []*rooms.Event
	seen := map[matrix.UserID]bool{}
	for _, e := range events {
		if seen[e.Sender] {
			continue
		}
		seen[e.Sender] = true
		m, ok := sight.StateAt(at, "m.room.member", string(e.Sender))
		if !ok { // who joined later than that, as with the one who made the room
			m, ok = sight.StateAt(now, "m.room.member", string(e.Sender))
		}
		if ok {
			members = append(members, m)
		}
	}
	return members
}
