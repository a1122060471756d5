// Package servertest starts whole houses for tests and asks them in literals.
//
//	s := servertest.New(t)
//	s.Run(t, []servertest.Case{
//		{Name: "make a room", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{}`, Status: 200,
//			Want: `{"room_id":"!*"}`, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
//		{Name: "a stranger sends", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/send/m.x/1", Body: `{}`,
//			Status: 403, Errcode: "M_FORBIDDEN"},
//	})
//
// Users are made when a case first names them. A 500 fails the test, and so does a
// refused request that wrote something, and an answer that is not what the standard's
// OpenAPI description says. When the test ends, the database is checked in full.
package servertest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
)

// Name is the server name of the houses that New starts.
const Name = "house.test"

// Server is a running house.
type Server struct {
	*server.Server
	t testing.TB

	mu    sync.Mutex
	users map[string]*User
	vars  map[string]string
}

// User is one device of a user of the house.
type User struct {
	ID     matrix.UserID
	Device matrix.DeviceID
	Token  string

	server *Server
}

// Option changes what New would start.
type Option func(*server.Config)

// New starts a house in a temporary folder: no board, no rate limits, registration
// open, listening on a free port of the loopback address. It ends with the test.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	return At(t, t.TempDir(), options...)
}

// At is New for a folder of the test's own, which may hold a house already.
func At(t testing.TB, folder string, options ...Option) *Server {
	t.Helper()
	cfg := server.Config{
		Data: folder, ServerName: Name, Listen: []string{"127.0.0.1:0"},
		Registration: server.RegistrationOpen, RateLimitsOff: true,
		Hashing:         accounts.HashCost{Memory: 8, Time: 1}, // as cheap as can be
		Board:           server.BoardConfig{Off: true},
		Log:             slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		OnInternalError: func(err error, _ string) { t.Errorf("internal error: %v", err) },
	}
	for _, change := range options {
		change(&cfg)
	}
	house, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- house.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
		kvtest.Check(t, house.DB)
		if err := house.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	select {
	case <-house.Ready():
	case err := <-ran:
		ran <- err
		t.Fatalf("the house did not start: %v", err)
	}
	return &Server{Server: house, t: t, users: map[string]*User{}, vars: map[string]string{"server": Name}}
}

// testLog writes the house's log into the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// User is a user's device by its name in the test: "alice", or "alice#2" for a further
// device. User and device are made when they are first asked for, without a password;
// "owner" is the owner of the house.
func (s *Server) User(name string) *User {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[name]; ok {
		return u
	}
	u := s.login(name)
	s.users[name] = u
	return u
}

// login makes the user, if it is not there, and a device that is called like the name.
func (s *Server) login(name string) *User {
	s.t.Helper()
	u := &User{server: s}
	localpart, _, _ := strings.Cut(name, "#")
	kvtest.Update(s.t, s.DB, func(tx *kv.WriteTx) (err error) {
		u.ID = matrix.NewUserID(localpart, s.Setup.ServerName())
		if !s.Accounts.Exists(tx, u.ID) {
			if u.ID, err = s.Accounts.Create(tx, accounts.NewUser{Localpart: localpart}); err != nil {
				return err
			}
			if localpart == "owner" {
				if err := s.Setup.SetOwner(tx, u.ID); err != nil {
					return err
				}
			}
		}
		l, err := s.Accounts.Login(tx, accounts.NewLogin{User: u.ID, Device: matrix.DeviceID(strings.ToUpper(name))})
		u.Device, u.Token = l.Device, l.AccessToken
		return err
	})
	return u
}

// SetPassword gives the user a password to log in with.
func (s *Server) SetPassword(name, password string) {
	s.t.Helper()
	hash, err := s.Accounts.HashPassword(s.t.Context(), password, "", accounts.Asker{})
	if err != nil {
		s.t.Fatal(err)
	}
	user := s.User(name).ID
	kvtest.Update(s.t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.SetPasswordHash(tx, user, hash) })
}

// Set gives a variable its value, for {name} in cases.
func (s *Server) Set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vars[name] = value
}

// Var is the value of a variable; the test fails if it has none.
func (s *Server) Var(name string) string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.vars[name]
	if !ok {
		s.t.Fatalf("nothing is called {%s}", name)
	}
	return value
}

// Response is an answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON reads the body into v.
func (r *Response) JSON(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.Body, v); err != nil {
		t.Fatalf("%v in %s", err, r.Body)
	}
}

// Errcode is the errcode of a refusal, empty if there is none.
func (r *Response) Errcode() string {
	var e struct{ Errcode string }
	if json.Unmarshal(r.Body, &e) != nil {
		return ""
	}
	return e.Errcode
}

// Ask sends one request to the doors, without a network, and holds the answer to the
// standard. The path may be short, as "v3/sync"; token may be empty.
func (s *Server) Ask(ctx context.Context, token, method, path string, body io.Reader) *Response {
	s.t.Helper()
	return s.AskIn(ctx, s.t, token, method, path, body)
}

// AskIn is Ask for a test inside of the one that New was called with.
func (s *Server) AskIn(ctx context.Context, t testing.TB, token, method, path string, body io.Reader) *Response {
	t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/_matrix/client/" + path
	}
	r := httptest.NewRequestWithContext(ctx, method, path, body)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if strings.HasPrefix(path, "/_porchlight/") {
		r.Header.Set("Content-Type", "application/json") // as the page does
	}
	w := s.Serve(t, r)
	return &Response{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
}

// Serve is AskIn for a request with headers of its own.
func (s *Server) Serve(t testing.TB, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	path := r.URL.EscapedPath()
	w := httptest.NewRecorder()
	s.Handler.ServeHTTP(w, r)
	if _, isBenchmark := t.(*testing.B); !isBenchmark {
		s.check(t, r.Method, path, &Response{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()})
	}
	return w
}

// Do sends a request as this user; variables in path and body are filled in.
func (u *User) Do(method, path, body string) *Response {
	u.server.t.Helper()
	s := u.server
	return s.Ask(s.t.Context(), u.Token, method, s.fillPath(s.t, path), strings.NewReader(s.fillJSON(s.t, body)))
}

// Must is Do for what has to succeed: it reads the answer into out, which may be nil.
func (u *User) Must(method, path, body string, out any) {
	u.server.t.Helper()
	r := u.Do(method, path, body)
	if r.Status != http.StatusOK {
		u.server.t.Fatalf("%s %s as %s: %d %s", method, path, u.ID, r.Status, r.Body)
	}
	if out != nil {
		r.JSON(u.server.t, out)
	}
}
