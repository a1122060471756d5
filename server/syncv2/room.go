package syncv2

import (
	"encoding/json"

	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// rawEvent is an event in the format of federation.
type rawEvent = json.RawMessage

// joined tells of a room that the user is in.
func (l *looker) joined(room matrix.RoomID, m rooms.Membership, n *roomNews) error {
	entered := l.first // what the client may know of the room is not worth anything
	if !l.first && m.Position > l.since.Position {
		_, entered = l.v.Rooms.StaySince(l.r, room, m, l.since.Position)
	}
	full := entered || l.q.FullState
	from := l.since.Position
	if entered {
		from = 0
	}
	s := l.stretch(room, m, from, l.upTo)
	if n.events || full {
		s = l.walk(room, m, from, l.upTo, l.upTo, !entered)
	}
	s.limited = s.limited || l.gap || entered && !l.first // there is a gap to what came before
	l.news.deviceLists = l.news.deviceLists || entered || s.members || s.encryption
	out := &JoinedRoom{AccountData: noEvents(), Ephemeral: noEvents()}
	var err error
	if out.Timeline, err = l.timeline(s); err != nil {
		return err
	}
	var heroes []matrix.UserID
	if full || s.members {
		out.Summary, heroes = l.summary(room)
	}
	var state []*rooms.Event
	if full {
		state = l.fullState(s, l.v.Rooms.CurrentState(l.r, room), heroes)
	} else {
		state = l.stateDelta(s, heroes)
	}
	shown, err := l.show(state, true)
	if err != nil {
		return err
	}
	out.State, out.StateAfter = l.placed(shown)
	filter := &l.q.filter.Room
	if filter.AccountData.MatchRoom(room) {
		out.AccountData.Events = l.accountData(room, filter.AccountData.Match, full || n.unknown, n.accountData)
	}
	var read bool
	out.Ephemeral.Events, read = l.ephemeral(room, full || n.unknown)
	told := len(out.Timeline.Events) + len(shown) + len(out.Ephemeral.Events) + len(out.AccountData.Events)
	if full || s.limited || read || n.counts || told > 0 {
		out.Unread, out.Threads = l.unread(room)
		l.res.Rooms.Join[room] = out
		l.res.news = true
	}
	return nil
}

// left tells of a room that the user is not in any more, up to the event that says so.
func (l *looker) left(room matrix.RoomID, m rooms.Membership, n *roomNews) error {
	stateEnd, wasIn := l.v.Rooms.EndOfStay(l.r, room, m)
	// Who was in the room when the token was made, and left, is told what changed; who
	// came and left again since, everything; who never was in it, no state.
	full, delta, from := wasIn, false, l.since.Position
	if !l.first && m.Position > l.since.Position {
		before, entered := l.v.Rooms.StaySince(l.r, room, m, l.since.Position)
		full, delta = entered || l.q.FullState && before == "join", before == "join"
		if entered {
			from = 0
		}
	}
	if m.Forgotten { // of the state, only that the user is not in the room any more
		full, delta, stateEnd = false, full || delta, 0
	}
	s := l.walk(room, m, from, stateEnd, m.Position, delta && !full)
	s.limited = s.limited || l.gap
	l.news.deviceLists = l.news.deviceLists || delta
	out := &LeftRoom{AccountData: noEvents()}
	var err error
	if out.Timeline, err = l.timeline(s); err != nil {
		return err
	}
	var state []*rooms.Event
	if full {
		state = l.fullState(s, l.v.Rooms.StateSetAt(l.r, room, stateEnd), nil)
	} else if delta {
		state = l.stateDelta(s, nil)
	}
	shown, err := l.show(state, true)
	if err != nil {
		return err
	}
	out.State, out.StateAfter = l.placed(shown)
	if filter := &l.q.filter.Room.AccountData; filter.MatchRoom(room) {
		out.AccountData.Events = l.accountData(room, filter.Match, l.first || n.unknown, n.accountData)
	}
	l.res.Rooms.Leave[room] = out
	l.res.news = true
	return nil
}

// placed puts state where the client wants it: as of the start of the timeline or its end.
func (l *looker) placed(state []any) (start, after *Events) {
	if l.q.UseStateAfter {
		return nil, &Events{state}
	}
	return &Events{state}, nil
}
