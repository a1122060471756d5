package server_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/clientapi"
	"porchlight/server/mail/mailtest"
	"porchlight/server/ntfy"
	"porchlight/server/panel"
	"porchlight/server/servertest"
	"porchlight/server/web"
)

// confirmation is something that one person can begin and another complete. Whoever completes
// it acts for themselves at the wish of the one who began, so they have to see who asks for
// what, or must not be able to complete it.
type confirmation struct {
	begins    string // who may begin it
	completes string // who may complete it
	shown     string // what the one who completes it is shown; empty: there is no page
}

const (
	anybody    = "anybody"
	inTheReply = "the client that began, in the body of its own request"
)

// confirmations is all of them. TestConfirmationsAreAllKnown finds those that are missing: each
// stage of interactive authentication, each operation that has it, each purpose of a mail, and
// each operation that changes something without an access token.
var confirmations = map[string]confirmation{
	"stage m.login.password": {
		"a device that is signed in; without one there is no page", "whoever has the account's password",
		"the device, its address, the account, the operation, and that a link from others is not to be followed",
	},
	"stage m.login.email.identity":     {anybody, "the reader of the mail: see the purposes", ""},
	"stage m.login.registration_token": {anybody, "whoever has a token", "the address, and the name of the account: no other can be made afterwards"},
	"stage m.login.terms":              {anybody, anybody, "the address, and the name of the account: no other can be made afterwards"},
	"stage m.login.dummy":              {anybody, anybody, "the address, and the name of the account: no other can be made afterwards"},

	"operation register":               {anybody, inTheReply, "as the stages say"},
	"operation changePassword":         {"a device; or anybody, who then gives the password or has the mail", inTheReply, "as the stage m.login.password says"},
	"operation deactivateAccount":      {"a device; or anybody, who then gives the password", inTheReply, "as the stage m.login.password says"},
	"operation add3PID":                {"a device", inTheReply, "as the stage m.login.password says"},
	"operation deleteDevice":           {"a device", inTheReply, "as the stage m.login.password says"},
	"operation deleteDevices":          {"a device", inTheReply, "as the stage m.login.password says"},
	"operation generateLoginToken":     {"a device", inTheReply, "as the stage m.login.password says"},
	"operation uploadCrossSigningKeys": {"a device", inTheReply, "as the stage m.login.password says"},

	"mail register": {anybody, "the reader of the mail, by a button", "the address on the network, the mail address, what for"},
	"mail add":      {anybody, "the reader of the mail, by a button", "the address on the network, the mail address, what for, and the account if the client says so"},
	"mail reset":    {anybody, "the reader of the mail, by a button", "the address on the network, the account, and that whoever asked chooses the password"},

	"route login":                            {anybody, "whoever has the password or a login token, which a device gets by its password", ""},
	"route refresh":                          {"the device that has the token", "the same", ""},
	"route register":                         {anybody, "see operation register", ""},
	"route registerBySecret":                 {anybody, "whoever has the shared secret, over the account's particulars", ""},
	"route changePassword":                   {anybody, "see operation changePassword", ""},
	"route deactivateAccount":                {anybody, "see operation deactivateAccount", ""},
	"route authFallbackDone":                 {anybody, "see the stages", ""},
	"route confirmEmail":                     {anybody, "see the mails", ""},
	"route requestTokenToRegisterEmail":      {anybody, "see mail register", ""},
	"route requestTokenTo3PIDEmail":          {anybody, "see mail add", ""},
	"route requestTokenToResetPasswordEmail": {anybody, "see mail reset", ""},
	"route requestTokenToRegisterMSISDN":     {anybody, "nobody: it is refused", ""},
	"route requestTokenTo3PIDMSISDN":         {anybody, "nobody: it is refused", ""},
	"route requestTokenToResetPasswordMSISDN": {
		anybody, "nobody: it is refused", "",
	},
	"route porchlightClaim":     {"the server, which shows a code at its first start", "whoever has the code; they choose name and password in the same step", "that they will own the server"},
	"route porchlightRenewPush": {"a browser", "the same: it shows the secret keys of its old subscription", ""},
	"route notify":              {anybody, "nobody: it is a message to a topic", ""},
}

