package kv

// deferredWrite is a write that may wait and may be replaced by a later one.
type deferredWrite struct {
	key string
	fn  func(*WriteTx) error
}

// deferredSet keeps deferred writes in the order in which their keys first came.
type deferredSet struct {
	order []string
	fns   map[string]func(*WriteTx) error
}

func (s *deferredSet) len() int { return len(s.order) }

func (s *deferredSet) put(key string, fn func(*WriteTx) error) {
	if s.fns == nil {
		s.fns = map[string]func(*WriteTx) error{}
	}
	if _, there := s.fns[key]; !there {
		s.order = append(s.order, key)
	}
	s.fns[key] = fn
}

func (s *deferredSet) take() []deferredWrite {
	all := make([]deferredWrite, 0, len(s.order))
	for _, key := range s.order {
		all = append(all, deferredWrite{key, s.fns[key]})
	}
	s.order, s.fns = nil, nil
	return all
}

// Defer asks for a write that may be lost in a crash and merged with later ones: fn
// replaces an earlier deferred function of the same key, and runs with the next
// commit, at the latest after Options.FlushEvery, or in Close. An error of fn is
// logged and the write dropped. Whoever defers keeps the value readable elsewhere
// until fn has run; an AfterCommit inside fn tells when.
func (db *DB) Defer(key string, fn func(*WriteTx) error) {
	db.mu.Lock()
	first := db.deferred.len() == 0
	db.deferred.put(key, fn)
	db.mu.Unlock()
	if first {
		select {
		case db.wake <- struct{}{}:
		default:
		}
	}
}

// putBack keeps deferred writes whose commit failed, unless a newer one came meanwhile.
func (db *DB) putBack(later []deferredWrite) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, d := range later {
		if _, newer := db.deferred.fns[d.key]; !newer {
			db.deferred.put(d.key, d.fn)
		}
	}
}
