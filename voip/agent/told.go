package agent

import (
	"context"
	"time"

	"porchlight/kv"
)

// toldKey is something that is said only once. Its row is when it was, in milliseconds since 1970.
type toldKey struct {
	What string
	Whom string // a room or a user
}

// first says whether something is to be said now for the first time, and notes that it was.
// Without a database that lasts as long as the Store.
func (s *Store) first(ctx context.Context, key toldKey, now time.Time) (first bool, err error) {
	if s.db == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		first = !s.toldHere[key]
		s.toldHere[key] = true
		return first, nil
	}
	said := false
	err = s.db.View(ctx, func(tx *kv.ReadTx) error {
		said = s.told.Has(tx, key)
		return nil
	})
	if err != nil || said {
		return false, err
	}
	return true, s.db.Update(ctx, func(tx *kv.WriteTx) error {
		s.told.Put(tx, key, uint64(max(0, now.UnixMilli())))
		return nil
	})
}

// checkTold says which rows no release could have written.
func (s *Store) checkTold(r kv.Reader, report func(format string, args ...any)) {
	for key := range s.told.Scan(r, kv.All()) {
		if key.What == "" || key.Whom == "" {
			report("what the board has said once lacks a name: %q, %q", key.What, key.Whom)
		}
	}
}
