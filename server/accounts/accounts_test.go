package accounts_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/setup"
)

// cheap is a cost at which tests are quick.
var cheap = accounts.HashCost{Memory: 64, Time: 1}

const password = "correct horse"

// house is a keeper on a real database with a clock that the test turns.
type house struct {
	*accounts.Keeper
	t       testing.TB
	db      *kv.DB
	setup   *setup.Keeper
	changes *changes.Keeper
	clock   time.Time
}

func open(t testing.TB) *house {
	t.Helper()
	return openOn(t, kvtest.Open(t))
}

func openOn(t testing.TB, db *kv.DB, options ...func(*accounts.Config)) *house {
	t.Helper()
	h := &house{t: t, db: db, clock: time.UnixMilli(1_700_000_000_000)}
	var err error
	if h.setup, err = setup.New(t.Context(), setup.Config{DB: db, ServerName: "house.test"}); err != nil {
		t.Fatal(err)
	}
	if h.changes, err = changes.New(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	c := accounts.Config{
		DB: db, Setup: h.setup, Changes: h.changes, Hashing: cheap,
		Now: func() time.Time { return h.clock },
	}
	for _, change := range options {
		change(&c)
	}
	h.Keeper = accounts.New(c)
	return h
}

// update runs fn in a write transaction and returns what it returns.
func (h *house) update(fn func(tx *kv.WriteTx) error) error {
	h.t.Helper()
	return h.db.Update(h.t.Context(), fn)
}

func (h *house) view(fn func(tx *kv.ReadTx)) {
	h.t.Helper()
	kvtest.View(h.t, h.db, fn)
}

// user makes an account with the password of all tests.
func (h *house) user(localpart string) matrix.UserID {
	h.t.Helper()
	hash, err := h.HashPassword(h.t.Context(), password, "", accounts.Asker{})
	if err != nil {
		h.t.Fatal(err)
	}
	var user matrix.UserID
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) (err error) {
		user, err = h.Create(tx, accounts.NewUser{Localpart: localpart, PasswordHash: hash})
		return err
	})
	return user
}

func (h *house) login(n accounts.NewLogin) accounts.Login {
	h.t.Helper()
	var l accounts.Login
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) (err error) {
		l, err = h.Login(tx, n)
		return err
	})
	return l
}

// who is the session behind a token, and how the token is refused.
func (h *house) who(token string) (s accounts.Session, err error) {
	h.t.Helper()
	h.view(func(tx *kv.ReadTx) { s, err = h.Authenticate(tx, token, h.clock) })
	return s, err
}

// kinds are the changes behind a position.
func (h *house) kinds(after changes.Position) (kinds []changes.Kind) {
	h.t.Helper()
	h.view(func(tx *kv.ReadTx) {
		for _, c := range h.changes.Since(tx, after) {
			kinds = append(kinds, c.Kind)
		}
	})
	return kinds
}

// refused fails the test unless err has the errcode; "" means no error.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	if code == "" && err != nil || code != "" && !matrix.IsCode(err, code) {
		t.Errorf("error %v, want %q", err, code)
	}
}

func soft(err error) bool {
	var e *matrix.Error
	return errors.As(err, &e) && e.Extra["soft_logout"] == true
}

func TestCreate(t *testing.T) {
	h := open(t)
	for _, test := range []struct{ localpart, user, code string }{
		{"alice", "@alice:house.test", ""},
		{"Bob.2-x_y=z/+", "@bob.2-x_y=z/+:house.test", ""},
		{"ALICE", "", "M_USER_IN_USE"},
		{"al ice", "", "M_INVALID_USERNAME"},
		{"élise", "", "M_INVALID_USERNAME"},
		{"a:b", "", "M_INVALID_USERNAME"},
		{string(make([]byte, 300)), "", "M_INVALID_USERNAME"},
	} {
		var user matrix.UserID
		err := h.update(func(tx *kv.WriteTx) (err error) {
			user, err = h.Create(tx, accounts.NewUser{Localpart: test.localpart})
			return err
		})
		refused(t, err, test.code)
		if string(user) != test.user {
			t.Errorf("%q became %q", test.localpart, user)
		}
	}
	if a, b := h.user(""), h.user(""); a == b || a == "" {
		t.Errorf("generated names %q and %q", a, b)
	}
}

func TestVerifyPassword(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "ip"}), "")
	refused(t, h.VerifyPassword(t.Context(), alice, "wrong", accounts.Asker{IP: "ip"}), "M_FORBIDDEN")
	refused(t, h.VerifyPassword(t.Context(), alice, "", accounts.Asker{IP: "ip"}), "M_FORBIDDEN")
	refused(t, h.VerifyPassword(t.Context(), alice, string(make([]byte, 1<<20)), accounts.Asker{IP: "ip"}), "M_FORBIDDEN")
	refused(t, h.VerifyPassword(t.Context(), "@nobody:house.test", "", accounts.Asker{IP: "ip"}), "M_FORBIDDEN")
	refused(t, h.VerifyPassword(t.Context(), "@nobody:house.test", password, accounts.Asker{IP: "ip"}), "M_FORBIDDEN")
}

func TestGuessingPasswordsIsSlowed(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	for range accounts.MaxPasswordFailures {
		refused(t, h.VerifyPassword(t.Context(), alice, "wrong", accounts.Asker{IP: "stranger"}), "M_FORBIDDEN")
	}
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "stranger"}), "M_LIMIT_EXCEEDED")
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "home"}), "")
	h.clock = h.clock.Add(accounts.FailureWindow)
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "stranger"}), "")
}

