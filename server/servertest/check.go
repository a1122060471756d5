package servertest

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"porchlight/server/web"
)

const (
	errorSchema = "#/schemas/client-server.definitions.errors.error"
	authSchema  = "#/schemas/client-server.definitions.auth_response"
)

// departure is an answer that may differ from its schema, and why.
type departure struct {
	op     string
	status int
	body   string // in full; empty: any
	why    string
}

// departures are few: where the standard's schema and its prose, or what all clients
// do, contradict each other.
var departures = []departure{
	{"getTurnServer", 200, `{}`, "no answer of the schema says that there is no TURN server, and browsers refuse an empty list of URIs"},
	{"getRoomStateWithKey", 200, "", "with format=event the answer fits both of two schemas of which it may fit only one: an event is an object, too"},
}

// ofHTTP are the statuses with which HTTP itself answers conditions and ranges of a
// download.
var ofHTTP = []int{http.StatusPartialContent, http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable}

func departs(op string, r *Response) bool {
	return slices.ContainsFunc(departures, func(d departure) bool {
		return d.op == op && d.status == r.Status && (d.body == "" || d.body == string(r.Body))
	})
}

// check holds an answer to the standard: its status, its headers, and its body to the
// OpenAPI schema of the operation. It counts the answer in the Tally.
func (s *Server) check(t testing.TB, method, escaped string, r *Response) {
	t.Helper()
	if !strings.HasPrefix(escaped, "/_matrix/") && !strings.HasPrefix(escaped, "/.well-known/") {
		return
	}
	op := s.Handler.(*web.Server).Operation(method, escaped)
	tally.count(t, op, r)
	if why := wrongAnswer(op, method, r); why != nil {
		t.Errorf("%s (%s %s) answers %d otherwise than the standard says: %v\nin %s", op, method, escaped, r.Status, why, shorten(r.Body))
	}
}

func wrongAnswer(op, method string, r *Response) error {
	if r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Access-Control-Allow-Methods") == "" || r.Header.Get("Access-Control-Allow-Headers") == "" {
		return fmt.Errorf("the CORS headers are missing: %v", r.Header)
	}
	if method == http.MethodOptions || method == http.MethodHead {
		return nil
	}
	spec, err := TheSpec()
	if err != nil {
		return err
	}
	var answer Answer
	described := false
	operation := spec.Operations[op]
	if operation != nil {
		answer, described = operation.Responses[strconv.Itoa(r.Status)]
	}
	switch {
	case operation == nil && strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"):
		return nil // a page for people
	case operation != nil && !operation.Responses["200"].JSON() && slices.Contains(ofHTTP, r.Status):
		return nil
	case r.Status >= http.StatusBadRequest:
		if err := isJSON(r); err != nil {
			return err
		}
		if r.Status == http.StatusUnauthorized && r.Errcode() == "" || isAuthFailure(r) {
			return firstAuthAnswer(spec, r)
		}
		if err := refusal(spec, r); err != nil {
			return err
		}
		if r.Status == http.StatusUnauthorized {
			return nil // the schema is the one for interactive authentication, which this is not
		}
	case operation == nil:
		return nil // an operation of our own
	case !described:
		return fmt.Errorf("no such status")
	}
	if !answer.JSON() || departs(op, r) {
		return nil
	}
	if err := isJSON(r); err != nil || answer.Schema == nil {
		return err
	}
	return spec.validate(fmt.Sprintf("#/operations/%s/responses/%d/schema", op, r.Status), r.Body)
}

func isJSON(r *Response) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != jsonType {
		return fmt.Errorf("the content type is %q", r.Header.Get("Content-Type"))
	}
	if !json.Valid(r.Body) {
		return fmt.Errorf("the body is not JSON")
	}
	return nil
}

// refusal wants of every error what the standard does (spec: client-server API,
// standard error response), and a sentence that a person can read.
func refusal(spec *Spec, r *Response) error {
	if err := spec.validate(errorSchema, r.Body); err != nil {
		return err
	}
	var e struct {
		Errcode, Error string
		RetryAfter     *float64 `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(r.Body, &e); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(e.Errcode, "M_") && !strings.Contains(e.Errcode, ".") || e.Errcode != strings.ToUpper(e.Errcode):
		return fmt.Errorf("the errcode is %q", e.Errcode)
	case !strings.Contains(e.Error, " ") || !strings.HasSuffix(e.Error, "."):
		return fmt.Errorf("the error is no sentence: %q", e.Error)
	case r.Status == http.StatusTooManyRequests && (e.RetryAfter == nil || r.Header.Get("Retry-After") == ""):
		return fmt.Errorf("nothing says when to try again")
	}
	return nil
}

// isAuthFailure says whether the answer to a failed stage repeats the flows.
func isAuthFailure(r *Response) bool {
	var a struct{ Flows []any }
	return r.Status == http.StatusUnauthorized && json.Unmarshal(r.Body, &a) == nil && a.Flows != nil
}

// firstAuthAnswer wants of interactive authentication more than the schema does: the
// session, and params (spec: client-server API, user-interactive authentication).
func firstAuthAnswer(spec *Spec, r *Response) error {
	if err := spec.validate(authSchema, r.Body); err != nil {
		return err
	}
	var a struct {
		Session string
		Params  map[string]any
	}
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return err
	}
	if a.Session == "" || a.Params == nil {
		return fmt.Errorf("no session or no params")
	}
	return nil
}

// shorten cuts what would fill the screen.
func shorten(body []byte) string {
	const most = 2000
	if len(body) > most {
		return string(body[:most]) + "…"
	}
	return string(body)
}
