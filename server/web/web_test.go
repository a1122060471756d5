package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// toy is a small door with every kind of operation, on a real database.
type toy struct {
	t        testing.TB
	db       *kv.DB
	notes    *kv.Table[string, string]
	answers  *kv.Table[onceRowKey, []byte]
	server   *web.Server
	now      time.Time
	runs     atomic.Int64 // handlers that ran
	internal atomic.Int64 // 500s
	log      strings.Builder
	revoked  atomic.Bool // between the first look at the token and the transaction
}

type onceRowKey struct {
	User   string
	Device string
	Path   [32]byte
}

var errBroken = errors.New("a wire is loose: secret-of-the-house")

// newToy builds the door; change may alter its configuration.
func newToy(t testing.TB, change func(*web.Config)) *toy {
	t.Helper()
	db := kvtest.Open(t)
	y := &toy{
		t: t, db: db, now: time.UnixMilli(1_700_000_000_000),
		notes:   kv.NewTable[string, string](db, kv.Settings),
		answers: kv.NewTable[onceRowKey, []byte](db, kv.OnceAnswers),
	}
	cfg := web.Config{
		DB: db, Auth: y, Once: y, Now: func() time.Time { return y.now }, RateLimitsOff: true,
		Log:             slog.New(slog.NewTextHandler(&y.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnInternalError: func(error, string) { y.internal.Add(1) },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if y.server, err = web.New(cfg, y.routes()); err != nil {
		t.Fatal(err)
	}
	return y
}

func (y *toy) Authenticate(_ kv.Reader, token string, _ time.Time) (web.Requester, error) {
	if y.revoked.Load() && y.runs.Load() > 0 {
		return web.Requester{}, matrix.UnknownToken(false)
	}
	switch token {
	case "alice":
		return web.Requester{User: "@alice:h", Device: "A1", Owner: true}, nil
	case "alice2":
		return web.Requester{User: "@alice:h", Device: "A2", Owner: true}, nil
	case "bob":
		return web.Requester{User: "@bob:h", Device: "B1"}, nil
	case "guest":
		return web.Requester{User: "@g:h", Device: "G1", Guest: true}, nil
	case "locked":
		return web.Requester{}, matrix.UserLocked()
	case "soft":
		return web.Requester{}, matrix.UnknownToken(true)
	}
	return web.Requester{}, matrix.UnknownToken(false)
}

func (y *toy) Answer(r kv.Reader, k web.OnceKey) ([]byte, bool) {
	return y.answers.Get(r, onceRowKey{string(k.User), string(k.Device), k.PathHash})
}

func (y *toy) Remember(tx *kv.WriteTx, k web.OnceKey, answer []byte, _ time.Time) {
	y.answers.Put(tx, onceRowKey{string(k.User), string(k.Device), k.PathHash}, answer)
}

type (
	stateIn struct {
		Room matrix.RoomID `path:"roomId"`
		Type string        `path:"eventType"`
		Key  string        `path:"stateKey"`
	}
	aliasIn struct {
		Alias matrix.RoomAlias `path:"roomAlias"`
	}
	sendIn struct {
		Room matrix.RoomID   `path:"roomId"`
		Type string          `path:"eventType"`
		Body json.RawMessage `body:"raw"`
	}
	queryIn struct {
		From  string          `query:"from,required"`
		Limit *int            `query:"limit"`
		Max   uint8           `query:"max"`
		Full  bool            `query:"full"`
		Via   []string        `query:"via"`
		User  matrix.UserID   `query:"user"`
		Users []matrix.UserID `query:"users"`
	}
	inner struct {
		Kind string `json:"kind" required:"true"`
		Deep *inner `json:"deep"`
	}
	bodyIn struct {
		embedded
		Name   string                          `json:"name" required:"true"`
		Count  int                             `json:"count"`
		On     *bool                           `json:"on"`
		Who    matrix.UserID                   `json:"who"`
		Invite []matrix.UserID                 `json:"invite"`
		Inner  inner                           `json:"inner"`
		Map    map[matrix.UserID][]string      `json:"map"`
		Any    any                             `json:"any"`
		Raw    json.RawMessage                 `json:"raw"`
		Order  float64                         `json:"order"`
		Keys   map[string]map[string][]float64 `json:"keys"`
	}
	embedded struct {
		Auth json.RawMessage `json:"auth"`
	}
	whoOut struct {
		User   matrix.UserID   `json:"user"`
		Device matrix.DeviceID `json:"device"`
		Owner  bool            `json:"owner"`
		IP     string          `json:"ip"`
	}
)

func (y *toy) routes() []web.Route {
	const v3 = "/_matrix/client/v3"
	return []web.Route{
		{Op: "who", Method: "GET", Path: v3 + "/who", Access: web.User, Guests: true, Handler: web.Read(y.who)},
		{Op: "perhaps", Method: "GET", Path: v3 + "/perhaps", Access: web.Optional, Handler: web.Read(y.who)},
		{Op: "limited", Method: "GET", Path: v3 + "/limited", Access: web.Optional, RateLimited: true, Handler: web.Read(y.who)},
		{Op: "login", Method: "POST", Path: v3 + "/login", RateLimited: true, Limit: web.Login, Handler: web.Plain(y.plain)},
		{Op: "state", Method: "GET", Path: v3 + "/rooms/{roomId}/state/{eventType}/{stateKey}", EmptyLast: true, Handler: web.Read(y.state)},
		{Op: "states", Method: "GET", Path: v3 + "/rooms/{roomId}/state", Handler: web.Plain(y.plain)},
		{Op: "alias", Method: "GET", Path: v3 + "/directory/room/{roomAlias}", Handler: web.Plain(y.alias)},
		{Op: "delAlias", Method: "DELETE", Path: v3 + "/directory/room/{roomAlias}", Access: web.User, Handler: web.Write(y.delAlias)},
		{
			Op: "send", Method: "PUT", Path: v3 + "/rooms/{roomId}/send/{eventType}/{txnId}", Access: web.User, Once: true,
			Aliases: []string{"/_matrix/client/unstable/org.example/{txnId}/{roomId}/{eventType}"}, Handler: web.Write(y.send),
		},
		{Op: "query", Method: "GET", Path: v3 + "/query", Handler: web.Plain(y.query)},
		{Op: "body", Method: "POST", Path: v3 + "/body", Handler: web.Plain(y.body)},
		{Op: "big", Method: "POST", Path: v3 + "/big", MaxBody: 1 << 20, Handler: web.Plain(y.raw)},
		{Op: "upload", Method: "POST", Path: "/_matrix/media/v3/upload", MaxBody: 1000, Handler: web.Plain(y.upload)},
		{Op: "old", Method: "GET", Path: "/_matrix/client/r0/query", Handler: web.Plain(y.plain)},
		{Op: "broken", Method: "GET", Path: v3 + "/broken", Handler: web.Plain(y.broken)},
		{Op: "panics", Method: "PUT", Path: v3 + "/panics", Handler: web.Write(y.panics)},
		{Op: "refuses", Method: "PUT", Path: v3 + "/refuses", Handler: web.Write(y.refuses)},
		{Op: "interactive", Method: "POST", Path: v3 + "/interactive", Handler: web.Plain(y.interactive)},
		{Op: "download", Method: "GET", Path: v3 + "/download", Handler: web.Stream(y.download)},
		{Op: "halfway", Method: "GET", Path: v3 + "/halfway", Handler: web.Stream(y.halfway)},
		{Op: "missing", Method: "GET", Path: v3 + "/missing", Handler: web.Stream(y.missing)},
	}
}

func (y *toy) who(c *web.Call, _ *kv.ReadTx, _ web.Empty) (whoOut, error) {
	y.runs.Add(1)
	return whoOut{c.User, c.Device, c.Owner, c.IP}, nil
}

func (y *toy) plain(*web.Call, web.Empty) (web.Empty, error) {
	y.runs.Add(1)
	return web.Empty{}, nil
}

func (y *toy) state(_ *web.Call, _ *kv.ReadTx, in stateIn) ([]string, error) {
	return []string{string(in.Room), in.Type, in.Key}, nil
}

func (y *toy) alias(_ *web.Call, in aliasIn) (string, error) { return string(in.Alias), nil }

func (y *toy) delAlias(_ *web.Call, tx *kv.WriteTx, in aliasIn) (web.Empty, error) {
	y.notes.Put(tx, "deleted", string(in.Alias))
	return web.Empty{}, nil
}

func (y *toy) send(c *web.Call, tx *kv.WriteTx, in sendIn) (map[string]any, error) {
	n := y.runs.Add(1)
	if in.Type == "m.refused" {
		return nil, matrix.Forbidden("Not here.")
	}
	y.notes.Put(tx, fmt.Sprintf("event %d", n), string(in.Body))
	return map[string]any{"n": n, "txn": c.TxnID, "html": "<&>"}, nil
}

func (y *toy) query(_ *web.Call, in queryIn) (queryIn, error) { return in, nil }

func (y *toy) body(_ *web.Call, in bodyIn) (bodyIn, error) { return in, nil }

func (y *toy) raw(_ *web.Call, in struct {
	Body json.RawMessage `body:"raw"`
}) (int, error) {
	return len(in.Body), nil
}

func (y *toy) upload(_ *web.Call, in struct {
	Body io.Reader `body:"stream"`
}) (int64, error) {
	return io.Copy(io.Discard, in.Body)
}

func (y *toy) broken(*web.Call, web.Empty) (web.Empty, error) {
	return web.Empty{}, fmt.Errorf("open: %w", errBroken)
}

func (y *toy) panics(_ *web.Call, tx *kv.WriteTx, _ web.Empty) (web.Empty, error) {
	y.notes.Put(tx, "panic", "x")
	panic(errBroken)
}

func (y *toy) refuses(_ *web.Call, tx *kv.WriteTx, _ web.Empty) (web.Empty, error) {
	y.notes.Put(tx, "refused", "x")
	return web.Empty{}, fmt.Errorf("deep down: %w", matrix.Forbidden("No.").With("room_version", "12"))
}

func (y *toy) interactive(*web.Call, web.Empty) (web.Empty, error) {
	return web.Empty{}, &matrix.Error{Status: 401, Extra: map[string]any{"flows": []string{}, "session": "s"}}
}

func (y *toy) download(c *web.Call, _ web.Empty) error {
	c.W.Header().Set("Content-Type", "text/plain")
	_, err := io.WriteString(c.W, "content")
	return err
}

func (y *toy) halfway(c *web.Call, _ web.Empty) error {
	_, _ = io.WriteString(c.W, "cont")
	return errBroken
}

func (y *toy) missing(*web.Call, web.Empty) error { return matrix.NotFound("No such thing.") }

// ask sends one request; who is a token or empty.
func (y *toy) ask(method, target, who, body string) *httptest.ResponseRecorder {
	y.t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+who)
	}
	return y.do(r)
}

func (y *toy) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	y.server.ServeHTTP(w, r)
	return w
}

