package accounts_test

import (
	"context"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
)

// TestStaleGuestsGo: a guest that nobody was seen as for long is closed; others are not.
func TestStaleGuestsGo(t *testing.T) {
	const life = 30 * 24 * time.Hour
	h := openOn(t, kvtest.Open(t), func(c *accounts.Config) { c.GuestLife = life })
	var stale, used, fresh, person matrix.UserID
	add := func(user *matrix.UserID, name string, guest bool) {
		kvtest.Update(t, h.db, func(tx *kv.WriteTx) (err error) {
			if *user, err = h.Create(tx, accounts.NewUser{Localpart: name, Guest: guest}); err != nil {
				return err
			}
			_, err = h.Login(tx, accounts.NewLogin{User: *user, Device: "D"})
			return err
		})
	}
	add(&stale, "guest-stale", true)
	add(&used, "guest-used", true)
	add(&person, "person", false)
	h.clock = h.clock.Add(life - time.Hour)
	add(&fresh, "guest-fresh", true)
	h.Seen(used, "D", "192.0.2.1", "", h.clock) // not on disk yet
	there := func(user matrix.UserID) (ok bool) {
		kvtest.View(t, h.db, func(tx *kv.ReadTx) { ok = h.Exists(tx, user) })
		return ok
	}
	clean := func() {
		t.Helper()
		if err := h.Clean(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	clean()
	if !there(stale) {
		t.Fatal("a guest went an hour too early")
	}
	h.clock = h.clock.Add(2 * time.Hour)
	clean()
	for user, want := range map[matrix.UserID]bool{stale: false, used: true, fresh: true, person: true} {
		if there(user) != want {
			t.Errorf("%s is there: %t, want %t", user, !want, want)
		}
	}
	h.clock = h.clock.Add(life)
	clean()
	for user, want := range map[matrix.UserID]bool{used: false, fresh: false, person: true} {
		if there(user) != want {
			t.Errorf("later, %s is there: %t, want %t", user, !want, want)
		}
	}
}
