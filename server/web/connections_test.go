package web

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// callerFrom is a connection that says where it comes from.
type callerFrom struct {
	net.Conn
	from   string
	closed bool
}

func (c *callerFrom) RemoteAddr() net.Addr { return addr(c.from) }
func (c *callerFrom) Close() error         { c.closed = true; return nil }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// queue is a listener at which connections come one after the other.
type queue struct {
	conns []*callerFrom
	fail  error
}

func (q *queue) Accept() (net.Conn, error) {
	if q.fail != nil {
		return nil, q.fail
	}
	if len(q.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := q.conns[0]
	q.conns = q.conns[1:]
	return c, nil
}

func (q *queue) Close() error   { return nil }
func (q *queue) Addr() net.Addr { return addr("192.0.2.1:8008") }

// knock lets somebody come and returns the connection, nil if it was refused.
func knock(t *testing.T, c *Connections, from string) net.Conn {
	t.Helper()
	caller := &callerFrom{from: from}
	conn, err := c.Listen(&queue{conns: []*callerFrom{caller}}).Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if (conn == nil) != caller.closed {
		t.Errorf("a connection of %s: taken %v, closed %v", from, conn != nil, caller.closed)
	}
	return conn
}

func TestConnections(t *testing.T) {
	tests := []struct {
		name    string
		limits  Limits
		proxied bool
		from    []string
		taken   int
	}{
		{"one address, below", Limits{PerAddress: 3}, false, []string{"192.0.2.1:1", "192.0.2.1:2"}, 2},
		{"one address, at", Limits{PerAddress: 3}, false, []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"}, 3},
		{"one address, above", Limits{PerAddress: 3}, false, []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4", "192.0.2.2:1"}, 4},
		{"one IPv6 network", Limits{PerAddress: 2}, false, []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::ffff:3]:1", "[2001:db8:0:1::1]:1"}, 3},
		{"IPv4 in IPv6", Limits{PerAddress: 1}, false, []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1"}, 1},
		{"link-local with a zone", Limits{PerAddress: 1}, false, []string{"[fe80::1%eth0]:1", "[fe80::2%eth0]:1"}, 1},
		{"this machine", Limits{PerAddress: 1}, false, []string{"127.0.0.1:1", "127.0.0.1:2", "[::1]:1", "[::1]:2", "[::ffff:127.0.0.1]:1"}, 5},
		{"the proxy", Limits{PerAddress: 1}, true, []string{"192.0.2.1:1", "192.0.2.1:2"}, 2},
		{"in all, this machine too", Limits{Connections: 3}, false, []string{"127.0.0.1:1", "192.0.2.1:1", "192.0.2.2:1", "127.0.0.1:2"}, 3},
		{"in all, the proxy too", Limits{Connections: 1}, true, []string{"192.0.2.1:1", "192.0.2.1:2"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewConnections(tt.limits, tt.proxied, slog.New(slog.DiscardHandler), nil)
			var taken []net.Conn
			for _, from := range tt.from {
				if conn := knock(t, c, from); conn != nil {
					taken = append(taken, conn)
				}
			}
			if len(taken) != tt.taken || c.Open() != tt.taken || c.Refused() != uint64(len(tt.from)-tt.taken) {
				t.Fatalf("%d taken (%d open, %d refused), want %d", len(taken), c.Open(), c.Refused(), tt.taken)
			}
			for _, conn := range taken {
				conn.Close()
				conn.Close() // counts once
			}
			if c.Open() != 0 || len(c.byAddress) != 0 {
				t.Fatalf("after the end %d are open: %v", c.Open(), c.byAddress)
			}
			for _, from := range tt.from[:tt.taken] {
				if knock(t, c, from) == nil && tt.taken == len(tt.from) {
					t.Errorf("%s is refused although nobody is there any more", from)
				}
			}
		})
	}
}

func TestDefaultConnections(t *testing.T) {
	c := NewConnections(Limits{}, false, slog.New(slog.DiscardHandler), nil)
	taken := 0
	for i := range 2000 {
		if knock(t, c, net.JoinHostPort(net.IPv4(192, 0, 2, byte(i%16)).String(), "1")) != nil {
			taken++
		}
	}
	if taken != 1024 {
		t.Errorf("%d connections, want 1,024", taken)
	}
	c = NewConnections(Limits{}, false, slog.New(slog.DiscardHandler), nil)
	taken = 0
	for range 200 {
		if knock(t, c, "192.0.2.1:1") != nil {
			taken++
		}
	}
	if taken != 128 {
		t.Errorf("%d connections of one address, want 128", taken)
	}
}

// TestRefusedConnectionsAreToldOnce counts the lines of the log.
func TestRefusedConnectionsAreToldOnce(t *testing.T) {
	var text bytes.Buffer
	now := time.UnixMilli(1_700_000_000_000)
	c := NewConnections(Limits{Connections: 1}, false, slog.New(slog.NewTextHandler(&text, nil)), func() time.Time { return now })
	knock(t, c, "192.0.2.1:1")
	for range 1000 {
		knock(t, c, "192.0.2.1:1")
	}
	if n := strings.Count(text.String(), "connections are refused"); n != 1 {
		t.Fatalf("%d lines at once:\n%s", n, &text)
	}
	now = now.Add(reportEvery)
	knock(t, c, "192.0.2.1:1")
	if n := strings.Count(text.String(), "connections are refused"); n != 2 || !strings.Contains(text.String(), "refused=1000") {
		t.Errorf("%d lines a minute later:\n%s", n, &text)
	}
}

// TestAcceptFails sees that the owner hears of it at the usual level, once a minute.
func TestAcceptFails(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	now := time.UnixMilli(1_700_000_000_000)
	c := NewConnections(Limits{}, false, log, func() time.Time { return now })
	l := c.Listen(&queue{fail: syscall.EMFILE})
	for range 100 {
		if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Fatal(err)
		}
	}
	if n := strings.Count(text.String(), "level=ERROR"); n != 1 || !strings.Contains(text.String(), "too many open files") {
		t.Errorf("%d lines:\n%s", n, &text)
	}
	_, _ = c.Listen(&queue{}).Accept() // closed: nothing to tell
	if n := strings.Count(text.String(), "\n"); n != 1 {
		t.Errorf("a listener that is closed is an error:\n%s", &text)
	}
}

func TestErrorLog(t *testing.T) {
	var text bytes.Buffer
	l := ErrorLog(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))
	l.Printf("http: TLS handshake error from %s: EOF", "192.0.2.1:1")
	l.Printf("http: panic serving %v: %v\n%s", "192.0.2.1:1", "a wire is loose", "goroutine 1")
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "level=DEBUG") || !strings.Contains(lines[1], "level=ERROR") {
		t.Errorf("%s", &text)
	}
}

// TestRequestsUnderWay holds requests of one address and sees who else is answered.
func TestRequestsUnderWay(t *testing.T) {
	tests := []struct {
		name          string
		proxied       bool
		remote, other string
		forwarded     string // X-Forwarded-For of all but the other's
		most          int    // of 6
		otherFor      string
	}{
		{"one address", false, "192.0.2.1:1", "192.0.2.2:1", "", 4, ""},
		{"one IPv6 network", false, "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "", 4, ""},
		{"this machine", false, "127.0.0.1:1", "127.0.0.1:1", "", 6, ""},
		{"by a proxy on this machine", true, "127.0.0.1:1", "127.0.0.1:1", "198.51.100.1", 4, "198.51.100.2"},
		{"by a proxy elsewhere", true, "192.0.2.1:1", "192.0.2.1:1", "198.51.100.1", 4, "198.51.100.2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begun, end := make(chan struct{}), make(chan struct{})
			s, err := New(Config{RateLimitsOff: true, TrustProxy: tt.proxied, Limits: Limits{PerAddress: 4}}, []Route{
				{Op: "wait", Method: "GET", Path: "/wait", Handler: Plain(func(*Call, Empty) (Empty, error) {
					begun <- struct{}{}
					<-end
					return Empty{}, nil
				})},
			})
			if err != nil {
				t.Fatal(err)
			}
			ask := func(remote, forwarded string) int {
				r := httptest.NewRequestWithContext(context.Background(), "GET", "/wait", nil)
				r.RemoteAddr = remote
				if forwarded != "" {
					r.Header.Set("X-Forwarded-For", forwarded)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w.Code
			}
			var wait sync.WaitGroup
			for range tt.most {
				wait.Go(func() {
					if code := ask(tt.remote, tt.forwarded); code != http.StatusOK {
						t.Errorf("a request within the bound: %d", code)
					}
				})
				<-begun
			}
			if tt.most < 6 {
				if code := ask(tt.remote, tt.forwarded); code != http.StatusTooManyRequests {
					t.Errorf("one more: %d", code)
				}
			}
			wait.Go(func() {
				if code := ask(tt.other, tt.otherFor); code != http.StatusOK {
					t.Errorf("another address: %d", code)
				}
			})
			<-begun
			close(end)
			wait.Wait()
			if len(s.underway.by) != 0 {
				t.Errorf("left over: %v", s.underway.by)
			}
		})
	}
}
