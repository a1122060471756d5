//go:build damage

package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"porchlight/server"
)

// How much of the crash suite is run, and which: a short sample unless said otherwise.
var (
	crashSeed   = flag.Uint64("crash-seed", 1, "seed of the crash suite")
	crashRounds = flag.Int("crash-rounds", 12, "how often a server is killed")
	crashPoints = flag.Int("crash-points", 40, "how many power cuts are reconstructed")
)

const (
	crashUser     = "alice"
	crashPassword = "a porch by the sea"
	crashRooms    = 3
	crashSenders  = 4
)

// crashConfig is the server as the suite opens it again: without a board or network.
func crashConfig(data string) server.Config {
	return server.Config{
		Data: data, ServerName: "crash.test", Listen: []string{"127.0.0.1:0"}, Board: server.BoardConfig{Off: true},
		RateLimitsOff: true, Log: slog.New(slog.DiscardHandler),
	}
}

// program is the built server.
func program(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "porchlight")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/porchlight").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// founded is a data folder with the owner's account.
func founded(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	order := server.Order{Do: "user add", User: crashUser, Password: crashPassword, Owner: true}
	if _, err := server.Prepare(t.Context(), crashConfig(data), order); err != nil {
		t.Fatal(err)
	}
	return data
}

// attempt is a request that changes something, and what became of it.
type attempt struct {
	kind         string // "message", "account data", "state" or "media"
	room         string
	method, path string
	body         []byte
	began, acked time.Time // acked is zero if no answer came
	id           string    // of the event or the content
}

// attempts is what all clients asked for.
type attempts struct {
	mu  sync.Mutex
	all []*attempt
}

func (w *attempts) add(one *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, one)
}

// client talks to the server as a user.
type client struct {
	token string
	do    func(*http.Request) (status int, body []byte, err error)
}

func (c *client) ask(ctx context.Context, method, path string, body []byte, into any) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	status, answer, err := c.do(r)
	if err == nil && into != nil && status == http.StatusOK {
		err = json.Unmarshal(answer, into)
	}
	return status, err
}

// over is a client of a running server.
func over(base string) *client {
	h := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: crashSenders}}
	return &client{do: func(r *http.Request) (int, []byte, error) {
		r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(base, "http://")
		resp, err := h.Do(r)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, body, err
	}}
}

// inside is a client of a server in this process.
func inside(s *server.Server, token string) *client {
	return &client{token: token, do: func(r *http.Request) (status int, body []byte, err error) {
		w := httptest.NewRecorder()
		defer func() {
			switch broken := recover(); broken {
			case nil:
			case http.ErrAbortHandler:
				err = errors.New("the answer broke off")
			default:
				panic(broken)
			}
		}()
		s.Handler.ServeHTTP(w, r)
		return w.Code, w.Body.Bytes(), nil
	}}
}

const (
	clientAPI = "/_matrix/client/v3/"
	uploadAPI = "/_matrix/media/v3/upload"
)

// settle signs in and makes the rooms.
func (c *client) settle(t *testing.T) (rooms []string) {
	t.Helper()
	login, err := json.Marshal(map[string]any{
		"type": "m.login.password", "password": crashPassword, "identifier": map[string]string{"type": "m.id.user", "user": crashUser},
	})
	if err != nil {
		t.Fatal(err)
	}
	var session struct {
		Token string `json:"access_token"`
	}
	if status, err := c.ask(t.Context(), "POST", clientAPI+"login", login, &session); status != http.StatusOK || err != nil {
		t.Fatalf("login: %d, %v", status, err)
	}
	c.token = session.Token
	for range crashRooms {
		var made struct {
			ID string `json:"room_id"`
		}
		if status, err := c.ask(t.Context(), "POST", clientAPI+"createRoom", []byte("{}"), &made); status != http.StatusOK || err != nil {
			t.Fatalf("createRoom: %d, %v", status, err)
		}
		rooms = append(rooms, made.ID)
	}
	return rooms
}

// nextWrite is a write that nobody has asked for before.
func nextWrite(rng *rand.Rand, rooms []string) *attempt {
	mark := fmt.Sprintf("%016x", rng.Uint64())
	one := &attempt{room: rooms[rng.IntN(len(rooms))], method: "PUT"}
	switch rng.IntN(10) {
	case 0:
		one.kind, one.path = "account data", clientAPI+"user/@"+crashUser+":crash.test/account_data/test."+mark
		one.body = []byte(`{"body":"` + mark + `"}`)
	case 1:
		one.kind, one.path = "state", clientAPI+"rooms/"+one.room+"/state/test.state/"+mark
		one.body = []byte(`{"body":"` + mark + `"}`)
	case 2:
		one.kind, one.method, one.path = "media", "POST", uploadAPI+"?filename="+mark
		one.body = bytes.Repeat([]byte(mark), 1+rng.IntN(8000))
	default:
		one.kind, one.path = "message", clientAPI+"rooms/"+one.room+"/send/m.room.message/"+mark
		one.body = []byte(`{"msgtype":"m.text","body":"` + mark + `"}`)
	}
	return one
}

