package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/mail/mailtest"
	"porchlight/server/servertest"
)

// sameEmail are addresses that the standard holds to be one and mailboxes need not: the first
// is the form that is stored. A mail to any other may reach somebody else (spec: appendices,
// 3PID types).
var sameEmail = []string{
	"strass.kiefi@example.test",
	"STRASS.KIEFI@Example.TEST",
	"straß.kiefi@example.test",
	"ſtraſs.kiefi@example.test",
	"strass.\u212aiefi@example.test", // KELVIN SIGN
	"strass.kieﬁ@example.test",
	"ﬆrass.kiefi@example.test",
	"strass.kiefi@ﬀ.example.test",
}

// TestCanonicalEmail asks for each mail that the server sends, with each form of an address,
// and looks where it goes; then it uses the address in each other way.
func TestCanonicalEmail(t *testing.T) {
	relay := mailtest.Start(t)
	s := servertest.New(t, func(c *server.Config) {
		c.Registration, c.PublicURL = server.RegistrationOpen, "https://house.test/"
		c.People.Mail = server.MailConfig{Host: relay.Host, Port: relay.Port, Security: "none", From: "house@house.test"}
		c.Push.MailAfter, c.Push.MailEvery = time.Millisecond, time.Millisecond
	})
	s.SetPassword("alice", ownersPassword)
	alice, bob := s.User("alice"), s.User("bob")
	var made struct {
		Room string `json:"room_id"`
	}
	bob.Must("POST", "v3/createRoom", `{"invite":["{@alice}"],"preset":"trusted_private_chat","is_direct":true}`, &made)
	alice.Must("POST", "v3/rooms/"+made.Room+"/join", `{}`, nil)
	var sent int
	goesTo := func(what, want string) {
		t.Helper()
		mails := relay.Wait(t.Context(), t, sent+1) // the worker of a pusher sends by itself
		if len(mails) != sent+1 || mails[sent].To != want {
			t.Fatalf("%s: %d mails, the last to %s, want one to %s", what, len(mails)-sent, mails[len(mails)-1].To, want)
		}
		sent = len(mails)
	}
	text := func(user *servertest.User, method, path, body string, args ...any) {
		t.Helper()
		if r := user.Do(method, path, fmt.Sprintf(body, args...)); r.Status != 200 {
			t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
		}
	}
	for i, form := range sameEmail {
		// A name of its own for each form and way: only so many mails go to one address.
		given, want := fmt.Sprintf("register%d.%s", i, form), fmt.Sprintf("register%d.%s", i, sameEmail[0])
		if strings.Contains(form, "ﬀ") {
			want = strings.Replace(want, "@", "@ff.", 1)
		}
		s.Ask(t.Context(), "", "POST", "v3/register/email/requestToken", strings.NewReader(
			fmt.Sprintf(`{"client_secret":"s","email":%q,"send_attempt":1}`, given)))
		goesTo("register "+form, want)

		text(alice, "POST", "v3/account/3pid/email/requestToken", `{"client_secret":"s","email":%q,"send_attempt":1}`, strings.Replace(given, "register", "add", 1))
		goesTo("add "+form, strings.Replace(want, "register", "add", 1))

		given, want = strings.Replace(given, "register", "mine", 1), strings.Replace(want, "register", "mine", 1)
		kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
			return s.Accounts.AddThreepid(tx, alice.ID, accounts.Threepid{Medium: accounts.MediumEmail, Address: want})
		})
		text(alice, "POST", "v3/account/password/email/requestToken", `{"client_secret":"s","email":%q,"send_attempt":1}`, given)
		goesTo("reset "+form, want)

		pusher := `{"kind":%s,"app_id":"m.email","pushkey":%q,"app_display_name":"M","device_display_name":"M","lang":"en","data":{}}`
		text(alice, "POST", "v3/pushers/set", pusher, `"email"`, given)
		text(bob, "PUT", fmt.Sprintf("v3/rooms/%s/send/m.room.message/%d", made.Room, i), `{"msgtype":"m.text","body":"hello"}`)
		goesTo("push "+form, want)
		text(alice, "POST", "v3/pushers/set", pusher, "null", given)
		if r := alice.Do("GET", "v3/pushers", ""); !strings.Contains(string(r.Body), `"pushers":[]`) {
			t.Errorf("push %s: the pusher is still there: %s", form, r.Body)
		}

		text(bob, "POST", "v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.thirdparty","medium":"email","address":%q},"password":%q}`, given, ownersPassword)
		text(alice, "POST", "v3/account/3pid/delete", `{"medium":"email","address":%q}`, given)
	}
}

// quoted is a text as JSON.
func quoted(t *testing.T, text string) string {
	t.Helper()
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestCanonicalEmailIsOneForm holds every letter to it: the canonical form of a canonical form
// is itself, and whatever finds an account by it has the same one.
func TestCanonicalEmailIsOneForm(t *testing.T) {
	for c := rune(' '); c <= unicode.MaxRune; c++ {
		once := accounts.CanonicalEmail("a" + string(c) + "@x.test")
		if twice := accounts.CanonicalEmail(once); twice != once {
			t.Errorf("%U becomes %q, and that becomes %q", c, once, twice)
		}
	}
}

// TestCanonicalNames gives user names in forms that are the same to people, or only to Unicode,
// wherever a name is taken.
func TestCanonicalNames(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Registration = server.RegistrationOpen })
	s.SetPassword("kim", ownersPassword)
	s.SetPassword("mike", ownersPassword)
	const one, other, none = "the account", "another one", "nobody"
	for _, test := range []struct{ given, is string }{
		{"kim", one}, {"Kim", one}, {"KIM", one}, {"@kim:house.test", one}, {"@KIM:house.test", one}, {"@kim:HOUSE.test", one},
		{"\u212aim", none}, {"kım", none}, {"kİm", none}, {"ｋim", none}, {"@\u212aim:house.test", none},
		{"kim ", none}, {"kim\x00", none}, {"@kim:elsewhere.test", none},
		{"mike", other}, {"mi\u212ae", none},
	} {
		var user string
		kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
			if found := s.Accounts.Resolve(tx, test.given); s.Accounts.Exists(tx, found) {
				user = string(found)
			}
		})
		r := s.Ask(t.Context(), "", "POST", "v3/login", strings.NewReader(
			fmt.Sprintf(`{"type":"m.login.password","user":%s,"password":%q}`, quoted(t, test.given), ownersPassword)))
		var login struct {
			User string `json:"user_id"`
		}
		if r.Status == 200 {
			r.JSON(t, &login)
		}
		want := map[string]string{one: "@kim:house.test", other: "@mike:house.test"}[test.is]
		if user != want || login.User != want {
			t.Errorf("%q is %q, and logs in as %q; want %q", test.given, user, login.User, want)
		}
		if strings.HasPrefix(test.given, "@") {
			continue
		}
		// What finds an account is not free, and what is free finds none.
		body := fmt.Sprintf(`{"username":%s,"password":"battery staple","auth":{"type":"m.login.dummy"}}`, quoted(t, test.given))
		r = s.Ask(t.Context(), "", "POST", "v3/register", strings.NewReader(body))
		wanted := map[bool]string{true: "M_USER_IN_USE", false: "M_INVALID_USERNAME"}[want != ""]
		if r.Errcode() != wanted {
			t.Errorf("register %q: %d %s, want %s", test.given, r.Status, r.Body, wanted)
		}
	}
}
