package appservice

import (
	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// maxRememberedRooms is of how many rooms a worker remembers who of a service is in them.
const maxRememberedRooms = 4096

// interest says what a service has to do with what the log tells. Events are asked about in
// the order of the log, and as of their own position: who has left since, was there then.
type interest struct {
	keeper  *Keeper
	service *Service
	// present is a user of the service that is in a room, empty if there is none. What it
	// says holds from the event on that it was found at, until it is said to have changed.
	present map[matrix.RoomID]matrix.UserID
}

// forget begins anew: for when the log is read again from an earlier position.
func (i *interest) forget() { i.present = map[matrix.RoomID]matrix.UserID{} }

// in says whether the service is to be told an event (spec: application service API,
// registration, namespaces).
func (i *interest) in(r kv.Reader, e *rooms.Event) bool {
	if e.Type == "m.room.member" && e.StateKey != nil && i.service.HasUser(matrix.UserID(*e.StateKey)) {
		delete(i.present, e.Room)
		return true
	}
	return i.service.HasUser(e.Sender) || i.room(r, e.Room, e.Position)
}

// room says whether a room, one of its aliases or somebody in it was the service's at a
// position. Aliases have no history: those of now count.
func (i *interest) room(r kv.Reader, room matrix.RoomID, at changes.Position) bool {
	if within(i.service.rooms, string(room), false) || i.aliased(r, room) {
		return true
	}
	user, known := i.present[room]
	if known && (user == "" || i.keeper.Rooms.MembershipAt(r, room, user, at) == "join") {
		return user != ""
	}
	user = i.member(r, room, at)
	if len(i.present) >= maxRememberedRooms {
		clear(i.present)
	}
	i.present[room] = user
	return user != ""
}

func (i *interest) aliased(r kv.Reader, room matrix.RoomID) bool {
	if len(i.service.aliases) == 0 {
		return false
	}
	for _, alias := range i.keeper.Rooms.Aliases(r, room) {
		if i.service.HasAlias(alias) {
			return true
		}
	}
	return false
}

// member is a user of the service that was in a room at a position, empty if none was.
func (i *interest) member(r kv.Reader, room matrix.RoomID, at changes.Position) matrix.UserID {
	if i.keeper.Rooms.MembershipAt(r, room, i.service.Sender, at) == "join" {
		return i.service.Sender
	}
	for user := range i.keeper.Rooms.Members(r, room) {
		if i.service.HasUser(user) && i.keeper.Rooms.MembershipAt(r, room, user, at) == "join" {
			return user
		}
	}
	return ""
}

// now says, within one reading transaction, what the service has to do with rooms and
// users as they are now.
type now struct {
	interest
	r     kv.Reader
	rooms map[matrix.RoomID]bool
	users map[matrix.UserID]bool
}

func (i *interest) now(r kv.Reader) *now {
	return &now{
		interest: interest{i.keeper, i.service, nil}, r: r,
		rooms: map[matrix.RoomID]bool{}, users: map[matrix.UserID]bool{},
	}
}

// room says whether the service has to do with a room.
func (n *now) room(room matrix.RoomID) bool {
	is, known := n.rooms[room]
	if !known {
		is = within(n.service.rooms, string(room), false) || n.aliased(n.r, room) ||
			n.member(n.r, room, n.keeper.Changes.Last(n.r)) != ""
		n.rooms[room] = is
	}
	return is
}

// user says whether a user is the service's, or in a room that the service has to do with.
func (n *now) user(user matrix.UserID) bool {
	is, known := n.users[user]
	if !known {
		is = n.service.HasUser(user)
		for room, m := range n.keeper.Rooms.Memberships(n.r, user) {
			if is {
				break
			}
			is = m.State == "join" && n.room(room)
		}
		n.users[user] = is
	}
	return is
}