// TestConfirmationsAreAllKnown holds the table above to what the server does.
func TestConfirmationsAreAllKnown(t *testing.T) {
	known := map[string]bool{}
	for _, stage := range accounts.Stages() {
		known["stage "+stage] = true
	}
	for _, purpose := range accounts.Purposes() {
		known["mail "+string(purpose)] = true
	}
	for _, op := range interactiveOperations(t) {
		known["operation "+op] = true
	}
	routes := clientapi.New(clientapi.Config{SharedSecret: "x"}).Routes()
	routes = append(append(routes, (&panel.Panel{}).Routes()...), (&ntfy.Server{}).Routes()...)
	for _, r := range routes {
		if r.Access != web.User && r.Method != "GET" {
			known["route "+r.Op] = true
		}
	}
	for name := range known {
		if confirmations[name] == (confirmation{}) {
			t.Errorf("%s: nobody has thought of who may begin it, who may complete it, and what they are shown", name)
		}
	}
	for name, c := range confirmations {
		if !known[name] {
			t.Errorf("there is no %s any more", name)
		}
		if c.begins == "" || c.completes == "" {
			t.Errorf("%s: the table is not filled in", name)
		}
	}
}

// interactiveOperations are the operations whose bodies have "auth" in the standard.
func interactiveOperations(t *testing.T) []string {
	t.Helper()
	spec, err := servertest.TheSpec()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for id, op := range spec.Operations {
		if op.Body == nil {
			continue
		}
		properties, _ := spec.Deref(op.Body.Schema)["properties"].(map[string]any)
		if properties["auth"] != nil {
			all = append(all, id)
		}
	}
	return all
}

// masterKey is a cross-signing key made from a letter.
func masterKey(letter string) string {
	key := strings.Repeat(letter, 42) + "A"
	return fmt.Sprintf(`"master_key":{"user_id":"@alice:house.test","usage":["master"],"keys":{"ed25519:%[1]s":%[1]q}}`, key)
}

// interactive is how each operation with interactive authentication is asked for.
var interactive = map[string]struct {
	method, path, body string // the body without its brackets
	user               bool   // it needs a signed-in user
	stages             []string
}{
	"changePassword":         {"POST", "v3/account/password", `"new_password":"battery staple"`, false, []string{accounts.StagePassword}},
	"deactivateAccount":      {"POST", "v3/account/deactivate", `"erase":false`, false, []string{accounts.StagePassword}},
	"add3PID":                {"POST", "v3/account/3pid/add", `"sid":"x","client_secret":"s"`, true, []string{accounts.StagePassword}},
	"deleteDevice":           {"DELETE", "v3/devices/X", ``, true, []string{accounts.StagePassword}},
	"deleteDevices":          {"POST", "v3/delete_devices", `"devices":["X"]`, true, []string{accounts.StagePassword}},
	"generateLoginToken":     {"POST", "v1/login/get_token", ``, true, []string{accounts.StagePassword}},
	"uploadCrossSigningKeys": {"POST", "v3/keys/device_signing/upload", masterKey("B"), true, []string{accounts.StagePassword}},
	"register":               {"POST", "v3/register", `"username":"mallory","password":"battery staple"`, false, []string{accounts.StageRegistrationToken, accounts.StageTerms, accounts.StageDummy}},
}

const ownersPassword = "correct horse"