// TestGuessingPasswordsIsBounded guesses from many networks, and from all of one IPv6 network:
// the account has a bound, and its user still gets in from where they have logged in before.
func TestGuessingPasswordsIsBounded(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.Login(tx, accounts.NewLogin{User: alice, IP: "192.168.1.20"})
		return err
	})
	looked := func(ip func(i int) string) (n int) {
		for i := range 100 {
			if err := h.VerifyPassword(t.Context(), alice, "wrong", accounts.Asker{IP: ip(i)}); matrix.IsCode(err, "M_FORBIDDEN") {
				n++
			}
		}
		return n
	}
	if n := looked(func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }); n != accounts.MaxPasswordFailures {
		t.Errorf("%d passwords from one IPv6 network were looked at", n)
	}
	if n := looked(func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }); n != accounts.MaxAccountFailures-accounts.MaxPasswordFailures {
		t.Errorf("%d passwords from other networks were looked at", n)
	}
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "198.51.100.7"}), "M_LIMIT_EXCEEDED")
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "192.168.1.33"}), "")
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{User: alice, Device: "PHONE", IP: "198.51.100.7"}), "")
	for range accounts.MaxPasswordFailures { // with a stolen token
		refused(t, h.VerifyPassword(t.Context(), alice, "wrong", accounts.Asker{User: alice, Device: "STOLEN", IP: "198.51.100.8"}), "M_FORBIDDEN")
	}
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{User: alice, Device: "STOLEN", IP: "198.51.100.9"}), "M_LIMIT_EXCEEDED")
	h.clock = h.clock.Add(accounts.AccountFailureWindow)
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "198.51.100.7"}), "")
}

func TestRehashOnLogin(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	stored := func() (hash string) {
		h.view(func(tx *kv.ReadTx) { u, _ := h.User(tx, alice); hash = u.Password })
		return hash
	}
	// The hash of another cost, as an older release left it.
	old := "$argon2id$v=19$m=32,t=1,p=1$" + "c2FsdHNhbHRzYWx0c2FsdA$" + oldKey
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.SetPasswordHash(tx, alice, old) })
	refused(t, h.VerifyPassword(t.Context(), alice, "wrong", accounts.Asker{IP: "ip"}), "M_FORBIDDEN")
	if stored() != old {
		t.Error("a wrong password changed the hash")
	}
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "ip"}), "")
	if stored() == old {
		t.Error("the hash was not renewed")
	}
	refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{IP: "ip"}), "")
}

func TestWeakPasswords(t *testing.T) {
	h := open(t)
	for _, weak := range []string{"", "1234567", string(make([]byte, accounts.MaxPasswordBytes+1))} {
		_, err := h.HashPassword(t.Context(), weak, "", accounts.Asker{})
		refused(t, err, "M_WEAK_PASSWORD")
	}
}

func TestLoginAndLogout(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	first := h.login(accounts.NewLogin{User: alice, DeviceName: "phone"})
	if first.Device == "" || len(first.AccessToken) != 43 || first.RefreshToken != "" || first.ExpiresIn != 0 {
		t.Errorf("login: device %q, %d letters", first.Device, len(first.AccessToken))
	}
	s, err := h.who(first.AccessToken)
	refused(t, err, "")
	if s.User != alice || s.Device != first.Device || s.Owner || s.Guest {
		t.Errorf("session %+v", s)
	}
	again := h.login(accounts.NewLogin{User: alice, Device: first.Device, DeviceName: "other"})
	if _, err := h.who(first.AccessToken); !matrix.IsCode(err, "M_UNKNOWN_TOKEN") || soft(err) {
		t.Errorf("the device's earlier token: %v", err)
	}
	h.view(func(tx *kv.ReadTx) {
		if d, ok := h.Device(tx, alice, first.Device); !ok || d.Name != "phone" {
			t.Errorf("device %+v", d)
		}
	})
	before := h.changes.Published()
	refused(t, h.update(func(tx *kv.WriteTx) error { return h.DeleteDevice(tx, alice, again.Device) }), "")
	if _, err := h.who(again.AccessToken); !matrix.IsCode(err, "M_UNKNOWN_TOKEN") || soft(err) {
		t.Errorf("after logout: %v", err)
	}
	if kinds := h.kinds(before); len(kinds) != 1 || kinds[0] != changes.DeviceList {
		t.Errorf("changes %v", kinds)
	}
	for _, token := range []string{"", "x", first.AccessToken + "x"} {
		_, err := h.who(token)
		refused(t, err, "M_UNKNOWN_TOKEN")
	}
}

// oldKey is argon2id of the tests' password with 32 KiB and the salt "saltsaltsaltsalt".
const oldKey = "D6TDSe5EsA1A5r6TWcm48LddBlYF+NpZab47wHTFP3g"

// Every request does this. It is why there is no cache that a logout would have to reach.
func BenchmarkAuthenticate(b *testing.B) {
	h := open(b)
	l := h.login(accounts.NewLogin{User: h.user("alice")})
	h.view(func(tx *kv.ReadTx) {
		for b.Loop() {
			if _, err := h.Authenticate(tx, l.AccessToken, h.clock); err != nil {
				b.Fatal(err)
			}
		}
	})
}
