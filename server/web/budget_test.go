package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
)

// statusOf is the status of a refusal, 200 for none.
func statusOf(err error) int {
	var e *matrix.Error
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &e):
		return e.Status
	}
	return -1
}

func TestBudget(t *testing.T) {
	type step struct {
		who  string
		n    int64
		want int
	}
	const k = 1 << 10
	tests := []struct {
		name  string
		alone bool
		steps []step
	}{ // in all 1024 KiB, of one client 256 KiB; the last 128 KiB are for what is small
		{"below, at and above one client's share", false, []step{
			{"a", 255 * k, 200}, {"a", 1 * k, 200}, {"a", 1, 429}, {"b", 256 * k, 200},
		}},
		{"larger than a share could be", false, []step{{"a", 256*k + 1, 413}, {"a", 256 * k, 200}}},
		{"all together", false, []step{
			{"a", 256 * k, 200}, {"b", 256 * k, 200}, {"c", 256 * k, 200}, {"d", 128 * k, 200}, {"e", 65 * k, 503},
			{"e", 64 * k, 200}, {"f", 64 * k, 200}, {"g", 1, 503},
		}},
		{"an answer that is alone", true, []step{{"a", 1024 * k, 200}, {"b", 65 * k, 503}, {"a", 1, 429}}},
		{"an answer that is not alone", true, []step{{"b", 1 * k, 200}, {"a", 1024 * k, 503}, {"a", 800 * k, 200}}},
		{"an answer that could never be", true, []step{{"a", 1024*k + 1, 413}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(1024*k, 256*k, tt.alone)
				var all []*hold
				for i, s := range tt.steps {
					h := b.hold(s.who, nil)
					all = append(all, h)
					began := time.Now()
					err := h.grow(context.Background(), s.n)
					if got := statusOf(err); got != s.want {
						t.Fatalf("step %d, %v: %d, want %d", i, s, got, s.want)
					}
					patient := s.want == 429 || s.want == 503
					if took := time.Since(began); patient != (took == budgetPatience) || !patient && took != 0 {
						t.Errorf("step %d took %s", i, took)
					}
					if patient && !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
						t.Errorf("step %d: %v", i, err)
					}
				}
				for _, h := range all {
					h.release()
					h.release()
				}
				if b.used != 0 || len(b.by) != 0 || len(b.holds) != 0 {
					t.Errorf("left: %d, %v, %d holds", b.used, b.by, len(b.holds))
				}
			})
		})
	}
}

// TestBudgetWaits sees that room which comes within the time is taken.
func TestBudgetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1000, 1000, false)
		first, second := b.hold("a", nil), b.hold("b", nil)
		if err := first.grow(context.Background(), 900); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(budgetPatience-time.Millisecond, first.release)
		if err := second.grow(context.Background(), 900); err != nil {
			t.Error(err)
		}
		gone, leave := context.WithCancel(context.Background())
		leave()
		if err := b.hold("c", nil).grow(gone, 900); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has gone: %v", err)
		}
	})
}

// TestBudgetCutsWhoStalls sees that only those are cut off who have not moved for a while, and
// only if somebody else needs the room.
func TestBudgetCutsWhoStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 256 << 10
		b := newBudget(4*size, size, false)
		holds, cut := map[string]*hold{}, map[string]bool{}
		for _, who := range []string{"stalls", "drips", "moves", "done"} {
			h := b.hold(who, nil)
			h.cut = func() { cut[who] = true; go h.release() }
			holds[who] = h
			if err := h.grow(context.Background(), 200<<10); err != nil {
				t.Fatal(err)
			}
		}
		holds["done"].settle()
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			holds["drips"].progress(100)
			holds["moves"].progress(4 << 10)
		}
		if len(cut) != 0 {
			t.Fatalf("cut off while nobody needed room: %v", cut)
		}
		if err := b.hold("other", nil).grow(context.Background(), 200<<10); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(cut) != "map[drips:true stalls:true]" {
			t.Errorf("cut off: %v", cut)
		}
		synctest.Wait()
	})
}

