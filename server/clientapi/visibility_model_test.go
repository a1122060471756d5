package clientapi_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"testing"
)

// This file holds the oracle of TestWhoSeesWhat, written from the words of the standard and
// from nothing else: client-server API, room history visibility (server behaviour), UnsignedData,
// GET /state and /members, stripped state, POST forget.

// toldEvent is an event as it is told, with what is attached to it.
type toldEvent struct {
	ID       string `json:"event_id"`
	Type     string
	Sender   string
	StateKey *string `json:"state_key"`
	Redacts  string
	Content  json.RawMessage
	Unsigned struct {
		PrevContent json.RawMessage `json:"prev_content"`
		Replaces    string          `json:"replaces_state"`
		Because     *toldEvent      `json:"redacted_because"`
		Relations   struct {
			Thread    *struct{ Count int }               `json:"m.thread"`
			Reference *struct{ Chunk []json.RawMessage } `json:"m.reference"`
		} `json:"m.relations"`
	}
}

func (e *toldEvent) text(field string) string {
	var content map[string]json.RawMessage
	var text string
	if json.Unmarshal(e.Content, &content) == nil {
		_ = json.Unmarshal(content[field], &text) // of another type: no text
	}
	return text
}

// relates is what the event relates to.
func (e *toldEvent) relates() (relType, parent string) {
	var content struct {
		To struct {
			Type  string `json:"rel_type"`
			Event string `json:"event_id"`
		} `json:"m.relates_to"`
	}
	_ = json.Unmarshal(e.Content, &content) // no relation
	return content.To.Type, content.To.Event
}

// roomOracle says what one user may see of a room, of which it knows the whole timeline.
type roomOracle struct {
	user       string
	forgotten  bool
	events     []toldEvent // in order; the creator of the room saw all of them
	index      map[string]int
	membership []string       // of the user, after each event
	visibility []string       // of the history, after each event
	marks      map[string]int // what only one event says → its index
	until      []int          // of state: the index of the event that replaces it
}

var markPattern = regexp.MustCompile(`mark[a-z0-9]+`)

// newOracle reads the timeline of a room.
func newOracle(user string, events []toldEvent, forgotten bool) *roomOracle {
	o := &roomOracle{user: user, forgotten: forgotten, events: events, index: map[string]int{}, marks: map[string]int{}}
	membership, visibility := "leave", "shared"
	current := map[string]int{}
	for i, e := range events {
		o.index[e.ID] = i
		for _, mark := range markPattern.FindAllString(string(e.Content), -1) {
			o.marks[mark] = i
		}
		o.until = append(o.until, len(events))
		if e.StateKey != nil {
			id := e.Type + "\x00" + *e.StateKey
			if before, ok := current[id]; ok {
				o.until[before] = i
			}
			current[id] = i
			switch {
			case e.Type == "m.room.member" && *e.StateKey == user:
				membership = e.text("membership")
			case e.Type == "m.room.history_visibility":
				visibility = e.text("history_visibility")
			}
		}
		o.membership, o.visibility = append(o.membership, membership), append(o.visibility, visibility)
	}
	return o
}

func (o *roomOracle) last() int { return len(o.events) - 1 }

func (o *roomOracle) before(list []string, i int, first string) string {
	if i == 0 {
		return first
	}
	return list[i-1]
}

// allows is the list of rules of the standard.
func (o *roomOracle) allows(visibility, membership string, i int) bool {
	if visibility == "world_readable" {
		return true // 1
	}
	if o.forgotten {
		return false // POST forget: "the user will no longer be able to retrieve history for this room"
	}
	return membership == "join" || // 2
		visibility == "shared" && slices.Contains(o.membership[i:], "join") || // 3
		membership == "invite" && visibility == "invited" // 4, 5
}

// at says whether the user may see what happened at a place in the timeline.
func (o *roomOracle) at(i int) bool { return o.allows(o.visibility[i], o.membership[i], i) }

// sees says whether the user may see an event.
func (o *roomOracle) sees(i int) bool {
	e := &o.events[i]
	if o.at(i) {
		return true
	}
	if e.Type == "m.room.history_visibility" {
		return o.allows(o.before(o.visibility, i, "shared"), o.membership[i], i)
	}
	if e.Type != "m.room.member" || *e.StateKey != o.user {
		return false
	}
	// Beyond those rules, /sync and /notifications tell everybody of being invited, let go
	// and banned, so that these events are no secret elsewhere.
	return o.allows(o.visibility[i], o.before(o.membership, i, "leave"), i) || !o.forgotten && e.text("membership") != "knock"
}

// wasIn says whether the user may ask for the state of the room: "You aren't a member of the
// room and weren't previously a member of the room."
func (o *roomOracle) wasIn() bool {
	return o.visibility[o.last()] == "world_readable" || !o.forgotten && slices.Contains(o.membership, "join")
}

