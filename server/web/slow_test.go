package web_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/web"
)

// pipes is a listener of connections in memory, on the clock of a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// overPipe serves the toy's operations that need no database to one client.
func overPipe(t *testing.T, talk func(c net.Conn)) {
	y := &toy{t: t}
	s, err := web.New(web.Config{Auth: y, RateLimitsOff: true}, []web.Route{
		{Op: "body", Method: "POST", Path: "/body", Handler: web.Plain(y.body)},
		{Op: "long", Method: "GET", Path: "/long", Handler: web.Plain(func(*web.Call, web.Empty) (string, error) {
			return strings.Repeat("x", 1<<20), nil
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: s}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		talk(ours)
		ours.Close()
		server.Close()
		<-done
	})
}

func TestSlowBody(t *testing.T) {
	overPipe(t, func(c net.Conn) {
		began := time.Now()
		if _, err := io.WriteString(c, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"na"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%v, %v", resp, err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the server waited %s", took)
		}
	})
}

func TestSlowBodyNobodyWants(t *testing.T) {
	overPipe(t, func(c net.Conn) {
		began := time.Now()
		if _, err := io.WriteString(c, "POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(c)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the server waited %s", took)
		}
	})
}

func TestSlowReader(t *testing.T) {
	overPipe(t, func(c net.Conn) {
		if _, err := io.WriteString(c, "GET /long HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the bubble's clock: the client has fallen asleep
		if all, err := io.ReadAll(c); err == nil && len(all) > 1<<20 {
			t.Errorf("the server waited an hour: %d bytes, %v", len(all), err)
		}
	})
}

// TestPatientServer sends two requests over one connection, the second much later: what
// was allowed for the first must not count for the second.
func TestPatientServer(t *testing.T) {
	overPipe(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for range 2 {
			if _, err := io.WriteString(c, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n{\"name\":\"x\"}"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%v, %v", resp, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
	})
}
