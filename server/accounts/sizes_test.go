package accounts_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
)

// ofSize is account data with so many bytes.
func ofSize(n int) json.RawMessage {
	const around = `{"x":""}`
	return json.RawMessage(strings.Replace(around, `""`, `"`+strings.Repeat("y", n-len(around))+`"`, 1))
}

func TestAccountDataAreBounded(t *testing.T) {
	h := openOn(t, kvtest.Open(t), func(c *accounts.Config) { c.MaxAccountData = 1000 })
	alice, bob := h.user("alice"), h.user("bob")
	set := func(user matrix.UserID, room matrix.RoomID, typ string, n int) error {
		return h.update(func(tx *kv.WriteTx) error { return h.SetAccountData(tx, user, room, typ, ofSize(n)) })
	}
	steps := []struct {
		name string
		user matrix.UserID
		room matrix.RoomID
		typ  string
		n    int
		code string
	}{
		{"below", alice, "", "aa", 498, ""},
		{"at, in a room", alice, "!r:h", "b", 495, ""}, // 500 + 500
		{"above", alice, "", "c", 10, "M_RESOURCE_LIMIT_EXCEEDED"},
		{"larger in its place", alice, "", "aa", 499, "M_RESOURCE_LIMIT_EXCEEDED"},
		{"another user", bob, "", "c", 900, ""},
		{"smaller in its place", alice, "", "aa", 100, ""},
		{"then there is room", alice, "", "c", 300, ""},
	}
	for _, s := range steps {
		err := set(s.user, s.room, s.typ, s.n)
		if s.code == "" && err != nil || s.code != "" && !matrix.IsCode(err, s.code) {
			t.Errorf("%s: %v, want %q", s.name, err, s.code)
		}
	}
	err := h.update(func(tx *kv.WriteTx) error {
		return h.StoreAccountData(tx, alice, "!r:h", accounts.TypeFullyRead, ofSize(900))
	})
	if err != nil {
		t.Errorf("what the server itself keeps: %v", err)
	}
	if err := h.update(func(tx *kv.WriteTx) error { return h.Deactivate(tx, alice, true) }); err != nil {
		t.Fatal(err)
	}
	h.view(func(tx *kv.ReadTx) {
		if n, known := h.AccountDataSize(tx, alice); n != 0 || !known {
			t.Errorf("an erased account has %d bytes (known %v)", n, known)
		}
		h.CheckSizes(tx, t.Errorf)
	})
}

// TestAccountDataOlderThanTheBound has more than the bound at the upgrade.
func TestAccountDataOlderThanTheBound(t *testing.T) {
	db := kvtest.Open(t)
	limit := int64(0)
	h := openOn(t, db, func(c *accounts.Config) { c.MaxAccountData = 2000; limit = c.MaxAccountData })
	alice := h.user("alice")
	set := func(typ string, n int) error {
		return h.update(func(tx *kv.WriteTx) error { return h.SetAccountData(tx, alice, "", typ, ofSize(n)) })
	}
	for i := range 10 {
		h.forget(alice) // so that more comes in than may
		if err := set(fmt.Sprintf("t%d", i), 1000); err != nil {
			t.Fatal(err)
		}
	}
	h.forget(alice)
	if err := h.CountAccountData(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	h.view(func(tx *kv.ReadTx) {
		if n, known := h.AccountDataSize(tx, alice); !known || n != 10*1002 {
			t.Errorf("%d bytes (known %v) with a bound of %d", n, known, limit)
		}
		for i := range 10 {
			if data, ok := h.AccountData(tx, alice, "", fmt.Sprintf("t%d", i)); !ok || len(data) != 1000 {
				t.Errorf("type %d cannot be read", i)
			}
		}
	})
	if err := set("more", 10); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("more: %v", err)
	}
	for i := range 10 {
		if err := set(fmt.Sprintf("t%d", i), 10); err != nil {
			t.Errorf("emptying type %d: %v", i, err)
		}
	}
	if err := set("more", 10); err != nil {
		t.Errorf("more, once there is room: %v", err)
	}
}

// forget makes a user look as before account data were counted.
func (h *house) forget(user matrix.UserID) {
	h.t.Helper()
	if err := h.update(func(tx *kv.WriteTx) error { h.ForgetAccountDataSize(tx, user); return nil }); err != nil {
		h.t.Fatal(err)
	}
}

func TestDevicesAreBounded(t *testing.T) {
	h := openOn(t, kvtest.Open(t), func(c *accounts.Config) { c.MaxDevices = 3 })
	alice := h.user("alice")
	make := func(i int) error {
		return h.update(func(tx *kv.WriteTx) error {
			return h.CreateDevice(tx, alice, matrix.DeviceID(fmt.Sprintf("D%d", i)), "")
		})
	}
	for i := range 5 {
		if err := make(i); (err == nil) != (i < 3) {
			t.Errorf("device %d: %v", i, err)
		}
	}
}
