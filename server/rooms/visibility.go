package rooms

import (
	"iter"
	"sync"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// This file alone decides what somebody may see: of a room's events (visible), of what is
// attached to an event (attach), and of the state beside it (Horizon and Sight). Whoever
// reads a room for a user asks here.

// lastPosition is behind every event.
const lastPosition = changes.Position(1<<63 - 1)

// Visible says whether the user may see the event: the history visibility and the user's
// membership as they were at the event (spec: client-server API, room history visibility).
func (k *Keeper) Visible(r kv.Reader, user matrix.UserID, e *Event) bool {
	m, _ := k.memberships.Get(r, membershipKey{user, e.Room})
	return k.visible(r, user, e, m)
}

// visible is Visible for a user whose membership of the room is now.
func (k *Keeper) visible(r kv.Reader, user matrix.UserID, e *Event, now Membership) bool {
	if now.State == "join" && e.Position >= now.Position {
		return true // in the room from then on: no need to look further
	}
	visibility := k.visibilityAt(r, e.Room, e.Position)
	if k.opens(r, visibility, user, e.Room, e.Position, now) {
		return true
	}
	if e.Is("m.room.history_visibility", "") && e.Position > 0 {
		// Whom the setting before or the one after lets see it, sees it.
		if before := k.visibilityAt(r, e.Room, e.Position-1); before != visibility && k.opens(r, before, user, e.Room, e.Position, now) {
			return true
		}
	}
	// One's own joining, leaving, being invited or banned: /sync has to tell it.
	return !now.Forgotten && e.Is("m.room.member", string(user)) && e.Membership() != "knock"
}

// opens says whether a history visibility lets a user, whose membership of the room is now,
// see what happened at a position.
func (k *Keeper) opens(r kv.Reader, visibility string, user matrix.UserID, room matrix.RoomID, at changes.Position, now Membership) bool {
	switch {
	case visibility == "world_readable":
		return true
	case now.Forgotten:
		return false // spec: client-server API, POST forget
	case now.State == "join" && visibility == "shared":
		return true // whatever was said before coming in
	case now.State == "":
		return false // never had to do with the room
	}
	switch k.MembershipAt(r, room, user, at) {
	case "join":
		return true
	case "invite":
		if visibility == "invited" {
			return true
		}
	}
	// Shared: who joined at any later time may look back. A former member sees so much up
	// to the end of the last stay.
	return visibility == "shared" && now.WasJoined && k.nextJoin(r, room, user, at, lastPosition) != 0
}

// nextJoin is the position at which a user joined behind a position and up to another one,
// or said something new as a member; 0 if there is none.
func (k *Keeper) nextJoin(r kv.Reader, room matrix.RoomID, user matrix.UserID, after, through changes.Position) changes.Position {
	rg := kv.Prefix(room, "m.room.member", string(user)).After(uint64(after)).Through(uint64(through))
	for key := range k.history.Keys(r, rg) {
		if m, ok := k.EventAt(r, room, changes.Position(key.Position)); ok && m.Membership() == "join" {
			return m.Position
		}
	}
	return 0
}

var visibilityWords = map[string]bool{"joined": true, "invited": true, "shared": true, "world_readable": true}

func historyVisibility(e *Event) string {
	v := contentText(e.Content, "history_visibility")
	if !visibilityWords[v] {
		return "shared"
	}
	return v
}

// maxVisibilities is how many settings of history visibilities are remembered.
const maxVisibilities = 4096

// visibilities remembers what the events say that set the history visibility: each message
// that is read asks for one. An event never changes in this, not even by being redacted.
type visibilities struct {
	mu  sync.Mutex
	all map[eventKey]string // guarded by mu
}

func (v *visibilities) get(key eventKey) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	word, ok := v.all[key]
	return word, ok
}

func (v *visibilities) keep(key eventKey, word string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil || len(v.all) >= maxVisibilities {
		v.all = map[eventKey]string{}
	}
	v.all[key] = word
}

// visibilityAt is the history visibility of a room as of a position.
func (k *Keeper) visibilityAt(r kv.Reader, room matrix.RoomID, at changes.Position) string {
	pos, ok := k.state.Get(r, stateKey{room, "m.room.history_visibility", ""})
	if ok && changes.Position(pos) > at { // it was set again since
		ok = false
		for found := range k.history.Keys(r, kv.Prefix(room, "m.room.history_visibility", "").Through(uint64(at)).Reverse()) {
			pos, ok = found.Position, true
			break
		}
	}
	if !ok {
		return "shared"
	}
	key := eventKey{room, pos}
	if word, known := k.visibilities.get(key); known {
		return word
	}
	e, ok := k.EventAt(r, room, changes.Position(pos))
	if !ok {
		return "shared"
	}
	word := historyVisibility(e)
	if _, committed := r.(*kv.ReadTx); committed { // what is not may be taken back
		k.visibilities.keep(key, word)
	}
	return word
}

