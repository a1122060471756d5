package kv_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

// TestTransactionsFollowAModel runs random transactions against a map and a table alike.
func TestTransactionsFollowAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		db := kvtest.Open(t)
		table := kv.NewTable[deviceKey, []byte](db, kv.Devices)
		model := map[deviceKey]string{}
		key := rapid.Custom(func(rt *rapid.T) deviceKey {
			part := rapid.SampledFrom([]string{"", "a", "a\x00", "a\x01", "ab", "b", "\xff"})
			return deviceKey{part.Draw(rt, "user"), part.Draw(rt, "device")}
		})
		for range rapid.IntRange(1, 6).Draw(rt, "transactions") {
			next := maps.Clone(model)
			fail := rapid.Bool().Draw(rt, "fail")
			undo := errors.New("undo")
			err := db.Update(context.Background(), func(tx *kv.WriteTx) error {
				for range rapid.IntRange(0, 8).Draw(rt, "steps") {
					k := key.Draw(rt, "key")
					switch rapid.IntRange(0, 3).Draw(rt, "what") {
					case 0:
						table.Delete(tx, k)
						delete(next, k)
					default:
						v := rapid.StringN(0, 8, 8).Draw(rt, "value")
						table.Put(tx, k, []byte(v))
						next[k] = v
					}
					compare(rt, table, tx, next)
				}
				if fail {
					return undo
				}
				return nil
			})
			if fail != errors.Is(err, undo) {
				rt.Fatalf("got %v", err)
			}
			if !fail {
				model = next
			}
			if err := db.View(context.Background(), func(tx *kv.ReadTx) error { compare(rt, table, tx, model); return nil }); err != nil {
				rt.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// compare holds every way of reading against the model.
func compare(rt *rapid.T, table *kv.Table[deviceKey, []byte], r kv.Reader, model map[deviceKey]string) {
	var keys []deviceKey
	for k, v := range table.Scan(r, kv.All()) {
		if want, ok := model[k]; !ok || want != string(v) {
			rt.Fatalf("row %q is %q, want %q (%v)", k, v, want, ok)
		}
		keys = append(keys, k)
	}
	if len(keys) != len(model) {
		rt.Fatalf("%d rows, want %d", len(keys), len(model))
	}
	if !slices.IsSortedFunc(keys, byBytes) {
		rt.Fatalf("not in order: %q", keys)
	}
	var back []deviceKey
	for k := range table.Keys(r, kv.All().Reverse()) {
		back = append(back, k)
	}
	slices.Reverse(back)
	if !slices.Equal(keys, back) {
		rt.Fatalf("backwards %q, forwards %q", back, keys)
	}
	for k, want := range model {
		if v, ok := table.Get(r, k); !ok || string(v) != want {
			rt.Fatalf("get %q: %q %v, want %q", k, v, ok, want)
		}
	}
}

func byBytes(a, b deviceKey) int {
	for i := range 2 {
		x, y := []string{a.User, a.Device}[i], []string{b.User, b.Device}[i]
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}

// TestReadersSeeWholeCommits lets writers move amounts between rows while readers add
// them up: a sum that is off would be half a transaction.
func TestReadersSeeWholeCommits(t *testing.T) {
	const accounts, total, writers, readers, moves = 16, 1600, 6, 4, 60
	db := kvtest.Open(t)
	table := kv.NewTable[string, uint64](db, kv.Cursors)
	name := func(i int) string { return fmt.Sprintf("account %d", i) }
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		for i := range accounts {
			table.Put(tx, name(i), total/accounts)
		}
		return nil
	})
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	poor := errors.New("not enough")
	for w := range writers {
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for range moves {
				from, to, amount := name(rng.IntN(accounts)), name(rng.IntN(accounts)), rng.Uint64N(40)
				err := db.Update(context.Background(), func(tx *kv.WriteTx) error {
					have, _ := table.Get(tx, from)
					table.Put(tx, from, have-amount) // undone below if it went under
					got, _ := table.Get(tx, to)
					table.Put(tx, to, got+amount)
					if have < amount {
						return poor
					}
					return nil
				})
				if err != nil && !errors.Is(err, poor) {
					t.Error(err)
				}
			}
		})
	}
	for range readers {
		reading.Go(func() {
			for {
				var sum uint64
				err := db.View(context.Background(), func(tx *kv.ReadTx) error {
					for _, v := range table.Scan(tx, kv.All()) {
						sum += v
					}
					return nil
				})
				if err != nil || sum != total {
					t.Errorf("sum %d, want %d (%v)", sum, total, err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
}
