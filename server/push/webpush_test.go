package push_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"porchlight/server/servertest"
	"porchlight/server/webpush/webpushtest"
)

// browser sets the pusher of a browser, as the page does.
func (h *house) browser(who string, s *webpushtest.Service, more string) {
	h.t.Helper()
	h.User(who).Must("POST", "v3/pushers/set", h.browserBody(s.P256dh, s.URL+"/send/1", s.Auth, more), nil)
}

func (h *house) browserBody(key, endpoint, auth, more string) string {
	return fmt.Sprintf(`{"kind":"http","app_id":"local.porchlight.page","pushkey":%q,"app_display_name":"Porchlight","device_display_name":"Browser","lang":"en",
		"data":{"url":"http://%s/_matrix/push/v1/notify","endpoint":%q,"auth":%q%s}}`, key, h.Addrs()[0], endpoint, auth, more)
}

func message(t *testing.T, s *webpushtest.Service) (m webpushtest.Message) {
	t.Helper()
	select {
	case m = <-s.Got:
	case <-time.After(patience):
		t.Fatal("no push came")
	}
	return m
}

// gone waits until a user has no pusher left.
func (h *house) gone(who string) {
	h.t.Helper()
	waitFor(h.t, func() bool {
		return strings.Contains(string(h.User(who).Do("GET", "v3/pushers", "").Body), `"pushers":[]`)
	})
}

func TestWebPush(t *testing.T) {
	h := newHouse(t, servertest.New(t, private), "alice", "bob", "carol")
	h.User("alice").Must("PUT", "v3/profile/{@alice}/displayname", `{"displayname":"Ada"}`, nil)
	h.User("alice").Must("PUT", "v3/rooms/{room}/state/m.room.name", `{"name":"Kitchen"}`, nil)
	s := webpushtest.Start(t, h.Push.WebPushKey())
	h.browser("bob", s, "")
	one := h.say("alice", "hello")
	m := message(t, s)
	servertest.Match(t, []byte(m.Text), `{"event_id":"`+one+`","room_id":"`+h.room+`","type":"m.room.message","sender_display_name":"Ada","room_name":"Kitchen","content":{"body":"hello","msgtype":"!absent"},"devices":"!absent"}`)
	if m.TTL != "86400" || m.Urgency != "normal" || m.Subject != "mailto:postmaster@house.test" {
		t.Errorf("%+v", m)
	}
	h.User("alice").Must("PUT", "v3/rooms/{room}/send/m.call.invite/c", `{"call_id":"1","version":"1","party_id":"a","lifetime":60000,"offer":{"type":"offer","sdp":"x"}}`, nil)
	m = message(t, s)
	servertest.Match(t, []byte(m.Text), `{"type":"m.call.invite","sender_display_name":"Ada","content":"!absent"}`)
	if m.TTL != "60" || m.Urgency != "high" {
		t.Errorf("%+v", m)
	}
	// Reading alone shows nothing, and a text too long is cut.
	h.read("bob", "m.read", one, "")
	h.say("alice", strings.Repeat("ü", 20_000))
	var long struct{ Content struct{ Body string } }
	if m = message(t, s); json.Unmarshal([]byte(m.Text), &long) != nil || len(long.Content.Body) > 1030 || !strings.HasPrefix(long.Content.Body, "üü") {
		t.Errorf("%d bytes: %.100s", len(m.Text), m.Text)
	}
	// What fails comes again.
	s.Answer(503)
	two := h.say("alice", "again")
	message(t, s)
	s.Answer(201)
	if m = message(t, s); !strings.Contains(m.Text, two) {
		t.Error(m.Text)
	}
	s.Answer(413)
	h.say("alice", "too long for that service")
	message(t, s)
	s.Answer(410)
	h.say("alice", "nobody there")
	if m = message(t, s); strings.Contains(m.Text, "too long") {
		t.Error("what the service will not have came again")
	}
	h.gone("bob")
	h.say("alice", "nobody there")
	select {
	case m := <-s.Got:
		t.Errorf("%+v", m)
	case <-time.After(50 * time.Millisecond):
	}
}

// TestWebPushTellsLittleIfAsked: with event_id_only, also the browser is told where to look only.
func TestWebPushTellsLittleIfAsked(t *testing.T) {
	h := newHouse(t, servertest.New(t, private), "alice", "bob")
	s := webpushtest.Start(t, h.Push.WebPushKey())
	h.browser("bob", s, `,"format":"event_id_only"`)
	id := h.say("alice", "hello")
	servertest.Match(t, []byte(message(t, s).Text), `{"event_id":"`+id+`","room_id":"`+h.room+`","content":"!absent","sender":"!absent","type":"!absent"}`)
}

