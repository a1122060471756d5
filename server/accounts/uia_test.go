package accounts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
)

// challenge is what a client sees in the 401.
type challenge struct {
	code      string
	session   string
	completed []string
}

// ask takes one step; the challenge is empty when it was the last.
func (h *house) ask(op accounts.Operation, auth string) (accounts.Proof, challenge) {
	h.t.Helper()
	proof, err := h.Interact(h.t.Context(), op, json.RawMessage(auth))
	if err == nil {
		return proof, challenge{}
	}
	var e *matrix.Error
	if !errors.As(err, &e) {
		h.t.Fatal(err)
	}
	c := challenge{code: e.Code}
	if e.Status != 401 {
		c.code = fmt.Sprint(e.Status, " ", e.Code)
		return proof, c
	}
	c.session, _ = e.Extra["session"].(string)
	c.completed, _ = e.Extra["completed"].([]string)
	if _, ok := e.Extra["flows"]; !ok || c.session == "" {
		h.t.Errorf("the challenge lacks flows or session: %v", e.Extra)
	}
	return proof, c
}

func passwordStage(session, user, password string) string {
	return fmt.Sprintf(`{"type":"m.login.password","session":%q,"identifier":{"type":"m.id.user","user":%q},"password":%q}`, session, user, password)
}

