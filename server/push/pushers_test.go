package push_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/server"
	"porchlight/server/servertest"
)

// patience is how long a test waits for what comes by itself.
const patience = 20 * time.Second

// gateway is a push gateway of a test.
type gateway struct {
	*httptest.Server
	got    chan map[string]any // the notifications
	status atomic.Int32
	answer atomic.Value  // string
	hold   chan struct{} // if not nil, answers wait for it
}

func newGateway(t *testing.T, hold chan struct{}) *gateway {
	g := &gateway{got: make(chan map[string]any, 100), hold: hold}
	g.status.Store(200)
	g.answer.Store(`{"rejected":[]}`)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var told struct{ Notification map[string]any }
		if err != nil || json.Unmarshal(body, &told) != nil || r.URL.Path != "/_matrix/push/v1/notify" || r.Method != "POST" {
			t.Errorf("%s %s: %s", r.Method, r.URL, body)
		}
		if g.hold != nil {
			select {
			case <-g.hold:
			case <-r.Context().Done():
				return
			}
		}
		g.got <- told.Notification
		w.WriteHeader(int(g.status.Load()))
		if _, err := io.WriteString(w, g.answer.Load().(string)); err != nil {
			t.Log(err)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case n := <-g.got:
		return n
	case <-time.After(patience):
		t.Fatal("no notification came")
		return nil
	}
}

// event waits for the notification of an event, whatever comes before.
func (g *gateway) event(t *testing.T, id string) map[string]any {
	t.Helper()
	for {
		if n := g.next(t); n["event_id"] == id {
			return n
		}
	}
}

func private(c *server.Config) { c.AllowPrivateNetworks = true }

func (h *house) pusher(who, key, url, extra string) {
	h.t.Helper()
	h.User(who).Must("POST", "v3/pushers/set", fmt.Sprintf(`{"kind":"http","app_id":"app","pushkey":%q,"app_display_name":"App","device_display_name":"Phone","lang":"en","data":{"url":"%s/_matrix/push/v1/notify"%s}}`, key, url, extra), nil)
}

func want(t *testing.T, n map[string]any, what string) {
	t.Helper()
	raw, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Match(t, raw, what)
}

func TestFormats(t *testing.T) {
	h := newHouse(t, servertest.New(t, private), "alice", "bob")
	h.User("alice").Must("PUT", "v3/rooms/{room}/state/m.room.name", `{"name":"Kitchen"}`, nil)
	h.User("alice").Must("PUT", "v3/profile/{@alice}/displayname", `{"displayname":"Ada"}`, nil)
	full, short := newGateway(t, nil), newGateway(t, nil)
	h.say("alice", "before there was a pusher")
	h.pusher("bob", "full", full.URL, `,"custom":{"a":1}`)
	h.pusher("bob", "short", short.URL, `,"format":"event_id_only"`)
	one := h.send("alice", `{"msgtype":"m.text","body":"hello"}`)
	want(t, full.next(t), `{"event_id":"`+one+`","room_id":"`+h.room+`","type":"m.room.message","sender":"@alice:house.test","sender_display_name":"Ada","room_name":"Kitchen",
		"content":{"body":"hello"},"prio":"high","counts":{"unread":2},"devices":[{"app_id":"app","pushkey":"full","pushkey_ts":"*","data":{"custom":{"a":1},"url":"!absent"},"tweaks":{"sound":"default"}}]}`)
	want(t, short.next(t), `{"event_id":"`+one+`","room_id":"`+h.room+`","type":"!absent","sender":"!absent","content":"!absent","room_name":"!absent","counts":{"unread":2},
		"devices":[{"app_id":"app","pushkey":"short","data":{"format":"event_id_only","url":"!absent"}}]}`)
	h.read("bob", "m.read", one, "")
	want(t, full.next(t), `{"event_id":"!absent","room_id":"!absent","counts":{"unread":0},"devices":[{"pushkey":"full"}]}`)
	want(t, short.next(t), `{"event_id":"!absent","counts":{"unread":0}}`)
}

func TestRejectedKeysGo(t *testing.T) {
	h := newHouse(t, servertest.New(t, private), "alice", "bob")
	g := newGateway(t, nil)
	h.pusher("bob", "gone", g.URL, "")
	g.answer.Store(`{"rejected":["another"]}`)
	g.event(t, h.say("alice", "one"))
	g.answer.Store(`{"rejected":["gone"]}`)
	g.event(t, h.say("alice", "two"))
	for deadline := time.Now().Add(patience); ; {
		r := h.User("bob").Do("GET", "v3/pushers", "")
		if strings.Contains(string(r.Body), `"pushers":[]`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s", r.Body)
		}
	}
}

// TestSlowGateway: a gateway that hangs, or answers nonsense, delays no other, and what it
// has missed comes when it is well again.
func TestSlowGateway(t *testing.T) {
	h := newHouse(t, servertest.New(t, private), "alice", "bob", "carol")
	hold := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(hold) }) }
	t.Cleanup(release)
	slow, fast, broken := newGateway(t, hold), newGateway(t, nil), newGateway(t, nil)
	broken.status.Store(500)
	h.pusher("bob", "slow", slow.URL, "")
	h.pusher("bob", "broken", broken.URL, "")
	h.pusher("carol", "fast", fast.URL, "")
	var ids []string
	for i := range 3 {
		ids = append(ids, h.say("alice", fmt.Sprint("message ", i)))
		fast.event(t, ids[i])
	}
	broken.event(t, ids[0])
	broken.answer.Store("<html>")
	broken.status.Store(200)
	broken.event(t, ids[0]) // again, since it was not well answered
	broken.answer.Store("{}")
	broken.event(t, ids[0])
	release()
	for _, id := range ids {
		slow.event(t, id)
	}
	broken.event(t, ids[1])
	broken.event(t, ids[2])
}

