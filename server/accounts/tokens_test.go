package accounts_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// refresh exchanges a refresh token.
func (h *house) refresh(token string) (l accounts.Login, err error) {
	h.t.Helper()
	err = h.update(func(tx *kv.WriteTx) (err error) {
		l, err = h.Refresh(tx, token)
		return err
	})
	return l, err
}

func TestAccessTokenExpires(t *testing.T) {
	h := open(t)
	l := h.login(accounts.NewLogin{User: h.user("alice"), Refresh: true})
	if l.RefreshToken == "" || l.ExpiresIn != accounts.DefaultAccessTokenLife {
		t.Fatalf("login %v", l.ExpiresIn)
	}
	h.clock = h.clock.Add(l.ExpiresIn - time.Millisecond)
	_, err := h.who(l.AccessToken)
	refused(t, err, "")
	h.clock = h.clock.Add(time.Millisecond)
	if _, err = h.who(l.AccessToken); !matrix.IsCode(err, "M_UNKNOWN_TOKEN") || !soft(err) {
		t.Errorf("expired: %v", err)
	}
	fresh, err := h.refresh(l.RefreshToken)
	refused(t, err, "")
	s, err := h.who(fresh.AccessToken)
	refused(t, err, "")
	if s.Device != l.Device {
		t.Errorf("the device became %s", s.Device)
	}
}

func TestRefreshTokenIsGoodUntilItsSuccessorIsUsed(t *testing.T) {
	h := open(t)
	first := h.login(accounts.NewLogin{User: h.user("alice"), Refresh: true})
	lost, err := h.refresh(first.RefreshToken) // the answer does not arrive
	refused(t, err, "")
	second, err := h.refresh(first.RefreshToken)
	refused(t, err, "")
	for name, token := range map[string]string{"access": lost.AccessToken, "refresh": lost.RefreshToken} {
		if name == "access" {
			_, err = h.who(token)
		} else {
			_, err = h.refresh(token)
		}
		if !matrix.IsCode(err, "M_UNKNOWN_TOKEN") {
			t.Errorf("the lost %s token: %v", name, err)
		}
	}
	_, err = h.who(second.AccessToken)
	refused(t, err, "")
	_, err = h.refresh(first.RefreshToken) // at once, before anything is flushed
	refused(t, err, "M_UNKNOWN_TOKEN")
	if err := h.db.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = h.refresh(first.RefreshToken)
	refused(t, err, "M_UNKNOWN_TOKEN")
	_, err = h.who(first.AccessToken)
	refused(t, err, "M_UNKNOWN_TOKEN")
	_, err = h.who(second.AccessToken)
	refused(t, err, "")

	third, err := h.refresh(second.RefreshToken)
	refused(t, err, "")
	_, err = h.refresh(third.RefreshToken) // used without its access token
	refused(t, err, "")
	_, err = h.refresh(second.RefreshToken)
	refused(t, err, "M_UNKNOWN_TOKEN")
}

func TestOwnerLockedSuspended(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	l := h.login(accounts.NewLogin{User: alice, Refresh: true})
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.SetSuspended(tx, alice, true) })
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.SetLocked(tx, alice, true) })
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.setup.SetOwner(tx, alice) })
	s, err := h.who(l.AccessToken)
	refused(t, err, "")
	if !s.Owner || !s.Suspended || !s.Locked {
		t.Errorf("session %+v", s)
	}
	_, err = h.refresh(l.RefreshToken)
	refused(t, err, "M_USER_LOCKED")
	err = h.update(func(tx *kv.WriteTx) error { _, err := h.Login(tx, accounts.NewLogin{User: alice}); return err })
	refused(t, err, "M_USER_LOCKED")
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.SetLocked(tx, alice, false) })
	if s, err = h.who(l.AccessToken); err != nil || s.Locked {
		t.Errorf("unlocked: %+v, %v", s, err)
	}
}

