package server_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/servertest"
)

// What may end a secret.
const (
	logout         = "the session logs out"
	deleteDevice   = "another session deletes the device"
	changePassword = "the password is changed elsewhere"
	logoutAll      = "another session logs out everywhere"
	lock           = "the account is locked"
	suspend        = "the account is suspended"
	deactivate     = "the account is closed"
)

var endings = []string{logout, deleteDevice, changePassword, logoutAll, lock, suspend, deactivate}

// allButSuspension ends what belongs to a session: who is suspended may still read.
var allButSuspension = slices.DeleteFunc(slices.Clone(endings), func(e string) bool { return e == suspend })

// secret is something by which whoever has it acts or reads as a person, until it ends.
type secret struct {
	name   string
	whose  string
	ends   []string // besides its own time
	tables []*kv.Keyspace
	// make has the session of a thief make it; use says whether it still works.
	make func(t *thief) string
	use  func(t *thief, made string) bool
}

// secrets is all of them.
var secrets = []secret{
	{
		"access token", "the session's", allButSuspension, []*kv.Keyspace{kv.AccessTokens, kv.DeviceTokens},
		func(t *thief) string { return t.token },
		func(t *thief, made string) bool { return t.ask(made, "GET", "v3/account/whoami", "").Status == 200 },
	}, {
		"refresh token", "the session's", allButSuspension, []*kv.Keyspace{kv.RefreshTokens, kv.DeviceTokens},
		func(t *thief) string { return t.refresh },
		func(t *thief, made string) bool {
			return t.ask("", "POST", "v3/refresh", fmt.Sprintf(`{"refresh_token":%q}`, made)).Status == 200
		},
	}, {
		"login token", "the session's", allButSuspension, []*kv.Keyspace{kv.LoginTokens},
		func(t *thief) string {
			return t.field("login_token", "POST", "v1/login/get_token", `{"auth":`+t.auth()+`}`)
		},
		func(t *thief, made string) bool {
			return t.ask("", "POST", "v3/login", fmt.Sprintf(`{"type":"m.login.token","token":%q}`, made)).Status == 200
		},
	}, {
		"OpenID token", "the session's", allButSuspension, []*kv.Keyspace{kv.OpenIDTokens},
		func(t *thief) string {
			return t.field("access_token", "POST", "v3/user/@bob:house.test/openid/request_token", `{}`)
		},
		func(t *thief, made string) bool {
			return t.ask("", "GET", "/_matrix/federation/v1/openid/userinfo?access_token="+made, "").Status == 200
		},
	}, {
		"secret of topics", "the session's", allButSuspension, []*kv.Keyspace{kv.PushSecrets},
		func(t *thief) string {
			return t.field("secret", "POST", "/_porchlight/push/secrets", `{"name":"phone"}`)
		},
		func(t *thief, made string) bool {
			answer := t.topic("GET", "/upBobsPhone123/json?poll=1", made, "")
			defer func() { _ = answer.Body.Close() }()
			return answer.StatusCode == 200
		},
	}, {
		"stream of a topic", "the session's", allButSuspension, []*kv.Keyspace{kv.PushSecrets},
		func(t *thief) string {
			made := t.field("secret", "POST", "/_porchlight/push/secrets", `{"name":"stream"}`)
			t.stream = bufio.NewScanner(t.topic("GET", "/upBobsStream123/json", made, "").Body)
			if !t.stream.Scan() || !strings.Contains(t.stream.Text(), `"open"`) {
				t.Fatalf("the stream begins with %q", t.stream.Text())
			}
			return made
		},
		func(t *thief, made string) bool {
			_ = t.topic("POST", "/upBobsStream123", "", "FOR BOB ONLY").Body.Close()
			return t.stream.Scan() && strings.Contains(t.stream.Text(), "FOR BOB ONLY")
		},
	}, {
		"pusher", "the session's; who is locked is told nothing: see server/push", slices.DeleteFunc(slices.Clone(allButSuspension), func(e string) bool { return e == lock }),
		[]*kv.Keyspace{kv.Pushers},
		func(t *thief) string {
			t.must("POST", "v3/pushers/set", `{"kind":"http","app_id":"a","pushkey":"thief","app_display_name":"A","device_display_name":"D",
				"lang":"en","data":{"url":"https://gateway.test/_matrix/push/v1/notify"}}`)
			return ""
		},
		func(t *thief, _ string) (works bool) {
			kvtest.View(t, t.s.DB, func(tx *kv.ReadTx) { works = len(t.s.Push.Pushers(tx, "@bob:house.test")) > 0 })
			return works
		},
	}, {
		"session of interactive authentication", "the session's", allButSuspension, nil, // in memory
		func(t *thief) string {
			var c struct{ Session string }
			t.ask(t.token, "DELETE", "v3/devices/X", `{}`).JSON(t, &c)
			page := "v3/auth/m.login.password/fallback/web?session=" + url.QueryEscape(c.Session)
			if r := t.ask("", "POST", page, "password="+url.QueryEscape(ownersPassword)); r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
			return c.Session
		},
		func(t *thief, made string) bool {
			return t.ask(t.token, "DELETE", "v3/devices/X", fmt.Sprintf(`{"auth":{"session":%q}}`, made)).Status == 200
		},
	}, {
		"validated address, to reset the password", "who reads the mail's", []string{changePassword, lock, deactivate}, []*kv.Keyspace{kv.Validations},
		func(t *thief) string {
			n := accounts.NewValidation{Purpose: accounts.PurposeReset, Address: "bob@house.test", Secret: "s", Attempt: 1, User: "@bob:house.test"}
			var sid string
			kvtest.Update(t, t.s.DB, func(tx *kv.WriteTx) error {
				id, token, err := t.s.Accounts.BeginValidation(tx, n)
				if sid = id; err == nil {
					_, err = t.s.Accounts.ConfirmValidation(tx, id, token)
				}
				return err
			})
			return sid
		},
		func(t *thief, made string) bool {
			return t.ask("", "POST", "v3/account/password", fmt.Sprintf(
				`{"new_password":"of the thief","auth":{"type":"m.login.email.identity","threepid_creds":{"sid":%q,"client_secret":"s"}}}`, made)).Status == 200
		},
	}, {
		"TURN credentials", "the user's: they carry packets and read nothing", []string{lock, deactivate}, nil, // computed
		func(*thief) string { return "@bob:house.test" },
		func(t *thief, made string) bool { return t.s.MayBeRelayed(made) },
	},
}

