package accounts_test

import (
	"fmt"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
)

func (h *house) begin(t *testing.T, n accounts.NewValidation) (sid, token string, err error) {
	t.Helper()
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		sid, token, err = h.BeginValidation(tx, n)
		return nil
	})
	return sid, token, err
}

func TestValidation(t *testing.T) {
	h := open(t)
	alice, bob := h.user("alice"), h.user("bob")
	n := accounts.NewValidation{Purpose: accounts.PurposeAdd, Address: "Strauß@Example.com", Secret: "s", Attempt: 1, NextLink: "https://app.test"}
	sid, token, err := h.begin(t, n)
	if err != nil || token == "" {
		t.Fatalf("%q %v", token, err)
	}
	if again, none, err := h.begin(t, n); again != sid || none != "" || err != nil {
		t.Errorf("the same attempt: %q, want %q; token %q; %v", again, sid, none, err)
	}
	n.Attempt = 2
	_, second, err := h.begin(t, n)
	if second == "" || second == token || err != nil {
		t.Errorf("the next attempt: %q %v", second, err)
	}
	other := n
	other.Purpose = accounts.PurposeReset
	if reset, _, _ := h.begin(t, other); reset == sid {
		t.Error("a session counts for two purposes")
	}
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.PendingValidation(tx, sid, token)
		refused(t, err, "M_FORBIDDEN") // only the last mail's link is good
		_, err = h.Validated(tx, accounts.PurposeAdd, alice, sid, "s")
		refused(t, err, "M_THREEPID_AUTH_FAILED")
		_, err = h.ConfirmValidation(tx, sid, "x")
		refused(t, err, "M_FORBIDDEN")
		v, err := h.ConfirmValidation(tx, sid, second)
		if err != nil || v.Address != "strauss@example.com" || v.NextLink != "https://app.test" {
			t.Errorf("%+v %v", v, err)
		}
		_, err = h.Validated(tx, accounts.PurposeReset, alice, sid, "s")
		refused(t, err, "M_THREEPID_AUTH_FAILED")
		_, err = h.Validated(tx, accounts.PurposeAdd, alice, sid, "x")
		refused(t, err, "M_THREEPID_AUTH_FAILED")
		id, err := h.Validated(tx, accounts.PurposeAdd, alice, sid, "s")
		refused(t, err, "")
		refused(t, h.AddThreepid(tx, alice, id), "")
		refused(t, h.AddThreepid(tx, alice, id), "")
		refused(t, h.AddThreepid(tx, bob, id), "M_THREEPID_IN_USE")
		if user, ok := h.ThreepidOwner(tx, "email", "STRAUSS@example.COM"); user != alice || !ok {
			t.Errorf("the address belongs to %q", user)
		}
		refused(t, h.DeleteThreepid(tx, bob, "email", "strauss@example.com"), "M_THREEPID_NOT_FOUND")
		return nil
	})
	h.clock = h.clock.Add(accounts.ValidationLife)
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.Validated(tx, accounts.PurposeAdd, alice, sid, "s")
		refused(t, err, "M_THREEPID_AUTH_FAILED")
		return h.Deactivate(tx, alice, false)
	})
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		if _, ok := h.ThreepidOwner(tx, "email", "strauss@example.com"); ok {
			t.Error("the address still belongs to the closed account")
		}
		return nil
	})
	if err := h.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMailsToOneAddress(t *testing.T) {
	h := open(t)
	for i := range accounts.MaxMails + 1 {
		want := ""
		if i == accounts.MaxMails {
			want = "M_LIMIT_EXCEEDED"
		}
		_, _, err := h.begin(t, accounts.NewValidation{Purpose: accounts.PurposeAdd, Address: "a@b.test", Secret: fmt.Sprint(i), Attempt: 1})
		refused(t, err, want)
	}
	_, _, err := h.begin(t, accounts.NewValidation{Purpose: accounts.PurposeAdd, Address: "c@b.test", Secret: "s", Attempt: 1})
	refused(t, err, "")
	h.clock = h.clock.Add(accounts.MailWindow)
	_, _, err = h.begin(t, accounts.NewValidation{Purpose: accounts.PurposeAdd, Address: "a@b.test", Secret: "s", Attempt: 1})
	refused(t, err, "")
}

func TestOpenIDTokens(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	var token string
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { token = h.NewOpenIDToken(tx, alice, ""); return nil })
	who := func(want string) {
		t.Helper()
		kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
			user, err := h.OpenIDUser(tx, token)
			refused(t, err, want)
			if want == "" && user != alice {
				t.Errorf("it is %s", user)
			}
			return nil
		})
	}
	who("")
	h.clock = h.clock.Add(accounts.OpenIDTokenLife - time.Second)
	who("")
	h.clock = h.clock.Add(time.Second)
	who("M_UNKNOWN_TOKEN")
	if err := h.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestParseTerms(t *testing.T) {
	good := `{"policies":{"tos":{"version":"1.2","fr":{"name":"Conditions","url":"https://h/fr"},"en":{"name":"Terms","url":"https://h/en"}}}}`
	terms, err := accounts.ParseTerms([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if terms.Versions["tos"] != "1.2" || len(terms.Documents) != 2 || terms.Documents[0] != (accounts.Document{Policy: "tos", Language: "en", Name: "Terms", URL: "https://h/en"}) {
		t.Errorf("%+v", terms)
	}
	for _, bad := range []string{
		``, `[]`, `{}`, `{"policies":{}}`, `{"policies":[]}`, `{"policies":{"a":{}}}`, `{"policies":{"a":{"version":"1"}}}`,
		`{"policies":{"a b":{"version":"1","en":{"name":"x","url":"https://h"}}}}`,
		`{"policies":{"a":{"version":"1 2","en":{"name":"x","url":"https://h"}}}}`,
		`{"policies":{"a":{"version":"1","en":{"name":"","url":"https://h"}}}}`,
		`{"policies":{"a":{"version":"1","en":{"name":"x","url":"javascript:alert(1)"}}}}`,
		`{"policies":{"a":{"version":"1","en":"x"}}}`,
	} {
		if _, err := accounts.ParseTerms([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzParseTerms(f *testing.F) {
	f.Add([]byte(`{"policies":{"tos":{"version":"1.2","en":{"name":"Terms","url":"https://h/en"}}}}`))
	f.Add([]byte(`{"policies":{"a":{"version":1}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if terms, err := accounts.ParseTerms(raw); err == nil && (len(terms.Versions) == 0 || len(terms.Documents) == 0) {
			t.Errorf("%q: %+v", raw, terms)
		}
	})
}
