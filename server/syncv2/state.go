package syncv2

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// fullState is the whole state, given as of the end of the stretch, as it belongs in front
// of the timeline; or as it is, if the client wants the state at the end.
func (l *looker) fullState(s *stretch, whole iter.Seq[*rooms.Event], heroes []matrix.UserID) []*rooms.Event {
	filter := &l.q.filter.Room.State
	if filter.Nothing() {
		return nil
	}
	needed := map[matrix.UserID]bool{l.q.Viewer.User: true}
	for _, user := range append(s.senders(), heroes...) {
		needed[user] = true
	}
	var state []*rooms.Event
	for e := range whole {
		if e = l.inFront(s, e); e == nil || !filter.MatchEvent(e) {
			continue
		}
		if filter.LazyLoadMembers && e.Type == "m.room.member" {
			if !needed[matrix.UserID(*e.StateKey)] {
				continue
			}
			l.v.members.tell(l.q.Viewer, e, l.upTo)
		}
		state = append(state, e)
	}
	return state
}

// inFront is the state event that belongs in front of the timeline where e is in force at
// its end; nil if there is none.
func (l *looker) inFront(s *stretch, e *rooms.Event) *rooms.Event {
	if l.q.UseStateAfter || e.Position <= s.start || !s.told[e.Position] {
		return e // nobody else tells it
	}
	before, _ := s.sight.StateAt(s.start, e.Type, *e.StateKey)
	return before
}

// stateDelta is what changed of the state since the token and is not told by the timeline,
// or everything that changed if the client wants the state at the end.
func (l *looker) stateDelta(s *stretch, heroes []matrix.UserID) []*rooms.Event {
	filter := &l.q.filter.Room.State
	if filter.Nothing() {
		return nil
	}
	var state []*rooms.Event
	has := map[string]bool{} // member events in state
	add := func(e *rooms.Event) {
		if e == nil || !filter.MatchEvent(e) {
			return
		}
		state = append(state, e)
		if e.Type == "m.room.member" {
			has[*e.StateKey] = true
			l.v.members.tell(l.q.Viewer, e, l.upTo)
		}
	}
	changed := s.untold
	if l.q.UseStateAfter {
		changed = s.latest
	}
	for _, id := range slices.SortedFunc(maps.Keys(changed), compareState) {
		add(changed[id])
	}
	if !filter.LazyLoadMembers {
		return state
	}
	at := s.start
	if l.q.UseStateAfter {
		at = s.end
	}
	for _, user := range append(s.senders(), heroes...) {
		if has[string(user)] {
			continue
		}
		e, ok := s.sight.StateAt(at, "m.room.member", string(user))
		if ok && (filter.IncludeRedundantMembers || !l.v.members.knows(l.q.Viewer, e, l.since.Position)) {
			add(e)
		}
	}
	return state
}

func compareState(a, b stateID) int {
	return cmp.Or(strings.Compare(a.eventType, b.eventType), strings.Compare(a.key, b.key))
}

// senders are those who sent the events told, each once.
func (s *stretch) senders() []matrix.UserID {
	var all []matrix.UserID
	for _, e := range s.events {
		if !slices.Contains(all, e.Sender) {
			all = append(all, e.Sender)
		}
	}
	return all
}