// noSecrets are the tables that look as if they held secrets of people, and why they do not.
var noSecrets = map[*kv.Keyspace]string{
	kv.RegTokens:     "an invitation is the server's: it makes an account and opens none",
	kv.EventIDs:      "an event's ID opens nothing",
	kv.SearchWords:   "words of events",
	kv.MediaBlobs:    "content by its hash; its names are in media",
	kv.MediaThumbs:   "thumbnails by the hash of their content",
	kv.MediaPreviews: "previews by the hash of their address",
	kv.DeviceKeys:    "public keys",
	kv.OneTimeKeys:   "public keys",
	kv.FallbackKeys:  "public keys",
	kv.CrossSigning:  "public keys",
	kv.KeySignatures: "signatures of public keys",
	kv.KeyCounts:     "counts of public keys",
	kv.BackupVersion: "read with an access token",
	kv.BackupSizes:   "how many bytes",
	kv.BackupKeys:    "encrypted; read with an access token",
	kv.Dehydrated:    "encrypted; read with an access token, and nobody can log in as it",
	kv.PushKeys:      "the server's own",
	kv.PushOwners:    "whose a topic is",
}

var looksSecret = regexp.MustCompile(`token|secret|key|pusher|validation|dehydrated|nonce|code|credential`)

// TestSecretsAreAllKnown finds tables with secrets that the table above does not have.
func TestSecretsAreAllKnown(t *testing.T) {
	known := map[*kv.Keyspace]bool{}
	for _, s := range secrets {
		for _, table := range s.tables {
			known[table] = true
		}
	}
	for _, table := range kv.Ledger() {
		suspect := table.Bucket == kv.AccessTokens.Bucket || looksSecret.MatchString(table.Name)
		if suspect && !known[table] && noSecrets[table] == "" {
			t.Errorf("the table %s may hold secrets (%s): nobody has thought of what ends them", table.Name, table.Caption)
		}
		if known[table] && noSecrets[table] != "" {
			t.Errorf("%s has secrets, and has none", table.Name)
		}
	}
}

