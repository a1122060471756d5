package push

import (
	"sync"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
)

// maxSets is how many users' rules are kept ready.
const maxSets = 1000

// ruleSets keeps rules ready to be asked. It is filled only with what is committed, and
// what changes is dropped both at once and again after the commit: whatever else of the
// same commit was filled in between is then right.
type ruleSets struct {
	mu  sync.Mutex
	all map[matrix.UserID]*pushrule.Set // guarded by mu
}

func (s *ruleSets) changed(tx *kv.WriteTx, user matrix.UserID) {
	s.drop(user)
	tx.AfterCommit(func() { s.drop(user) })
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

func (s *ruleSets) keep(user matrix.UserID, set *pushrule.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= maxSets {
		s.all = map[matrix.UserID]*pushrule.Set{}
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