func (y *toy) count() (n int) {
	kvtest.View(y.t, y.db, func(tx *kv.ReadTx) {
		for range y.notes.Keys(tx, kv.All()) {
			n++
		}
	})
	return n
}

func errcode(w *httptest.ResponseRecorder) string {
	var e struct{ Errcode string }
	_ = json.Unmarshal(w.Body.Bytes(), &e)
	return e.Errcode
}

func TestRequests(t *testing.T) {
	y := newToy(t, nil)
	const v3 = "/_matrix/client/v3"
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	tests := []struct {
		name, method, target, who, body string
		status                          int
		want                            string // errcode, or a part of the body
	}{
		// Routing.
		{"unknown path", "GET", v3 + "/nothing", "", "", 404, "M_UNRECOGNIZED"},
		{"outside", "GET", "/", "", "", 404, "M_UNRECOGNIZED"},
		{"double slash", "GET", "/_matrix//client/v3/who", "alice", "", 404, "M_UNRECOGNIZED"},
		{"no redirect for a slash", "GET", v3 + "/who/", "alice", "", 404, "M_UNRECOGNIZED"},
		{"no redirect for case", "GET", v3 + "/WHO", "alice", "", 404, "M_UNRECOGNIZED"},
		{"dots are not resolved", "GET", v3 + "/x/../who", "alice", "", 404, "M_UNRECOGNIZED"},
		{"wrong method", "DELETE", v3 + "/who", "alice", "", 405, "M_UNRECOGNIZED"},
		{"method nobody knows", "BREW", v3 + "/who", "alice", "", 405, "M_UNRECOGNIZED"},
		{"r0", "GET", "/_matrix/client/r0/who", "alice", "", 200, `"@alice:h"`},
		{"v1", "GET", "/_matrix/client/v1/who", "alice", "", 200, `"@alice:h"`},
		{"v2 was never", "GET", "/_matrix/client/v2/who", "alice", "", 404, "M_UNRECOGNIZED"},
		{"a route of its own wins", "GET", "/_matrix/client/r0/query", "", "", 200, "{}"},

		// Authentication.
		{"no token", "GET", v3 + "/who", "", "", 401, "M_MISSING_TOKEN"},
		{"unknown token", "GET", v3 + "/who", "mallory", "", 401, "M_UNKNOWN_TOKEN"},
		{"soft logout", "GET", v3 + "/who", "soft", "", 401, `"soft_logout":true`},
		{"locked", "GET", v3 + "/who", "locked", "", 401, "M_USER_LOCKED"},
		{"token in the query", "GET", v3 + "/who?access_token=bob", "", "", 200, `"@bob:h"`},
		{"optional without", "GET", v3 + "/perhaps", "", "", 200, `"user":""`},
		{"optional with", "GET", v3 + "/perhaps", "bob", "", 200, `"@bob:h"`},
		{"optional with a bad one", "GET", v3 + "/perhaps", "mallory", "", 401, "M_UNKNOWN_TOKEN"},
		{"guest, allowed", "GET", v3 + "/who", "guest", "", 200, `"@g:h"`},
		{"guest, not allowed", "GET", v3 + "/perhaps", "guest", "", 403, "M_GUEST_ACCESS_FORBIDDEN"},
		{"token before body", "PUT", v3 + "/rooms/!r:h/send/m.x/1", "", "{", 401, "M_MISSING_TOKEN"},

		// Path parameters.
		{"slash in an alias", "GET", v3 + "/directory/room/%23a%2Fb:h", "", "", 200, `"#a/b:h"`},
		{"percent in an alias", "GET", v3 + "/directory/room/%23a%252Fb:h", "", "", 200, `"#a%2Fb:h"`},
		{"plus is plus", "GET", v3 + "/directory/room/%23a+b:h", "", "", 200, `"#a+b:h"`},
		{"bad alias", "GET", v3 + "/directory/room/a:h", "", "", 400, "M_INVALID_PARAM"},
		{"alias too long", "GET", v3 + "/directory/room/%23" + strings.Repeat("a", 253) + ":h", "", "", 400, "M_INVALID_PARAM"},
		{"alias of 255", "GET", v3 + "/directory/room/%23" + strings.Repeat("a", 252) + ":h", "", "", 200, "aaa"},
		{"invalid UTF-8", "GET", v3 + "/rooms/!r:h/state/%ff/k", "", "", 400, "M_INVALID_PARAM"},
		{"NUL in an alias", "GET", v3 + "/directory/room/%23a%00:h", "", "", 400, "M_INVALID_PARAM"},
		{"slash in a state key", "GET", v3 + "/rooms/!r:h/state/m.x/a%2Fb", "", "", 200, `["!r:h","m.x","a/b"]`},
		{"slash in an event type", "GET", v3 + "/rooms/!r:h/state/m%2Fx/k", "", "", 200, `["!r:h","m/x","k"]`},
		{"empty state key", "GET", v3 + "/rooms/!r:h/state/m.x/", "", "", 200, `["!r:h","m.x",""]`},
		{"no state key", "GET", v3 + "/rooms/!r:h/state/m.x", "", "", 200, `["!r:h","m.x",""]`},
		{"the same below r0", "GET", "/_matrix/client/r0/rooms/!r:h/state/m.x/", "", "", 200, `["!r:h","m.x",""]`},
		{"all state", "GET", v3 + "/rooms/!r:h/state", "", "", 200, "{}"},
		{"empty room", "GET", v3 + "/rooms//state/m.x/", "", "", 400, "M_INVALID_PARAM"},

		// Query.
		{"required is missing", "GET", v3 + "/query", "", "", 400, "M_MISSING_PARAM"},
		{"defaults", "GET", v3 + "/query?from=", "", "", 200, `"From":"","Limit":null`},
		{"all", "GET", v3 + "/query?from=a%2Fb&limit=-3&max=255&full=true&via=a&via=b&user=@a:h&users=@a:h&users=@b:h", "", "", 200,
			`{"From":"a/b","Limit":-3,"Max":255,"Full":true,"Via":["a","b"],"User":"@a:h","Users":["@a:h","@b:h"]}`},
		{"bad int", "GET", v3 + "/query?from=x&limit=ten", "", "", 400, "M_INVALID_PARAM"},
		{"empty int", "GET", v3 + "/query?from=x&limit=", "", "", 400, "M_INVALID_PARAM"},
		{"int out of range", "GET", v3 + "/query?from=x&max=256", "", "", 400, "M_INVALID_PARAM"},
		{"bad bool", "GET", v3 + "/query?from=x&full=yes", "", "", 400, "M_INVALID_PARAM"},
		{"bad id", "GET", v3 + "/query?from=x&user=alice", "", "", 400, "M_INVALID_PARAM"},
		{"bad id in a list", "GET", v3 + "/query?from=x&users=@a:h&users=b", "", "", 400, "M_INVALID_PARAM"},
		{"bad escape", "GET", v3 + "/query?from=%zz", "", "", 400, "M_INVALID_PARAM"},
		{"query of invalid UTF-8", "GET", v3 + "/query?from=%ff", "", "", 400, "M_INVALID_PARAM"},

		// Body.
		{"no JSON", "POST", v3 + "/body", "", "hello", 400, "M_NOT_JSON"},
		{"half of it", "POST", v3 + "/body", "", `{"name":`, 400, "M_NOT_JSON"},
		{"two of it", "POST", v3 + "/body", "", `{"name":"x"}{}`, 400, "M_NOT_JSON"},
		{"no object", "POST", v3 + "/body", "", `["name"]`, 400, "M_BAD_JSON"},
		{"no object behind spaces", "POST", v3 + "/body", "", strings.Repeat(" ", 100) + `1`, 400, "M_BAD_JSON"},
		{"empty body lacks the name", "POST", v3 + "/body", "", "", 400, "M_MISSING_PARAM"},
		{"null lacks the name", "POST", v3 + "/body", "", `{"name":null}`, 400, "M_MISSING_PARAM"},
		{"case matters", "POST", v3 + "/body", "", `{"Name":"x"}`, 400, "M_MISSING_PARAM"},
		{"string wanted", "POST", v3 + "/body", "", `{"name":1}`, 400, "The field name has to be a string."},
		{"int wanted", "POST", v3 + "/body", "", `{"name":"x","count":"1"}`, 400, "The field count has to be a whole number within range."},
		{"whole number wanted", "POST", v3 + "/body", "", `{"name":"x","count":1.5}`, 400, "M_BAD_JSON"},
		{"bool wanted", "POST", v3 + "/body", "", `{"name":"x","on":1}`, 400, "The field on has to be true or false."},
		{"array wanted", "POST", v3 + "/body", "", `{"name":"x","invite":{}}`, 400, "The field invite has to be an array."},
		{"object wanted", "POST", v3 + "/body", "", `{"name":"x","inner":[]}`, 400, "The field inner has to be an object."},
		{"deep field", "POST", v3 + "/body", "", `{"name":"x","inner":{"kind":"a","deep":{"kind":2}}}`, 400, "The field inner.deep.kind has to be a string."},
		{"deep required", "POST", v3 + "/body", "", `{"name":"x","inner":{}}`, 400, "M_MISSING_PARAM"},
		{"null in an array", "POST", v3 + "/body", "", `{"name":"x","invite":[null]}`, 400, "M_BAD_JSON"},
		{"id of 256 bytes", "POST", v3 + "/body", "", `{"name":"x","who":"@` + strings.Repeat("a", 253) + `:h"}`, 400, "M_INVALID_PARAM"},
		{"bad id in an array", "POST", v3 + "/body", "", `{"name":"x","invite":["@a:h","bob"]}`, 400, "M_INVALID_PARAM"},
		{"bad id as a key", "POST", v3 + "/body", "", `{"name":"x","map":{"bob":[]}}`, 400, "M_INVALID_PARAM"},
		{"NUL in an id", "POST", v3 + "/body", "", `{"name":"x","who":"@a\u0000:h"}`, 400, "M_INVALID_PARAM"},
		{"NUL in a string", "POST", v3 + "/body", "", `{"name":"a\u0000b"}`, 200, `"name":"a\u0000b"`},
		{"body of invalid UTF-8", "POST", v3 + "/body", "", "{\"name\":\"\xff\"}", 400, "M_"},
		{"duplicate keys", "POST", v3 + "/body", "", `{"name":"a","name":"b"}`, 400, "M_BAD_JSON"},
		{"too deep", "POST", v3 + "/body", "", `{"name":"x","any":` + deep + `}`, 400, "M_BAD_JSON"},
		{"everything", "POST", v3 + "/body", "",
			`{"name":"x","count":2,"on":false,"who":"@w:h","invite":["@a:h"],"inner":{"kind":"k"},"map":{"@a:h":["d"]},"any":{"z":[1]},"raw":null,"order":0.5,"auth":{"type":"t"},"keys":{"a":{"b":[1]}}}`,
			200, `"count":2,"on":false,"who":"@w:h","invite":["@a:h"],"inner":{"kind":"k","deep":null},"map":{"@a:h":["d"]},"any":{"z":[1]},"raw":null,"order":0.5,"keys":{"a":{"b":[1]}}`},
		{"too large", "POST", v3 + "/body", "", `{"name":"` + strings.Repeat("x", web.DefaultMaxBody) + `"}`, 413, "M_TOO_LARGE"},
		{"large where it is allowed", "POST", v3 + "/big", "", `{"name":"` + strings.Repeat("x", web.DefaultMaxBody) + `"}`, 200, "65547"},
		{"raw wants a body", "POST", v3 + "/big", "", "", 400, "M_NOT_JSON"},
		{"raw wants an object", "POST", v3 + "/big", "", "[]", 400, "M_BAD_JSON"},
		{"stream", "POST", "/_matrix/media/v3/upload", "", strings.Repeat("\xff", 1000), 200, "1000"},
		{"stream below v1", "POST", "/_matrix/media/v1/upload", "", "x", 200, "1"},
		{"stream too large", "POST", "/_matrix/media/v3/upload", "", strings.Repeat("\xff", 1001), 413, "M_TOO_LARGE"},

		// Answers.
		{"refused", "PUT", v3 + "/refuses", "", "{}", 403, `{"errcode":"M_FORBIDDEN","error":"No.","room_version":"12"}`},
		{"no errcode in interactive authentication", "POST", v3 + "/interactive", "", "{}", 401, `{"flows":[],"session":"s"}`},
		{"no HTML escapes", "PUT", v3 + "/rooms/!r:h/send/m.x/html", "alice", `{}`, 200, `"html":"<&>"`},
		{"download", "GET", v3 + "/download", "", "", 200, "content"},
		{"download refused", "GET", v3 + "/missing", "", "", 404, "M_NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := y.ask(tt.method, tt.target, tt.who, tt.body)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, tt.status, tt.want)
			}
			checkHeaders(t, w, strings.HasPrefix(tt.target, "/_matrix"))
		})
	}
	if y.internal.Load() != 0 {
		t.Error("there were internal errors")
	}
	if n := y.count(); n != 1 {
		t.Errorf("%d rows were written, want the one of the only accepted write", n)
	}
}