// bubbleServer serves routes to connections in memory, which come from different addresses.
func bubbleServer(t *testing.T, limits Limits, routes []Route, talk func(dial func(from string) net.Conn, s *Server)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{RateLimitsOff: true, Limits: limits}, routes)
		if err != nil {
			t.Fatal(err)
		}
		l := &dialled{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: s}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		var all []net.Conn
		talk(func(from string) net.Conn {
			ours, theirs := net.Pipe()
			all = append(all, ours)
			l.conns <- fromConn{theirs, from}
			return ours
		}, s)
		for _, c := range all {
			c.Close()
		}
		server.Close()
		time.Sleep(time.Minute) // of the clock in the bubble: net/http takes leave of them
		<-done
	})
}

type dialled struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *dialled) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *dialled) Close() error   { close(p.closed); return nil }
func (p *dialled) Addr() net.Addr { return addr("pipe") }

type fromConn struct {
	net.Conn
	from string
}

func (c fromConn) RemoteAddr() net.Addr { return addr(c.from) }

type rawIn struct {
	Body matrix.Object `json:"x"`
}

// TestBodiesThatNeverEnd announces bodies and sends all but the last byte: an honest client's
// body finds room all the same, the memory stays within the budget, and all is given back.
func TestBodiesThatNeverEnd(t *testing.T) {
	const size, total = 256 << 10, 1 << 20
	routes := []Route{{Op: "body", Method: "POST", Path: "/body", MaxBody: size, Handler: Plain(func(*Call, rawIn) (Empty, error) {
		return Empty{}, nil
	})}}
	bubbleServer(t, Limits{Bodies: total, BodiesPerClient: 2 * size}, routes, func(dial func(string) net.Conn, s *Server) {
		head := fmt.Sprintf("POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
		most := strings.Repeat(" ", size-1)
		for i := range 40 {
			c := dial(fmt.Sprintf("192.0.2.%d:1", i/4))
			go func() {
				_, _ = io.WriteString(c, head+most) // refused, or cut off in the middle
				_, _ = io.Copy(io.Discard, c)
			}()
		}
		time.Sleep(time.Second)
		s.bodies.mu.Lock()
		if s.bodies.used > total || s.bodies.used == 0 {
			t.Errorf("%d bytes are held of %d", s.bodies.used, total)
		}
		s.bodies.mu.Unlock()
		time.Sleep(2 * time.Second)
		c := dial("198.51.100.1:1")
		began := time.Now()
		go func() { _, _ = io.WriteString(c, head+most[2:]+"{}"+" ") }()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("the honest client: %v, %v", resp, err)
		}
		if took := time.Since(began); took > budgetPatience {
			t.Errorf("the honest client waited %s", took)
		}
		time.Sleep(bodyTimeout + time.Minute)
		s.bodies.mu.Lock()
		if s.bodies.used != 0 || len(s.bodies.by) != 0 {
			t.Errorf("%d bytes are held of nobody: %v", s.bodies.used, s.bodies.by)
		}
		s.bodies.mu.Unlock()
	})
}

