package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/accounts"
)

// poller is a client of long polls on a connection that it keeps.
type poller struct {
	conn net.Conn
	in   *bufio.Reader
}

// send writes a request; its answer is read by answer.
func (p *poller) send(t *testing.T, token, method, path, body string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://house.test/_matrix/client/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if err := r.Write(p.conn); err != nil {
		t.Fatal(err)
	}
}

// answer reads an answer, and says whether the connection is kept.
func (p *poller) answer(t *testing.T) (body string, kept bool) {
	t.Helper()
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		t.Fatalf("the connection was cut: %v", err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s, %v", resp.Status, raw, err)
	}
	resp.Body.Close()
	return string(raw), !resp.Close
}

// stopping is a house that tells of each request that has begun, before it is answered.
type stopping struct {
	*server.Server
	began chan struct{}
	stop  func()
	ran   chan error
}

func newStopping(t *testing.T) *stopping {
	s, err := server.New(t.Context(), server.Config{
		Data: t.TempDir(), ServerName: "house.test", Listen: []string{"127.0.0.1:0"}, Board: server.BoardConfig{Off: true},
		Hashing: accounts.HashCost{Memory: 8, Time: 1}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &stopping{Server: s, began: make(chan struct{}, 1), ran: make(chan error, 1)}
	handler := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.began <- struct{}{}
		handler.ServeHTTP(w, r)
	})
	ctx, stop := context.WithCancel(t.Context())
	h.stop = stop
	go func() { h.ran <- s.Run(ctx) }()
	<-s.Ready()
	return h
}

// login makes a user and returns an access token.
func (h *stopping) login(t *testing.T, name string) (token string) {
	kvtest.Update(t, h.DB, func(tx *kv.WriteTx) error {
		user, err := h.Accounts.Create(tx, accounts.NewUser{Localpart: name})
		if err != nil {
			return err
		}
		l, err := h.Accounts.Login(tx, accounts.NewLogin{User: user, Device: "PHONE"})
		token = l.AccessToken
		return err
	})
	return token
}

func (h *stopping) dial(t *testing.T) *poller {
	conn, err := net.Dial("tcp", h.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &poller{conn, bufio.NewReader(conn)}
}

// TestLongPollsEndWithTheHouse: whoever waits when the house stops gets a whole answer that
// says that the connection goes, and none finds it cut. Who says nothing holds nothing up.
func TestLongPollsEndWithTheHouse(t *testing.T) {
	h := newStopping(t)
	const sync, sliding = "v3/sync?set_presence=offline&timeout=", "unstable/org.matrix.simplified_msc3575/sync?set_presence=offline&timeout="
	const lists = `{"lists":{"all":{"ranges":[[0,9]],"required_state":[],"timeline_limit":1}}}`
	polls := []struct {
		name, method, path, body string
		since, next              string // how the request and the answer call the place to go on at
		token, at                string
		*poller
	}{
		{name: "alice", method: "GET", path: sync, since: "since", next: "next_batch"},
		{name: "bob", method: "GET", path: sync, since: "since", next: "next_batch"},
		{name: "carol", method: "POST", path: sliding, body: lists, since: "pos", next: "pos"},
		{name: "dave", method: "GET", path: "v3/events?timeout=", since: "from", next: "end"},
	}
	for i := range polls {
		p := &polls[i]
		p.poller, p.token = h.dial(t), h.login(t, p.name)
		p.send(t, p.token, p.method, p.path+"0", p.body)
		<-h.began
		body, kept := p.answer(t)
		if !kept {
			t.Errorf("%s: the connection is not kept while the house runs", p.name)
		}
		p.at = next(t, body, p.next)
	}
	for _, p := range polls {
		p.send(t, p.token, p.method, p.path+"60000&"+p.since+"="+url.QueryEscape(p.at), p.body)
		<-h.began // from here on it waits
	}
	silent := h.dial(t) // as browsers do
	start := time.Now()
	h.stop()
	for _, p := range polls {
		body, kept := p.answer(t)
		if kept {
			t.Errorf("%s: the client is told that it may ask again here: %s", p.name, body)
		}
		// Each answer of sliding sync has a pos of its own.
		if at := next(t, body, p.next); at != p.at && p.next != "pos" {
			t.Errorf("%s: goes on at %q, want %q", p.name, at, p.at)
		}
		if _, err := p.in.ReadByte(); err != io.EOF {
			t.Errorf("%s: behind the answer comes %v", p.name, err)
		}
	}
	if _, err := silent.in.ReadByte(); err == nil {
		t.Error("who says nothing is told something")
	}
	if conn, err := net.Dial("tcp", h.Addrs()[0].String()); err == nil {
		conn.Close()
		t.Error("the door is still open")
	}
	if err := <-h.ran; err != nil {
		t.Errorf("run: %v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("stopping took %s", took)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// next is how a client goes on behind an answer.
func next(t *testing.T, body, field string) string {
	t.Helper()
	var all map[string]json.RawMessage
	var token string
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(all[field], &token); err != nil || token == "" {
		t.Fatalf("no %s in %s", field, body)
	}
	return token
}
