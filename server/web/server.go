package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// DefaultMaxBody bounds request bodies where neither Config nor the route does, in
// bytes. An event in canonical JSON has at most this size.
const DefaultMaxBody = 64 << 10

// Config is what New needs. DB and Auth have to be there, Once where a route is Once.
type Config struct {
	DB   *kv.DB
	Auth Authenticator
	Once OnceStore
	Log  *slog.Logger     // nil: slog.Default
	Now  func() time.Time // nil: time.Now

	// MaxBody bounds the bodies of routes that set no bound; 0 is DefaultMaxBody.
	MaxBody int64

	// Limits bounds what is in memory for requests.
	Limits Limits

	// Space knows whether the disk has room; nil: it always has.
	Space Space

	// RateLimits replaces the default limit of a class.
	RateLimits    map[Class]Limit
	RateLimitsOff bool

	// TrustProxy takes the client's address from the last entry of X-Forwarded-For.
	// Only for a server that nobody reaches but through its proxy.
	TrustProxy bool

	// Seen hears of every authenticated request, outside any transaction: from where, and what
	// the client calls itself, which may be anything; nil is none.
	Seen func(who Requester, ip, agent string, now time.Time)

	// Assert says for whom a request of an application service is, which may name a user and
	// a device (spec: application service API, identity assertion); nil: for whom its token is.
	Assert func(r kv.Reader, who Requester, user matrix.UserID, device matrix.DeviceID) (Requester, error)

	// Exempt says that whoever shows a token is not counted, in operations that need none;
	// nil: nobody is.
	Exempt func(token string) bool

	// OnInternalError hears of every 500, in the request's goroutine: test servers
	// fail the test.
	OnInternalError func(err error, reference string)

	// Fallback answers paths outside /_matrix and /.well-known that no route has;
	// nil answers 404 M_UNRECOGNIZED.
	Fallback http.Handler
}

// Server is the http.Handler of all doors.
type Server struct {
	db       *kv.DB
	auth     Authenticator
	once     OnceStore
	log      *slog.Logger
	now      func() time.Time
	maxBody  int64
	limits   *limiter // nil: off
	bodies   *budget
	answers  *budget
	underway underway
	writers  writers
	space    Space
	proxy    bool
	seen     func(who Requester, ip, agent string, now time.Time)
	assert   func(kv.Reader, Requester, matrix.UserID, matrix.DeviceID) (Requester, error)
	exempt   func(string) bool
	onError  func(error, string)
	fallback http.Handler
	router   *router
}