// TestHalfABodyHoldsHalf announces the largest body and sends little of it.
func TestHalfABodyHoldsHalf(t *testing.T) {
	const size = 4 << 20
	routes := []Route{{Op: "body", Method: "POST", Path: "/body", MaxBody: size, Handler: Plain(func(*Call, rawIn) (Empty, error) {
		return Empty{}, nil
	})}}
	bubbleServer(t, Limits{}, routes, func(dial func(string) net.Conn, s *Server) {
		c := dial("192.0.2.1:1")
		go func() {
			_, _ = io.WriteString(c, fmt.Sprintf("POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat(" ", 100<<10)))
		}()
		synctest.Wait()
		s.bodies.mu.Lock()
		if used := s.bodies.used; used < 100<<10 || used > 256<<10 {
			t.Errorf("100 KiB of a body hold %d bytes", used)
		}
		s.bodies.mu.Unlock()
	})
}

// TestAnswersThatNobodyReads asks for long answers and takes none: another client gets its own.
func TestAnswersThatNobodyReads(t *testing.T) {
	const size = 300 << 10
	routes := []Route{{Op: "long", Method: "GET", Path: "/long", Handler: Plain(func(*Call, Empty) (string, error) {
		return strings.Repeat("x", size), nil
	})}}
	bubbleServer(t, Limits{Answers: 1 << 20, AnswersPerClient: 2 * (size + 100)}, routes, func(dial func(string) net.Conn, s *Server) {
		ask := "GET /long HTTP/1.1\r\nHost: h\r\n\r\n"
		for i := range 12 {
			c := dial(fmt.Sprintf("192.0.2.%d:1", i/4))
			go func() { _, _ = io.WriteString(c, ask) }()
		}
		time.Sleep(time.Second)
		s.answers.mu.Lock()
		if s.answers.used > 1<<20 || s.answers.used < size {
			t.Errorf("%d bytes are under way", s.answers.used)
		}
		s.answers.mu.Unlock()
		time.Sleep(2 * time.Second)
		c := dial("198.51.100.1:1")
		go func() { _, _ = io.WriteString(c, ask) }()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("the honest client: %v, %v", resp, err)
		}
		if all, err := io.ReadAll(resp.Body); err != nil || len(all) != size+2 {
			t.Errorf("%d bytes, %v", len(all), err)
		}
		time.Sleep(time.Hour)
		s.answers.mu.Lock()
		if s.answers.used != 0 {
			t.Errorf("%d bytes are under way to nobody", s.answers.used)
		}
		s.answers.mu.Unlock()
	})
}

// TestWritesAreAnswered sees that what is done is told, whatever is under way.
func TestWritesAreAnswered(t *testing.T) {
	s, err := New(Config{Limits: Limits{Answers: 100}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{server: s, w: &response{ResponseWriter: nil}, op: &operation{route: Route{Handler: Handler{kind: writeKind}}}}
	h, err := x.answerHold(10 << 10)
	if err != nil || s.answers.used != 10<<10 {
		t.Fatalf("%v, %d", err, s.answers.used)
	}
	h.release()
	x.op.route.Handler.kind = readKind
	if _, err := x.answerHold(10 << 10); statusOf(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("an answer that could never be: %v", err)
	}
}

// TestExpectedAnswers charges answers before they are built, and gives back what they did not
// take, also if the handler fails.
func TestExpectedAnswers(t *testing.T) {
	const total = 1 << 20
	var expect int64
	var answer int
	var fails error
	var during int64
	var s *Server
	routes := []Route{{Op: "expects", Method: "GET", Path: "/x", Handler: Plain(func(c *Call, _ Empty) (string, error) {
		if err := c.Expect(expect); err != nil {
			return "", err
		}
		s.answers.mu.Lock()
		during = s.answers.used
		s.answers.mu.Unlock()
		return strings.Repeat("x", answer), fails
	})}}
	s, err := New(Config{RateLimitsOff: true, Limits: Limits{Answers: total}}, routes)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		expect int64
		answer int
		fails  error
		status int
		during int64
	}{
		{"small", 100, 10, nil, 200, 0},
		{"less than expected", 300 << 10, 10 << 10, nil, 200, 600 << 10},
		{"more than expected", 10 << 10, 300 << 10, nil, 200, 20 << 10},
		{"nearly all", 600 << 10, 600 << 10, nil, 200, total},
		{"larger than could be, but for the filter", 2 * total, 10, nil, 200, total},
		{"larger than could be", 2*total + 1, 10, nil, 413, 0},
		{"larger than expected, and than could be", 100 << 10, total + 1, nil, 413, 200 << 10},
		{"an error", 300 << 10, 0, matrix.NotFound("it is not there"), 404, 600 << 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect, answer, fails, during = tt.expect, tt.answer, tt.fails, 0
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil))
			if w.Code != tt.status || during != tt.during {
				t.Errorf("%d with %d bytes held, want %d with %d: %.200s", w.Code, during, tt.status, tt.during, w.Body)
			}
			if s.answers.used != 0 || len(s.answers.holds) != 0 {
				t.Errorf("%d bytes are still held", s.answers.used)
			}
		})
	}
}
