package clientapi_test

import (
	"html"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/mail/mailtest"
	"porchlight/server/servertest"
)

// withMail starts a house that has a relay.
func withMail(t *testing.T, options ...servertest.Option) (*servertest.Server, *mailtest.Relay) {
	relay := mailtest.Start(t)
	mail := func(c *server.Config) {
		c.PublicURL = "https://house.test/"
		c.People.Mail = server.MailConfig{Host: relay.Host, Port: relay.Port, Security: "none", From: "house@house.test"}
	}
	return servertest.New(t, append([]servertest.Option{mail}, options...)...), relay
}

var linkInMail = regexp.MustCompile(`https://house\.test(/_porchlight/validate_email\?\S+)`)

// follow opens the link of the last mail and presses the button there.
func follow(t *testing.T, s *servertest.Server, relay *mailtest.Relay) *servertest.Response {
	t.Helper()
	mails := relay.Mails()
	text := strings.ReplaceAll(strings.ReplaceAll(mails[len(mails)-1].Data, "=\n", ""), "=3D", "=")
	link := linkInMail.FindStringSubmatch(text)
	if link == nil {
		t.Fatalf("no link in %s", text)
	}
	if page := s.Ask(t.Context(), "", "GET", link[1], nil); page.Status != 200 || !strings.Contains(string(page.Body), "It was me") {
		t.Fatalf("the page: %d %s", page.Status, page.Body)
	}
	return s.Ask(t.Context(), "", "POST", link[1], nil)
}

