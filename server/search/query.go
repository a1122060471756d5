package search

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"

	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// DefaultPage is how many results a search shows that names no limit.
	DefaultPage = 10
	// MaxPage is the most results of one answer.
	MaxPage = 50
	// defaultContext and maxContext are how many events are shown on either side of a result.
	defaultContext, maxContext = 5, 20
	// maxTerm is how long a search term may be, in bytes.
	maxTerm = 1000
	// maxTermWords is how many words it may have.
	maxTermWords = 40
	// maxContextScan is how many events are read on either side of a result to show some.
	maxContextScan = 200
	// maxToken is how long a next_batch may be, in bytes.
	maxToken = 2000
)

// The orders and the keys of groups.
const (
	ByRank   = "rank"
	ByRecent = "recent"
	ByRoom   = "room_id"
	BySender = "sender"
)

// Args is what is searched for (spec: client-server API, POST /search, room_events).
type Args struct {
	Term    string
	Keys    []string // empty: all
	Filter  history.RoomEventFilter
	OrderBy string       // empty: ByRank
	GroupBy []string     // ByRoom, BySender
	Context *ContextArgs // nil: none is shown
	State   bool         // show the state of the rooms of the results
	From    string       // a next_batch; empty: from the beginning
}

// ContextArgs says what is shown around each result; nil numbers are 5.
type ContextArgs struct {
	Before, After *int
	Profiles      bool
}

// check refuses what the standard does not know, and fills in what is not given.
func (a *Args) check() error {
	if len(a.Term) > maxTerm {
		return matrix.InvalidParam("The search term is too long.")
	}
	for _, key := range a.Keys {
		if key != KeyBody && key != KeyName && key != KeyTopic {
			return matrix.InvalidParam("Only content.body, content.name and content.topic can be searched.")
		}
	}
	if a.OrderBy == "" {
		a.OrderBy = ByRank
	}
	if a.OrderBy != ByRank && a.OrderBy != ByRecent {
		return matrix.InvalidParam("order_by is either rank or recent.")
	}
	for _, key := range a.GroupBy {
		if key != ByRoom && key != BySender {
			return matrix.InvalidParam("Results can be grouped by room_id and sender only.")
		}
	}
	if c := a.Context; c != nil && (c.before() < 0 || c.after() < 0) {
		return matrix.InvalidParam("The limits of an event context can't be negative.")
	}
	return nil
}

func (a *Args) wants(key string) bool { return len(a.Keys) == 0 || slices.Contains(a.Keys, key) }

func (c *ContextArgs) before() int { return contextLimit(c.Before) }
func (c *ContextArgs) after() int  { return contextLimit(c.After) }

func contextLimit(n *int) int {
	if n == nil {
		return defaultContext
	}
	return min(*n, maxContext)
}

// token is a next_batch: where the next page starts. It is no secret, and nothing is shown
// on its word: what it says is a place in the results, and which of them are wanted.
type token struct {
	Order string `json:"o"`
	// As is the change as of which messages are searched: later ones, and later edits of
	// earlier ones, are not on any page.
	As uint64 `json:"a"`
	// Through is the newest position that is looked at.
	Through uint64 `json:"t"`
	// Rank and Position are of the last result of the page before, if the order is ByRank.
	// Floor is where the matches end then that are ordered together; 0: nowhere.
	Rank     float64 `json:"r,omitempty"`
	Position uint64  `json:"p,omitempty"`
	Floor    uint64  `json:"f,omitempty"`
	Seen     int     `json:"n,omitempty"` // results that are not counted again
	// Group and Value choose the results of one group; empty: all.
	Group string `json:"g,omitempty"`
	Value string `json:"v,omitempty"`
}

func (t token) encode() string {
	raw, err := json.Marshal(t)
	if err != nil {
		return "" // a rank that is no number, which there is not
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// parseToken reads a token of encode for a search in that order.
func parseToken(s, order string) (t token, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(cut(s, maxToken))
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil || t.Order != order || t.Seen < 0 || t.Seen > math.MaxInt32 || max(t.Through, t.As, t.Floor) > math.MaxInt64 ||
		t.Group != "" && t.Group != ByRoom && t.Group != BySender {
		return token{}, matrix.InvalidParam("That next_batch does not belong to this search.")
	}
	return t, nil
}

// match is a message that was found.
type match struct {
	event *rooms.Event     // the message, be it edited since
	at    changes.Position // of the event that says what was found: the message itself, or its newest edit
	rank  float64
}

// group is the value by which an event is grouped.
func group(key string, e *rooms.Event) string {
	if key == BySender {
		return string(e.Sender)
	}
	return string(e.Room)
}

// behind says whether a result comes after the place of the token in its order.
func (t *token) behind(m match) bool {
	if t.Order == ByRecent || t.Position == 0 {
		return true // Through says where to go on
	}
	return m.rank < t.Rank || m.rank == t.Rank && m.at < changes.Position(t.Position)
}

// after is the token of the page that follows a result, of those that were gathered with it.
func (f *finder) after(last match, shown int) token {
	next := f.from
	if next.Order == ByRank {
		next.Rank, next.Position, next.Floor = last.rank, uint64(last.at), 0
		if f.cut {
			next.Floor = uint64(f.reached)
		}
		return next
	}
	next.Through, next.Seen = uint64(last.at)-1, next.Seen+shown
	return next
}

// onward is the token of what is older than all that was looked at.
func (f *finder) onward(seen int) token {
	next := f.from
	next.Through, next.Seen = uint64(f.reached), next.Seen+seen
	next.Rank, next.Position, next.Floor = 0, 0, 0
	return next
}
