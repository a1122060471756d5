package accounts_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/setup"
)

// Run cleans once an hour, and ends with its context.
func TestRunCleans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := kv.Open(kv.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		who, err := setup.New(t.Context(), setup.Config{DB: db, ServerName: "house.test"})
		if err != nil {
			t.Fatal(err)
		}
		log, err := changes.New(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		k := accounts.New(accounts.Config{DB: db, Setup: who, Changes: log, Hashing: cheap})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- k.Run(ctx) }()
		err = db.Update(t.Context(), func(tx *kv.WriteTx) error {
			k.Remember(tx, "@a:house.test", "A", [32]byte{}, []byte("x"), time.Now())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		kept := func() (ok bool) {
			if err := db.View(t.Context(), func(tx *kv.ReadTx) error {
				_, ok = k.Answer(tx, "@a:house.test", "A", [32]byte{})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return ok
		}
		time.Sleep(accounts.AnswerLife - time.Hour)
		synctest.Wait()
		if !kept() {
			t.Error("removed too early")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if kept() {
			t.Error("never removed")
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