// New makes the routes ready. It returns an error for a table that cannot work: two
// routes for one path, an input type that does not fit its path, and the like.
func New(cfg Config, routes []Route) (*Server, error) {
	s := &Server{
		db: cfg.DB, auth: cfg.Auth, once: cfg.Once, log: cfg.Log, now: cfg.Now,
		maxBody: cfg.MaxBody, proxy: cfg.TrustProxy, seen: cfg.Seen, assert: cfg.Assert, exempt: cfg.Exempt, onError: cfg.OnInternalError,
		fallback: cfg.Fallback, router: newRouter(),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.maxBody == 0 {
		s.maxBody = DefaultMaxBody
	}
	l := cfg.Limits.Filled()
	s.bodies = newBudget(l.Bodies, l.BodiesPerClient, false)
	s.answers = newBudget(l.Answers, l.AnswersPerClient, true)
	s.writers = writers{by: map[string]*turns{}}
	s.space = cfg.Space
	s.underway = underway{most: l.PerAddress, by: map[string]int{}}
	limits := effectiveLimits(cfg.RateLimits)
	if !cfg.RateLimitsOff {
		s.limits = newLimiter(limits)
	}
	ops := make([]*operation, len(routes))
	for i, r := range routes {
		op, err := s.operation(r, limits)
		if err != nil {
			return nil, fmt.Errorf("web: operation %s: %w", r.Op, err)
		}
		ops[i] = op
	}
	return s, s.addAll(ops)
}

// addAll registers the paths that routes name, then those that are derived, so that
// the named ones win whatever the order of the table.
func (s *Server) addAll(ops []*operation) error {
	for _, quiet := range []bool{false, true} {
		for _, op := range ops {
			these, derived := paths(&op.route)
			if quiet {
				these = derived
			}
			for _, path := range these {
				if err := s.router.add(op, path, quiet); err != nil {
					return fmt.Errorf("web: operation %s: %w", op.route.Op, err)
				}
			}
		}
	}
	return nil
}

// operation checks a route and prepares its input type.
func (s *Server) operation(r Route, limits map[Class]Limit) (*operation, error) {
	op := &operation{route: r}
	for segment := range strings.SplitSeq(strings.TrimPrefix(r.Path, "/"), "/") {
		if name, ok := paramName(segment); ok {
			op.params = append(op.params, name)
		}
	}
	if op.route.Limit == "" {
		op.route.Limit = General
	}
	switch {
	case r.Handler.serve == nil:
		return nil, errors.New("it has no handler")
	case r.Once && (r.Handler.kind != writeKind || r.Access != User || s.once == nil):
		return nil, errors.New("once-only needs a Write handler, a signed-in user and a store for the answers")
	case r.Once && op.param("txnId") < 0:
		return nil, errors.New("once-only needs {txnId} in the path")
	}
	if _, ok := limits[op.route.Limit]; !ok {
		return nil, fmt.Errorf("there is no rate limit for the class %q", r.Limit)
	}
	var err error
	op.plan, err = newPlan(r.Handler.in, op.params, r.Method)
	return op, err
}

// param is the index of a path parameter, -1 if there is none of this name.
func (op *operation) param(name string) int {
	for i, p := range op.params {
		if p == name {
			return i
		}
	}
	return -1
}

// exchange is one request on its way through the server.
type exchange struct {
	server *Server
	w      *response
	op     *operation // nil until routed
	path   []string   // values of op.params
	query  url.Values
	token  string
	call   Call
	answer []byte // JSON
	body   *hold  // what the body takes; nil: nothing
	// sending is what the answer takes while it is written; nil: nothing.
	sending *hold
}

// client is whom memory is charged to.
func (x *exchange) client() string {
	switch {
	case x.call.User != "" && x.op.route.Limit == Login && x.call.Device != "":
		// Passwords are counted by device, so that whoever has stolen one does not keep the
		// user from signing it out with another.
		return string(x.call.User) + "/" + string(x.call.Device)
	case x.call.User != "":
		return string(x.call.User)
	}
	return addressBlock(x.call.IP)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{server: s, w: &response{ResponseWriter: w}}
	x.call = Call{Ctx: r.Context(), Now: s.now(), IP: s.clientIP(r), Base: s.base(r), R: r, W: x.w}
	x.call.exchange = x
	defer x.logRequest()
	defer func() {
		x.body.release()
		x.sending.release()
	}()
	ours := setHeaders(x.w.Header(), r.URL.Path)
	block := requestBlock(x.call.IP)
	if !s.underway.enter(block) {
		x.w.Header().Set("Connection", "close") // the rest of the request is not wanted
		x.fail(matrix.LimitExceeded(budgetPatience))
		return
	}
	defer s.underway.leave(block)
	if ours && r.Method == http.MethodOptions {
		x.w.WriteHeader(http.StatusNoContent) // spec: client-server API, web browser clients
		return
	}
	var err error
	x.op, x.path, err = s.router.find(r.Method, r.URL.EscapedPath())
	if x.op == nil && !ours && s.fallback != nil && matrix.IsCode(err, "M_UNRECOGNIZED") {
		clear(x.w.Header())
		s.fallback.ServeHTTP(x.w, r)
		return
	}
	if err == nil {
		err = x.run()
	}
	if err != nil {
		x.fail(err)
		return
	}
	x.body.release() // it has become an answer
	if x.op.route.Handler.kind != streamKind {
		if err := x.writeAnswer(); err != nil {
			x.fail(err)
		}
	}
}

// run takes the request from its authentication to the end of its handler.
func (x *exchange) run() (err error) {
	defer recoverTo(&err)
	if x.query, err = url.ParseQuery(x.call.R.URL.RawQuery); err != nil {
		return matrix.InvalidParam("The query string is not valid percent-encoding.")
	}
	for name, values := range x.query {
		if !utf8.ValidString(name + strings.Join(values, "")) {
			return matrix.InvalidParam("The query string is not valid UTF-8.")
		}
	}
	x.token = accessToken(x.call.R, x.query)
	if i := x.op.param("txnId"); i >= 0 {
		x.call.TxnID = x.path[i]
	}
	answered, err := x.admit(x.call.Ctx)
	if err != nil || answered {
		return err
	}
	return x.op.route.Handler.serve(x)
}

// admit authenticates, looks for a stored answer and counts the request.
func (x *exchange) admit(ctx context.Context) (answered bool, err error) {
	if x.op.route.Access == User || (x.op.route.Access == Optional && x.token != "") {
		err = x.server.db.View(ctx, func(tx *kv.ReadTx) error {
			if err := x.authenticate(tx); err != nil {
				return err
			}
			answered = x.answered(tx)
			return nil
		})
		if err != nil {
			return false, err
		}
		if x.server.seen != nil && (x.call.Service == "" || x.call.Device != "") {
			c := &x.call
			x.server.seen(Requester{User: c.User, Device: c.Device, Guest: c.Guest, Owner: c.Owner}, c.IP, c.R.UserAgent(), c.Now)
		}
		if answered {
			return true, nil
		}
	}
	if class := x.class(); class != "" && x.server.limits != nil && !x.unlimited() {
		if wait := x.server.limits.take(class, x.client(), x.call.Now); wait > 0 {
			return false, matrix.LimitExceeded(wait)
		}
	}
	return false, x.refuseForSpace()
}

// class is what the request is counted as; empty: it is not counted. What is written counts
// also where the standard does not say so, since each write costs the card a commit.
func (x *exchange) class() Class {
	switch route := &x.op.route; {
	case route.RateLimited:
		return route.Limit
	case route.Handler.kind == writeKind:
		return Writing
	}
	return ""
}

// unlimited says whether the request is not counted.
func (x *exchange) unlimited() bool {
	return x.call.unlimited || x.op.route.Access == Anyone && x.token != "" && x.server.exempt != nil && x.server.exempt(x.token)
}
