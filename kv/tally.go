package kv

import (
	"context"
	"iter"
	"sync"
)

// tallyQueue is how many owners may wait to be counted. Those beyond come when they are asked
// for again.
const tallyQueue = 256

// Tally keeps a number for each of many owners, such as how many bytes the state of a room has,
// in a row of its own: nobody has to scan the owner's rows to know. Rows that were there before
// the tally are counted by Run, in read transactions; until then the number is not known.
type Tally[K comparable] struct {
	db    *DB
	rows  *Table[K, int64]
	count func(r Reader, owner K) int64
	empty func(r Reader, owner K) bool
	queue chan K

	mu sync.Mutex
	// changed is how often the number of an owner has changed who is being counted.
	changed map[K]uint64
}

// NewTally opens the keyspace as a tally. count is the number by the owner's rows; empty says
// whether there are none, and has to be quick.
func NewTally[K comparable](db *DB, space *Keyspace, count func(Reader, K) int64, empty func(Reader, K) bool) *Tally[K] {
	return &Tally[K]{
		db: db, rows: NewTable[K, int64](db, space), count: count, empty: empty,
		queue: make(chan K, tallyQueue), changed: map[K]uint64{},
	}
}

// Get is the number of an owner; false if it was not counted yet, which it then soon is.
func (t *Tally[K]) Get(r Reader, owner K) (int64, bool) {
	if n, ok := t.rows.Get(r, owner); ok {
		return n, true
	}
	if t.empty(r, owner) {
		return 0, true
	}
	t.want(owner)
	return 0, false
}

// Add changes the number of an owner by n. Call it before the rows change that it counts, so
// that an owner without rows begins with none.
func (t *Tally[K]) Add(tx *WriteTx, owner K, n int64) {
	have, ok := t.Get(tx, owner)
	if !ok {
		t.mu.Lock()
		if _, counting := t.changed[owner]; counting {
			t.changed[owner]++
		}
		t.mu.Unlock()
		return
	}
	if have+n <= 0 {
		t.rows.Delete(tx, owner)
		return
	}
	t.rows.Put(tx, owner, have+n)
}

// Forget drops the number of an owner whose rows are all deleted.
func (t *Tally[K]) Forget(tx *WriteTx, owner K) { t.rows.Delete(tx, owner) }

// All yields the numbers that are kept, by owner.
func (t *Tally[K]) All(r Reader, rg Range) iter.Seq2[K, int64] { return t.rows.Scan(r, rg) }

// want has an owner counted.
func (t *Tally[K]) want(owner K) {
	select {
	case t.queue <- owner:
	default:
	}
}

// Run counts the owners that were there before the tally, as they are asked for. That one
// cannot be counted is no reason to stop.
func (t *Tally[K]) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case owner := <-t.queue:
			if err := t.Count(ctx, owner); err != nil && ctx.Err() == nil {
				t.db.log.Error("cannot count", "owner", owner, "error", err)
			}
		}
	}
}

// countTries is how often counting is tried if the owner changes meanwhile.
const countTries = 10

// Count makes the number of an owner known, if it is not.
func (t *Tally[K]) Count(ctx context.Context, owner K) error {
	defer func() {
		t.mu.Lock()
		delete(t.changed, owner)
		t.mu.Unlock()
	}()
	for range countTries {
		known := false
		var before uint64
		// In a write transaction: what was written before it is on disk when it returns, and
		// what is written later is noted.
		err := t.db.Update(ctx, func(tx *WriteTx) error {
			known = t.rows.Has(tx, owner)
			t.mu.Lock()
			before = t.changed[owner]
			t.changed[owner] = before
			t.mu.Unlock()
			return nil
		})
		if err != nil || known {
			return err
		}
		var n int64
		err = t.db.View(ctx, func(tx *ReadTx) error {
			n = t.count(tx, owner)
			return nil
		})
		if err != nil {
			return err
		}
		err = t.db.Update(ctx, func(tx *WriteTx) error {
			t.mu.Lock()
			same := t.changed[owner] == before
			t.mu.Unlock()
			if known = same || t.rows.Has(tx, owner); same && n != 0 {
				t.rows.Put(tx, owner, n)
			}
			return nil
		})
		if err != nil || known {
			return err
		}
	}
	return nil // it changes all the time: another time
}