// interactiveServer is a server where all of interactive is possible.
func interactiveServer(t *testing.T) *servertest.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "terms.json")
	if err := os.WriteFile(file, []byte(`{"policies":{"tos":{"version":"1","en":{"name":"Terms","url":"https://house.test/terms"}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := mailtest.Start(t)
	s := servertest.New(t, func(c *server.Config) {
		c.Registration, c.People.TermsFile = server.RegistrationToken, file
		c.PublicURL = "https://house.test/"
		c.People.Mail = server.MailConfig{Host: relay.Host, Port: relay.Port, Security: "none", From: "house@house.test"}
	})
	for _, name := range []string{"alice", "bob"} {
		s.SetPassword(name, ownersPassword)
	}
	s.User("alice").Must("POST", "v3/keys/device_signing/upload", "{"+masterKey("A")+"}", nil)
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
		_, err := s.Accounts.CreateRegistrationToken(tx, "invited", 0, time.Time{})
		return err
	})
	return s
}

// begin asks for an operation and returns the session of the challenge.
func begin(t *testing.T, s *servertest.Server, token, op, auth string) (session string, r *servertest.Response) {
	t.Helper()
	o := interactive[op]
	parts := slices.DeleteFunc([]string{o.body, auth}, func(part string) bool { return part == "" })
	r = s.Ask(t.Context(), token, o.method, o.path, strings.NewReader("{"+strings.Join(parts, ",")+"}"))
	var challenge struct{ Session string }
	if r.Status == 401 {
		r.JSON(t, &challenge)
	}
	return challenge.Session, r
}

// TestConfirmationsSayWhoAsksForWhat opens the page of each stage of each operation: where
// somebody is signed in it says who asks for what, and where nobody is it takes no password.
func TestConfirmationsSayWhoAsksForWhat(t *testing.T) {
	s := interactiveServer(t)
	pages := 0
	page := func(method, stage, session, form string) *servertest.Response {
		pages++
		return s.Ask(t.Context(), "", method, "v3/auth/"+stage+"/fallback/web?session="+url.QueryEscape(session), strings.NewReader(form))
	}
	forms := map[string]string{
		accounts.StagePassword:          "user=alice&password=" + url.QueryEscape(ownersPassword),
		accounts.StageRegistrationToken: "token=invited&new_user=" + url.QueryEscape("@mallory:house.test"),
		accounts.StageTerms:             "new_user=" + url.QueryEscape("@mallory:house.test"),
	}
	asked := map[string]bool{}
	for _, op := range slices.Sorted(maps.Keys(interactive)) {
		for _, token := range []string{"", s.User("alice").Token} {
			o := interactive[op]
			if token == "" && o.user {
				continue
			}
			session, r := begin(t, s, token, op, "")
			if session == "" {
				t.Fatalf("%s: %d %s", op, r.Status, r.Body)
			}
			stage := o.stages[0]
			shown := page("GET", stage, session, "")
			if token == "" && stage == accounts.StagePassword {
				done := page("POST", stage, session, forms[stage])
				if shown.Status != 403 || done.Status != 403 || strings.Contains(string(shown.Body)+string(done.Body), `type="password"`) {
					t.Errorf("%s of nobody: the page takes a password: %d, then %d", op, shown.Status, done.Status)
				}
				if _, r := begin(t, s, "", op, fmt.Sprintf(`"auth":{"session":%q}`, session)); r.Status != 401 {
					t.Errorf("%s of nobody: after the page it is done: %d %s", op, r.Status, r.Body)
				}
				continue
			}
			want := []string{"192.0.2.1", "Go on only if you did this yourself", "asked"}
			if op == "register" {
				want = append(want, "@mallory:house.test")
			} else {
				want = append(want, "@alice:house.test", "ALICE")
			}
			for _, part := range want {
				if shown.Status != 200 || !strings.Contains(string(shown.Body), part) {
					t.Errorf("%s: the page does not show %q: %d %s", op, part, shown.Status, shown.Body)
				}
			}
			sentence := regexp.MustCompile(`to <strong>([^<]+)</strong>\.`).FindSubmatch(shown.Body)
			if sentence == nil || op != "register" && asked[string(sentence[1])] {
				t.Errorf("%s: what is asked for is not said, or not told apart: %s", op, shown.Body)
				continue
			}
			asked[string(sentence[1])] = true
			if done := page("POST", stage, session, forms[stage]); done.Status != 200 || !strings.Contains(string(done.Body), "authDone") {
				t.Errorf("%s: %d %s", op, done.Status, done.Body)
			}
		}
	}
	if len(asked) != len(interactive) {
		t.Errorf("%d of %d operations have a page", len(asked), len(interactive))
	}
	t.Logf("%d pages", pages)
}

// TestConfirmationsAreOfOneRequest completes a session and tries to use it for each other
// operation, by each other device, and with another body.
func TestConfirmationsAreOfOneRequest(t *testing.T) {
	s := interactiveServer(t)
	tokens := map[string]string{
		"nobody": "", "bob": s.User("bob").Token, "alice's other device": s.User("alice#2").Token, "alice": s.User("alice").Token,
	}
	uses := 0
	for _, op := range slices.Sorted(maps.Keys(interactive)) {
		if op == "register" {
			continue // see TestConfirmationsOfOneName
		}
		session, _ := begin(t, s, tokens["alice"], op, "")
		r := s.Ask(t.Context(), "", "POST", "v3/auth/m.login.password/fallback/web?session="+url.QueryEscape(session),
			strings.NewReader("password="+url.QueryEscape(ownersPassword)))
		if r.Status != 200 {
			t.Fatalf("%s: %d %s", op, r.Status, r.Body)
		}
		auth := fmt.Sprintf(`"auth":{"session":%q}`, session)
		for who, token := range tokens {
			for other, o := range interactive {
				if who == "alice" && other == op || token == "" && o.user {
					continue
				}
				uses++
				_, r := begin(t, s, token, other, auth)
				if r.Status < 400 || r.Status == 401 && strings.Contains(string(r.Body), session) {
					t.Errorf("%s as %s goes on with alice's session for %s: %d %s", other, who, op, r.Status, r.Body)
				}
			}
		}
		o := interactive[op]
		if o.body != "" && op != "uploadCrossSigningKeys" {
			uses++
			body := "{" + strings.NewReplacer(`"battery`, `"other`, "false", "true", `"x"`, `"y"`, `"X"`, `"Y"`).Replace(o.body) + "," + auth + "}"
			if r := s.Ask(t.Context(), tokens["alice"], o.method, o.path, strings.NewReader(body)); r.Status != 401 || strings.Contains(string(r.Body), session) {
				t.Errorf("%s with another body goes on with the session: %d %s", op, r.Status, r.Body)
			}
		}
	}
	t.Logf("%d uses were refused", uses)
}

// TestConfirmationsOfOneName has somebody type their registration token into the page of a
// stranger's session: the account that is made is the one that the page named.
func TestConfirmationsOfOneName(t *testing.T) {
	s := interactiveServer(t)
	register := func(name, auth string) *servertest.Response {
		return s.Ask(t.Context(), "", "POST", "v3/register", strings.NewReader(fmt.Sprintf(`{"username":%q,"password":"battery staple"%s}`, name, auth)))
	}
	var c struct{ Session string }
	r := s.Ask(t.Context(), "", "POST", "v3/register", strings.NewReader(`{}`)) // clients ask for the stages first
	r.JSON(t, &c)
	auth := fmt.Sprintf(`,"auth":{"session":%q}`, c.Session)
	if r := register("friend", auth); r.Status != 401 || !strings.Contains(string(r.Body), c.Session) {
		t.Fatalf("a name that is chosen later: %d %s", r.Status, r.Body)
	}
	page := func(form string) *servertest.Response {
		return s.Ask(t.Context(), "", "POST", "v3/auth/m.login.registration_token/fallback/web?session="+url.QueryEscape(c.Session), strings.NewReader(form))
	}
	if r := page("token=invited"); r.Status != 403 {
		t.Errorf("a page that had shown no name: %d %s", r.Status, r.Body)
	}
	if r := page("token=invited&new_user=" + url.QueryEscape("@friend:house.test")); r.Status != 200 {
		t.Errorf("the page: %d %s", r.Status, r.Body)
	}
	if r := register("mallory", auth); r.Status != 401 || strings.Contains(string(r.Body), c.Session) {
		t.Errorf("another name than the page had shown: %d %s", r.Status, r.Body)
	}
	terms := fmt.Sprintf(`,"auth":{"session":%q,"type":"m.login.terms"}`, c.Session)
	if r := register("friend", terms); r.Status != 401 || !strings.Contains(string(r.Body), "m.login.terms\",\"m.login.dummy") {
		t.Errorf("the terms: %d %s", r.Status, r.Body)
	}
	dummy := fmt.Sprintf(`,"auth":{"session":%q,"type":"m.login.dummy"}`, c.Session)
	if r := register("friend", dummy); r.Status != 200 {
		t.Errorf("the name that the page had shown: %d %s", r.Status, r.Body)
	}
}