// carry asks for a write and notes what was answered.
func (c *client) carry(ctx context.Context, one *attempt) error {
	var out struct {
		Event   string `json:"event_id"`
		Content string `json:"content_uri"`
	}
	status, err := c.ask(ctx, one.method, one.path, one.body, &out)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s %s: %d", one.method, one.path, status)
	}
	one.acked, one.id = time.Now(), out.Event+strings.TrimPrefix(out.Content, "mxc://")
	return nil
}

// load keeps several clients writing until ctx ends or the server is gone.
func (w *attempts) load(ctx context.Context, base *client, rooms []string, seed uint64) {
	var all sync.WaitGroup
	for n := range crashSenders {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			for ctx.Err() == nil {
				one := nextWrite(rng, rooms)
				one.began = time.Now()
				w.add(one)
				if err := base.carry(context.WithoutCancel(ctx), one); err != nil {
					return // the server was killed
				}
			}
		})
	}
	all.Wait()
}

// verdict is what is wrong with a data folder after a crash.
type verdict []string

func (v *verdict) add(format string, args ...any) { *v = append(*v, fmt.Sprintf(format, args...)) }

// judge opens a folder after a crash at some time: everything that was acknowledged before is there, once; what was not
// is done by asking again; and the check finds nothing.
func (w *attempts) judge(ctx context.Context, data, token string, crash time.Time) (v verdict) {
	s, err := server.New(ctx, crashConfig(data))
	if err != nil {
		v.add("it does not open: %v", err)
		return v
	}
	defer func() {
		if err := s.Close(); err != nil {
			v.add("it does not close: %v", err)
		}
	}()
	c := inside(s, token)
	rooms := map[string]map[string]int{} // bodies in each
	want := map[string]map[string]bool{}
	for _, one := range w.all {
		if one.began.After(crash) {
			continue
		}
		acked := !one.acked.IsZero() && one.acked.Before(crash)
		if acked {
			c.look(ctx, one, &v)
		}
		if one.kind != "message" {
			continue
		}
		if rooms[one.room] == nil {
			rooms[one.room], want[one.room] = map[string]int{}, map[string]bool{}
		}
		again := *one
		if err := c.carry(ctx, &again); err != nil {
			v.add("asked again: %v", err)
		} else if acked && again.id != one.id {
			v.add("%s is another event, %s, when it is asked for again", one.id, again.id)
		}
		want[one.room][string(one.body)] = true
	}
	for room, count := range rooms {
		c.count(ctx, room, count, &v)
		for body := range want[room] {
			if count[body] != 1 {
				v.add("%s is there %d times", body, count[body])
			}
		}
	}
	if lines, err := s.Do(ctx, server.Order{Do: "check"}); err != nil {
		v.add("check: %v: %s", err, strings.Join(lines, "; "))
	}
	return v
}

// look reads one write back that was acknowledged.
func (c *client) look(ctx context.Context, one *attempt, v *verdict) {
	path := one.path
	switch one.kind {
	case "message":
		path = clientAPI + "rooms/" + one.room + "/event/" + one.id
	case "media":
		path = "/_matrix/client/v1/media/download/" + one.id
	}
	r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
	r.Header.Set("Authorization", "Bearer "+c.token)
	status, body, err := c.do(r)
	if err != nil || status != http.StatusOK {
		v.add("acknowledged %s %s: %d, %v", one.kind, one.id, status, err)
		return
	}
	switch one.kind {
	case "media":
		if sha256.Sum256(body) != sha256.Sum256(one.body) {
			v.add("acknowledged media %s: other bytes", one.id)
		}
	case "message":
		var e struct{ Content json.RawMessage }
		var got, want map[string]any
		if json.Unmarshal(body, &e) != nil || json.Unmarshal(e.Content, &got) != nil || json.Unmarshal(one.body, &want) != nil ||
			got["body"] != want["body"] {
			v.add("acknowledged message %s: %s", one.id, body)
		}
	default:
		if !bytes.Contains(body, one.body[len(`{"body":`):len(one.body)-1]) {
			v.add("acknowledged %s: %s", one.kind, body)
		}
	}
}

// count pages through a room and counts the bodies of its messages.
func (c *client) count(ctx context.Context, room string, bodies map[string]int, v *verdict) {
	from := ""
	for {
		var page struct {
			Chunk []struct {
				Type    string
				Content struct {
					Body string `json:"body"`
				}
			}
			End string
		}
		status, err := c.ask(ctx, "GET", clientAPI+"rooms/"+room+"/messages?dir=b&limit=100"+from, nil, &page)
		if err != nil || status != http.StatusOK {
			v.add("messages: %d, %v", status, err)
			return
		}
		for _, e := range page.Chunk {
			if e.Type == "m.room.message" {
				bodies[`{"msgtype":"m.text","body":"`+e.Content.Body+`"}`]++
			}
		}
		if page.End == "" || len(page.Chunk) == 0 {
			return
		}
		from = "&from=" + page.End
	}
}
