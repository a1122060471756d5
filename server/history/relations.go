package history

import (
	"cmp"
	"iter"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// RelationsArgs asks for what relates to an event.
type RelationsArgs struct {
	Room  matrix.RoomID
	Event matrix.EventID
	// RelType and EventType are what all relations and events have to be; empty: any.
	RelType, EventType string
	// From and To are tokens; empty is the end that the direction starts at, and no end.
	From, To  string
	Backwards bool
	Limit     *int  // events wanted; nil: DefaultPage
	Recurse   *bool // also what relates to those that relate; nil: not asked, no
}

// Relations is a page of the events that relate to an event (spec: client-server API,
// GET /rooms/{roomId}/relations/{eventId}).
type Relations struct {
	Chunk []matrix.ClientEvent `json:"chunk"`
	Next  string               `json:"next_batch,omitempty"` // where the next page starts; empty: there is none
	Prev  string               `json:"prev_batch,omitempty"` // where this page started; empty: at the beginning
	Depth *int                 `json:"recursion_depth,omitempty"`
}

// Relations is a page of what relates to an event, as far as the viewer may see it. It is
// M_NOT_FOUND if the viewer may not see the event itself.
func (k *Keeper) Relations(r kv.Reader, v rooms.Viewer, a RelationsArgs) (Relations, error) {
	if _, err := k.visibleEvent(r, v, a.Room, a.Event); err != nil {
		return Relations{}, err
	}
	bounds := PageArgs{Room: a.Room, From: a.From, To: a.To, Backwards: a.Backwards, Limit: a.Limit}
	limit, err := k.pageLimit(bounds)
	if err != nil {
		return Relations{}, err
	}
	after, through, err := window(bounds)
	if err != nil {
		return Relations{}, err
	}
	page := Relations{Chunk: []matrix.ClientEvent{}, Prev: a.From}
	if a.Recurse != nil {
		depth := 1
		if *a.Recurse {
			depth = MaxRecursion
		}
		page.Depth = &depth
	}
	sight := k.Rooms.Sight(r, v.User, a.Room)
	read := 0
	for rel := range k.related(r, a, after, through) {
		wanted := a.wants(rel) && sight.Sees(rel)
		if wanted && len(page.Chunk) == limit || read == k.ScanLimit {
			if limit > 0 {
				page.Next = before(rel.Position, a.Backwards)
			}
			break
		}
		read++
		if !wanted {
			continue
		}
		if e, ok := k.Rooms.EventAt(r, a.Room, rel.Position); ok {
			page.Chunk = append(page.Chunk, k.Rooms.ClientEvent(r, e, v))
		}
	}
	return page, nil
}

// wants says whether the relation and its child are of the types asked for.
func (a *RelationsArgs) wants(rel rooms.Relation) bool {
	return (a.RelType == "" || a.RelType == rel.Rel) && (a.EventType == "" || a.EventType == rel.Type)
}

// before is the token of the place from which an event is the next, in the direction of
// reading.
func before(pos changes.Position, backwards bool) string {
	if !backwards {
		pos--
	}
	return Token(pos)
}

// window is what lies between two tokens: behind after, and up to through.
func window(a PageArgs) (after, through changes.Position, err error) {
	through = now
	first, last := &after, &through
	if a.Backwards {
		first, last = last, first
	}
	for _, end := range []struct {
		token string
		at    *changes.Position
	}{{a.From, first}, {a.To, last}} {
		if end.token == "" {
			continue
		}
		if *end.at, err = ParseToken(end.token); err != nil {
			return 0, 0, err
		}
	}
	return after, through, nil
}

// related yields what relates to the event in a window, in the direction asked for.
func (k *Keeper) related(r kv.Reader, a RelationsArgs, after, through changes.Position) iter.Seq[rooms.Relation] {
	if a.Recurse == nil || !*a.Recurse {
		return k.Rooms.Relations(r, a.Event, after, through, a.Backwards)
	}
	all := k.recurse(r, a)
	all = slices.DeleteFunc(all, func(rel rooms.Relation) bool { return rel.Position <= after || rel.Position > through })
	slices.SortFunc(all, func(x, y rooms.Relation) int {
		if a.Backwards {
			x, y = y, x
		}
		return cmp.Compare(x.Position, y.Position)
	})
	return slices.Values(all)
}

// recurse gathers what relates to the event in some steps, each of which has to be of the
// types asked for; ScanLimit of them at most. An event has one parent, so none comes twice.
func (k *Keeper) recurse(r kv.Reader, a RelationsArgs) []rooms.Relation {
	var all []rooms.Relation
	level := []matrix.EventID{a.Event}
	for range MaxRecursion {
		var next []matrix.EventID
		for _, parent := range level {
			for rel := range k.Rooms.Relations(r, parent, 0, now, true) {
				if len(all) == k.ScanLimit {
					return all
				}
				if a.wants(rel) {
					all = append(all, rel)
					next = append(next, rel.ID)
				}
			}
		}
		level = next
	}
	return all
}
