package rooms

import (
	"iter"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Event finds an event by its id in any room. Who may see it is Visible's to say.
func (k *Keeper) Event(r kv.Reader, id matrix.EventID) (*Event, bool) {
	place, ok := k.eventIDs.Get(r, id)
	if !ok {
		return nil, false
	}
	return k.EventAt(r, place.Room, changes.Position(place.Position))
}

// EventAt finds the event of a room at a position.
func (k *Keeper) EventAt(r kv.Reader, room matrix.RoomID, pos changes.Position) (*Event, bool) {
	key := eventKey{room, uint64(pos)}
	row, ok := k.events.Get(r, key)
	if !ok {
		return nil, false
	}
	e := k.event(r, key, row)
	return e, e != nil
}

// Forwards yields the events of a room behind a position, oldest first.
func (k *Keeper) Forwards(r kv.Reader, room matrix.RoomID, after changes.Position) iter.Seq[*Event] {
	return k.walk(r, kv.Prefix(room).After(uint64(after)))
}

// Backwards yields the events of a room at or before a position, newest first.
func (k *Keeper) Backwards(r kv.Reader, room matrix.RoomID, through changes.Position) iter.Seq[*Event] {
	return k.walk(r, kv.Prefix(room).Through(uint64(through)).Reverse())
}

func (k *Keeper) walk(r kv.Reader, rg kv.Range) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for key, row := range k.events.Scan(r, rg) {
			e := k.event(r, key, row)
			if e == nil || !yield(e) {
				return
			}
		}
	}
}

// State is the current state event of a type and key.
func (k *Keeper) State(r kv.Reader, room matrix.RoomID, eventType, key string) (*Event, bool) {
	pos, ok := k.state.Get(r, stateKey{room, eventType, key})
	if !ok {
		return nil, false
	}
	return k.EventAt(r, room, changes.Position(pos))
}

// CurrentState yields the current state events of a room, by type and state key.
func (k *Keeper) CurrentState(r kv.Reader, room matrix.RoomID) iter.Seq[*Event] {
	return k.states(r, kv.Prefix(room))
}

// StateOfType yields the current state events of one type, by state key.
func (k *Keeper) StateOfType(r kv.Reader, room matrix.RoomID, eventType string) iter.Seq[*Event] {
	return k.states(r, kv.Prefix(room, eventType))
}

func (k *Keeper) states(r kv.Reader, rg kv.Range) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for key, pos := range k.state.Scan(r, rg) {
			e, ok := k.EventAt(r, key.Room, changes.Position(pos))
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// StateAt is the state event of a type and key as of a position, the event at that
// position included.
func (k *Keeper) StateAt(r kv.Reader, room matrix.RoomID, at changes.Position, eventType, key string) (*Event, bool) {
	for found := range k.history.Keys(r, kv.Prefix(room, eventType, key).Through(uint64(at)).Reverse()) {
		return k.EventAt(r, room, changes.Position(found.Position))
	}
	return nil, false
}

// StateSetAt yields the whole state of a room as of a position, by type and state key.
func (k *Keeper) StateSetAt(r kv.Reader, room matrix.RoomID, at changes.Position) iter.Seq[*Event] {
	return k.StateBetween(r, room, 0, at)
}

// StateBetween yields the state events that took effect behind from and up to at, for each
// type and state key only the latest: what changed in the state between two positions.
func (k *Keeper) StateBetween(r kv.Reader, room matrix.RoomID, from, at changes.Position) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		var pending stateAtKey // the latest seen of the key under way
		flush := func() bool {
			if pending.Position <= uint64(from) {
				return true
			}
			e, ok := k.EventAt(r, room, changes.Position(pending.Position))
			return ok && yield(e)
		}
		for key := range k.history.Keys(r, kv.Prefix(room)) {
			if key.Position > uint64(at) {
				continue
			}
			if key.Type != pending.Type || key.StateKey != pending.StateKey {
				if !flush() {
					return
				}
			}
			pending = key
		}
		flush()
	}
}

// Membership is the user's membership of the room, "leave" if there never was one.
func (k *Keeper) Membership(r kv.Reader, room matrix.RoomID, user matrix.UserID) string {
	if m, ok := k.memberships.Get(r, membershipKey{user, room}); ok {
		return m.State
	}
	return "leave"
}

// MembershipRow is the whole row, and whether the user ever had to do with the room.
func (k *Keeper) MembershipRow(r kv.Reader, room matrix.RoomID, user matrix.UserID) (Membership, bool) {
	return k.memberships.Get(r, membershipKey{user, room})
}

// MembershipAt is the membership as of a position, "leave" if there was none.
func (k *Keeper) MembershipAt(r kv.Reader, room matrix.RoomID, user matrix.UserID, at changes.Position) string {
	if m, ok := k.memberships.Get(r, membershipKey{user, room}); !ok || m.Position <= at {
		if !ok {
			return "leave"
		}
		return m.State // nothing has changed since: no need to look into the history
	}
	if e, ok := k.StateAt(r, room, at, "m.room.member", string(user)); ok {
		return e.Membership()
	}
	return "leave"
}