// attach adds to an event that the viewer may see what else is told with it, of which each
// part is for those who may see where it comes from: what a state event replaced, why the
// event was redacted, and what relates to it.
func (k *Keeper) attach(r kv.Reader, e *Event, v Viewer, u *matrix.Unsigned) {
	now, _ := k.memberships.Get(r, membershipKey{v.User, e.Room})
	sees := func(other *Event) bool { return v.Whole || k.visible(r, v.User, other, now) }
	if e.Replaces != 0 {
		if before, ok := k.EventAt(r, e.Room, e.Replaces); ok {
			// spec: client-server API, UnsignedData: prev_content only for those who may
			// see the event before, replaces_state for all.
			u.ReplacesState = before.ID
			if sees(before) {
				before = k.Served(r, before, v.User)
				u.PrevContent, u.PrevSender = before.Content, before.Sender
			}
		}
	}
	if e.RedactedBy != "" {
		if why, ok := k.Event(r, e.RedactedBy); ok {
			u.RedactedBecause = k.redactedBecause(r, why, v, sees(why))
		}
	}
	if !v.Plain {
		u.Relations = k.aggregate(r, e, v)
	}
	if v.Whole {
		return // it is nobody's membership
	}
	u.Membership = now.State
	if u.Membership == "" {
		u.Membership = "leave"
	} else if now.Position > e.Position {
		u.Membership = k.MembershipAt(r, e.Room, v.User, e.Position)
	}
}

// redactedBecause is a redaction as it is shown in the event that it redacted. By it clients
// know that the event is redacted, so that there has to be one: who may not see the
// redaction is shown it without its reason.
func (k *Keeper) redactedBecause(r kv.Reader, why *Event, v Viewer, seen bool) *matrix.ClientEvent {
	if !seen {
		hidden, err := k.Redacted(r, why)
		if err != nil {
			k.DB.Fail(r, "rooms: redaction in "+string(why.Room), err)
			hidden = &Event{Position: why.Position, ID: why.ID, Room: why.Room, Sender: why.Sender, Type: why.Type, TS: why.TS, Content: []byte("{}")}
		}
		hidden.Redacts, hidden.RedactedBy = why.Redacts, ""
		why = hidden
		v.Plain = true
	}
	shown := k.ClientEvent(r, why, v)
	return &shown
}

// Horizon is the position up to which a user sees a room: without end for members and for
// a room that anybody may look into, else the event that ended the last stay. It is false
// for everybody else, those invited included.
func (k *Keeper) Horizon(r kv.Reader, room matrix.RoomID, user matrix.UserID) (changes.Position, bool) {
	m, _ := k.MembershipRow(r, room, user)
	return k.horizon(r, room, m)
}

func (k *Keeper) horizon(r kv.Reader, room matrix.RoomID, m Membership) (changes.Position, bool) {
	if m.State == "join" || k.WorldReadable(r, room) {
		return lastPosition, true
	}
	end, ok := k.EndOfStay(r, room, m)
	return end, ok && !m.Forgotten
}

// EndOfStay is the position of the event that ended a former member's last stay; false if
// there never was a stay, or it lasts.
func (k *Keeper) EndOfStay(r kv.Reader, room matrix.RoomID, m Membership) (changes.Position, bool) {
	if !m.WasJoined || m.State == "join" {
		return 0, false
	}
	for e, ok := k.EventAt(r, room, m.Position); ok && e.Replaces != 0; {
		before, found := k.EventAt(r, room, e.Replaces)
		if found && before.Membership() == "join" {
			return e.Position, true
		}
		e, ok = before, found
	}
	return 0, false
}

// Sight is what one viewer sees of one room, as of one transaction.
type Sight struct {
	*Listener
	room matrix.RoomID
	now  Membership

	end   changes.Position // the horizon, once looked for
	ended bool             // there is none: the viewer may not look into the room
}

// Sight reads whom the viewer ignores and since when the viewer is in the room.
func (k *Keeper) Sight(r kv.Reader, user matrix.UserID, room matrix.RoomID) *Sight {
	now, _ := k.memberships.Get(r, membershipKey{user, room})
	return k.Listener(r, user).In(room, now)
}

// In is the listener as a viewer of a room, of which its membership is now.
func (l *Listener) In(room matrix.RoomID, now Membership) *Sight {
	return &Sight{Listener: l, room: room, now: now}
}