// knows says whether the user may see an event as a part of the state: it may see the event,
// or it was in force while the user was in the room or could see what happened there. Who was
// never in the room has no more than stripped state.
func (o *roomOracle) knows(i int) bool {
	e := &o.events[i]
	if e.StateKey == nil || o.sees(i) {
		return o.sees(i)
	}
	if *e.StateKey == o.user && e.Type == "m.room.member" && (!o.forgotten || e.ID == o.lastOwn().ID) {
		return true // that a stay is over, clients have to hear even of a forgotten room
	}
	if o.until[i] > o.last() && o.isAsked() && o.stripped(e) {
		return true
	}
	if !o.wasIn() {
		return false
	}
	for t := i; t < o.until[i]; t++ {
		if o.at(t) {
			return true
		}
	}
	return o.visibility[o.last()] == "world_readable" && o.until[i] > o.last()
}

// isAsked says whether the user is shown stripped state.
func (o *roomOracle) isAsked() bool {
	m := o.membership[o.last()]
	return m == "invite" || m == "knock"
}

func (o *roomOracle) stripped(e *toldEvent) bool {
	return slices.Contains([]string{"m.room.create", "m.room.name", "m.room.topic", "m.room.join_rules"}, e.Type) ||
		e.Type == "m.room.member" && o.membership[o.last()] == "invite" && *e.StateKey == o.lastOwn().Sender
}

// lastOwn is the user's own newest member event.
func (o *roomOracle) lastOwn() (own toldEvent) {
	for _, e := range o.events {
		if e.Type == "m.room.member" && *e.StateKey == o.user {
			own = e
		}
	}
	return own
}

// summary says whether an answer about the room as a whole may name it: name and topic as
// they are, to who may come in or look in.
func (o *roomOracle) summary(i int) bool {
	e := &o.events[i]
	return o.until[i] > o.last() && (e.Type == "m.room.name" || e.Type == "m.room.topic") &&
		(o.membership[o.last()] != "ban" || o.visibility[o.last()] == "world_readable")
}

// children are the events that the user sees of those that relate to an event.
func (o *roomOracle) children(parent, relType string) (n int) {
	for i := range o.events {
		if rel, to := o.events[i].relates(); rel == relType && to == parent && o.sees(i) {
			n++
		}
	}
	return n
}

// answer is one answer that a user got, to be held against the oracle.
type answer struct {
	t      *testing.T
	o      *roomOracle
	where  string
	body   []byte
	checks *int
	may    func(i int) bool // besides what the user may see
}

func (a *answer) wrong(format string, args ...any) {
	a.t.Helper()
	a.t.Errorf("%s: "+format, append([]any{a.where}, args...)...)
}

// check looks for anything that the user may not see, and for what is kept back wrongly.
func (a *answer) check() {
	a.t.Helper()
	for _, mark := range slices.Compact(slices.Sorted(slices.Values(markPattern.FindAllString(string(a.body), -1)))) {
		*a.checks++
		i, ok := a.o.marks[mark]
		if ok && !a.o.knows(i) && (a.may == nil || !a.may(i)) {
			a.wrong("shows %s of %s at %d", mark, a.o.events[i].Type, i)
		}
	}
	var tree any
	if err := json.Unmarshal(a.body, &tree); err != nil {
		a.wrong("%v", err)
		return
	}
	a.walk(tree)
}

// walk looks at every event of an answer.
func (a *answer) walk(v any) {
	a.t.Helper()
	switch v := v.(type) {
	case []any:
		for _, inner := range v {
			a.walk(inner)
		}
	case map[string]any:
		if _, isEvent := v["unsigned"].(map[string]any); isEvent && v["event_id"] != nil {
			raw, err := json.Marshal(v)
			if err != nil {
				a.t.Fatal(err)
			}
			var e toldEvent
			if err := json.Unmarshal(raw, &e); err != nil {
				a.wrong("%v", err)
			}
			a.event(&e)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if key != "redacted_because" { // looked at with the event
				a.walk(v[key])
			}
		}
	}
}

// event holds what is attached to an event against the oracle, in both directions.
func (a *answer) event(e *toldEvent) {
	a.t.Helper()
	i, ok := a.o.index[e.ID]
	if !ok {
		return // of another room
	}
	*a.checks++
	if !a.o.knows(i) {
		a.wrong("shows %s at %d", e.Type, i)
	}
	if replaced := e.Unsigned.Replaces; replaced != "" {
		*a.checks++
		if has, may := e.Unsigned.PrevContent != nil, a.o.sees(a.o.index[replaced]); has != may {
			a.wrong("prev_content of %s at %d: %v, want %v", e.Type, i, has, may)
		}
	}
	if by := a.o.events[i].Unsigned.Because; by != nil {
		*a.checks++
		told := e.Unsigned.Because
		if told == nil || told.ID != by.ID {
			a.wrong("%s at %d is not said to be redacted by %s", e.Type, i, by.ID)
		} else if has, may := told.text("reason") != "", a.o.sees(a.o.index[by.ID]); has != may {
			a.wrong("the reason of the redaction of %s at %d: %v, want %v", e.Type, i, has, may)
		}
	}
	if thread := e.Unsigned.Relations.Thread; thread != nil {
		*a.checks++
		if want := a.o.children(e.ID, "m.thread"); thread.Count != want {
			a.wrong("%d replies in the thread of %d, want %d", thread.Count, i, want)
		}
	}
	if refs := e.Unsigned.Relations.Reference; refs != nil {
		*a.checks++
		if want := a.o.children(e.ID, "m.reference"); len(refs.Chunk) != want {
			a.wrong("%d references to %d, want %d", len(refs.Chunk), i, want)
		}
	}
}
