package push

import (
	"crypto/rand"
	"slices"
	"sync"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
	"porchlight/server/rooms"
)

const (
	// maxSets is how many users' rules are kept ready.
	maxSets = 1000
	// maxRosters is how many rooms' rosters are kept, and maxRosterUsers of how many users all
	// of them may tell.
	maxRosters     = 2000
	maxRosterUsers = 50_000
)

// ruleSets keeps rules ready to be asked. It is filled only with what is committed, and
// what changes is dropped both at once and again after the commit: whatever else of the
// same commit was filled in between is then right.
type ruleSets struct {
	mu  sync.Mutex
	all map[matrix.UserID]*pushrule.Set // guarded by mu
}

func (k *Keeper) rulesChanged(tx *kv.WriteTx, user matrix.UserID) {
	drop := func() {
		k.sets.drop(user)
		k.rosters.dropAll() // who has rules of their own may be others now
	}
	drop()
	tx.AfterCommit(drop)
}

func (s *ruleSets) drop(user matrix.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, user)
}

func (s *ruleSets) get(user matrix.UserID) *pushrule.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[user]
}

// keep puts a set in the place of any other, if there are very many.
func (s *ruleSets) keep(user matrix.UserID, set *pushrule.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[matrix.UserID]*pushrule.Set{}
	}
	for other := range s.all {
		if len(s.all) < maxSets {
			break
		}
		delete(s.all, other)
	}
	s.all[user] = set
}

// set is the rules of a user, ready to be asked.
func (k *Keeper) set(tx *kv.WriteTx, user matrix.UserID) *pushrule.Set {
	if set := k.sets.get(user); set != nil {
		return set
	}
	rules := k.Rules(tx, user)
	set := pushrule.Compile(user, &rules)
	tx.AfterCommit(func() { k.sets.keep(user, set) })
	return set
}

// predefined is the rules of all who have not changed any, as they are for somebody whom no
// event names.
var predefined = sync.OnceValue(func() *pushrule.Set {
	nobody := matrix.UserID("@" + rand.Text() + ":invalid") // at random, so that nobody can name it
	rules := rulesRow{}.rules(nobody)
	return pushrule.Compile(nobody, &rules)
})

// roster is who of a room has to be asked about each event. To all others the predefined rules
// do the same, so that an event costs no more in a room with thousands of people whom a bridge
// brought.
type roster struct {
	members int             // who are in the room
	local   int             // of them, those of this server
	own     []matrix.UserID // of these, who have changed rules
}

// rosters keeps rosters, and is filled and emptied like ruleSets.
type rosters struct {
	mu    sync.Mutex
	all   map[matrix.RoomID]*roster // guarded by mu
	users int                       // guarded by mu: in all of them
}

func (s *rosters) get(room matrix.RoomID) *roster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[room]
}

func (s *rosters) drop(room matrix.RoomID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(room)
}

// remove is drop for who holds mu.
func (s *rosters) remove(room matrix.RoomID) {
	if r := s.all[room]; r != nil {
		s.users -= len(r.own)
		delete(s.all, room)
	}
}

func (s *rosters) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.users = nil, 0
}

func (s *rosters) keep(room matrix.RoomID, r *roster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(room)
	for other := range s.all {
		if len(s.all) < maxRosters && s.users+len(r.own) <= maxRosterUsers {
			break
		}
		s.remove(other)
	}
	if s.all == nil {
		s.all = map[matrix.RoomID]*roster{}
	}
	s.all[room] = r
	s.users += len(r.own)
}

// roster is that of a room as tx sees it.
func (k *Keeper) roster(tx *kv.WriteTx, room matrix.RoomID) *roster {
	if r := k.rosters.get(room); r != nil {
		return r
	}
	r := &roster{}
	for user, membership := range k.Rooms.Members(tx, room) {
		if membership == "join" {
			r.add(k, tx, user)
		}
	}
	tx.AfterCommit(func() { k.rosters.keep(room, r) })
	return r
}

func (r *roster) add(k *Keeper, tx *kv.WriteTx, user matrix.UserID) {
	r.members++
	if user.Server() != k.Rooms.Server {
		return
	}
	r.local++
	if k.rules.Has(tx, user) {
		r.own = append(r.own, user)
	}
}

// memberChanged brings the roster of a room along with a member event. It is known again once
// that is on disk, and until then read anew.
func (k *Keeper) memberChanged(tx *kv.WriteTx, e *rooms.Event) {
	was := ""
	if before, ok := k.Rooms.EventAt(tx, e.Room, e.Replaces); ok && e.Replaces != 0 {
		was = before.Membership()
	}
	is, user := e.Membership(), matrix.UserID(*e.StateKey)
	if (was == "join") == (is == "join") {
		return
	}
	old := k.rosters.get(e.Room)
	k.rosters.drop(e.Room)
	if old == nil {
		tx.AfterCommit(func() { k.rosters.drop(e.Room) })
		return
	}
	r := &roster{members: old.members, local: old.local, own: slices.Clone(old.own)}
	if is == "join" {
		r.add(k, tx, user)
	} else {
		r.members--
		if user.Server() == k.Rooms.Server {
			r.local--
		}
		r.own = slices.DeleteFunc(r.own, func(other matrix.UserID) bool { return other == user })
	}
	tx.AfterCommit(func() { k.rosters.keep(e.Room, r) })
}
