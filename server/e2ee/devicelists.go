package e2ee

import (
	"maps"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// DeviceListChanges are the users whose keys the viewer has to ask for again after the
// changes behind from and up to to, and those with whom the viewer shares no room any
// more (spec: e2e extensions to sync). Both are sorted and never nil.
//
// Users count as changed when their keys did and they share a room with the viewer, and
// when they or the viewer joined a room that both are in.
func (k *Keeper) DeviceListChanges(r kv.Reader, viewer matrix.UserID, from, to changes.Position) (changed, left []matrix.UserID) {
	s := listScan{k: k, r: r, viewer: viewer, from: from,
		changed: map[matrix.UserID]bool{}, parted: map[matrix.UserID]bool{}}
	for pos, c := range k.Changes.Since(r, from) {
		if pos > to {
			break
		}
		switch c.Kind {
		case changes.DeviceList:
			if c.Key == "" || c.Key == string(viewer) {
				s.changed[c.User] = true
			}
		case changes.Event:
			s.event(c.Room, pos)
		}
	}
	for user := range s.changed {
		if user != viewer && !k.Rooms.SharesRoom(r, viewer, user) {
			delete(s.changed, user)
		}
	}
	for user := range s.parted {
		if user == viewer || k.Rooms.SharesRoom(r, viewer, user) {
			delete(s.parted, user)
		}
	}
	return sorted(s.changed), sorted(s.parted)
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
	changed, parted map[matrix.UserID]bool
}

// event looks at an event of a room that may be somebody's joining or leaving.
func (s *listScan) event(room matrix.RoomID, pos changes.Position) {
	rooms := s.k.Rooms
	e, ok := rooms.EventAt(s.r, room, pos)
	if !ok || e.Type != "m.room.member" || e.StateKey == nil {
		return
	}
	user := matrix.UserID(*e.StateKey)
	in := rooms.Membership(s.r, room, s.viewer) == "join"
	wasIn := rooms.MembershipAt(s.r, room, s.viewer, s.from) == "join"
	if !in && !wasIn {
		return
	}
	was := rooms.MembershipAt(s.r, room, user, pos-1) == "join"
	is := rooms.MembershipAt(s.r, room, user, pos) == "join"
	switch {
	case was == is: // a new name or picture, an invitation
	case user != s.viewer && is:
		s.changed[user] = true
	case user != s.viewer:
		s.parted[user] = true
	default:
		for other, membership := range rooms.Members(s.r, room) {
			if membership == "join" && other != s.viewer {
				s.into(is)[other] = true
			}
		}
	}
}

func (s *listScan) into(came bool) map[matrix.UserID]bool {
	if came {
		return s.changed
	}
	return s.parted
}