// Memberships yields the rooms that a user has to do with, forgotten ones included.
func (k *Keeper) Memberships(r kv.Reader, user matrix.UserID) iter.Seq2[matrix.RoomID, Membership] {
	return func(yield func(matrix.RoomID, Membership) bool) {
		for key, m := range k.memberships.Scan(r, kv.Prefix(user)) {
			if !yield(key.Room, m) {
				return
			}
		}
	}
}

// JoinedRooms are the rooms that a user is in.
func (k *Keeper) JoinedRooms(r kv.Reader, user matrix.UserID) []matrix.RoomID {
	joined := []matrix.RoomID{}
	for room, m := range k.Memberships(r, user) {
		if m.State == "join" {
			joined = append(joined, room)
		}
	}
	return joined
}

// Members yields the users that have a member event in the room, and what it says.
func (k *Keeper) Members(r kv.Reader, room matrix.RoomID) iter.Seq2[matrix.UserID, string] {
	return func(yield func(matrix.UserID, string) bool) {
		for key := range k.state.Keys(r, kv.Prefix(room, "m.room.member")) {
			user := matrix.UserID(key.StateKey)
			if !yield(user, k.Membership(r, room, user)) {
				return
			}
		}
	}
}

// SharesRoom says whether both users are joined to one room.
func (k *Keeper) SharesRoom(r kv.Reader, a, b matrix.UserID) bool {
	for room, m := range k.Memberships(r, a) {
		if m.State == "join" && k.Membership(r, room, b) == "join" {
			return true
		}
	}
	return false
}

// Encrypted says whether the room is end-to-end encrypted. What was once made so stays so,
// whatever is sent later, as clients see it, too (spec: client-server API, m.room.encryption).
func (k *Keeper) Encrypted(r kv.Reader, room matrix.RoomID) bool {
	return k.state.Has(r, stateKey{room, "m.room.encryption", ""})
}

// EncryptedAt says whether the room was encrypted as of a position.
func (k *Keeper) EncryptedAt(r kv.Reader, room matrix.RoomID, at changes.Position) bool {
	if !k.Encrypted(r, room) {
		return false
	}
	for range k.history.Keys(r, kv.Prefix(room, "m.room.encryption", "").Through(uint64(at))) {
		return true
	}
	return false
}

// SharesEncryptedRoom says whether both users are joined to one encrypted room.
func (k *Keeper) SharesEncryptedRoom(r kv.Reader, a, b matrix.UserID) bool {
	for room, m := range k.Memberships(r, a) {
		if m.State == "join" && k.Encrypted(r, room) && k.Membership(r, room, b) == "join" {
			return true
		}
	}
	return false
}

// Latest is the position of the newest event of a room; 0 if there is no such room.
func (k *Keeper) Latest(r kv.Reader, room matrix.RoomID) changes.Position {
	for key := range k.events.Keys(r, kv.Prefix(room).Reverse()) {
		return changes.Position(key.Position)
	}
	return 0
}

// MutualRooms are the rooms that both users are in, in the order of their IDs.
func (k *Keeper) MutualRooms(r kv.Reader, a, b matrix.UserID) []matrix.RoomID {
	shared := []matrix.RoomID{}
	for room, m := range k.Memberships(r, a) {
		if m.State == "join" && k.Membership(r, room, b) == "join" {
			shared = append(shared, room)
		}
	}
	return shared
}

// UsersSharingRoomsWith are the users, the user included, that are joined to a room in
// which the user is joined.
func (k *Keeper) UsersSharingRoomsWith(r kv.Reader, user matrix.UserID) []matrix.UserID {
	seen := map[matrix.UserID]bool{user: true}
	all := []matrix.UserID{user}
	for _, room := range k.JoinedRooms(r, user) {
		for other, state := range k.Members(r, room) {
			if state == "join" && !seen[other] {
				seen[other] = true
				all = append(all, other)
			}
		}
	}
	return all
}

// WorldReadable says whether anybody may look into the room now.
func (k *Keeper) WorldReadable(r kv.Reader, room matrix.RoomID) bool {
	e, ok := k.State(r, room, "m.room.history_visibility", "")
	return ok && historyVisibility(e) == "world_readable"
}

// strippedTypes is the state that somebody invited or knocking is shown
// (spec: client-server API, stripped state).
var strippedTypes = []string{
	"m.room.create", "m.room.name", "m.room.avatar", "m.room.topic",
	"m.room.join_rules", "m.room.canonical_alias", "m.room.encryption",
}

// StrippedState is what a user sees of a room to which the user is invited: the types the
// standard names, the inviter's membership, and the user's own.
func (k *Keeper) StrippedState(r kv.Reader, room matrix.RoomID, user matrix.UserID) []matrix.StrippedEvent {
	var all []matrix.StrippedEvent
	add := func(e *Event, ok bool) {
		if ok {
			all = append(all, matrix.StrippedEvent{Content: e.Content, Sender: e.Sender, StateKey: *e.StateKey, Type: e.Type})
		}
	}
	for _, t := range strippedTypes {
		add(k.State(r, room, t, ""))
	}
	own, ok := k.State(r, room, "m.room.member", string(user))
	if ok && own.Sender != user {
		add(k.State(r, room, "m.room.member", string(own.Sender)))
	}
	add(own, ok)
	return all
}
