package setup

import (
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
)

func open(t *testing.T, db *kv.DB) *Keeper {
	t.Helper()
	k, err := New(t.Context(), Config{DB: db, ServerName: "house.test"})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestIdentityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.db")
	var id matrix.KeyID
	var key ed25519.PrivateKey
	for i, test := range []struct {
		configured matrix.ServerName
		renamed    bool
	}{{"house.test", false}, {"", false}, {"other.test", true}, {"house.test", false}} {
		db, err := kv.Open(kv.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		k, err := New(t.Context(), Config{DB: db, ServerName: test.configured})
		var renamed *RenamedError
		if test.renamed != errors.As(err, &renamed) {
			t.Fatalf("start %d: error %v", i, err)
		}
		if err == nil {
			gotID, gotKey := k.SigningKey()
			if i == 0 {
				id, key = gotID, gotKey
			}
			if k.ServerName() != "house.test" || gotID != id || !gotKey.Equal(key) {
				t.Errorf("start %d: the identity changed", i)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(string(id), "ed25519:") {
		t.Errorf("key ID %q", id)
	}
}

func TestFirstStartNeedsName(t *testing.T) {
	for name, want := range map[matrix.ServerName]error{
		"":        ErrNoServerName,
		"no name": matrix.InvalidParam(""),
	} {
		if _, err := New(t.Context(), Config{DB: kvtest.Open(t), ServerName: name}); !errors.Is(err, want) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestSettings(t *testing.T) {
	db := kvtest.Open(t)
	k := open(t, db)
	limit := NewSetting("test_limit", 7)
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		if got := Get(k, tx, limit); got != 7 {
			t.Errorf("fallback: %d", got)
		}
		return Set(k, tx, limit, 9)
	})
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		if got := Get(k, tx, limit); got != 9 {
			t.Errorf("set: %d", got)
		}
		Unset(k, tx, limit)
		return nil
	})
	kvtest.View(t, db, func(tx *kv.ReadTx) {
		if got := Get(k, tx, limit); got != 7 {
			t.Errorf("unset: %d", got)
		}
	})
}

// claimAs tries a claim and reports whether it made the owner.
func claimAs(t *testing.T, db *kv.DB, k *Keeper, given string) bool {
	t.Helper()
	err := db.Update(t.Context(), func(tx *kv.WriteTx) error { return k.Claim(tx, given, "", "@owner:house.test") })
	if err != nil && !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Fatal(err)
	}
	return err == nil
}

func TestClaim(t *testing.T) {
	for name, form := range map[string]func(ClaimCode) string{
		"link":      func(c ClaimCode) string { return c.Secret },
		"code":      func(c ClaimCode) string { return c.Code },
		"as spoken": func(c ClaimCode) string { return " " + strings.ToLower(strings.ReplaceAll(c.Code, "-", " ")) + "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			db := kvtest.Open(t)
			k := open(t, db)
			code, ok := k.ClaimCode()
			if !ok || len(code.Secret) != claimSecretLetters || len(code.Code) != claimCodeLetters+1 {
				t.Fatalf("claim %d+%d letters, %v", len(code.Secret), len(code.Code), ok)
			}
			for _, wrong := range []string{"", "-", "AAAA-AAAA", code.Secret[:16], strings.Repeat("A", 1<<12)} {
				if claimAs(t, db, k, wrong) {
					t.Fatal("a wrong claim was taken")
				}
			}
			if !claimAs(t, db, k, form(code)) {
				t.Fatal("the right claim was refused")
			}
			if _, ok := k.ClaimCode(); ok {
				t.Error("the claim is still there after its use")
			}
			if claimAs(t, db, k, form(code)) || k.CheckClaim(code.Secret, "") == nil {
				t.Error("the claim worked twice")
			}
			kvtest.View(t, db, func(tx *kv.ReadTx) {
				if got := k.Owner(tx); got != "@owner:house.test" {
					t.Errorf("owner %q", got)
				}
			})
		})
	}
}

func TestClaimAttempts(t *testing.T) {
	db := kvtest.Open(t)
	k := open(t, db)
	code, _ := k.ClaimCode()
	for range MaxClaimAttempts {
		if claimAs(t, db, k, "AAAA-AAAA") {
			t.Fatal("a wrong claim was taken")
		}
	}
	if claimAs(t, db, k, code.Code) {
		t.Error("the short code still works after too many attempts")
	}
	if shown, ok := k.ClaimCode(); !ok || shown.Code != "" {
		t.Errorf("the short code is still shown: %v", ok)
	}
	if !claimAs(t, db, k, code.Secret) {
		t.Error("the link no longer works")
	}
}

func TestClaimSurvivesFailedTransaction(t *testing.T) {
	db := kvtest.Open(t)
	k := open(t, db)
	code, _ := k.ClaimCode()
	failed := errors.New("the account could not be made")
	err := db.Update(t.Context(), func(tx *kv.WriteTx) error {
		if err := k.Claim(tx, code.Secret, "", "@owner:house.test"); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if !claimAs(t, db, k, code.Secret) {
		t.Error("the claim was lost with a failed transaction")
	}
}

func TestOwnerIsOfTheHouse(t *testing.T) {
	db := kvtest.Open(t)
	k := open(t, db)
	err := db.Update(t.Context(), func(tx *kv.WriteTx) error { return k.SetOwner(tx, "@a:elsewhere.test") })
	if !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Error(err)
	}
}

// An identity that cannot be read must not be taken for a house that was never founded.
func TestUnreadableIdentity(t *testing.T) {
	for _, name := range []string{"server_name", "signing_key", "owner"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "house.db")
			db, err := kv.Open(kv.Options{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			k := open(t, db)
			kvtest.Update(t, db, func(tx *kv.WriteTx) error {
				k.settings.Put(tx, name, []byte("{"))
				return nil
			})
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = kv.Open(kv.Options{Path: path}); err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := New(t.Context(), Config{DB: db, ServerName: "house.test"}); err == nil {
				t.Error("opened")
			}
		})
	}
}