func checkHeaders(t *testing.T, w *httptest.ResponseRecorder, ours bool) {
	t.Helper()
	h := w.Header()
	if ours != (h.Get("Access-Control-Allow-Origin") == "*") {
		t.Errorf("Access-Control-Allow-Origin is %q", h.Get("Access-Control-Allow-Origin"))
	}
	if h.Get("X-Content-Type-Options") != "nosniff" {
		t.Error("nosniff is missing")
	}
	if strings.HasPrefix(w.Body.String(), "{") {
		if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", h)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("no JSON: %s", w.Body)
		}
	}
}

func TestOptionsAndMethods(t *testing.T) {
	y := newToy(t, func(c *web.Config) {
		c.Fallback = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	})
	for _, target := range []string{"/_matrix/client/v3/who", "/_matrix/nothing", "/_matrix", "/.well-known/matrix/client"} {
		w := y.ask("OPTIONS", target, "", "")
		h := w.Header()
		if w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Access-Control-Allow-Methods") != "GET, POST, PUT, DELETE, OPTIONS" ||
			h.Get("Access-Control-Allow-Headers") != "X-Requested-With, Content-Type, Authorization" {
			t.Errorf("OPTIONS %s: %d %v", target, w.Code, h)
		}
	}
	if y.runs.Load() != 0 {
		t.Error("OPTIONS ran a handler")
	}
	if w := y.ask("POST", "/_matrix/client/v3/who", "", ""); w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("Allow: %q", w.Header().Get("Allow"))
	}
	w := y.ask("HEAD", "/_matrix/client/v3/who", "alice", "")
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
	if w := y.ask("HEAD", "/_matrix/client/v3/body", "", ""); w.Code != 405 {
		t.Errorf("HEAD of a POST: %d", w.Code)
	}
	if w := y.ask("GET", "/index.html", "", ""); w.Body.String() != "page" {
		t.Errorf("fallback: %d %s", w.Code, w.Body)
	}
	if w := y.ask("GET", "/_matrixen", "", ""); w.Body.String() != "page" {
		t.Errorf("fallback: %d %s", w.Code, w.Body)
	}
	if w := y.ask("GET", "/_matrix/index.html", "", ""); w.Code != 404 {
		t.Errorf("the fallback answered below /_matrix: %d %s", w.Code, w.Body)
	}
}