// TestPushServicesAreOutside: without leave, no browser's push service is in the network at home.
func TestPushServicesAreOutside(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	s := webpushtest.Start(t, h.Push.WebPushKey())
	h.browser("bob", s, "")
	h.say("alice", "hello")
	select {
	case m := <-s.Got:
		t.Errorf("%+v", m)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestBadSubscriptions(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice")
	s := webpushtest.Start(t, h.Push.WebPushKey())
	for name, body := range map[string]string{
		"key":      h.browserBody("x", "https://push.example/1", s.Auth, ""),
		"auth":     h.browserBody(s.P256dh, "https://push.example/1", "x", ""),
		"endpoint": h.browserBody(s.P256dh, "push", s.Auth, ""),
		"no TLS":   h.browserBody(s.P256dh, "http://push.example/1", s.Auth, ""),
	} {
		h.Run(t, []servertest.Case{{Name: name, Who: "alice", Method: "POST", Path: "v3/pushers/set", Body: body, Status: 400, Errcode: "M_INVALID_PARAM"}})
	}
	// At another's gateway these are that gateway's affair.
	body := strings.Replace(h.browserBody("x", "push", "x", ""), "http://"+h.Addrs()[0].String(), "https://gateway.example", 1)
	h.Run(t, []servertest.Case{{Name: "another's", Who: "alice", Method: "POST", Path: "v3/pushers/set", Body: body, Status: 200, Changes: servertest.Any}})
}

// TestTheKeyIsKept: subscriptions are bound to it.
func TestTheKeyIsKept(t *testing.T) {
	folder, key := t.TempDir(), ""
	for range 2 {
		t.Run("start", func(t *testing.T) {
			s := servertest.At(t, folder)
			if now := s.Push.WebPushKey(); key != "" && now != key || now == "" {
				t.Errorf("%q, then %q", key, now)
			}
			key = s.Push.WebPushKey()
		})
	}
}

// TestABrowserMovesItsPusher: without a token, by knowing all of the subscription before.
func TestABrowserMovesItsPusher(t *testing.T) {
	h := newHouse(t, servertest.New(t, private), "alice", "bob")
	before, after := webpushtest.Start(t, h.Push.WebPushKey()), webpushtest.Start(t, h.Push.WebPushKey())
	h.browser("bob", before, "")
	subscription := func(endpoint, p256dh, auth string) string {
		return fmt.Sprintf(`{"endpoint":%q,"p256dh":%q,"auth":%q}`, endpoint, p256dh, auth)
	}
	old, anew := subscription(before.URL+"/send/1", before.P256dh, before.Auth), subscription(after.URL+"/send/2", after.P256dh, after.Auth)
	move := func(name, old, anew string, status int, code string) servertest.Case {
		return servertest.Case{Name: name, Method: "POST", Path: "/_porchlight/push/renew", Body: `{"old":` + old + `,"new":` + anew + `}`, Status: status, Errcode: code}
	}
	right := move("right", old, anew, 200, "")
	right.Changes, right.Want = servertest.Any, `{}`
	pushers := func(want string) servertest.Case {
		return servertest.Case{Name: "pushers", Who: "bob", Method: "GET", Path: "v3/pushers", Status: 200, Want: `{"pushers":[` + want + `]}`}
	}
	h.Run(t, []servertest.Case{
		{Name: "nothing", Method: "POST", Path: "/_porchlight/push/renew", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "no new one", Method: "POST", Path: "/_porchlight/push/renew", Body: `{"old":` + old + `}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		move("of nobody", anew, anew, 404, "M_NOT_FOUND"),
		move("the wrong secret", subscription(before.URL+"/send/1", before.P256dh, after.Auth), anew, 404, "M_NOT_FOUND"),
		move("no secret", subscription(before.URL+"/send/1", before.P256dh, ""), anew, 404, "M_NOT_FOUND"),
		move("the wrong endpoint", subscription(before.URL+"/send/9", before.P256dh, before.Auth), anew, 404, "M_NOT_FOUND"),
		move("to a bad key", old, subscription(after.URL+"/send/2", "x", after.Auth), 400, "M_INVALID_PARAM"),
		move("to no address", old, subscription("push", after.P256dh, after.Auth), 400, "M_INVALID_PARAM"),
		move("to nothing", old, `{}`, 400, "M_MISSING_PARAM"),
		pushers(`{"pushkey":"` + before.P256dh + `","device_display_name":"Browser"}`),
		right,
		pushers(`{"pushkey":"` + after.P256dh + `","app_id":"local.porchlight.page","device_display_name":"Browser","lang":"en","data":{"endpoint":"` + after.URL + `/send/2","auth":"` + after.Auth + `"}}`),
		move("twice", old, anew, 404, "M_NOT_FOUND"),
	})
	id := h.say("alice", "hello")
	if m := message(t, after); !strings.Contains(m.Text, id) {
		t.Error(m.Text)
	}
	select {
	case m := <-before.Got:
		t.Errorf("the old subscription is told %+v", m)
	default:
	}
	// It goes with the device that made it, as before.
	h.User("bob").Must("POST", "v3/logout", `{}`, nil)
	h.Run(t, []servertest.Case{move("after logging out", anew, old, 404, "M_NOT_FOUND")})
}