func TestNoMail(t *testing.T) {
	s := servertest.New(t)
	const email, phone = `{"client_secret":"s","email":"a@b.test","send_attempt":1}`, `{"client_secret":"s","country":"GB","phone_number":"07700900001","send_attempt":1}`
	for _, path := range []string{"v3/register/", "v3/account/3pid/", "v3/account/password/"} {
		s.Run(t, []servertest.Case{
			{Name: path + "email", Method: "POST", Path: path + "email/requestToken", Body: email, Status: 400, Errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED"},
			{Name: path + "email: nothing", Method: "POST", Path: path + "email/requestToken", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
			{Name: path + "email: bad secret", Method: "POST", Path: path + "email/requestToken", Body: `{"client_secret":"ü","email":"a@b.test","send_attempt":1}`, Status: 400, Errcode: "M_INVALID_PARAM"},
			{Name: path + "msisdn", Method: "POST", Path: path + "msisdn/requestToken", Body: phone, Status: 400, Errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED"},
			{Name: path + "msisdn: nothing", Method: "POST", Path: path + "msisdn/requestToken", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		})
	}
	s.Run(t, []servertest.Case{
		{Name: "list: no token", Method: "GET", Path: "v3/account/3pid", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "list", Who: "alice", Method: "GET", Path: "v3/account/3pid", Status: 200, Want: `{"threepids":[]}`},
		{Name: "add: no token", Method: "POST", Path: "v3/account/3pid/add", Body: `{"client_secret":"s","sid":"x"}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "add", Who: "alice", Method: "POST", Path: "v3/account/3pid/add", Body: `{"client_secret":"s","sid":"x"}`, Status: 400, Errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED"},
	})
	creds := `{"client_secret":"s","id_server":"id.test","id_access_token":"t","sid":"x"}`
	s.Run(t, []servertest.Case{
		{Name: "post: no token", Method: "POST", Path: "v3/account/3pid", Body: `{"three_pid_creds":` + creds + `}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "post", Who: "alice", Method: "POST", Path: "v3/account/3pid", Body: `{"three_pid_creds":` + creds + `}`, Status: 403, Errcode: "M_SERVER_NOT_TRUSTED"},
		{Name: "post: nothing", Who: "alice", Method: "POST", Path: "v3/account/3pid", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "bind: no token", Method: "POST", Path: "v3/account/3pid/bind", Body: creds, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "bind", Who: "alice", Method: "POST", Path: "v3/account/3pid/bind", Body: creds, Status: 400, Errcode: "M_SERVER_NOT_TRUSTED"},
		{Name: "bind: nothing", Who: "alice", Method: "POST", Path: "v3/account/3pid/bind", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "delete: no token", Method: "POST", Path: "v3/account/3pid/delete", Body: `{"medium":"email","address":"a@b.test"}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "delete what is not there", Who: "alice", Method: "POST", Path: "v3/account/3pid/delete", Body: `{"medium":"email","address":"a@b.test"}`, Status: 400, Errcode: "M_THREEPID_NOT_FOUND"},
		{Name: "delete a star", Who: "alice", Method: "POST", Path: "v3/account/3pid/delete", Body: `{"medium":"star","address":"a"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "unbind: no token", Method: "POST", Path: "v3/account/3pid/unbind", Body: `{"medium":"email","address":"a@b.test"}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "unbind", Who: "alice", Method: "POST", Path: "v3/account/3pid/unbind", Body: `{"medium":"email","address":"a@b.test","id_server":"id.test"}`, Status: 200, Want: `{"id_server_unbind_result":"no-support"}`},
	})
}

func TestAddEmail(t *testing.T) {
	s, relay := withMail(t)
	s.SetPassword("alice", password)
	s.SetPassword("bob", password)
	const ask = "v3/account/3pid/email/requestToken"
	s.Run(t, []servertest.Case{
		{Name: "no address", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"nobody","send_attempt":1}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "link to a script", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"a@b.test","send_attempt":1,"next_link":"javascript:alert(1)"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "link without host", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"a@b.test","send_attempt":1,"next_link":"https:///x"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "ask", Who: "alice", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"Al@Example.test","send_attempt":1,"next_link":"https://app.test/done"}`, Status: 200, Want: `{"sid":"*"}`, Save: map[string]string{"sid": "sid"}},
		{Name: "ask again", Who: "alice", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"al@example.test","send_attempt":1}`, Status: 200, Want: `{"sid":"{sid}"}`},
	})
	if n := len(relay.Mails()); n != 1 {
		t.Fatalf("%d mails, want 1 for one attempt", n)
	}
	add := func(name, who, secret string, status int, errcode string) servertest.Case {
		return servertest.Case{
			Name: name, Who: who, Method: "POST", Path: "v3/account/3pid/add", Status: status, Errcode: errcode,
			Body: `{"client_secret":"` + secret + `","sid":"{sid}","auth":` + passwordAuth(who, password, "") + `}`,
		}
	}
	s.Run(t, []servertest.Case{add("too early", "alice", "s", 400, "M_THREEPID_AUTH_FAILED")})
	if r := follow(t, s, relay); r.Status != 303 || r.Header.Get("Location") != "https://app.test/done" {
		t.Errorf("%d to %q", r.Status, r.Header.Get("Location"))
	}
	s.Run(t, []servertest.Case{
		{Name: "asks for the password", Who: "alice", Method: "POST", Path: "v3/account/3pid/add", Body: `{"client_secret":"s","sid":"{sid}"}`, Status: 401, Want: `{"flows":[{"stages":["m.login.password"]}]}`},
		add("wrong secret", "alice", "x", 400, "M_THREEPID_AUTH_FAILED"),
		add("right", "alice", "s", 200, ""),
		add("only once", "alice", "s", 400, "M_THREEPID_AUTH_FAILED"),
		{Name: "list", Who: "alice", Method: "GET", Path: "v3/account/3pid", Status: 200, Want: `{"threepids":[{"medium":"email","address":"al@example.test","validated_at":"*","added_at":"*"}]}`},
		{Name: "in use", Who: "bob", Method: "POST", Path: ask, Body: `{"client_secret":"s2","email":"AL@example.test","send_attempt":1}`, Status: 400, Errcode: "M_THREEPID_IN_USE"},
		{Name: "log in with it", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.thirdparty","medium":"email","address":"aL@Example.test"},"password":"` + password + `"}`, Status: 200, Want: `{"user_id":"{@alice}"}`, Changes: servertest.Any},
		{Name: "log in the older way", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","medium":"email","address":"al@example.test","password":"` + password + `"}`, Status: 200, Want: `{"user_id":"{@alice}"}`, Changes: servertest.Any},
		{Name: "delete another's", Who: "bob", Method: "POST", Path: "v3/account/3pid/delete", Body: `{"medium":"email","address":"al@example.test"}`, Status: 400, Errcode: "M_THREEPID_NOT_FOUND"},
		{Name: "delete", Who: "alice", Method: "POST", Path: "v3/account/3pid/delete", Body: `{"medium":"email","address":"al@example.test"}`, Status: 200, Want: `{"id_server_unbind_result":"no-support"}`},
		{Name: "deleted", Who: "alice", Method: "GET", Path: "v3/account/3pid", Status: 200, Want: `{"threepids":[]}`},
		{Name: "capability", Who: "alice", Method: "GET", Path: "v3/capabilities", Status: 200, Want: `{"capabilities":{"m.3pid_changes":{"enabled":true}}}`},
	})
}

func TestResetPassword(t *testing.T) {
	s, relay := withMail(t)
	s.SetPassword("alice", password)
	const ask = "v3/account/password/email/requestToken"
	addEmail(t, s, relay, "alice", "al@example.test")
	s.Run(t, []servertest.Case{
		{Name: "nobody's", Method: "POST", Path: ask, Body: `{"client_secret":"r","email":"nobody@example.test","send_attempt":1}`, Status: 400, Errcode: "M_THREEPID_NOT_FOUND"},
		{Name: "ask", Method: "POST", Path: ask, Body: `{"client_secret":"r","email":"al@example.test","send_attempt":1}`, Status: 200, Save: map[string]string{"sid": "sid"}},
	})
	auth := `"auth":{"type":"m.login.email.identity","threepid_creds":{"sid":"{sid}","client_secret":"r"},"session":"{session}"}`
	s.Run(t, []servertest.Case{
		{Name: "flows", Method: "POST", Path: "v3/account/password", Body: `{"new_password":"battery staple"}`, Status: 401, Want: `{"flows":[{"stages":["m.login.password"]},{"stages":["m.login.email.identity"]}]}`, Save: map[string]string{"session": "session"}},
		{Name: "flows of who is logged in", Who: "alice", Method: "POST", Path: "v3/account/password", Body: `{"new_password":"battery staple"}`, Status: 401, Want: `{"flows":[{"stages":["m.login.password"]}]}`},
		{Name: "too early", Method: "POST", Path: "v3/account/password", Body: `{"new_password":"battery staple",` + auth + `}`, Status: 401, Errcode: "M_THREEPID_AUTH_FAILED", Want: `{"session":"{session}"}`},
	})
	if r := follow(t, s, relay); r.Status != 200 || !strings.Contains(string(r.Body), "al@example.test") {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	s.Run(t, []servertest.Case{
		{Name: "for another password", Method: "POST", Path: "v3/account/password", Body: `{"new_password":"of a thief",` + auth + `}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "right", Method: "POST", Path: "v3/account/password", Body: `{"new_password":"battery staple",` + auth + `}`, Status: 200, Changes: servertest.Any},
		{Name: "logged out everywhere", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "the new password", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"alice","password":"battery staple"}`, Status: 200, Changes: servertest.Any},
		{Name: "not twice", Method: "POST", Path: "v3/account/password", Body: `{"new_password":"third password","auth":{"type":"m.login.email.identity","threepid_creds":{"sid":"{sid}","client_secret":"r"}}}`, Status: 401, Errcode: "M_THREEPID_AUTH_FAILED"},
	})
}

// addEmail gives a user an address, the way that clients do.
func addEmail(t *testing.T, s *servertest.Server, relay *mailtest.Relay, who, address string) {
	t.Helper()
	var out struct{ SID string }
	s.User(who).Must("POST", "v3/account/3pid/email/requestToken", `{"client_secret":"add","email":"`+address+`","send_attempt":1}`, &out)
	follow(t, s, relay)
	s.User(who).Must("POST", "v3/account/3pid/add", `{"client_secret":"add","sid":"`+out.SID+`","auth":`+passwordAuth(who, password, "")+`}`, nil)
}

func TestRegisterWithEmail(t *testing.T) {
	s, relay := withMail(t, func(c *server.Config) { c.People.RegistrationEmail = "required" })
	s.SetPassword("bob", password)
	addEmail(t, s, relay, "bob", "bob@example.test")
	const ask = "v3/register/email/requestToken"
	s.Run(t, []servertest.Case{
		{Name: "flows", Method: "POST", Path: "v3/register", Body: `{"username":"alice","password":"` + password + `"}`, Status: 401, Want: `{"flows":[{"stages":["m.login.email.identity"]}]}`, Save: map[string]string{"session": "session"}},
		{Name: "address of an account", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"bob@example.test","send_attempt":1}`, Status: 200, Want: `{"sid":"*"}`},
	})
	if mails := relay.Mails(); !strings.Contains(mails[len(mails)-1].Data, "You have an account at house.test") {
		t.Errorf("the owner of the address was not told: %s", mails[len(mails)-1].Data)
	}
	s.Run(t, []servertest.Case{
		{Name: "ask", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"al@example.test","send_attempt":1}`, Status: 200, Save: map[string]string{"sid": "sid"}},
	})
	follow(t, s, relay)
	register := `{"username":"alice","password":"` + password + `","auth":{"type":"m.login.email.identity","threepid_creds":{"sid":"{sid}","client_secret":"s"},"session":"{session}"}}`
	s.Run(t, []servertest.Case{
		{Name: "right", Method: "POST", Path: "v3/register", Body: register, Status: 200, Want: `{"user_id":"@alice:house.test","access_token":"*"}`, Save: map[string]string{"token": "access_token"}},
	})
	s.Run(t, []servertest.Case{
		{Name: "the address is there", Token: s.Var("token"), Method: "GET", Path: "v3/account/3pid", Status: 200, Want: `{"threepids":[{"address":"al@example.test"}]}`},
	})
}

func TestMailFails(t *testing.T) {
	s, relay := withMail(t, func(c *server.Config) { c.People.NextLinkHosts = []string{"app.test"} })
	relay.Refuse(true)
	const ask, body = "v3/account/3pid/email/requestToken", `{"client_secret":"s","email":"a@example.test","send_attempt":1}`
	if r := s.User("alice").Do("POST", ask, body); r.Status != 502 || r.Errcode() != "M_UNKNOWN" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	relay.Refuse(false)
	s.Run(t, []servertest.Case{
		{Name: "the same attempt", Method: "POST", Path: ask, Body: body, Status: 200},
		{Name: "link elsewhere", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"b@example.test","send_attempt":1,"next_link":"https://evil.test"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "link", Method: "POST", Path: ask, Body: `{"client_secret":"s","email":"b@example.test","send_attempt":1,"next_link":"https://app.test/x"}`, Status: 200},
	})
	for i := len(relay.Mails()); i <= accounts.MaxMails; i++ {
		s.User("alice").Do("POST", ask, `{"client_secret":"s","email":"a@example.test","send_attempt":`+string(rune('1'+i))+`}`)
	}
	s.Run(t, []servertest.Case{
		{Name: "too many mails", Method: "POST", Path: ask, Body: `{"client_secret":"s2","email":"a@example.test","send_attempt":1}`, Status: 429, Errcode: "M_LIMIT_EXCEEDED"},
		{Name: "a link of nobody's", Method: "GET", Path: "/_porchlight/validate_email?sid=x&token=y", Status: 403},
	})
}

// terms are the policies of these tests, one of them with what a page has to escape.
const terms = `{"policies":{"terms":{"version":"1.2","en":{"name":"Terms <script>alert(1)</script>","url":"https://house.test/terms?a=1&b=2"}}}}`

func TestTermsAndFallback(t *testing.T) {
	file := filepath.Join(t.TempDir(), "terms.json")
	if err := os.WriteFile(file, []byte(terms), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.New(t, func(c *server.Config) {
		c.Registration, c.People.TermsFile = server.RegistrationToken, file
	})
	addToken(t, s, "once")
	const body = `"username":"alice","password":"` + password + `"`
	s.Run(t, []servertest.Case{
		{
			Name: "flows", Method: "POST", Path: "v3/register", Body: `{` + body + `}`, Status: 401, Save: map[string]string{"session": "session"},
			Want: `{"flows":[{"stages":["m.login.registration_token","m.login.terms"]}],"params":{"m.login.terms":` + terms + `}}`,
		},
		{Name: "terms before the token", Method: "POST", Path: "v3/register", Body: `{` + body + `,"auth":{"type":"m.login.terms","session":"{session}"}}`, Status: 401, Errcode: "M_FORBIDDEN"},
	})
	page := func(method, stage, session, form string, status int, part string) {
		t.Helper()
		r := s.Ask(t.Context(), "", method, "v3/auth/"+stage+"/fallback/web?session="+url.QueryEscape(session), strings.NewReader(form))
		if r.Status != status || !strings.Contains(string(r.Body), part) {
			t.Errorf("%s %s: %d %s, want %d with %q", method, stage, r.Status, r.Body, status, part)
		}
		if strings.Contains(string(r.Body), "<script>alert") || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s %s: %s", method, stage, r.Body)
		}
		if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %s", csp)
		}
	}
	session := s.Var("session")
	page("GET", "m.login.registration_token", "<script>alert(1)</script>", "", 403, "begin again")
	page("GET", "m.login.terms", session, "", 403, "begin again") // not the next one
	page("GET", "m.login.magic", session, "", 403, "begin again")
	page("GET", "m.login.registration_token", session, "", 200, `name="token"`)
	page("POST", "m.login.registration_token", session, "token=wrong", 403, "not valid")
	page("POST", "m.login.registration_token", session, "token=once&new_user="+url.QueryEscape("@alice:house.test"), 200, `postMessage("authDone", "*")`)
	page("GET", "m.login.registration_token", session, "", 200, "authDone")
	page("GET", "m.login.terms", session, "", 200, html.EscapeString(`https://house.test/terms?a=1&b=2`))
	page("POST", "m.login.terms", session, "new_user="+url.QueryEscape("@alice:house.test"), 200, "authDone")
	s.Run(t, []servertest.Case{
		{Name: "the session is enough", Method: "POST", Path: "v3/register", Body: `{` + body + `,"auth":{"session":"{session}"}}`, Status: 200, Want: `{"user_id":"@alice:house.test"}`},
	})
	r := s.Ask(t.Context(), "", "GET", "/_matrix/static/client/login/?device_id=X", nil)
	if r.Status != 200 || !strings.Contains(string(r.Body), "window.matrixLogin.onLogin(response)") || !strings.Contains(r.Header.Get("Content-Security-Policy"), "script-src 'nonce-") {
		t.Errorf("login page: %d %s", r.Status, r.Body)
	}
}
