package kv_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

type deviceKey struct{ User, Device string }

type deviceRow struct {
	Name string `cbor:"1,keyasint,omitempty"`
	Seen int64  `cbor:"2,keyasint,omitempty"`
}

func TestRowsComeBackInKeyOrder(t *testing.T) {
	db := kvtest.Open(t)
	devices := kv.NewTable[deviceKey, deviceRow](db, kv.Devices)
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		for _, k := range []deviceKey{{"b", "1"}, {"a", "2"}, {"a\x00", "0"}, {"a", "1"}, {"aa", "1"}} {
			devices.Put(tx, k, deviceRow{Name: k.User + k.Device})
		}
		return nil
	})
	all := func(r kv.Reader, rg kv.Range) (got []string) {
		for k, v := range devices.Scan(r, rg) {
			if v.Name != k.User+k.Device {
				t.Errorf("key %v has row %v", k, v)
			}
			got = append(got, k.User+"/"+k.Device)
		}
		return got
	}
	tests := []struct {
		name string
		rg   kv.Range
		want []string
	}{
		{"all", kv.All(), []string{"a/1", "a/2", "a\x00/0", "aa/1", "b/1"}},
		{"reverse", kv.All().Reverse(), []string{"b/1", "aa/1", "a\x00/0", "a/2", "a/1"}},
		{"prefix", kv.Prefix("a"), []string{"a/1", "a/2"}},
		{"prefix from", kv.Prefix("a").From("2"), []string{"a/2"}},
		{"prefix after", kv.Prefix("a").After("1"), []string{"a/2"}},
		{"prefix before", kv.Prefix("a").Before("2"), []string{"a/1"}},
		{"through", kv.All().Through("a"), []string{"a/1", "a/2"}},
		{"after, reverse", kv.All().After("a").Reverse(), []string{"b/1", "aa/1", "a\x00/0"}},
		{"empty", kv.All().From("b").Before("a"), nil},
		{"whole key", kv.Prefix("aa", "1"), []string{"aa/1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kvtest.View(t, db, func(tx *kv.ReadTx) {
				if got := all(tx, tt.rg); !slices.Equal(got, tt.want) {
					t.Errorf("file: got %q, want %q", got, tt.want)
				}
			})
		})
	}
	// The same out of a transaction's own writes, laid over the file.
	errUndo := errors.New("undo")
	err := db.Update(t.Context(), func(tx *kv.WriteTx) error {
		devices.Delete(tx, deviceKey{"a", "1"})
		devices.Put(tx, deviceKey{"a", "15"}, deviceRow{Name: "a15"})
		devices.Put(tx, deviceKey{"b", "1"}, deviceRow{Name: "b1", Seen: 3})
		want := []string{"a/15", "a/2", "a\x00/0", "aa/1", "b/1"}
		if got := all(tx, kv.All()); !slices.Equal(got, want) {
			t.Errorf("overlay: got %q, want %q", got, want)
		}
		slices.Reverse(want)
		if got := all(tx, kv.All().Reverse()); !slices.Equal(got, want) {
			t.Errorf("overlay reverse: got %q, want %q", got, want)
		}
		if devices.Has(tx, deviceKey{"a", "1"}) {
			t.Error("a deleted row is still there")
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatalf("got %v", err)
	}
	kvtest.View(t, db, func(tx *kv.ReadTx) {
		if !devices.Has(tx, deviceKey{"a", "1"}) || devices.Has(tx, deviceKey{"a", "15"}) {
			t.Error("a failed transaction left something behind")
		}
	})
}

func TestAFailureTakesNobodyAlong(t *testing.T) {
	db := kvtest.Open(t)
	filters := kv.NewTable[deviceKey, []byte](db, kv.Filters)
	var effects []int
	var mu sync.Mutex
	var wg sync.WaitGroup
	errBad := errors.New("bad")
	for i := range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := db.Update(context.Background(), func(tx *kv.WriteTx) error {
				filters.Put(tx, deviceKey{"u", string(rune('a' + i))}, []byte{byte(i)})
				tx.AfterCommit(func() { mu.Lock(); effects = append(effects, i); mu.Unlock() })
				if i%3 == 0 {
					return errBad
				}
				return nil
			})
			if (i%3 == 0) != errors.Is(err, errBad) {
				t.Errorf("%d: %v", i, err)
			}
		}()
	}
	wg.Wait()
	kvtest.View(t, db, func(tx *kv.ReadTx) {
		n := 0
		for _, v := range filters.Scan(tx, kv.All()) {
			if v[0]%3 == 0 {
				t.Errorf("row %d of a failed transaction is there", v[0])
			}
			n++
		}
		if n != 133 || len(effects) != 133 {
			t.Errorf("%d rows and %d effects, want 133", n, len(effects))
		}
	})
	if s := db.Stats(); s.Commits >= s.Updates || s.Failed != 67 {
		t.Errorf("no commit was shared: %+v", s)
	}
}
