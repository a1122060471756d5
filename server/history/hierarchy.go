package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// The limits of walking through a space.
const (
	// DefaultHierarchyPage is how many rooms a page has if nobody says.
	DefaultHierarchyPage = 50
	// MaxHierarchyPage is how many rooms a page has at most.
	MaxHierarchyPage = 100
	// MaxHierarchyDepth is how deep below the space the walk goes at most.
	MaxHierarchyDepth = 32
	// MaxHierarchyRooms is how many rooms one walk looks at, over all pages.
	MaxHierarchyRooms = 5000
	// maxChildOrder is the longest order of a child in bytes (spec: m.space.child).
	maxChildOrder = 50
)

// HierarchyArgs asks for a page of the rooms of a space.
type HierarchyArgs struct {
	Room          matrix.RoomID
	SuggestedOnly bool
	Limit         *int // rooms wanted; nil: DefaultHierarchyPage
	MaxDepth      *int // nil: MaxHierarchyDepth
	From          string
}

// SpaceRoom is a room of a space.
type SpaceRoom struct {
	rooms.Summary
	Children []SpaceChild `json:"children_state"`
}

// SpaceChild is an m.space.child event as those outside are shown it.
type SpaceChild struct {
	matrix.StrippedEvent
	TS int64 `json:"origin_server_ts"` // ms
}

// Hierarchy is a page of the rooms of a space.
type Hierarchy struct {
	Rooms []SpaceRoom `json:"rooms"`
	Next  string      `json:"next_batch,omitempty"`
}

// Hierarchy walks through a space, each room before its children, and returns a page of
// the rooms that the user may know of (spec: client-server API, GET hierarchy).
//
// A token holds how many rooms the pages before have shown, and the walk is taken again
// from its start: nothing is kept between pages, and a token is good for ever.
func (k *Keeper) Hierarchy(r kv.Reader, user matrix.UserID, a HierarchyArgs) (Hierarchy, error) {
	w := &spaceWalk{k: k, r: r, user: user, suggestedOnly: a.SuggestedOnly, depth: MaxHierarchyDepth, limit: DefaultHierarchyPage, seen: map[matrix.RoomID]bool{}}
	if a.MaxDepth != nil {
		w.depth = min(*a.MaxDepth, MaxHierarchyDepth)
	}
	if a.Limit != nil {
		w.limit = min(*a.Limit, MaxHierarchyPage)
	}
	if w.depth < 0 || w.limit < 1 {
		return Hierarchy{}, matrix.InvalidParam("The limit has to be greater than zero, and max_depth must not be negative.")
	}
	if a.From != "" {
		depth, suggested, err := parseHierarchyToken(a.From, &w.skip)
		if err != nil {
			return Hierarchy{}, err
		}
		if depth != w.depth || suggested != a.SuggestedOnly {
			return Hierarchy{}, matrix.InvalidParam("suggested_only and max_depth cannot change from page to page.")
		}
	}
	if !k.Rooms.MayKnow(r, a.Room, user) {
		return Hierarchy{}, matrix.Forbidden("You are not allowed to view this room.")
	}
	start := w.skip
	w.visit(a.Room, 0)
	page := Hierarchy{Rooms: append([]SpaceRoom{}, w.found...)}
	if w.more {
		page.Next = hierarchyToken(start+len(w.found), w.depth, a.SuggestedOnly)
	}
	return page, nil
}

func hierarchyToken(shown, depth int, suggestedOnly bool) string {
	kind := "a"
	if suggestedOnly {
		kind = "s"
	}
	return fmt.Sprintf("h%d_%d_%s", shown, depth, kind)
}

func parseHierarchyToken(token string, shown *int) (depth int, suggestedOnly bool, err error) {
	var kind string
	_, err = fmt.Sscanf(token, "h%d_%d_%s", shown, &depth, &kind)
	if err != nil || *shown < 1 || *shown > MaxHierarchyRooms || hierarchyToken(*shown, depth, kind == "s") != token {
		return 0, false, matrix.InvalidParam("That is no token of this operation.")
	}
	return depth, kind == "s", nil
}

// spaceWalk is one walk through a space.
type spaceWalk struct {
	k             *Keeper
	r             kv.Reader
	user          matrix.UserID
	suggestedOnly bool
	depth         int // how deep to go
	limit         int // rooms of the page
	skip          int // rooms that earlier pages have shown

	seen  map[matrix.RoomID]bool
	found []SpaceRoom
	more  bool // the page is full, and there is another room
}

// visit shows a room and goes on to its children. It returns false when the page is full.
func (w *spaceWalk) visit(room matrix.RoomID, depth int) bool {
	if w.seen[room] || len(w.seen) == MaxHierarchyRooms {
		return true // spaces may hold one another in a circle
	}
	w.seen[room] = true
	if !w.k.Rooms.MayKnow(w.r, room, w.user) {
		return true
	}
	var children []SpaceChild
	if row, _ := w.k.Rooms.Room(w.r, room); row.Type == "m.space" {
		children = w.children(room)
	}
	switch {
	case w.skip > 0:
		w.skip--
	case len(w.found) == w.limit:
		w.more = true
		return false
	default:
		w.found = append(w.found, SpaceRoom{w.k.Rooms.Summary(w.r, room), append([]SpaceChild{}, children...)})
	}
	if depth == w.depth {
		return true
	}
	for _, child := range children {
		if !w.visit(matrix.RoomID(child.StateKey), depth+1) {
			return false
		}
	}
	return true
}

// children are the valid children of a space, in the order of the standard
// (spec: client-server API, ordering of children within a space).
func (w *spaceWalk) children(room matrix.RoomID) []SpaceChild {
	type ordered struct {
		SpaceChild
		order string
	}
	var all []ordered
	for e := range w.k.Rooms.StateOfType(w.r, room, "m.space.child") {
		if _, ok := rooms.SpaceChild(e); !ok {
			continue
		}
		order, suggested := childWishes(e.Content)
		if w.suggestedOnly && !suggested {
			continue
		}
		stripped := matrix.StrippedEvent{Content: e.Content, Sender: e.Sender, StateKey: *e.StateKey, Type: e.Type}
		all = append(all, ordered{SpaceChild{stripped, e.TS}, order})
	}
	slices.SortFunc(all, func(a, b ordered) int {
		if (a.order == "") != (b.order == "") {
			return cmp.Compare(b.order, a.order) // those with an order come first
		}
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.TS, b.TS), cmp.Compare(a.StateKey, b.StateKey))
	})
	children := make([]SpaceChild, len(all))
	for i, o := range all {
		children[i] = o.SpaceChild
	}
	return children
}

// childWishes are the order of a child, empty if it has none that is valid, and whether it
// is suggested.
func childWishes(raw json.RawMessage) (order string, suggested bool) {
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return "", false
	}
	order, _ = content.Text("order")
	if len(order) > maxChildOrder || slices.ContainsFunc([]byte(order), func(b byte) bool { return b < 0x20 || b > 0x7e }) {
		order = ""
	}
	return order, string(content["suggested"]) == "true"
}