func TestLoginToken(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	make := func() (token string) {
		kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { token = h.NewLoginToken(tx, alice, ""); return nil })
		return token
	}
	use := func(token string) error {
		return h.update(func(tx *kv.WriteTx) error {
			user, err := h.UseLoginToken(tx, token)
			if err == nil && user != alice {
				t.Errorf("the token is for %s", user)
			}
			return err
		})
	}
	token, late := make(), make()
	refused(t, use(token), "")
	refused(t, use(token), "M_FORBIDDEN")
	refused(t, use("x"), "M_FORBIDDEN")
	h.clock = h.clock.Add(h.LoginTokenLife())
	refused(t, use(late), "M_FORBIDDEN")
	if err := h.Clean(t.Context()); err != nil {
		t.Error(err)
	}
	h.clock = h.clock.Add(-time.Millisecond)
	refused(t, use(late), "M_FORBIDDEN") // it was removed
}

// gone notes what a witness was told, and fails on demand.
type gone struct {
	devices []matrix.DeviceID
	users   []matrix.UserID
	err     error
}

func (g *gone) DeviceDeleted(_ *kv.WriteTx, _ matrix.UserID, device matrix.DeviceID) error {
	g.devices = append(g.devices, device)
	return g.err
}

func (g *gone) UserDeactivated(_ *kv.WriteTx, user matrix.UserID, _ bool) error {
	g.users = append(g.users, user)
	return g.err
}

func (g *gone) ProfileChanged(_ *kv.WriteTx, user matrix.UserID) error {
	g.users = append(g.users, user)
	return g.err
}

func TestDeactivate(t *testing.T) {
	for _, erase := range []bool{false, true} {
		t.Run(fmt.Sprintf("erase %v", erase), func(t *testing.T) {
			h := open(t)
			witness := &gone{}
			h.AddDeviceWitness(witness)
			h.AddUserWitness(witness)
			alice, owner := h.user("alice"), h.user("owner")
			l := h.login(accounts.NewLogin{User: alice, Device: "A"})
			h.login(accounts.NewLogin{User: alice, Device: "B", Refresh: true})
			kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
				if err := h.SetAccountData(tx, alice, "", "x", []byte(`{}`)); err != nil {
					return err
				}
				if _, err := h.StoreFilter(tx, alice, []byte(`{}`)); err != nil {
					return err
				}
				if err := h.SetProfileField(tx, alice, "displayname", []byte(`"Alice"`)); err != nil {
					return err
				}
				return h.setup.SetOwner(tx, owner)
			})
			refused(t, h.update(func(tx *kv.WriteTx) error { return h.Deactivate(tx, owner, erase) }), "M_FORBIDDEN")
			refused(t, h.update(func(tx *kv.WriteTx) error { return h.Deactivate(tx, "@nobody:house.test", erase) }), "M_NOT_FOUND")
			refused(t, h.update(func(tx *kv.WriteTx) error { return h.Deactivate(tx, alice, erase) }), "")
			refused(t, h.update(func(tx *kv.WriteTx) error { return h.Deactivate(tx, alice, erase) }), "M_NOT_FOUND")
			if len(witness.devices) != 2 || len(witness.users) != 1 {
				t.Errorf("witness saw %v, %v", witness.devices, witness.users)
			}
			_, err := h.who(l.AccessToken)
			refused(t, err, "M_UNKNOWN_TOKEN")
			refused(t, h.VerifyPassword(t.Context(), alice, password, accounts.Asker{}), "M_FORBIDDEN")
			refused(t, h.update(func(tx *kv.WriteTx) error {
				_, err := h.Create(tx, accounts.NewUser{Localpart: "alice"})
				return err
			}), "M_USER_IN_USE")
			h.view(func(tx *kv.ReadTx) {
				name, _ := h.DisplayProfile(tx, alice)
				_, data := h.AccountData(tx, alice, "", "x")
				if (name == "") != erase || data == erase || h.Exists(tx, alice) {
					t.Errorf("left: name %q, account data %v", name, data)
				}
			})
		})
	}
}

func TestWitnessCanRefuse(t *testing.T) {
	h := open(t)
	witness := &gone{err: matrix.Forbidden("no")}
	h.AddDeviceWitness(witness)
	alice := h.user("alice")
	l := h.login(accounts.NewLogin{User: alice})
	refused(t, h.update(func(tx *kv.WriteTx) error { return h.DeleteDevice(tx, alice, l.Device) }), "M_FORBIDDEN")
	_, err := h.who(l.AccessToken)
	refused(t, err, "")
}

