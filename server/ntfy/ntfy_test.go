package ntfy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"porchlight/server"
	"porchlight/server/servertest"
)

const topic = "upAbCdEf012345"

// line is one line of a stream.
type line struct{ ID, Event, Topic, Message, Encoding string }

// open lets whoever knows a topic's name listen.
func open(c *server.Config) { c.Push.Topics = server.TopicsOpen }

func base(s *servertest.Server) string { return "http://" + s.Addrs()[0].String() }

// ask sends a request over the network; head is names and values by turns.
func ask(t testing.TB, method, url, body string, head ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func text(t testing.TB, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// subscribe listens to a stream of lines, and returns after it is open.
func subscribe(t testing.TB, url string, head ...string) <-chan line {
	t.Helper()
	res := ask(t, "GET", url, "", head...)
	lines := make(chan line, 1000)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(res.Body); scan.Scan(); {
			var l line
			if json.Unmarshal(scan.Bytes(), &l) == nil {
				lines <- l
			}
		}
	}()
	if l := next(t, lines); l.Event != "open" {
		t.Fatalf("%+v", l)
	}
	return lines
}

func next(t testing.TB, lines <-chan line) line {
	t.Helper()
	select {
	case l := <-lines:
		return l
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		return line{}
	}
}

func TestTopics(t *testing.T) {
	s := servertest.New(t, open)
	url := base(s) + "/" + topic
	lines := subscribe(t, url+"/json")
	socket, res, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err, res)
	}
	defer func() { _ = socket.CloseNow() }()
	if _, open, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(open), `"event":"open"`) {
		t.Fatalf("%s %v", open, err)
	}

	var sent line
	if err := json.Unmarshal([]byte(text(t, ask(t, "POST", url+"?up=1", "hello"))), &sent); err != nil || sent.Message != "hello" || sent.Topic != topic {
		t.Errorf("%+v %v", sent, err)
	}
	if l := next(t, lines); l != sent {
		t.Errorf("%+v, want %+v", l, sent)
	}
	if _, frame, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(frame), sent.ID) {
		t.Errorf("%s %v", frame, err)
	}
	ask(t, "PUT", url, "\xff\x00")
	if l := next(t, lines); l.Message != "/wA=" || l.Encoding != "base64" {
		t.Errorf("%+v", l)
	}

	for query, want := range map[string]int{"": 2, "&since=all": 2, "&since=none": 0, "&since=" + sent.ID: 1, "&since=10m": 2, "&since=1": 2, "&since=99999999999": 0, "&since=gone": 2} {
		if got := strings.Count(text(t, ask(t, "GET", url+"/json?poll=1"+query, "")), `"event":"message"`); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/" + topic + "?up=1", "", 200, `{"unifiedpush":{"version":1}}`},
		{"GET", "/" + topic + "/auth", "", 200, `{"success":true}`},
		{"GET", "/other0123456789/json?poll=1", "", 200, ""},
		{"POST", "/" + topic, strings.Repeat("x", 4097), 413, "too long"},
		{"POST", "/guessable", "x", 405, ""}, // the page's answer
		{"GET", "/", "", 200, "<html"},
		{"GET", "/v1/health", "", 200, `{"healthy":true}`},
		{"POST", "/v1/health", "", 405, ""},
		{"DELETE", "/" + topic, "", 405, ""},
	} {
		res := ask(t, c.method, base(s)+c.path, c.body)
		if body := text(t, res); res.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %.100s", c.method, c.path, res.StatusCode, body)
		}
	}
}

func TestKeptMessagesAreBounded(t *testing.T) {
	s := servertest.New(t, open)
	for i := range 60 {
		ask(t, "POST", base(s)+"/"+topic, fmt.Sprint(i))
	}
	kept := text(t, ask(t, "GET", base(s)+"/"+topic+"/json?poll=1", ""))
	if strings.Count(kept, "\n") != 50 || !strings.Contains(kept, `"message":"59"`) || strings.Contains(kept, `"message":"9"`) {
		t.Errorf("%d lines", strings.Count(kept, "\n"))
	}
}