// Sees says whether the viewer wants to hear of the child of a relation, and may see it.
func (s *Sight) Sees(rel Relation) bool {
	if rel.State { // its key matters, too
		e, ok := s.k.EventAt(s.r, s.room, rel.Position)
		return ok && s.SeesEvent(e)
	}
	return s.SeesEvent(&Event{Position: rel.Position, ID: rel.ID, Room: s.room, Sender: rel.Sender, Type: rel.Type})
}

// SeesEvent is Sees for an event of the room.
func (s *Sight) SeesEvent(e *Event) bool { return s.Wants(e, s.now) }

// Horizon is Keeper.Horizon for the viewer and the room.
func (s *Sight) Horizon() (changes.Position, bool) {
	if s.end == 0 && !s.ended {
		end, ok := s.k.horizon(s.r, s.room, s.now)
		s.end, s.ended = end, !ok
	}
	return s.end, !s.ended
}

// stateTime is the position as of which the viewer is shown the state that belongs to a
// position: that position itself if the viewer may see what happened there, else the nearest
// one at which the viewer may know the state, which is where the viewer came in next or the
// horizon. It is false for who may not know of any state.
func (s *Sight) stateTime(at changes.Position) (changes.Position, bool) {
	if s.now.State == "join" && at >= s.now.Position {
		return at, true
	}
	end, ok := s.Horizon()
	if !ok {
		return 0, false
	}
	at = min(at, end)
	if at == 0 || s.k.opens(s.r, s.k.visibilityAt(s.r, s.room, at), s.user, s.room, at, s.now) {
		return at, true
	}
	if !s.now.Forgotten {
		if in := s.k.nextJoin(s.r, s.room, s.user, at, end); in != 0 {
			return in - 1, true // as it was on coming in
		}
	}
	return end, true
}

// StateAt is the state event of a type and key that belongs to a position, as far as the
// viewer may see the state.
func (s *Sight) StateAt(at changes.Position, eventType, key string) (*Event, bool) {
	if eventType != "m.room.member" || key != string(s.user) { // of themselves, everybody knows
		var ok bool
		if at, ok = s.stateTime(at); !ok {
			return nil, false
		}
	}
	return s.k.StateAt(s.r, s.room, at, eventType, key)
}

// StateSetAt yields the whole state of the room that belongs to a position, as far as the
// viewer may see it.
func (s *Sight) StateSetAt(at changes.Position) iter.Seq[*Event] {
	at, ok := s.stateTime(at)
	switch {
	case !ok:
		return func(func(*Event) bool) {}
	case at == lastPosition: // the history of a state may be long
		return s.k.CurrentState(s.r, s.room)
	}
	return s.k.StateSetAt(s.r, s.room, at)
}

// MembersAt yields the member events of the room that belong to a position, as far as the
// viewer may see the state.
func (s *Sight) MembersAt(at changes.Position) iter.Seq[*Event] {
	at, ok := s.stateTime(at)
	switch {
	case !ok:
		return func(func(*Event) bool) {}
	case at == lastPosition:
		return s.k.StateOfType(s.r, s.room, "m.room.member")
	}
	return func(yield func(*Event) bool) {
		for user := range s.k.Members(s.r, s.room) {
			e, ok := s.k.StateAt(s.r, s.room, at, "m.room.member", string(user))
			if ok && !yield(e) {
				return
			}
		}
	}
}

// told is the current state event of a type and key for whom the room tells who it is: its
// members, and those invited, who have it in their stripped state. For others it is that of
// the time when they left.
func (s *Sight) told(eventType, key string) (*Event, bool) {
	if s.now.State == "join" || s.now.State == "invite" {
		return s.k.State(s.r, s.room, eventType, key)
	}
	return s.StateAt(lastPosition, eventType, key)
}

// DisplayName is a member's display name in the room as the viewer may know it; empty if
// there is none.
func (s *Sight) DisplayName(user matrix.UserID) string {
	e, ok := s.told("m.room.member", string(user))
	if !ok {
		return ""
	}
	return contentText(e.Content, "displayname")
}

// Called is the name of the room and its alias as the viewer may know them: of a room that
// the viewer has left, those of that time.
func (s *Sight) Called() (name, alias string) {
	text := func(eventType, field string) string {
		e, ok := s.told(eventType, "")
		if !ok {
			return ""
		}
		return contentText(e.Content, field)
	}
	name, alias = text("m.room.name", "name"), text("m.room.canonical_alias", "alias")
	if _, err := matrix.ParseRoomAlias(alias); err != nil {
		alias = ""
	}
	return name, alias
}
