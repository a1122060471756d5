package web_test

import (
	"strings"
	"sync"
	"testing"

	"porchlight/server/web"
)

const sendPath = "/_matrix/client/v3/rooms/!r:h/send/m.x/"

func TestOnce(t *testing.T) {
	y := newToy(t, nil)
	first := y.ask("PUT", sendPath+"t1", "alice", `{"a":1}`).Body.String()
	same := []struct{ name, method, target, body string }{
		{"same", "PUT", sendPath + "t1", `{"a":1}`},
		{"another body", "PUT", sendPath + "t1", `{"a":2}`},
		{"a body that is none", "PUT", sendPath + "t1", `{`},
		{"another escaping", "PUT", "/_matrix/client/v3/rooms/%21r%3Ah/send/m%2Ex/t%31", `{}`},
		{"below r0", "PUT", "/_matrix/client/r0/rooms/!r:h/send/m.x/t1", `{}`},
		{"alias with the parameters in another order", "PUT", "/_matrix/client/unstable/org.example/t1/!r:h/m.x", `{}`},
	}
	for _, tt := range same {
		if w := y.ask(tt.method, tt.target, "alice", tt.body); w.Code != 200 || w.Body.String() != first {
			t.Errorf("%s: %d %s, want %s", tt.name, w.Code, w.Body, first)
		}
	}
	if y.runs.Load() != 1 || y.count() != 1 {
		t.Errorf("the handler ran %d times, %d rows", y.runs.Load(), y.count())
	}
	other := []struct{ name, who, target string }{
		{"another transaction", "alice", sendPath + "t2"},
		{"another device", "alice2", sendPath + "t1"},
		{"another user", "bob", sendPath + "t1"},
		{"another room", "alice", strings.Replace(sendPath, "!r", "!s", 1) + "t1"},
		{"another type", "alice", strings.Replace(sendPath, "m.x", "m.y", 1) + "t1"},
		{"the slash elsewhere", "alice", strings.Replace(sendPath, "m.x/", "m.x%2F", 1) + "t1/t1"},
	}
	for i, tt := range other {
		w := y.ask("PUT", tt.target, tt.who, `{}`)
		if w.Code != 200 || w.Body.String() == first {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
		if y.count() != i+2 {
			t.Errorf("%s: %d rows", tt.name, y.count())
		}
	}
}

func TestOnceForgetsRefusals(t *testing.T) {
	y := newToy(t, nil)
	refused := "/_matrix/client/v3/rooms/!r:h/send/m.refused/t1"
	for range 2 {
		if w := y.ask("PUT", refused, "alice", `{}`); w.Code != 403 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if y.runs.Load() != 2 {
		t.Error("a refusal was stored")
	}
}

func TestOnceAtTheSameTime(t *testing.T) {
	y := newToy(t, nil)
	const clients = 32
	answers := make([]string, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { answers[i] = y.ask("PUT", sendPath+"t1", "alice", `{}`).Body.String() })
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("%s and %s", a, answers[0])
		}
	}
	if y.runs.Load() != 1 || y.count() != 1 {
		t.Errorf("the handler ran %d times, %d rows", y.runs.Load(), y.count())
	}
}

// TestTokenGoneMeanwhile revokes the token after the body was asked for and before the
// transaction begins.
func TestTokenGoneMeanwhile(t *testing.T) {
	y := newToy(t, nil)
	y.runs.Store(1)
	body := readerFunc(func(p []byte) (int, error) {
		y.revoked.Store(true)
		return copy(p, "{}"), errEOF
	})
	r := newRequest("PUT", sendPath+"t1", "alice", body)
	if w := y.do(r); w.Code != 401 || errcode(w) != "M_UNKNOWN_TOKEN" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if y.runs.Load() != 1 || y.count() != 0 {
		t.Error("a revoked token wrote")
	}
}

func TestTablesThatCannotWork(t *testing.T) {
	y := newToy(t, nil)
	ok := web.Plain(y.plain)
	tests := map[string][]web.Route{
		"no handler":       {{Op: "a", Method: "GET", Path: "/a"}},
		"no slash":         {{Op: "a", Method: "GET", Path: "a", Handler: ok}},
		"twice":            {{Op: "a", Method: "GET", Path: "/a", Handler: ok}, {Op: "b", Method: "GET", Path: "/a", Handler: ok}},
		"ambiguous":        {{Op: "a", Method: "GET", Path: "/{x}", Handler: ok}, {Op: "b", Method: "GET", Path: "/b", Handler: ok}},
		"alias lacks":      {{Op: "a", Method: "GET", Path: "/a/{x}", Aliases: []string{"/b"}, Handler: ok}},
		"alias has more":   {{Op: "a", Method: "GET", Path: "/a/{x}", Aliases: []string{"/b/{x}/{y}"}, Handler: ok}},
		"path lacks":       {{Op: "a", Method: "GET", Path: "/a", Handler: web.Plain(y.alias)}},
		"body in a GET":    {{Op: "a", Method: "GET", Path: "/a", Handler: web.Plain(y.body)}},
		"once without txn": {{Op: "a", Method: "PUT", Path: "/{roomId}/{eventType}", Access: web.User, Once: true, Handler: web.Write(y.send)}},
		"once in plain":    {{Op: "a", Method: "PUT", Path: "/{txnId}", Access: web.User, Once: true, Handler: ok}},
		"unknown class":    {{Op: "a", Method: "GET", Path: "/a", Limit: "tea", Handler: ok}},
		"untagged": {{Op: "a", Method: "POST", Path: "/a", Handler: web.Plain(func(*web.Call, struct{ X string }) (web.Empty, error) {
			return web.Empty{}, nil
		})}},
		"no struct": {{Op: "a", Method: "POST", Path: "/a", Handler: web.Plain(func(*web.Call, string) (web.Empty, error) {
			return web.Empty{}, nil
		})}},
		"what JSON cannot hold": {{Op: "a", Method: "POST", Path: "/a", Handler: web.Plain(func(*web.Call, struct {
			X chan int `json:"x"`
		}) (web.Empty, error) {
			return web.Empty{}, nil
		})}},
	}
	for name, routes := range tests {
		if _, err := web.New(web.Config{DB: y.db, Auth: y, Once: y}, routes); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
