package push_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/mail/mailtest"
	"porchlight/server/servertest"
)

// quiet says that nothing comes for a moment, which lets a test that holds back fail but not
// one that is slow.
func (g *gateway) quiet(t *testing.T, moment time.Duration) {
	t.Helper()
	select {
	case n := <-g.got:
		t.Errorf("it was told %v", n)
	case <-time.After(moment):
	}
}

// TestActivePeopleAreLeftInPeace: who is plainly active is given time to read on the device
// at hand; what is not read then is told, also if the house was started anew meanwhile.
func TestActivePeopleAreLeftInPeace(t *testing.T) {
	folder := t.TempDir()
	g := newGateway(t, nil)
	patient := func(c *server.Config) { private(c); c.Push.ActiveDelay = time.Hour }
	var last, room string
	t.Run("before", func(t *testing.T) {
		h := newHouse(t, servertest.At(t, folder, patient), "alice", "bob")
		room = h.room
		h.pusher("bob", "key", g.URL, "")
		first := h.say("alice", "while bob is away")
		g.event(t, first)
		h.say("bob", "here I am")
		if n := g.next(t); n["event_id"] != nil {
			t.Errorf("it was told %v, though bob has read it", n)
		}
		read := h.say("alice", "read at once")
		g.quiet(t, 100*time.Millisecond)
		h.read("bob", "m.read", read, "")
		h.User("alice").Must("PUT", "v3/rooms/{room}/send/m.call.invite/c", `{"call_id":"1","version":"1","party_id":"a","lifetime":60000,"offer":{"type":"offer","sdp":"x"}}`, nil)
		if n := g.next(t); n["type"] != "m.call.invite" {
			t.Errorf("it was told %v before the call", n)
		}
		last = h.say("alice", "not read")
		g.quiet(t, 100*time.Millisecond)
	})
	t.Run("after", func(t *testing.T) {
		s := servertest.At(t, folder, private)
		s.Set("room", room)
		g.event(t, last)
	})
}

// TestDelayedPushesComeAfterTheDelay: nobody need do anything for that.
func TestDelayedPushesComeAfterTheDelay(t *testing.T) {
	h := newHouse(t, servertest.New(t, private, func(c *server.Config) { c.Push.ActiveDelay = 50 * time.Millisecond }), "alice", "bob")
	g := newGateway(t, nil)
	h.pusher("bob", "key", g.URL, "")
	h.say("bob", "here I am")
	for range 3 {
		g.event(t, h.say("alice", "and here am I"))
	}
}

// TestBadGateways: whatever a gateway answers, nothing else suffers, and what it was to be
// told comes when it is well again.
func TestBadGateways(t *testing.T) {
	var inside atomic.Int32
	within := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	t.Cleanup(within.Close)
	for name, bad := range map[string]http.HandlerFunc{
		"sends elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, within.URL+"/_matrix/push/v1/notify", http.StatusTemporaryRedirect)
		},
		"sends 100 MB": func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"sends a large head": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("x", 1<<20))
		},
		"sends garbage":       func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "\x00\xff{]") },
		"sends another shape": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"rejected":{"key":true}}`) },
		"fails":               func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"hangs up": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, servertest.New(t, private), "alice", "bob", "carol")
			g := newGateway(t, nil)
			var asked atomic.Int32
			broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					bad(w, r)
					return
				}
				g.Config.Handler.ServeHTTP(w, r)
			}))
			t.Cleanup(broken.Close)
			well := newGateway(t, nil)
			h.pusher("bob", "key", broken.URL, "")
			h.pusher("carol", "key2", well.URL, "")
			id := h.say("alice", "one")
			well.event(t, id)
			g.event(t, id)
			if asked.Load() != 2 {
				t.Errorf("it was asked %d times", asked.Load())
			}
		})
	}
	if inside.Load() != 0 {
		t.Error("a gateway sent the house on to another address")
	}
}

// TestNamedGateways: the owner names a gateway at home, and it alone is reached there.
func TestNamedGateways(t *testing.T) {
	named, other := newGateway(t, nil), newGateway(t, nil)
	h := newHouse(t, servertest.New(t, func(c *server.Config) {
		c.Push.Gateways = []string{strings.TrimPrefix(named.URL, "http://")}
	}), "alice", "bob")
	h.pusher("bob", "one", named.URL, "")
	h.pusher("bob", "two", other.URL, "")
	named.event(t, h.say("alice", "x"))
	named.event(t, h.say("alice", "y"))
	other.quiet(t, 100*time.Millisecond)
	for _, bad := range []string{"", "http://ntfy.lan", "ntfy.lan/path", "a b"} {
		c := server.Config{Data: t.TempDir(), Push: server.PushConfig{Gateways: []string{bad}}}
		if s, err := server.New(context.Background(), c); err == nil {
			t.Errorf("%q is taken for a gateway", bad)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMailPushers goes the whole way to a mail relay.
func TestMailPushers(t *testing.T) {
	relay := mailtest.Start(t)
	s := servertest.New(t, func(c *server.Config) {
		c.PublicURL = "https://house.example"
		c.People.Mail = server.MailConfig{Host: relay.Host, Port: relay.Port, Security: "none", From: "House <house@house.example>"}
		c.Push.MailAfter, c.Push.MailEvery = 50*time.Millisecond, 100*time.Millisecond
	})
	h := newHouse(t, s, "alice", "bob")
	const address = "bob@example.org"
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
		return s.Accounts.AddThreepid(tx, s.User("bob").ID, accounts.Threepid{Medium: "email", Address: address})
	})
	set := func(who, appID, address string) servertest.Case {
		return servertest.Case{Name: appID + " of " + who, Who: who, Method: "POST", Path: "v3/pushers/set", Changes: servertest.Any, Status: 400, Errcode: "M_INVALID_PARAM",
			Body: fmt.Sprintf(`{"kind":"email","app_id":%q,"pushkey":%q,"app_display_name":"Mail","device_display_name":"Mail","lang":"en","data":{}}`, appID, address)}
	}
	good := set("bob", "m.email", address)
	good.Status, good.Errcode = 200, ""
	s.Run(t, []servertest.Case{set("bob", "app", address), set("alice", "m.email", address), set("bob", "m.email", "else@example.org"), good})

	h.User("alice").Must("PUT", "v3/rooms/{room}/state/m.room.name", `{"name":"Kitchen"}`, nil)
	relay.Refuse(true)
	h.say("alice", "a secret")
	first := h.say("alice", "another")
	waitFor(t, func() bool { return relay.Refused() > 0 })
	relay.Refuse(false)
	waitFor(t, func() bool { return len(relay.Mails()) == 1 })
	if m := relay.Mails()[0]; m.To != address || !strings.Contains(m.Data, "2 in Kitchen") || strings.Contains(m.Data, "secret") {
		t.Errorf("%+v", m)
	}
	h.read("bob", "m.read", first, "")
	h.say("alice", "the third")
	waitFor(t, func() bool { return len(relay.Mails()) == 2 })
	if m := relay.Mails()[1]; !strings.Contains(m.Data, "1 in Kitchen") {
		t.Errorf("%+v", m)
	}
}

// waitFor waits until something is so.
func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to pass")
		}
	}
}
