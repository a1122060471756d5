package ntfy

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// newServer hosts topics for whoever knows their names.
func newServer(t testing.TB) *Server {
	t.Helper()
	s, err := New(Config{Unlimited: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func FuzzSecret(f *testing.F) {
	for _, seed := range [][2]string{{"Bearer tk_x", ""}, {"Basic YTpi", ""}, {"Basic !", ""}, {"", "QmVhcmVyIHRrX3g"}, {"", "="}, {"bearer", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, head, auth string) {
		r := httptest.NewRequest("GET", "/topic?auth="+url.QueryEscape(auth), nil)
		r.Header["Authorization"] = []string{head}
		if secret, there := secretOf(r); !there && (secret != "" || head != "" || auth != "") {
			t.Errorf("%q and %q bring %q, %t", head, auth, secret, there)
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add("=?UTF-8?B?VMO8cg==?=", "high", "a,b", "https://house.example", "")
	f.Add("x", "u=1, i", ",,,", "", "10m")
	f.Fuzz(func(t *testing.T, title, priority, tags, click, delay string) {
		r := httptest.NewRequest("POST", "/topic", nil)
		for name, value := range map[string]string{"Title": title, "Priority": priority, "Tags": tags, "Click": click, "Delay": delay} {
			r.Header.Set(name, value)
		}
		var m message
		if why := m.head(r); why == nil && (len(m.Title) > maxHead || len(m.Tags) > maxTags || m.Priority < 0 || m.Priority > 5 || m.size() > 3*maxHead) {
			t.Errorf("%+v", m)
		}
	})
}

func FuzzNotify(f *testing.F) {
	f.Add(`{"notification":{"event_id":"$e","devices":[{"app_id":"a","pushkey":"http://house/upAAAABBBBCCCC?up=1"}]}}`)
	f.Add(`{"notification":{"devices":[{"pushkey":7}]}}`)
	f.Add(`{"notification":[]}`)
	f.Fuzz(func(t *testing.T, body string) {
		s := newServer(t)
		if answer, err := s.Notify("house", []byte(body)); err == nil && !strings.HasPrefix(string(answer), `{"rejected":[`) {
			t.Errorf("%s", answer)
		}
		for _, m := range s.hub.kept {
			if len(m.Message) > maxMessage {
				t.Errorf("a message of %d bytes", len(m.Message))
			}
		}
	})
}

// TestWhatIsKeptIsBounded: whoever publishes into however many topics.
func TestWhatIsKeptIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, err := New(Config{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat("x", maxMessage))
	for i := range 3000 {
		s.put(s.hub.line("message", "up0123456789"+string(rune('a'+i%26))), text, true)
	}
	if len(s.hub.kept) > maxKept || s.hub.bytes > maxKeptBytes {
		t.Errorf("%d messages of %d bytes", len(s.hub.kept), s.hub.bytes)
	}
	if all := s.hub.spill(); len(all) == 0 || len(all) > maxSpillBytes/maxMessage {
		t.Errorf("%d messages outlive a restart", len(all))
	}
	now = now.Add(keepFor + time.Minute)
	if all := s.hub.spill(); len(all) != 0 || s.hub.bytes != 0 {
		t.Errorf("%d messages and %d bytes are left after all their time", len(all), s.hub.bytes)
	}
	for i := range maxBuckets + 10 {
		if !s.mayPublish(nil, string(rune('a'+i)), "") && i < houseBurst {
			t.Errorf("topic %d is refused", i)
		}
	}
	if len(s.topics) > maxBuckets {
		t.Errorf("the rates of %d topics are remembered", len(s.topics))
	}
	if _, err := New(Config{Earlier: []Kept{{1, []byte("x")}}}); err == nil {
		t.Error("nonsense is restored")
	}
}

// TestListenersAreBounded: one too many is told so.
func TestListenersAreBounded(t *testing.T) {
	s := newServer(t)
	for range maxSubscribers {
		if _, sub := s.hub.subscribe([]string{"up0123456789"}, "none", true); sub == nil {
			t.Fatal("refused too early")
		}
	}
	for _, form := range []string{"json", "sse", "raw", "ws"} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/up0123456789/"+form, nil))
		if w.Code != 429 {
			t.Errorf("%s: %d", form, w.Code)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/up0123456789/json?poll=1", nil))
	if w.Code != 200 {
		t.Errorf("polling: %d", w.Code)
	}
	// One that does not read is let go, and holds nobody up.
	for range maxBehind + 1 {
		s.put(s.hub.line("message", "up0123456789"), []byte("x"), false)
	}
	if len(s.hub.subscribers) != 0 {
		t.Errorf("%d subscribers are %d behind", len(s.hub.subscribers), maxBehind)
	}
}
