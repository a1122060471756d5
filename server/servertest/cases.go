package servertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"porchlight/kv"
)

// Any as Case.Changes says that the number does not matter.
const Any = -1

// Case is one request to an endpoint and all that has to come of it. In Path, Body and
// Want, {@alice} is Alice's user ID, {@alice.device} her device, {server} the server
// name and {name} what an earlier case saved or Set gave; in a path it is escaped.
type Case struct {
	Name   string
	Who    string // a name for User; empty: no token
	Token  string // instead of Who's
	Method string
	Path   string // short forms are below /_matrix/client: "v3/sync"
	Body   string

	Status  int
	Errcode string
	// Want is JSON that the answer has to contain: of objects the fields named, arrays
	// in full unless they end in "…", strings with * for anything, "!absent" for a field
	// that must not be there.
	Want string
	// Changes is how many rows the change log gets, Any if that does not matter. What is
	// refused must not write any, nor anything else; Any says that others write meanwhile.
	Changes int
	// Woken says that waiting clients are woken though the log gets no row.
	Woken bool
	// Save keeps parts of the answer: variable → path in the JSON, as "flows.0.type".
	Save map[string]string
}

// Run asks the cases one after the other, each as a subtest.
func (s *Server) Run(t *testing.T, cases []Case) {
	t.Helper()
	for i := range cases {
		t.Run(cases[i].Name, func(t *testing.T) { s.one(t, &cases[i]) })
	}
}

// traces is what a request may leave behind.
type traces struct {
	position uint64
	stats    kv.Stats
	woken    <-chan struct{}
}

func (s *Server) traces() traces {
	return traces{uint64(s.Changes.Published()), s.DB.Stats(), s.Changes.Wait()}
}

func (s *Server) one(t *testing.T, c *Case) {
	t.Helper()
	token := c.Token
	if c.Who != "" && token == "" {
		token = s.User(c.Who).Token
	}
	path, body, want := s.fillPath(t, c.Path), s.fillJSON(t, c.Body), s.fillJSON(t, c.Want)

	before := s.traces()
	r := s.AskIn(t.Context(), t, token, c.Method, path, strings.NewReader(body))
	s.checkTraces(t, c, before)

	if r.Status != c.Status || r.Errcode() != c.Errcode {
		t.Errorf("%s %s: %d %s, want %d %s", c.Method, path, r.Status, r.Body, c.Status, c.Errcode)
	}
	if want != "" {
		Match(t, r.Body, want)
	}
	for name, at := range c.Save {
		s.Set(name, pick(t, r.Body, at))
	}
}

// checkTraces compares what was written with what should have been.
func (s *Server) checkTraces(t testing.TB, c *Case, before traces) {
	t.Helper()
	after := s.traces()
	rows := int(after.position - before.position)
	if c.Status < http.StatusBadRequest {
		if c.Changes != Any && rows != c.Changes {
			t.Errorf("%d changes were written, want %d", rows, c.Changes)
		}
		if c.Woken && before.woken == after.woken {
			t.Error("nobody was woken")
		}
		return
	}
	if c.Changes == Any {
		return
	}
	writes := after.stats.Updates - before.stats.Updates
	if after.stats.Deferred > before.stats.Deferred && writes > 0 {
		writes-- // the flush of earlier requests' deferred rows
	}
	if rows > 0 || writes > 0 {
		t.Errorf("a refused request wrote: %d changes, %d transactions", rows, writes)
	}
}

var variable = regexp.MustCompile(`\{@?[a-z][a-z0-9_.#]*\}`)

// fill puts the values of variables into a text. Users are made on the way.
func (s *Server) fill(t testing.TB, text string, escape func(string) string) string {
	t.Helper()
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		name := strings.Trim(v, "{}")
		user, isUser := strings.CutPrefix(name, "@")
		if !isUser {
			return escape(s.Var(name))
		}
		user, device := strings.CutSuffix(user, ".device")
		u := s.User(user)
		if device {
			return escape(string(u.Device))
		}
		return escape(string(u.ID))
	})
}

func (s *Server) fillPath(t testing.TB, path string) string {
	t.Helper()
	return s.fill(t, path, func(value string) string {
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") // right in path and query
	})
}

func (s *Server) fillJSON(t testing.TB, text string) string {
	t.Helper()
	return s.fill(t, text, func(value string) string {
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Trim(string(quoted), `"`)
	})
}

// pick takes a string or number out of JSON.
func pick(t testing.TB, body []byte, at string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for step := range strings.SplitSeq(at, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i < 0 || i >= len(in) {
				t.Fatalf("no %s in %s", at, body)
			}
			v = in[i]
		default:
			v = nil
		}
	}
	if v == nil {
		t.Fatalf("no %s in %s", at, body)
	}
	if text, ok := v.(string); ok {
		return text
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Refused asks what has to be refused: with a 4xx and an errcode, and nothing written.
func (s *Server) Refused(t testing.TB, token, method, path, body string) *Response {
	t.Helper()
	before := s.traces()
	r := s.AskIn(t.Context(), t, token, method, path, strings.NewReader(body))
	if r.Status < 400 || r.Status > 499 || r.Errcode() == "" {
		t.Errorf("%s %s %s: %d %s, want a refusal", method, path, shorten([]byte(body)), r.Status, shorten(r.Body))
	} else {
		s.checkTraces(t, &Case{Status: r.Status}, before)
	}
	return r
}