// thief is who holds a session of bob's.
type thief struct {
	*testing.T
	s              *servertest.Server
	token, refresh string
	stream         *bufio.Scanner
}

func (t *thief) ask(token, method, path, body string) *servertest.Response {
	t.Helper()
	return t.s.AskIn(t.Context(), t, token, method, path, strings.NewReader(body))
}

func (t *thief) must(method, path, body string) *servertest.Response {
	t.Helper()
	r := t.ask(t.token, method, path, body)
	if r.Status != 200 {
		t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
	}
	return r
}

func (t *thief) field(name, method, path, body string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(t.must(method, path, body).Body, &all); err != nil {
		t.Fatal(err)
	}
	text, _ := all[name].(string)
	if text == "" {
		t.Fatalf("%s %s: no %s", method, path, name)
	}
	return text
}

func (t *thief) auth() string {
	return fmt.Sprintf(`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"bob"},"password":%q}`, ownersPassword)
}

// topic asks the server's topics, over the network.
func (t *thief) topic(method, path, secret, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+t.s.Addrs()[0].String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("bob:"+secret)))
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// end does what may end a secret.
func (t *thief) end(how string) {
	t.Helper()
	bob := t.s.User("bob")
	switch how {
	case logout:
		t.must("POST", "v3/logout", `{}`)
	case deleteDevice:
		bob.Must("DELETE", "v3/devices/THIEF", `{"auth":`+t.auth()+`}`, nil)
	case changePassword:
		bob.Must("POST", "v3/account/password", `{"new_password":"battery staple","auth":`+t.auth()+`}`, nil)
	case logoutAll:
		bob.Must("POST", "v3/logout/all", `{}`, nil)
	default:
		kvtest.Update(t, t.s.DB, func(tx *kv.WriteTx) error {
			switch how {
			case lock:
				return t.s.Accounts.SetLocked(tx, bob.ID, true)
			case suspend:
				return t.s.Accounts.SetSuspended(tx, bob.ID, true)
			case deactivate:
				return t.s.Accounts.Deactivate(tx, bob.ID, false)
			}
			return fmt.Errorf("nobody knows how %q is done", how)
		})
	}
}

// TestSecretsEnd has a thief with a session of bob's make every secret, does each of what may
// end them, and tries them all.
func TestSecretsEnd(t *testing.T) {
	for _, how := range endings {
		t.Run(how, func(t *testing.T) {
			s := interactiveServer(t)
			thief := &thief{T: t, s: s}
			kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
				return s.Accounts.AddThreepid(tx, "@bob:house.test", accounts.Threepid{Medium: accounts.MediumEmail, Address: "bob@house.test"})
			})
			var login struct {
				Access  string `json:"access_token"`
				Refresh string `json:"refresh_token"`
			}
			thief.ask("", "POST", "v3/login", fmt.Sprintf(`{"type":"m.login.password","user":"bob","password":%q,"device_id":"THIEF","refresh_token":true}`, ownersPassword)).JSON(t, &login)
			thief.token, thief.refresh = login.Access, login.Refresh
			made := map[string]string{}
			for _, secret := range secrets {
				made[secret.name] = secret.make(thief)
			}
			thief.end(how)
			for _, secret := range secrets {
				works, want := secret.use(thief, made[secret.name]), !slices.Contains(secret.ends, how)
				if works != want {
					t.Errorf("%s: works %v, want %v", secret.name, works, want)
				}
				if secret.whose == "" {
					t.Errorf("%s: whose is it?", secret.name)
				}
			}
		})
	}
}

