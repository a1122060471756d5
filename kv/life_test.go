package kv_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

// TestKillAndReopen writes in a second process, kills it in the middle and looks for
// every write that it had acknowledged.
func TestKillAndReopen(t *testing.T) {
	if os.Getenv("KV_TEST_WRITER") != "" {
		writeForEver(os.Getenv("KV_TEST_WRITER"))
		return
	}
	path := filepath.Join(t.TempDir(), "killed.db")
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillAndReopen$")
		cmd.Env = append(os.Environ(), "KV_TEST_WRITER="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := make([]byte, 8)
		for range 40 { // acknowledgements, in order
			if _, err := io.ReadFull(out, acked); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(out) // what it acknowledged before the signal reached it
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
		if n := len(rest) / 8; n > 0 {
			acked = rest[(n-1)*8 : n*8]
		}
		want := binary.BigEndian.Uint64(acked)
		db, err := kv.Open(kv.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		counts := kv.NewTable[uint64, uint64](db, kv.Changes)
		next := uint64(1)
		kvtest.View(t, db, func(tx *kv.ReadTx) {
			for k := range counts.Keys(tx, kv.All()) {
				if k != next {
					t.Fatalf("round %d: row %d follows %d", round, k, next-1)
				}
				next++
			}
		})
		if next <= want {
			t.Errorf("round %d: %d writes are there, %d were acknowledged", round, next-1, want)
		}
		kvtest.Check(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func writeForEver(path string) {
	db, err := kv.Open(kv.Options{Path: path})
	if err != nil {
		panic(err)
	}
	counts := kv.NewTable[uint64, uint64](db, kv.Changes)
	for {
		var n uint64
		err := db.Update(context.Background(), func(tx *kv.WriteTx) error {
			for last := range counts.Keys(tx, kv.All().Reverse()) {
				n = last
				break
			}
			n++
			counts.Put(tx, n, n)
			return nil
		})
		if err != nil {
			panic(err)
		}
		if _, err := os.Stdout.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return
		}
	}
}

func TestDeferredWritesMergeAndReachTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deferred.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := kv.Open(kv.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		table := kv.NewTable[string, uint64](db, kv.Cursors)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- db.Run(ctx) }()
		value := func() (v uint64) {
			kvtest.View(t, db, func(tx *kv.ReadTx) { v, _ = table.Get(tx, "seen") })
			return v
		}
		put := func(v uint64) {
			db.Defer("seen", func(tx *kv.WriteTx) error { table.Put(tx, "seen", v); return nil })
		}
		put(1)
		put(2)
		if value() != 0 {
			t.Error("a deferred write was written at once")
		}
		time.Sleep(kv.DefaultFlushEvery + time.Second) // virtual
		synctest.Wait()
		if v, s := value(), db.Stats(); v != 2 || s.Commits != 2 || s.Deferred != 1 {
			t.Errorf("value %d, %+v: want 2 in one commit behind the first", v, s)
		}
		put(3)
		kvtest.Update(t, db, func(tx *kv.WriteTx) error { table.Put(tx, "other", 1); return nil })
		if value() != 3 {
			t.Error("a deferred write did not go with the next commit")
		}
		put(4)
		cancel()
		if err := errors.Join(<-done, db.Close()); err != nil {
			t.Fatal(err)
		}
		if err := db.Update(t.Context(), func(*kv.WriteTx) error { return nil }); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("update after close: %v", err)
		}
		if err := db.View(t.Context(), func(*kv.ReadTx) error { return nil }); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("view after close: %v", err)
		}
	})
	db := kvtest.OpenAt(t, path)
	table := kv.NewTable[string, uint64](db, kv.Cursors)
	kvtest.View(t, db, func(tx *kv.ReadTx) {
		if v, _ := table.Get(tx, "seen"); v != 4 {
			t.Errorf("after close: %d, want 4", v)
		}
	})
}

func TestAPanicIsItsCallersAlone(t *testing.T) {
	db := kvtest.Open(t)
	table := kv.NewTable[string, uint64](db, kv.Cursors)
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = db.Update(t.Context(), func(tx *kv.WriteTx) error { table.Put(tx, "x", 1); panic("oh") })
		t.Error("the panic did not arrive")
	}()
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		if table.Has(tx, "x") {
			t.Error("the panicking transaction left a row")
		}
		return nil
	})
}

func TestABrokenRowFailsTheTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broken.db")
	first, err := kv.Open(kv.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	texts := kv.NewTable[string, string](first, kv.Cursors)
	kvtest.Update(t, first, func(tx *kv.WriteTx) error { texts.Put(tx, "f", "not a number"); return nil })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := kv.Open(kv.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	numbers := kv.NewTable[string, uint64](db, kv.Cursors)
	err = db.View(t.Context(), func(tx *kv.ReadTx) error {
		if _, ok := numbers.Get(tx, "f"); ok {
			t.Error("a row of another type was read")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "cursors") {
		t.Errorf("view: %v", err)
	}
	err = db.Update(t.Context(), func(tx *kv.WriteTx) error {
		for range numbers.Scan(tx, kv.All()) {
		}
		numbers.Put(tx, "g", 1)
		return nil
	})
	if err == nil {
		t.Error("a transaction that met a broken row was committed")
	}
	problems, err := db.Check(t.Context())
	if err != nil || len(problems) != 1 {
		t.Errorf("check: %q, %v", problems, err)
	}
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	open := func(all ...kv.Migration) (*kv.DB, error) {
		return kv.Open(kv.Options{Path: path, Migrations: all})
	}
	db, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ran := 0
	two := kv.Migration{To: 12, Caption: "two", Run: func(*kv.WriteTx) error { ran++; return nil }}
	three := kv.Migration{To: 13, Caption: "three", Run: func(*kv.WriteTx) error { ran++; return errors.New("no") }}
	if _, err := open(two, three); err == nil || ran != 2 {
		t.Fatalf("a failing migration: %v, %d ran", err, ran)
	}
	three.Run = func(*kv.WriteTx) error { ran++; return nil }
	for range 2 { // the second time nothing is left to do
		if db, err = open(two, three); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if ran != 3 {
		t.Errorf("%d migrations ran, want 3: what is done is not done again", ran)
	}
	var newer *kv.NewerError
	if _, err := open(two); !errors.As(err, &newer) || newer.File != 13 {
		t.Errorf("an older program opened a newer file: %v", err)
	}
}

func TestBackupAndCompact(t *testing.T) {
	db := kvtest.Open(t)
	table := kv.NewTable[string, []byte](db, kv.Cursors)
	for i := range 40 {
		kvtest.Update(t, db, func(tx *kv.WriteTx) error {
			table.Put(tx, strings.Repeat("x", i+1), bytes.Repeat([]byte{1}, 100_000))
			return nil
		})
	}
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		for k := range table.Keys(tx, kv.All()) {
			if k != "x" {
				table.Delete(tx, k)
			}
		}
		return nil
	})
	copied := filepath.Join(t.TempDir(), "copy.db")
	f, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	n, err := db.Backup(t.Context(), f)
	if err = errors.Join(err, f.Close()); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	small := filepath.Join(t.TempDir(), "small.db")
	if err := kv.Compact(small, copied); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(small)
	if err != nil || st.Size() >= n {
		t.Errorf("compacted from %d to %d bytes (%v)", n, st.Size(), err)
	}
	again := kvtest.OpenAt(t, small)
	table = kv.NewTable[string, []byte](again, kv.Cursors)
	kvtest.View(t, again, func(tx *kv.ReadTx) {
		if v, ok := table.Get(tx, "x"); !ok || len(v) != 100_000 {
			t.Errorf("%d bytes came through, %v", len(v), ok)
		}
	})
}

func TestTheFileIsOneProcesss(t *testing.T) {
	db := kvtest.Open(t)
	if _, err := kv.Open(kv.Options{Path: db.Path()}); !errors.Is(err, kv.ErrInUse) {
		t.Errorf("second open: %v", err)
	}
}

func FuzzKey(f *testing.F) {
	f.Add("user", "device", uint64(1), int64(-1), true)
	f.Add("a\x00", "\x00\x01", uint64(1<<63), int64(0), false)
	f.Fuzz(func(t *testing.T, a, b string, n uint64, i int64, flag bool) {
		checkKeyOrder(t, fuzzKey{a, n, b, i, flag}, fuzzKey{b, n ^ 1, a, -i, !flag})
	})
}

// TestOpenSaysItOnce: an error names the file, and does so once.
func TestOpenSaysItOnce(t *testing.T) {
	path := t.TempDir() // a folder is no file
	_, err := kv.Open(kv.Options{Path: path})
	if err == nil || strings.Count(err.Error(), path) != 1 {
		t.Errorf("the error is %v", err)
	}
}