// TestNothingIsLostInARestart: what could not be sent is sent after it.
func TestNothingIsLostInARestart(t *testing.T) {
	folder := t.TempDir()
	g := newGateway(t, nil)
	g.status.Store(503)
	var id string
	t.Run("before", func(t *testing.T) {
		h := newHouse(t, servertest.At(t, folder, private), "alice", "bob")
		h.pusher("bob", "key", g.URL, "")
		id = h.say("alice", "one")
		g.event(t, id)
	})
	g.status.Store(200)
	t.Run("after", func(t *testing.T) {
		servertest.At(t, folder, private)
		g.event(t, id)
	})
}

// TestGatewayAddresses: without leave, no pusher reaches into the network at home.
func TestGatewayAddresses(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	inside := newGateway(t, nil)
	h.pusher("bob", "inside", inside.URL, "")
	for range 3 {
		h.say("alice", "x")
	}
	select {
	case n := <-inside.got:
		t.Errorf("it was told %v", n)
	default:
	}
}

func TestPushers(t *testing.T) {
	s := servertest.New(t)
	set := func(name, who, body string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "POST", Path: "v3/pushers/set", Body: body, Status: status, Errcode: errcode, Changes: servertest.Any}
	}
	with := func(key, kind, url, more string) string {
		return fmt.Sprintf(`{"app_id":"app","pushkey":%q,"kind":%s,"app_display_name":"A","device_display_name":"D","lang":"en","data":{"url":%q}%s}`, key, kind, url, more)
	}
	const url = "https://gateway.example/_matrix/push/v1/notify"
	list := func(name, who, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v3/pushers", Status: 200, Want: want, Changes: servertest.Any}
	}
	long := strings.Repeat("x", 513)
	s.Run(t, []servertest.Case{
		list("none", "alice", `{"pushers":[]}`),
		set("set", "alice", with("k", `"http"`, url, `,"profile_tag":"p"`), 200, ""),
		list("one", "alice", `{"pushers":[{"pushkey":"k","kind":"http","app_id":"app","app_display_name":"A","device_display_name":"D","profile_tag":"p","lang":"en","data":{"url":"`+url+`"}}]}`),
		set("set again", "alice", with("k", `"http"`, url, ``), 200, ""),
		list("still one", "alice", `{"pushers":[{"profile_tag":"!absent"}]}`),
		set("of another user, too", "bob", with("k", `"http"`, url, `,"append":true`), 200, ""),
		list("kept", "alice", `{"pushers":[{"pushkey":"k"}]}`),
		set("of another user instead", "bob", with("k", `"http"`, url, ``), 200, ""),
		list("gone", "alice", `{"pushers":[]}`),
		set("delete", "bob", `{"app_id":"app","pushkey":"k","kind":null}`, 200, ""),
		set("delete twice", "bob", `{"app_id":"app","pushkey":"k","kind":null}`, 200, ""),
		list("deleted", "bob", `{"pushers":[]}`),
		set("no kind", "bob", `{"app_id":"app","pushkey":"k"}`, 400, "M_MISSING_PARAM"),
		set("no key", "bob", `{"app_id":"app","kind":null}`, 400, "M_MISSING_PARAM"),
		set("long key", "bob", with(long, `"http"`, url, ``), 400, "M_INVALID_PARAM"),
		set("long app", "bob", `{"app_id":"`+long[:65]+`","pushkey":"k","kind":null}`, 400, "M_INVALID_PARAM"),
		set("unknown kind", "bob", with("k", `"pigeon"`, url, ``), 400, "M_INVALID_PARAM"),
		set("kind of the wrong type", "bob", with("k", `7`, url, ``), 400, "M_INVALID_PARAM"),
		set("no lang", "bob", `{"app_id":"app","pushkey":"k","kind":"http","app_display_name":"A","device_display_name":"D","data":{"url":"`+url+`"}}`, 400, "M_MISSING_PARAM"),
		set("no data", "bob", `{"app_id":"app","pushkey":"k","kind":"http","app_display_name":"A","device_display_name":"D","lang":"en"}`, 400, "M_MISSING_PARAM"),
		set("no url", "bob", `{"app_id":"app","pushkey":"k","kind":"http","app_display_name":"A","device_display_name":"D","lang":"en","data":{}}`, 400, "M_MISSING_PARAM"),
		set("without TLS", "bob", with("k", `"http"`, "http://gateway.example/_matrix/push/v1/notify", ``), 400, "M_INVALID_PARAM"),
		set("without TLS at home", "bob", with("k", `"http"`, "http://porch.local/_matrix/push/v1/notify", ``), 200, ""),
		set("another path", "bob", with("k", `"http"`, "https://gateway.example/admin", ``), 400, "M_INVALID_PARAM"),
		set("another scheme", "bob", with("k", `"http"`, "file:///_matrix/push/v1/notify", ``), 400, "M_INVALID_PARAM"),
		set("by mail", "bob", with("bob@example.org", `"email"`, url, ``), 400, "M_INVALID_PARAM"),
		set("no object", "bob", `[]`, 400, "M_BAD_JSON"),
		{Name: "no token", Method: "POST", Path: "v3/pushers/set", Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "bob logs out", Who: "bob", Method: "POST", Path: "v3/logout", Body: `{}`, Status: 200, Changes: servertest.Any},
		list("the device's pushers are gone", "bob#2", `{"pushers":[]}`),
	})
}