func TestGateway(t *testing.T) {
	s := servertest.New(t, open)
	url := base(s) + "/_matrix/push/v1/notify"
	if got := text(t, ask(t, "GET", url, "")); got != `{"unifiedpush":{"gateway":"matrix"}}` {
		t.Error(got)
	}
	lines := subscribe(t, base(s)+"/"+topic+"/json")
	key := base(s) + "/" + topic + "?up=1"
	notify := func(key, more string) string {
		return text(t, ask(t, "POST", url, fmt.Sprintf(`{"notification":{"event_id":"$e","devices":[{"app_id":"a","pushkey":%q}]%s}}`, key, more)))
	}
	if got := notify(key, ""); got != `{"rejected":[]}` {
		t.Error(got)
	}
	if l := next(t, lines); !strings.Contains(l.Message, `"event_id":"$e"`) {
		t.Errorf("%+v", l)
	}
	if got := notify(key, `,"content":{"body":"`+strings.Repeat("x", 5000)+`"}`); got != `{"rejected":[]}` {
		t.Error(got)
	}
	if l := next(t, lines); !strings.Contains(l.Message, `"event_id":"$e"`) || len(l.Message) > 4096 {
		t.Errorf("%+v", l)
	}
	for _, bad := range []string{"https://elsewhere.example/" + topic, base(s) + "/short", base(s) + "/" + topic + "/json", "APNS-token", ""} {
		if got := notify(bad, ""); !strings.Contains(got, fmt.Sprintf(`{"rejected":[%q]}`, bad)) {
			t.Errorf("%s: %s", bad, got)
		}
	}
	for _, body := range []string{``, `{}`, `[]`, `{"notification":{}}`, `{"notification":{"devices":[]}}`, `{"notification":{"devices":7}}`} {
		if res := ask(t, "POST", url, body); res.StatusCode != 400 {
			t.Errorf("%s: %d", body, res.StatusCode)
		}
	}
}

// TestWokenWithoutTheInternet: a message wakes a phone through the house's own gateway, and
// nothing leaves this machine. No option of the house is needed for that.
func TestWokenWithoutTheInternet(t *testing.T) {
	s := servertest.New(t)
	var made struct {
		Room string `json:"room_id"`
	}
	s.User("alice").Must("POST", "v3/createRoom", `{"preset":"public_chat"}`, &made)
	s.Set("room", made.Room)
	s.User("bob").Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	lines := subscribe(t, base(s)+"/"+topic+"/json", "Authorization", "Bearer "+secretOf(s, "bob"))
	s.User("bob").Must("POST", "v3/pushers/set", fmt.Sprintf(`{"kind":"http","app_id":"im.vector.app.android","pushkey":"%s/%s?up=1","app_display_name":"Element","device_display_name":"Phone","lang":"en",
		"data":{"url":"%s/_matrix/push/v1/notify","format":"event_id_only"}}`, base(s), topic, base(s)), nil)
	var took []time.Duration
	for i := range 100 {
		start := time.Now()
		var sent struct {
			ID string `json:"event_id"`
		}
		s.User("alice").Must("PUT", fmt.Sprintf("v3/rooms/{room}/send/m.room.message/%d", i), `{"msgtype":"m.text","body":"ding dong"}`, &sent)
		for l := next(t, lines); !strings.Contains(l.Message, sent.ID); l = next(t, lines) {
			if l.Message == "" {
				t.Fatalf("%+v", l)
			}
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("from sending to waking: p50 %s, p99 %s", took[len(took)/2], took[len(took)*99/100])
}

func TestSubscribersAreLetGo(t *testing.T) {
	var lines <-chan line
	t.Run("house", func(t *testing.T) {
		s := servertest.New(t, open)
		r, err := http.NewRequestWithContext(context.Background(), "GET", base(s)+"/"+topic+"/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		all := make(chan line, 10)
		go func() {
			defer close(all)
			_, _ = io.Copy(io.Discard, res.Body)
		}()
		lines = all
	})
	select {
	case <-lines:
	case <-time.After(10 * time.Second):
		t.Error("a subscriber outlives the house")
	}
}