func TestInternalErrors(t *testing.T) {
	y := newToy(t, nil)
	for i, r := range []struct{ method, target string }{
		{"GET", "/_matrix/client/v3/broken"},
		{"PUT", "/_matrix/client/v3/panics"},
	} {
		w := y.ask(r.method, r.target, "", "")
		var e struct{ Errcode, Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 500 || e.Errcode != "M_UNKNOWN" {
			t.Errorf("%s: %d %s", r.target, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("the client is told too much: %s", w.Body)
		}
		words := strings.Fields(strings.TrimSuffix(e.Error, "."))
		reference := words[len(words)-1]
		if !strings.Contains(y.log.String(), reference) || !strings.Contains(y.log.String(), "secret-of-the-house") {
			t.Errorf("the log does not know %s:\n%s", reference, &y.log)
		}
		if y.internal.Load() != int64(i+1) {
			t.Error("nobody was told")
		}
	}
	if !strings.Contains(y.log.String(), "web_test.go") {
		t.Error("the log does not tell where the panic was")
	}
	if y.count() != 0 {
		t.Error("a panicking handler wrote something")
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("a broken download does not cut the connection")
			}
		}()
		y.ask("GET", "/_matrix/client/v3/halfway", "", "")
	}()
}

func TestEndOfClientAndServer(t *testing.T) {
	y := newToy(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "/_matrix/client/v3/who?access_token=alice", nil)
	if w := y.do(r); w.Code != 503 {
		t.Errorf("cancelled: %d %s", w.Code, w.Body)
	}
	if err := y.db.Close(); err != nil {
		t.Fatal(err)
	}
	if w := y.ask("GET", "/_matrix/client/v3/who", "alice", ""); w.Code != 503 {
		t.Errorf("closed: %d %s", w.Code, w.Body)
	}
	if y.internal.Load() != 0 {
		t.Error("the end counts as an internal error")
	}
}

