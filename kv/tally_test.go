package kv_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

// sums is a table of texts by owner and name, with a tally of their lengths.
type sums struct {
	db    *kv.DB
	texts *kv.Table[sumKey, string]
	tally *kv.Tally[string]
}

type sumKey struct{ Owner, Name string }

func openSums(t *testing.T) *sums {
	s := &sums{db: kvtest.Open(t)}
	s.texts = kv.NewTable[sumKey, string](s.db, kv.Filters)
	s.tally = kv.NewTally(s.db, kv.RoomSizes, s.count, func(r kv.Reader, owner string) bool {
		for range s.texts.Keys(r, kv.Prefix(owner)) {
			return false
		}
		return true
	})
	return s
}

func (s *sums) count(r kv.Reader, owner string) (n int64) {
	for _, text := range s.texts.Scan(r, kv.Prefix(owner)) {
		n += int64(len(text))
	}
	return n
}

// put writes a text in place of the one that may be there.
func (s *sums) put(tx *kv.WriteTx, owner, name, text string) {
	before, _ := s.texts.Get(tx, sumKey{owner, name})
	s.tally.Add(tx, owner, int64(len(text)-len(before)))
	s.texts.Put(tx, sumKey{owner, name}, text)
}

func (s *sums) want(t *testing.T, owner string, want int64, known bool) {
	t.Helper()
	kvtest.View(t, s.db, func(tx *kv.ReadTx) {
		if n, ok := s.tally.Get(tx, owner); n != want || ok != known {
			t.Errorf("%s has %d (known %v), want %d (%v)", owner, n, ok, want, known)
		}
	})
}

func TestTally(t *testing.T) {
	s := openSums(t)
	s.want(t, "new", 0, true)
	kvtest.Update(t, s.db, func(tx *kv.WriteTx) error {
		s.put(tx, "a", "1", "four")
		s.put(tx, "a", "2", "12345678")
		s.put(tx, "a", "1", "x")
		return nil
	})
	s.want(t, "a", 9, true)
	failed := errors.New("changed my mind")
	err := s.db.Update(t.Context(), func(tx *kv.WriteTx) error {
		s.put(tx, "a", "3", "much more")
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	s.want(t, "a", 9, true)
	kvtest.Update(t, s.db, func(tx *kv.WriteTx) error {
		for _, name := range []string{"1", "2"} {
			text, _ := s.texts.Get(tx, sumKey{"a", name})
			s.tally.Add(tx, "a", -int64(len(text)))
			s.texts.Delete(tx, sumKey{"a", name})
		}
		return nil
	})
	s.want(t, "a", 0, true)
}

// TestTallyOfOldRows begins with rows that are older than the tally.
func TestTallyOfOldRows(t *testing.T) {
	s := openSums(t)
	kvtest.Update(t, s.db, func(tx *kv.WriteTx) error {
		s.texts.Put(tx, sumKey{"old", "1"}, "12345")
		return nil
	})
	s.want(t, "old", 0, false)
	kvtest.Update(t, s.db, func(tx *kv.WriteTx) error { s.put(tx, "old", "2", "1234567"); return nil })
	s.want(t, "old", 0, false)
	for range 2 {
		if err := s.tally.Count(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		s.want(t, "old", 12, true)
	}
	kvtest.Update(t, s.db, func(tx *kv.WriteTx) error { s.put(tx, "old", "1", ""); return nil })
	s.want(t, "old", 7, true)
}

// TestTallyIsCountedWhileItChanges has writers and the counting at work together.
func TestTallyIsCountedWhileItChanges(t *testing.T) {
	s := openSums(t)
	owners := []string{"a", "b", "c", "d"}
	kvtest.Update(t, s.db, func(tx *kv.WriteTx) error {
		for _, owner := range owners {
			s.texts.Put(tx, sumKey{owner, "old"}, "older than the tally")
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.tally.Run(ctx) }()
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range 200 {
				owner, name := owners[random.IntN(4)], string(rune('a'+random.IntN(5)))
				text := make([]byte, random.IntN(50))
				err := s.db.Update(t.Context(), func(tx *kv.WriteTx) error { s.put(tx, owner, name, string(text)); return nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	for _, owner := range owners { // what was not counted among the writers is now
		if err := s.tally.Count(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	select {
	case err := <-ran:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the counting does not stop")
	}
	kvtest.View(t, s.db, func(tx *kv.ReadTx) {
		for _, owner := range owners {
			n, known := s.tally.Get(tx, owner)
			if want := s.count(tx, owner); !known || n != want {
				t.Errorf("%s: %d (known %v), want %d", owner, n, known, want)
			}
		}
	})
}
