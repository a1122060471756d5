package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest sends any path, query and body: nothing may panic or end in a 500, and
// whatever is accepted has to be what was asked.
func FuzzRequest(f *testing.F) {
	for _, target := range []string{
		"/_matrix/client/v3/rooms/!r:h/state/m.x/a%2Fb", "/_matrix/client/v3/rooms/!r:h/state/m.x/",
		"/_matrix/client/v3/directory/room/%23a%00:h", "/_matrix/client/v3/query?from=a&limit=-1&via=a&via=%ff",
		"/_matrix/client/v3/query?from=a;b", "//", "/_matrix/client/v3/rooms//send//", "/_matrix/client/v3/%77ho",
	} {
		f.Add(target, `{"name":"x"}`)
	}
	f.Add("/_matrix/client/v3/body", `{"name":"x","inner":{"kind":"","deep":null},"map":{"@a:h":[]},"any":[{}],"count":1e3}`)
	y := newToy(f, nil)
	f.Fuzz(func(t *testing.T, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		for _, method := range []string{"GET", "POST", "PUT"} {
			r := newRequest(method, "/", "alice", nil)
			r.URL = u
			r.Body = http.NoBody
			if method != "GET" {
				r = newRequest(method, "/", "alice", strings.NewReader(body))
				r.URL = u
			}
			if u.Path == "/_matrix/client/v3/broken" || u.Path == "/_matrix/client/v3/panics" || u.Path == "/_matrix/client/v3/halfway" {
				continue
			}
			if w := y.do(r); w.Code >= 500 {
				t.Errorf("%s %q %q: %d %s", method, target, body, w.Code, w.Body)
			}
		}
	})
}

// FuzzParameters sends any state key the way a client escapes it, and wants it back.
func FuzzParameters(f *testing.F) {
	for _, key := range []string{"a/b", "%2F", "", "@a:h", "..", "+", "\x00", "ä ö", "a;b&c=d?e#f"} {
		f.Add(key)
	}
	y := newToy(f, nil)
	f.Fuzz(func(t *testing.T, key string) {
		r := httptest.NewRequest("GET", "/_matrix/client/v3/rooms/!r:h/state/m.x/"+url.PathEscape(key), nil)
		w := y.do(r)
		if want := stateAnswer(key); w.Code == 200 && w.Body.String() != want || w.Code >= 500 {
			t.Errorf("%q: %d %s, want %s", key, w.Code, w.Body, want)
		}
	})
}

func BenchmarkRouteAndDecode(b *testing.B) {
	y := newToy(b, nil)
	for _, bench := range []struct{ name, method, target, body string }{
		{"path", "GET", "/_matrix/client/v3/directory/room/%23a%2Fb:h", ""},
		{"query", "GET", "/_matrix/client/v3/query?from=a&limit=10&via=a&via=b", ""},
		{"body", "POST", "/_matrix/client/v3/body", `{"name":"x","invite":["@a:h","@b:h"],"inner":{"kind":"k"},"map":{"@a:h":["d"]}}`},
		{"read", "GET", "/_matrix/client/v3/who", ""},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if w := y.ask(bench.method, bench.target, "alice", bench.body); w.Code != 200 {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}

// stateAnswer is what the toy answers for a state key.
func stateAnswer(key string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode([]string{"!r:h", "m.x", key}); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
