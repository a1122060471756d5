package e2ee

import (
	"maps"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// DeviceListChanges are the users whose keys the viewer has to ask for again after the
// changes behind from and up to to, and those with whom the viewer shares no encrypted room
// any more (spec: e2e extensions to sync). Both are sorted and never nil.
//
// Users count as changed when their keys did and they share a room with the viewer, encrypted or
// not (spec: GET keys/changes); when they or the viewer joined an encrypted room that both are
// in; and when a room that both are in became encrypted. The viewer's own keys count always, and
// so do those that the viewer signed on another device.
func (k *Keeper) DeviceListChanges(r kv.Reader, viewer matrix.UserID, from, to changes.Position) (changed, left []matrix.UserID) {
	s := listScan{k: k, r: r, viewer: viewer, from: from, concerns: map[matrix.RoomID]bool{},
		changed: map[matrix.UserID]bool{}, parted: map[matrix.UserID]bool{}, signed: map[matrix.UserID]bool{}}
	if to > from && to-from > k.FarBehind {
		s.everybody(to)
	} else {
		s.each(to)
	}
	for user := range s.changed {
		if user != viewer && !s.signed[user] && !k.Rooms.SharesRoom(r, viewer, user) {
			delete(s.changed, user)
		}
	}
	for user := range s.parted {
		if user == viewer || k.Rooms.SharesEncryptedRoom(r, viewer, user) {
			delete(s.parted, user)
		} else {
			delete(s.changed, user)
		}
	}
	return sorted(s.changed), sorted(s.parted)
}

// WholeDeviceList are the users whose keys the viewer has to ask for if nothing is known of
// what the viewer's client has: the viewer, and all with whom a room is shared.
func (k *Keeper) WholeDeviceList(r kv.Reader, viewer matrix.UserID) []matrix.UserID {
	s := listScan{k: k, r: r, viewer: viewer, changed: map[matrix.UserID]bool{}}
	s.changed[viewer] = true
	for room, m := range k.Rooms.Memberships(r, viewer) {
		if m.State == "join" {
			s.all(room, s.changed)
		}
	}
	return sorted(s.changed)
}

func sorted(users map[matrix.UserID]bool) []matrix.UserID {
	all := slices.AppendSeq(make([]matrix.UserID, 0, len(users)), maps.Keys(users))
	slices.Sort(all)
	return all
}

// listScan collects who may have come or gone.
type listScan struct {
	k               *Keeper
	r               kv.Reader
	viewer          matrix.UserID
	from            changes.Position
	concerns        map[matrix.RoomID]bool // rooms that were looked at: whether they matter
	changed, parted map[matrix.UserID]bool
	signed          map[matrix.UserID]bool // by the viewer
}

// each reads the changes one by one.
func (s *listScan) each(to changes.Position) {
	for pos, c := range s.k.Changes.Since(s.r, s.from) {
		if pos > to {
			return
		}
		switch c.Kind {
		case changes.DeviceList:
			if c.Key == "" || c.Key == string(s.viewer) {
				s.changed[c.User] = true
			}
			if c.Key == string(s.viewer) {
				s.signed[c.User] = true
			}
		case changes.Event:
			if s.concern(c.Room, to) {
				s.event(c.Room, pos)
			}
		}
	}
}

// concern says whether the room is encrypted and the viewer is or was in it.
func (s *listScan) concern(room matrix.RoomID, to changes.Position) bool {
	yes, known := s.concerns[room]
	if !known {
		yes = s.k.Rooms.EncryptedAt(s.r, room, to) && (s.isIn(room, s.viewer) || s.wasIn(room, s.viewer))
		s.concerns[room] = yes
	}
	return yes
}

func (s *listScan) isIn(room matrix.RoomID, user matrix.UserID) bool {
	return s.k.Rooms.Membership(s.r, room, user) == "join"
}

// wasIn says whether the user was in the room at from.
func (s *listScan) wasIn(room matrix.RoomID, user matrix.UserID) bool {
	return s.k.Rooms.MembershipAt(s.r, room, user, s.from) == "join"
}

// event looks at an event that may be somebody's joining or leaving, or make the room
// encrypted.
func (s *listScan) event(room matrix.RoomID, pos changes.Position) {
	rooms := s.k.Rooms
	e, ok := rooms.EventAt(s.r, room, pos)
	switch {
	case !ok:
	case e.Is("m.room.encryption", "") && !rooms.EncryptedAt(s.r, room, pos-1):
		s.all(room, s.changed)
	case e.Type == "m.room.member" && e.StateKey != nil && rooms.EncryptedAt(s.r, room, pos):
		user := matrix.UserID(*e.StateKey)
		was := rooms.MembershipAt(s.r, room, user, pos-1) == "join"
		is := rooms.MembershipAt(s.r, room, user, pos) == "join"
		into := s.parted
		if is {
			into = s.changed
		}
		switch {
		case was == is: // a new name or picture, an invitation
		case user == s.viewer:
			s.all(room, into)
		default:
			into[user] = true
		}
	}
}

// all puts all others who are in a room into one of the lists.
func (s *listScan) all(room matrix.RoomID, into map[matrix.UserID]bool) {
	for other, membership := range s.k.Rooms.Members(s.r, room) {
		if membership == "join" && other != s.viewer {
			into[other] = true
		}
	}
}

// everybody is for a viewer who is too far behind to read each change: all with whom the
// viewer shares a room count as changed, and from all others with whom one was
// shared the viewer has parted. The cost is that of the viewer's rooms.
func (s *listScan) everybody(to changes.Position) {
	s.changed[s.viewer] = true
	for room, m := range s.k.Rooms.Memberships(s.r, s.viewer) {
		isIn, end := m.State == "join", to
		if isIn {
			s.all(room, s.changed)
		} else {
			end = m.Position
		}
		if !isIn && end <= s.from || !s.k.Rooms.EncryptedAt(s.r, room, end) {
			continue // they were out of it already, or out of it before
		}
		if !s.wasIn(room, s.viewer) {
			continue
		}
		for other := range s.k.Rooms.Members(s.r, room) {
			row, _ := s.k.Rooms.MembershipRow(s.r, room, other)
			gone := !isIn || row.State != "join" && row.Position > s.from && s.k.Rooms.EncryptedAt(s.r, room, row.Position)
			if gone && s.wasIn(room, other) {
				s.parted[other] = true
			}
		}
	}
}