func TestInteractByPassword(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	h.user("bob")
	op := accounts.Operation{Name: "deleteDevice", User: alice, About: []string{"A"}, Flows: [][]string{{accounts.StagePassword}}}
	_, c := h.ask(op, "")
	if c.code != "" || len(c.completed) != 0 {
		t.Errorf("first answer %+v", c)
	}
	session := c.session
	for name, test := range map[string]struct{ auth, code string }{
		"null":           {"null", ""},
		"no object":      {"7", "400 M_BAD_JSON"},
		"wrong password": {passwordStage(session, "alice", "wrong"), "M_FORBIDDEN"},
		"other's":        {passwordStage(session, "bob", password), "M_FORBIDDEN"},
		"other stage":    {fmt.Sprintf(`{"type":"m.login.dummy","session":%q}`, session), "M_FORBIDDEN"},
		"unknown stage":  {fmt.Sprintf(`{"type":"m.login.sso","session":%q}`, session), "M_FORBIDDEN"},
		"no session":     {passwordStage("nonsense", "alice", password), "M_FORBIDDEN"},
		"session alone":  {fmt.Sprintf(`{"session":%q}`, session), ""},
		"third party":    {fmt.Sprintf(`{"type":"m.login.password","session":%q,"identifier":{"type":"m.id.thirdparty"},"password":"x"}`, session), "M_FORBIDDEN"},
	} {
		if _, c := h.ask(op, test.auth); c.code != test.code || test.code != "400 M_BAD_JSON" && c.session == "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	other := op
	other.About = []string{"B"}
	if _, c := h.ask(other, passwordStage(session, "alice", password)); c.code != "M_FORBIDDEN" || c.session == session {
		t.Errorf("the session served another request: %+v", c)
	}
	proof, c := h.ask(op, passwordStage(session, string(alice), password))
	if c.session != "" || proof.User != alice {
		t.Errorf("right password: %+v, %+v", proof, c)
	}
	if _, c = h.ask(op, fmt.Sprintf(`{"session":%q}`, session)); c.session == "" {
		t.Error("a spent session worked again")
	}
	// Clients that know the flow begin with the stage; old ones say "user"; some say nobody.
	for _, auth := range []string{
		`{"type":"m.login.password","user":"alice","password":"` + password + `"}`,
		`{"type":"m.login.password","password":"` + password + `"}`,
	} {
		if proof, c := h.ask(op, auth); c.session != "" || proof.User != alice {
			t.Errorf("%s: %+v", auth, c)
		}
	}
}

func TestInteractInOrder(t *testing.T) {
	h := open(t)
	h.user("alice")
	op := accounts.Operation{Name: "x", Flows: [][]string{
		{accounts.StageDummy, accounts.StagePassword}, {accounts.StagePassword, accounts.StageDummy, "m.other"},
	}}
	_, c := h.ask(op, `{"type":"m.login.dummy"}`)
	if fmt.Sprint(c.completed) != "[m.login.dummy]" || c.code != "" {
		t.Fatalf("after one stage: %+v", c)
	}
	session := c.session
	if _, c = h.ask(op, fmt.Sprintf(`{"type":"m.login.dummy","session":%q}`, session)); len(c.completed) != 1 || c.code != "" {
		t.Errorf("a stage sent again: %+v", c)
	}
	proof, c := h.ask(op, passwordStage(session, "alice", password))
	if c.session != "" || proof.User != "@alice:house.test" {
		t.Errorf("after two stages: %+v", c)
	}
}

func TestInteractSessionsEnd(t *testing.T) {
	h := open(t)
	op := accounts.Operation{Name: "x", Flows: [][]string{{accounts.StageDummy}}}
	_, c := h.ask(op, "")
	dummy := fmt.Sprintf(`{"type":"m.login.dummy","session":%q}`, c.session)
	h.clock = h.clock.Add(accounts.UIASessionLife)
	if _, late := h.ask(op, dummy); late.code != "M_FORBIDDEN" || late.session == c.session {
		t.Errorf("after its end: %+v", late)
	}
	_, first := h.ask(op, "")
	for range 1000 {
		h.clock = h.clock.Add(time.Millisecond)
		h.ask(op, "")
	}
	if _, c := h.ask(op, fmt.Sprintf(`{"type":"m.login.dummy","session":%q}`, first.session)); c.code != "M_FORBIDDEN" {
		t.Error("sessions are not bounded")
	}
}

// TestInteractSessionsOfOthersStay opens many sessions as one user: those of others stay.
func TestInteractSessionsOfOthersStay(t *testing.T) {
	h := open(t)
	alice, bob := h.user("alice"), h.user("bob")
	op := accounts.Operation{Name: "x", User: alice, Flows: [][]string{{accounts.StagePassword}}}
	_, c := h.ask(op, "")
	stranger := accounts.Operation{Name: "y", IP: "192.0.2.1", Flows: [][]string{{accounts.StageDummy}}}
	for i := range 600 {
		h.clock = h.clock.Add(time.Millisecond)
		h.ask(accounts.Operation{Name: "x", User: bob, Flows: op.Flows}, "")
		h.ask(accounts.Operation{Name: "y", IP: fmt.Sprintf("2001:db8:0:%x::1", i), Flows: stranger.Flows}, "")
	}
	if proof, c := h.ask(op, passwordStage(c.session, "alice", password)); proof.User != alice {
		t.Errorf("alice's session is gone: %+v", c)
	}
}

func TestRegistrationTokens(t *testing.T) {
	h := open(t)
	for _, bad := range []string{"with space", "ü", string(make([]byte, 65))} {
		refused(t, h.update(func(tx *kv.WriteTx) error {
			_, err := h.CreateRegistrationToken(tx, bad, 0, time.Time{})
			return err
		}), "M_INVALID_PARAM")
	}
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.CreateRegistrationToken(tx, "two", 2, h.clock.Add(time.Hour))
		return err
	})
	valid := func(token string) (ok bool) {
		h.view(func(tx *kv.ReadTx) { ok = h.RegistrationTokenValid(tx, token) })
		return ok
	}
	op := accounts.Operation{Name: "register", Flows: [][]string{{accounts.StageRegistrationToken, accounts.StageDummy}}}
	show := `{"type":"m.login.registration_token","token":"two"}`
	_, one := h.ask(op, show)
	_, two := h.ask(op, show)
	if len(one.completed) != 1 || len(two.completed) != 1 || valid("two") {
		t.Error("two who have shown the token do not use it up")
	}
	if _, three := h.ask(op, show); three.code != "M_FORBIDDEN" {
		t.Errorf("a third: %+v", three)
	}
	proof, _ := h.ask(op, fmt.Sprintf(`{"type":"m.login.dummy","session":%q}`, one.session))
	if proof.RegistrationToken != "two" {
		t.Errorf("proof %+v", proof)
	}
	use := func() error {
		return h.update(func(tx *kv.WriteTx) error { return h.UseRegistrationToken(tx, "two") })
	}
	refused(t, use(), "")
	h.clock = h.clock.Add(accounts.UIASessionLife) // the second never finished
	if !valid("two") || valid("other") || valid("") {
		t.Error("validity is wrong")
	}
	h.clock = h.clock.Add(time.Hour)
	refused(t, use(), "M_FORBIDDEN")
	if valid("two") {
		t.Error("an expired token is valid")
	}
	remove := func() error {
		return h.update(func(tx *kv.WriteTx) error { return h.DeleteRegistrationToken(tx, "two") })
	}
	refused(t, remove(), "")
	refused(t, remove(), "M_NOT_FOUND")
}