func TestLogIsDiscreet(t *testing.T) {
	y := newToy(t, nil)
	y.ask("GET", "/_matrix/client/v3/who?access_token=alice&x=private", "", "")
	y.ask("PUT", "/_matrix/client/v3/rooms/!private:h/send/m.x/1", "alice", `{"body":"private"}`)
	y.ask("GET", "/_matrix/client/v3/private", "alice", "")
	log := y.log.String()
	for _, word := range []string{"private", "access_token", "Bearer"} {
		if strings.Contains(log, word) {
			t.Errorf("the log holds %q:\n%s", word, log)
		}
	}
	for _, word := range []string{"op=who", "op=send", "op=unrecognized", "status=404", "user=@alice:h"} {
		if !strings.Contains(log, word) {
			t.Errorf("the log lacks %q:\n%s", word, log)
		}
	}
}

// TestOnTheWire sends what httptest's recorder cannot: a real connection.
func TestOnTheWire(t *testing.T) {
	y := newToy(t, nil)
	s := httptest.NewServer(y.server)
	defer s.Close()
	resp, err := s.Client().Get(s.URL + "/_matrix/client/v3/directory/room/" + url.PathEscape("#a/b:h"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != `"#a/b:h"` {
		t.Errorf("%s, %v", body, err)
	}
	resp.Body.Close()
	resp, err = s.Client().Post(s.URL+"/_matrix/client/v3/body", "application/json", strings.NewReader(`{"name":"x"}`))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if resp, err = s.Client().Get(s.URL + "/_matrix/client/v3/halfway"); err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("half a download looks whole")
	}
}