func TestDevices(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	h.login(accounts.NewLogin{User: alice, Device: "B"})
	h.login(accounts.NewLogin{User: alice, Device: "A"})
	names := func() (all []string) {
		h.view(func(tx *kv.ReadTx) {
			for id, d := range h.Devices(tx, alice) {
				all = append(all, fmt.Sprintf("%s=%s@%s", id, d.Name, d.SeenIP))
			}
		})
		return all
	}
	before := h.changes.Published()
	rename := func(device matrix.DeviceID, name string) error {
		return h.update(func(tx *kv.WriteTx) error { return h.SetDeviceName(tx, alice, device, name) })
	}
	refused(t, rename("A", "phone"), "")
	refused(t, rename("A", "phone"), "")
	refused(t, rename("X", "phone"), "M_NOT_FOUND")
	refused(t, rename("A", strings.Repeat("x", 257)), "M_INVALID_PARAM")
	if kinds := h.kinds(before); len(kinds) != 1 || kinds[0] != changes.DeviceList {
		t.Errorf("changes %v", kinds)
	}
	h.Seen(alice, "B", "10.0.0.1", "Test/1.0", h.clock)
	h.Seen(alice, "X", "10.0.0.1", "Test/1.0", h.clock)
	if got := fmt.Sprint(names()); got != "[A=phone@ B=@10.0.0.1]" {
		t.Errorf("devices %s", got)
	}
	if err := h.db.Flush(); err != nil {
		t.Fatal(err)
	}
	writes := h.db.Stats().Deferred
	for range 5 {
		h.clock = h.clock.Add(time.Minute)
		h.Seen(alice, "B", "10.0.0.1", "Test/1.0", h.clock)
	}
	if err := h.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if again := h.db.Stats().Deferred; again != writes {
		t.Errorf("%d more writes for a device that was seen before", again-writes)
	}
	h.Seen(alice, "B", "10.0.0.2", "Test/1.0", h.clock)
	if got := fmt.Sprint(names()); got != "[A=phone@ B=@10.0.0.2]" {
		t.Errorf("devices %s", got)
	}
	refused(t, h.update(func(tx *kv.WriteTx) error { return h.DeleteAllDevices(tx, alice, "A") }), "")
	if got := fmt.Sprint(names()); got != "[A=phone@]" {
		t.Errorf("devices %s", got)
	}
}

func TestTooManyDevices(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		for range accounts.MaxDevices {
			if _, err := h.Login(tx, accounts.NewLogin{User: alice}); err != nil {
				return err
			}
		}
		_, err := h.Login(tx, accounts.NewLogin{User: alice})
		refused(t, err, "M_FORBIDDEN")
		return nil
	})
}

func TestOnceAnswers(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	h.login(accounts.NewLogin{User: alice, Device: "A"})
	a, b := [32]byte{1}, [32]byte{2}
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		h.Remember(tx, alice, "A", a, []byte("one"), h.clock)
		return nil
	})
	has := func(device matrix.DeviceID, path [32]byte, want string) {
		t.Helper()
		h.view(func(tx *kv.ReadTx) {
			if got, ok := h.Answer(tx, alice, device, path); string(got) != want || ok != (want != "") {
				t.Errorf("answer %q, %v, want %q", got, ok, want)
			}
		})
	}
	has("A", a, "one")
	has("A", b, "")
	has("B", a, "")
	h.clock = h.clock.Add(accounts.AnswerLife - time.Millisecond)
	if err := h.Clean(t.Context()); err != nil {
		t.Error(err)
	}
	has("A", a, "one")
	h.clock = h.clock.Add(time.Millisecond)
	if err := h.Clean(t.Context()); err != nil {
		t.Error(err)
	}
	has("A", a, "")
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		h.Remember(tx, alice, "A", b, []byte("two"), h.clock)
		return nil
	})
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.DeleteDevice(tx, alice, "A") })
	has("A", b, "") // a new device of the same name begins anew
}
