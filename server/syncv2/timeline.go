package syncv2

import (
	"slices"

	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// stateID names a piece of state.
type stateID struct{ eventType, key string }

// stretch is what an answer tells of a room's timeline, and what it has to know of the
// events that it leaves out.
type stretch struct {
	sight   *rooms.Sight
	from    changes.Position // what the client knows of; 0: nothing
	start   changes.Position // right before the first event told
	end     changes.Position
	events  []*rooms.Event // oldest first
	limited bool

	told map[changes.Position]bool
	// The newest state events of each kind behind from: of all, and of those that the
	// timeline does not tell. Only complete where the client knows the state at from.
	latest, untold map[stateID]*rooms.Event
	members        bool // some of them are about members
	encryption     bool // one of them is about encryption
}

// walk reads a room backwards from the end to from. Without delta, the walk ends when the
// timeline is long enough; with it, it goes on to find what changed of the state behind
// from. stateEnd is where the state ends that the user may know: the end, or earlier for
// who left.
func (l *looker) walk(room matrix.RoomID, m rooms.Membership, from, stateEnd, end changes.Position, delta bool) *stretch {
	s := l.stretch(room, m, from, end)
	filter := &l.q.filter.Room.Timeline
	limit := filter.Max(DefaultTimeline, l.v.MaxTimeline)
	enough := filter.Nothing()
	read := 0
	for e := range l.v.Rooms.Backwards(l.r, room, end) {
		if e.Position <= from {
			break
		}
		if read++; read > l.v.ScanLimit || l.news.far && enough && read > limit {
			if !enough {
				enough, s.limited, s.start = true, true, e.Position
			}
			if delta { // a long way: the history of the state is shorter
				for e := range l.v.Rooms.StateBetween(l.r, room, from, min(e.Position, stateEnd)) {
					s.note(e)
				}
			}
			break
		}
		if !enough && filter.MatchEvent(e) && l.listener.Wants(e, m) {
			if len(s.events) == limit {
				enough, s.limited = true, true
			} else {
				s.events = append(s.events, e)
				s.told[e.Position] = true
				s.start = e.Position - 1
			}
		}
		if enough && !delta {
			break
		}
		if e.IsState() && (e.Position <= stateEnd || e.Is("m.room.member", string(l.q.Viewer.User))) {
			s.note(e)
		}
	}
	slices.Reverse(s.events)
	return s
}

func (l *looker) stretch(room matrix.RoomID, m rooms.Membership, from, end changes.Position) *stretch {
	return &stretch{sight: l.listener.In(room, m), from: from, start: end, end: end, told: map[changes.Position]bool{},
		latest: map[stateID]*rooms.Event{}, untold: map[stateID]*rooms.Event{}}
}

// note keeps a state event if it is the newest of its kind; newer ones come first.
func (s *stretch) note(e *rooms.Event) {
	id := stateID{e.Type, *e.StateKey}
	if s.latest[id] == nil {
		s.latest[id] = e
	}
	if !s.told[e.Position] && s.untold[id] == nil {
		s.untold[id] = e
	}
	s.members = s.members || e.Type == "m.room.member"
	s.encryption = s.encryption || e.Type == "m.room.encryption"
}

// timeline is the stretch as it is told.
func (l *looker) timeline(s *stretch) (Timeline, error) {
	// Who has every event puts them together without help (spec: client-server API,
	// aggregations of child events).
	events, err := l.show(s.events, !s.limited)
	return Timeline{Events: events, Limited: s.limited, PrevBatch: history.Token(s.start)}, err
}

// show writes events as the filter wants them; plain leaves out what relates to them.
func (l *looker) show(events []*rooms.Event, plain bool) ([]any, error) {
	viewer := l.q.Viewer
	viewer.Plain = plain
	shown := make([]any, len(events))
	for i, e := range events {
		if l.q.filter.EventFormat == "federation" {
			shown[i] = rawEvent(l.v.Rooms.Served(l.r, e, viewer.User).PDU)
		} else {
			c := l.v.Rooms.ClientEvent(l.r, e, viewer)
			c.RoomID = ""
			shown[i] = &c
		}
		if l.q.fields == nil {
			continue
		}
		var err error
		if shown[i], err = l.q.fields.cut(shown[i]); err != nil {
			return nil, err
		}
	}
	return shown, nil
}