func TestInteractTermsAndToken(t *testing.T) {
	h := open(t)
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.CreateRegistrationToken(tx, "once", 1, time.Time{})
		return err
	})
	terms, err := accounts.ParseTerms([]byte(`{"policies":{"tos":{"version":"1","en":{"name":"Terms","url":"https://h"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	op := accounts.Operation{
		Name: "register", Terms: terms,
		Flows: [][]string{{accounts.StageRegistrationToken, accounts.StageTerms, accounts.StageDummy}, {accounts.StageRegistrationToken, accounts.StageTerms, accounts.StageEmail}},
	}
	_, first := h.ask(op, "")
	step := func(stage, rest string) challenge {
		t.Helper()
		_, c := h.ask(op, fmt.Sprintf(`{"type":%q,"session":%q%s}`, stage, first.session, rest))
		return c
	}
	for range 2 { // the second is a retransmission
		if c := step(accounts.StageRegistrationToken, `,"token":"once"`); c.code != "" || len(c.completed) != 1 {
			t.Fatalf("%+v", c)
		}
	}
	h.view(func(tx *kv.ReadTx) {
		if h.RegistrationTokenValid(tx, "once") {
			t.Error("the token is good for another one, too")
		}
	})
	if c := step(accounts.StageDummy, ""); c.code != "M_FORBIDDEN" {
		t.Errorf("%+v", c)
	}
	if c := step(accounts.StageTerms, ""); c.code != "" || len(c.completed) != 2 {
		t.Errorf("%+v", c)
	}
	if c := step(accounts.StageEmail, `,"threepid_creds":{"sid":"x","client_secret":"y"}`); c.code != "M_THREEPID_AUTH_FAILED" {
		t.Errorf("%+v", c)
	}
	proof, c := h.ask(op, fmt.Sprintf(`{"type":"m.login.dummy","session":%q}`, first.session))
	if c.session != "" || proof.RegistrationToken != "once" {
		t.Errorf("%+v %+v", proof, c)
	}
}

func TestFallbackSession(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	op := accounts.Operation{Name: "deleteDevice", User: alice, Flows: [][]string{{accounts.StagePassword}}}
	_, c := h.ask(op, "")
	if _, err := h.FallbackSession(t.Context(), c.session, accounts.StageDummy); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("a stage of no flow: %v", err)
	}
	f, err := h.FallbackSession(t.Context(), c.session, accounts.StagePassword)
	if err != nil || f.User != alice || f.Done {
		t.Errorf("%+v %v", f, err)
	}
	refused(t, h.CompleteFallback(t.Context(), c.session, accounts.StagePassword, accounts.FallbackAnswer{Password: "wrong"}), "M_FORBIDDEN")
	refused(t, h.CompleteFallback(t.Context(), c.session, accounts.StagePassword, accounts.FallbackAnswer{NewUser: "@bob:house.test", Password: password}), "M_FORBIDDEN")
	refused(t, h.CompleteFallback(t.Context(), c.session, accounts.StagePassword, accounts.FallbackAnswer{Password: password}), "")
	if f, err := h.FallbackSession(t.Context(), c.session, accounts.StagePassword); err != nil || !f.Done {
		t.Errorf("%+v %v", f, err)
	}
	if proof, c := h.ask(op, fmt.Sprintf(`{"session":%q}`, c.session)); proof.User != alice || c.code != "" {
		t.Errorf("%+v %+v", proof, c)
	}
	h.clock = h.clock.Add(accounts.UIASessionLife)
	_, err = h.FallbackSession(t.Context(), c.session, accounts.StagePassword)
	refused(t, err, "M_FORBIDDEN")
}
