package kv_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
)

// slowCommits opens a database whose clock says that each commit takes a while, and
// returns a function that writes once.
func slowCommits(t *testing.T) (db *kv.DB, write func()) {
	t.Helper()
	var late atomic.Int64
	began := time.Now()
	db, err := kv.Open(kv.Options{
		Path: filepath.Join(t.TempDir(), "kv.db"),
		Now:  func() time.Time { return began.Add(time.Duration(late.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	settings := kv.NewTable[string, []byte](db, kv.Settings)
	return db, func() {
		err := db.Update(t.Context(), func(tx *kv.WriteTx) error {
			settings.Put(tx, "a", []byte("b"))
			tx.AfterCommit(func() { late.Add(int64(time.Second)) })
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestWritersGather: writers that come back at once share each commit, all of them.
func TestWritersGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, writes = 4, 20
		db, write := slowCommits(t)
		before := db.Stats()
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for range writes {
					write()
				}
			})
		}
		all.Wait()
		// The first commits may hold some of them only, and so the last.
		after := db.Stats()
		updates, commits := after.Updates-before.Updates, after.Commits-before.Commits
		if updates != writers*writes || commits > writes+writers {
			t.Errorf("%d writes went into %d commits", updates, commits)
		}
	})
}

// TestLoneWriterDoesNotWait: time stands still in here unless somebody waits for it.
func TestLoneWriterDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, write := slowCommits(t)
		began := time.Now()
		for range 5 {
			write()
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
	})
}
