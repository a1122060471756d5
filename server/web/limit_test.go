package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"porchlight/server/web"
)

var errEOF = io.EOF

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func newRequest(method, target, who string, body io.Reader) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), method, target, body)
	r.Header.Set("Authorization", "Bearer "+who)
	return r
}

func limited(c *web.Config) {
	c.RateLimitsOff = false
	c.RateLimits = map[web.Class]web.Limit{web.General: {PerSecond: 0.4, Burst: 3}, web.Login: {PerSecond: 1, Burst: 1}}
}

func TestRateLimit(t *testing.T) {
	y := newToy(t, limited)
	const path = "/_matrix/client/v3/limited"
	for i := range 3 {
		if w := y.ask("GET", path, "alice", ""); w.Code != 200 {
			t.Fatalf("request %d: %d %s", i, w.Code, w.Body)
		}
	}
	w := y.ask("GET", path, "alice", "")
	var e struct {
		Errcode, Error string
		RetryAfterMS   int `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	if w.Code != 429 || e.Errcode != "M_LIMIT_EXCEEDED" || w.Header().Get("Retry-After") != "3" || e.RetryAfterMS != 2500 {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	if w := y.ask("GET", path, "alice2", ""); w.Code != 429 {
		t.Error("another device of the same user has a bucket of its own")
	}
	if w := y.ask("GET", path, "bob", ""); w.Code != 200 {
		t.Error("bob pays for alice")
	}
	if w := y.ask("GET", "/_matrix/client/v3/who", "alice", ""); w.Code != 200 {
		t.Error("an operation that is not limited is limited")
	}
	y.now = y.now.Add(2499 * time.Millisecond)
	if w := y.ask("GET", path, "alice", ""); w.Code != 429 {
		t.Error("let through too early")
	}
	y.now = y.now.Add(time.Millisecond)
	if w := y.ask("GET", path, "alice", ""); w.Code != 200 {
		t.Error("not let through after the time that was named")
	}
}

func TestRateLimitByAddress(t *testing.T) {
	tests := []struct {
		name       string
		trust      bool
		a, b       string // remote addresses
		forA, forB string // X-Forwarded-For
		same       bool
	}{
		{"one address, two ports", false, "192.0.2.1:1", "192.0.2.1:2", "", "", true},
		{"two addresses", false, "192.0.2.1:1", "192.0.2.2:1", "", "", false},
		{"one IPv6 network", false, "[2001:db8::1]:1", "[2001:db8::ffff:1]:1", "", "", true},
		{"two IPv6 networks", false, "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "", "", false},
		{"IPv4 in IPv6", false, "[::ffff:192.0.2.1]:1", "192.0.2.1:1", "", "", true},
		{"forged header", false, "192.0.2.1:1", "192.0.2.1:1", "198.51.100.1", "198.51.100.2", true},
		{"proxy", true, "127.0.0.1:1", "127.0.0.1:1", "198.51.100.1", "198.51.100.2", false},
		{"forged entry before the proxy's", true, "127.0.0.1:1", "127.0.0.1:1", "10.0.0.1, 198.51.100.1", "10.0.0.2, 198.51.100.1", true},
		{"proxy that says nothing", true, "192.0.2.1:1", "192.0.2.1:1", "", "unknown", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newToy(t, func(c *web.Config) { limited(c); c.TrustProxy = tt.trust })
			login := func(remote, forwarded string) int {
				r := httptest.NewRequest("POST", "/_matrix/client/v3/login", nil)
				r.RemoteAddr = remote
				if forwarded != "" {
					r.Header.Set("X-Forwarded-For", forwarded)
				}
				return y.do(r).Code
			}
			if code := login(tt.a, tt.forA); code != 200 {
				t.Fatalf("first: %d", code)
			}
			if code := login(tt.b, tt.forB); (code == 429) != tt.same {
				t.Errorf("second: %d", code)
			}
		})
	}
}

// TestEveryWriteIsCounted sees that what the standard does not mark is counted, too, and that
// who is not limited is not.
func TestEveryWriteIsCounted(t *testing.T) {
	y := newToy(t, func(c *web.Config) {
		c.RateLimitsOff = false
		c.RateLimits = map[web.Class]web.Limit{web.Writing: {PerSecond: 1, Burst: 2}}
	})
	sent := 0
	write := func(who string) int {
		sent++
		return y.ask("PUT", fmt.Sprintf("/_matrix/client/v3/rooms/!a:h/send/x/%d", sent), who, "{}").Code
	}
	for i, want := range []int{200, 200, 429} {
		if got := write("alice"); got != want {
			t.Errorf("write %d: %d, want %d", i, got, want)
		}
	}
	if got := write("bob"); got != 200 {
		t.Errorf("bob pays for alice: %d", got)
	}
	y.now = y.now.Add(time.Second)
	if got := write("alice"); got != 200 {
		t.Errorf("a second later: %d", got)
	}
}
