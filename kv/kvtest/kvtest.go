// Package kvtest opens databases for tests and checks them when the test ends.
package kvtest

import (
	"context"
	"path/filepath"
	"testing"

	"porchlight/kv"
)

// Open makes an empty database in a temporary folder. When the test ends, the database
// is checked in full, keepers' invariants included, and closed; every problem fails the
// test.
func Open(t testing.TB) *kv.DB {
	t.Helper()
	return OpenAt(t, filepath.Join(t.TempDir(), "porchlight.db"))
}

// OpenAt is Open for a path of the test's own, which may hold a database already.
func OpenAt(t testing.TB, path string) *kv.DB {
	t.Helper()
	db, err := kv.Open(kv.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
		Check(t, db)
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// Check fails the test for everything that is wrong with the database. A database that
// was closed by the test is left alone.
func Check(t testing.TB, db *kv.DB) {
	t.Helper()
	if err := db.Flush(); err != nil {
		if err != kv.ErrClosed {
			t.Errorf("flush: %v", err)
		}
		return
	}
	problems, err := db.Check(context.Background())
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, p := range problems {
		t.Errorf("database check: %s", p)
	}
}

// View runs fn in a read transaction and fails the test on an error.
func View(t testing.TB, db *kv.DB, fn func(tx *kv.ReadTx)) {
	t.Helper()
	if err := db.View(t.Context(), func(tx *kv.ReadTx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Update runs fn in a write transaction and fails the test on an error.
func Update(t testing.TB, db *kv.DB, fn func(tx *kv.WriteTx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
