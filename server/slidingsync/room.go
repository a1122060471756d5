package slidingsync

import (
	"encoding/json"
	"slices"

	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// room tells what is new of a room.
func (l *looker) room(e *entry, w *wish) {
	switch {
	case e.member.State == "join":
		l.joined(e, w)
	case e.member.State == "invite", e.member.State == "knock", !e.member.WasJoined:
		l.outside(e, w)
	default:
		l.left(e, w)
	}
}

// tell puts a room into the answer.
func (l *looker) tell(e *entry, w *wish, before toldRoom, out *RoomResult, now toldRoom) {
	if !l.req.Unstable {
		out.Lists = w.lists
	}
	now.membership = e.member.State
	if before.membership != now.membership && !l.req.Unstable {
		out.Membership = now.membership
	}
	if now.bump = e.bump; out.Initial || before.bump != now.bump {
		out.BumpStamp = now.bump
	}
	now.oldData, now.oldReceipts = before.oldData, before.oldReceipts
	l.told.rooms[e.room] = now
	l.res.Rooms[e.room] = out
	l.res.news = true
}

// joined tells of a room that the user is in.
func (l *looker) joined(e *entry, w *wish) {
	before, known := l.base.rooms[e.room]
	initial := !known || before.membership != "join" || l.entered(e, before)
	limit := min(w.timeline, l.v.MaxTimeline)
	now := toldRoom{upTo: l.upTo, timeline: limit, rules: w.rules, key: w.key, dm: l.dms[e.room]}
	if !initial && e.latest <= before.upTo && limit <= before.timeline && w.key == before.key && now.dm == before.dm {
		if limit != before.timeline { // more than this is more again
			before.timeline = limit
			l.told.rooms[e.room] = before
		}
		return
	}
	from := before.upTo
	if initial {
		from = 0
	}
	s := l.walk(e, from, l.upTo, l.upTo, limit)
	out := &RoomResult{Initial: initial, Limited: s.limited}
	now.start = before.start
	if initial || s.limited {
		now.start = s.start
	}
	if !initial && limit > before.timeline {
		if longer := l.walk(e, 0, l.upTo, l.upTo, limit); longer.start < now.start {
			s.events, s.start, now.start = longer.events, longer.start, longer.start
			out.Limited = longer.limited
			out.Expanded, out.UnstableExpanded = !l.req.Unstable, l.req.Unstable
		}
	}
	state := s.changed
	if initial {
		state = slices.Collect(l.v.Rooms.CurrentState(l.r, e.room))
	}
	l.describe(e, s, out, state, initial)
	if now.dm != before.dm || initial && now.dm {
		out.DM = &now.dm
	}
	out.Required = l.show(l.required(e, w, before, s, state, initial))
	l.timeline(s, out)
	if !initial && len(out.Timeline)+len(out.Required) == 0 && out.DM == nil && !out.Limited && e.bump == before.bump {
		now.membership, now.bump = before.membership, before.bump
		now.oldData, now.oldReceipts = before.oldData, before.oldReceipts
		l.told.rooms[e.room] = now // nothing that this user may see, or has asked for
		return
	}
	l.tell(e, w, before, out, now)
}

// outside tells of a room that the user has never been in: invited to it, knocking, or
// turned away.
func (l *looker) outside(e *entry, w *wish) {
	before, known := l.base.rooms[e.room]
	if known && before.upTo >= e.member.Position {
		return
	}
	stripped := []matrix.StrippedEvent{}
	if e.member.State == "invite" || e.member.State == "knock" {
		stripped = l.v.Rooms.StrippedState(l.r, e.room, l.req.Viewer.User)
	} else if own, ok := l.v.Rooms.EventAt(l.r, e.room, e.member.Position); ok {
		stripped = append(stripped, matrix.StrippedEvent{Content: own.Content, Sender: own.Sender, StateKey: *own.StateKey, Type: own.Type})
	}
	out := &RoomResult{Initial: true}
	if l.req.Unstable {
		out.UnstableStripped = stripped
	} else {
		out.Stripped = stripped
	}
	l.tell(e, w, before, out, toldRoom{upTo: e.member.Position})
}

// left tells of a room that the user is not in any more, up to the event that says so.
func (l *looker) left(e *entry, w *wish) {
	before, known := l.base.rooms[e.room]
	end := e.member.Position
	if known && before.upTo >= end {
		return
	}
	stateEnd, ok := l.v.Rooms.EndOfStay(l.r, e.room, e.member)
	if !ok || e.member.Forgotten {
		stateEnd = 0 // no state may be told
	}
	initial := !known || !slices.Contains([]string{"join", "leave", "ban"}, before.membership) || l.entered(e, before)
	from := before.upTo
	if initial {
		from = 0
	}
	limit := min(w.timeline, l.v.MaxTimeline)
	s := l.walk(e, from, end, stateEnd, limit)
	out := &RoomResult{Initial: initial, Limited: s.limited}
	state := s.changed
	if initial {
		state = slices.Collect(l.v.Rooms.StateSetAt(l.r, e.room, stateEnd))
	}
	l.describe(e, s, out, state, initial)
	out.Required = l.show(l.required(e, w, before, s, state, initial))
	l.timeline(s, out)
	l.tell(e, w, before, out, toldRoom{upTo: end, start: s.start, timeline: limit, rules: w.rules, key: w.key})
}

// entered says whether the user has come into the room since the client was told of it: then
// what it has of it is not worth anything.
func (l *looker) entered(e *entry, before toldRoom) bool {
	_, entered := l.v.Rooms.StaySince(l.r, e.room, e.member, before.upTo)
	return entered
}

// stretch is the end of a room's timeline, and what changed of the state in it.
type stretch struct {
	start   changes.Position // right before the first event told
	events  []*rooms.Event   // oldest first
	limited bool             // there are more between from and start
	changed []*rooms.Event   // the newest of each kind behind from; not if that is 0
	members bool             // some of them are about members
}

// walk reads a room backwards from end to from. stateEnd is where the state ends that the
// user may know.
func (l *looker) walk(e *entry, from, end, stateEnd changes.Position, limit int) *stretch {
	s := &stretch{start: end}
	seen := map[[2]string]bool{}
	note := func(event *rooms.Event) {
		id := [2]string{event.Type, *event.StateKey}
		if seen[id] || event.Position > stateEnd && !event.Is("m.room.member", string(l.req.Viewer.User)) {
			return
		}
		seen[id] = true
		s.changed = append(s.changed, event)
		s.members = s.members || event.Type == "m.room.member"
	}
	read := 0
	for event := range l.v.Rooms.Backwards(l.r, e.room, end) {
		if event.Position <= from {
			break
		}
		if read++; read > l.v.ScanLimit {
			s.limited = true
			if from > 0 { // a long way: the history of the state is shorter
				for event := range l.v.Rooms.StateBetween(l.r, e.room, from, min(event.Position, stateEnd)) {
					note(event)
				}
			}
			break
		}
		if !s.limited && l.listener.Wants(event, e.member) {
			if len(s.events) == limit {
				s.limited = true
			} else {
				s.events = append(s.events, event)
				s.start = event.Position - 1
			}
		}
		if from > 0 && event.IsState() {
			note(event)
		}
		if from == 0 && s.limited {
			break
		}
	}
	if !s.limited && from == 0 {
		s.start = 0
	}
	slices.Reverse(s.events)
	return s
}

// timeline puts the events into the answer.
func (l *looker) timeline(s *stretch, out *RoomResult) {
	out.Timeline = l.show(s.events)
	if out.Initial || len(s.events) > 0 || s.limited {
		out.PrevBatch = history.Token(s.start)
	}
	live := 0
	for _, e := range s.events {
		if !l.first && e.Position > l.base.at {
			live++
		}
	}
	if out.Initial || len(s.events) > 0 {
		out.Live = &live
	}
}

func (l *looker) show(events []*rooms.Event) []matrix.ClientEvent {
	var shown []matrix.ClientEvent
	for _, e := range events {
		c := l.v.Rooms.ClientEvent(l.r, e, l.req.Viewer)
		c.RoomID = ""
		shown = append(shown, c)
	}
	return shown
}

// required is the state that the client has asked for and has not: all of it, or what
// changed and what it asks for now and did not before.
func (l *looker) required(e *entry, w *wish, before toldRoom, s *stretch, state []*rooms.Event, initial bool) []*rooms.Event {
	lazy := w.lazy()
	var out []*rooms.Event
	has := map[[2]string]bool{}
	add := func(event *rooms.Event) {
		id := [2]string{event.Type, *event.StateKey}
		if has[id] {
			return
		}
		has[id] = true
		if event.Type == "m.room.member" {
			l.told.members[memberID{e.room, matrix.UserID(*event.StateKey)}] = event.Position
		}
		out = append(out, event)
	}
	for _, event := range state {
		isMember := event.Type == "m.room.member"
		if w.match(event) || lazy && isMember && !initial && !s.limited {
			add(event)
		}
	}
	if !initial && w.key != before.key && e.member.State == "join" {
		old := wish{rules: before.rules}
		for event := range l.v.Rooms.CurrentState(l.r, e.room) {
			if w.match(event) && !old.match(event) {
				add(event)
			}
		}
	}
	if !lazy {
		return out
	}
	sight := l.listener.In(e.room, e.member)
	for _, user := range s.people() {
		event, ok := sight.StateAt(l.upTo, "m.room.member", string(user))
		if ok && l.base.members[memberID{e.room, user}] != event.Position {
			add(event)
		}
	}
	return out
}

// people are who sent the events of the timeline, and whose membership they are about.
func (s *stretch) people() []matrix.UserID {
	var all []matrix.UserID
	for _, e := range s.events {
		for _, user := range []matrix.UserID{e.Sender, target(e)} {
			if user != "" && !slices.Contains(all, user) {
				all = append(all, user)
			}
		}
	}
	return all
}

func target(e *rooms.Event) matrix.UserID {
	if e.Type != "m.room.member" || e.StateKey == nil {
		return ""
	}
	return matrix.UserID(*e.StateKey)
}

// describe tells how the room is called and how many are in it, where that is new. state
// is the state that is new.
func (l *looker) describe(e *entry, s *stretch, out *RoomResult, state []*rooms.Event, initial bool) {
	named, nameIsNew := false, false
	for _, event := range state {
		switch {
		case event.Is("m.room.name", ""):
			out.Name, nameIsNew = textOrNull(event, "name", initial), true
		case event.Is("m.room.avatar", ""):
			out.Avatar = textOrNull(event, "url", initial)
		}
	}
	if e.member.State != "join" || !initial && !s.members && !nameIsNew {
		return
	}
	if name, ok := l.v.Rooms.State(l.r, e.room, "m.room.name", ""); ok {
		named = textOrNull(name, "name", true) != nil
	}
	heroes, joined, invited := l.v.Rooms.Heroes(l.r, e.room, l.req.Viewer.User, !named)
	out.Joined, out.Invited = &joined, &invited
	for _, user := range heroes {
		hero := Hero{User: user}
		if event, ok := l.v.Rooms.State(l.r, e.room, "m.room.member", string(user)); ok {
			if content, err := matrix.ParseObject(event.Content); err == nil {
				hero.Name, _ = content.Text("displayname")
				hero.Avatar, _ = content.Text("avatar_url")
			}
		}
		out.Heroes = append(out.Heroes, hero)
	}
}

// textOrNull is a text in an event's content as JSON. Where there is none it is null, or
// nil if nothing need be said of it.
func textOrNull(e *rooms.Event, field string, silent bool) json.RawMessage {
	if content, err := matrix.ParseObject(e.Content); err == nil {
		if text, ok := content.Text(field); ok && text != "" {
			return content[field]
		}
	}
	if silent {
		return nil
	}
	return json.RawMessage("null")
}