// TestSecretsOfEarlierReleases: what no session is known to have made belongs to the user, and
// ends where all sessions do.
func TestSecretsOfEarlierReleases(t *testing.T) {
	for _, how := range endings {
		t.Run(how, func(t *testing.T) {
			s := interactiveServer(t)
			thief := &thief{T: t, s: s, token: s.User("bob#2").Token}
			var made string
			kvtest.Update(t, s.DB, func(tx *kv.WriteTx) (err error) {
				made, _, err = s.Push.NewSecret(tx, "@bob:house.test", "", "of an earlier release")
				return err
			})
			if how == deleteDevice {
				s.User("bob").Must("DELETE", "v3/devices/"+url.PathEscape("BOB#2"), `{"auth":`+thief.auth()+`}`, nil)
			} else {
				thief.end(how)
			}
			answer := thief.topic("GET", "/upBobsPhone123/json?poll=1", made, "")
			_, err := io.Copy(io.Discard, answer.Body)
			want := slices.Contains([]string{logout, deleteDevice, suspend}, how)
			if err != nil || (answer.StatusCode == 200) != want {
				t.Errorf("%d %v, want it to work: %v", answer.StatusCode, err, want)
			}
		})
	}
}

// TestTopicsOfAppsArePrivate: a topic that an app has made up is for whoever listened first.
func TestTopicsOfAppsArePrivate(t *testing.T) {
	s := interactiveServer(t)
	ask := &thief{T: t, s: s}
	secretOf := func(who string) string {
		ask.token = s.User(who).Token
		return ask.field("secret", "POST", "/_porchlight/push/secrets", `{"name":"phone"}`)
	}
	pusher := func(who, topic string) {
		s.User(who).Must("POST", "v3/pushers/set", fmt.Sprintf(`{"kind":"http","app_id":"a","pushkey":"http://%s/%s","app_display_name":"A","device_display_name":"D",
			"lang":"en","data":{"url":"http://localhost/_matrix/push/v1/notify"},"append":true}`, s.Addrs()[0], topic), nil)
	}
	try := func(what, topics, secret string, status int) {
		t.Helper()
		if answer := ask.topic("GET", "/"+topics+"/json?poll=1", secret, ""); answer.StatusCode != status {
			t.Errorf("%s: %d, want %d", what, answer.StatusCode, status)
		}
	}
	bobs, mallorys := secretOf("bob"), secretOf("alice")
	try("bob's phone listens", "upBobsPhone123", bobs, 200)
	try("another member", "upBobsPhone123", mallorys, 401)
	try("among others", "upMallorys1234,upBobsPhone123", mallorys, 401)
	pusher("alice", "upBobsPhone123")
	try("a pusher of the member's own does not help", "upBobsPhone123", mallorys, 401)
	try("bob's phone still", "upBobsPhone123", bobs, 200)
	try("topics of people are shared", "water-in-the-cellar", bobs, 200)
	try("topics of people are shared", "water-in-the-cellar", mallorys, 200)

	pusher("bob", "upEarlier12345") // of an earlier release, when nobody noted who listens
	try("another member is faster", "upEarlier12345", mallorys, 401)
	try("bob", "upEarlier12345", bobs, 200)
	pusher("carol", "upSameTablet12") // carol has no secret of her own: it is a tablet of both
	try("a tablet with two accounts", "upBobsPhone123,upSameTablet12", bobs, 200)

	again := secretOf("bob#2")
	s.User("bob").Must("POST", "v3/logout", `{}`, nil)
	try("the old secret", "upBobsPhone123", bobs, 401)
	try("the phone gets another secret", "upBobsPhone123", again, 200)
	s.User("bob#2").Must("POST", "v3/logout", `{}`, nil)
	try("nobody has one", "upSameTablet12", mallorys, 200)
}
