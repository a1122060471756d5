package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"porchlight/server/matrix"
)

// operation is a route made ready: its parameters in order and how its input decodes.
type operation struct {
	route  Route
	params []string // names of the path parameters, in the order of Route.Path
	plan   *plan
}

// router finds the operation of a path.
//
// httprouter demands that parameters at the same place have the same name whatever
// the operation, so they are called after the place: ":3" is the third segment.
type router struct {
	tree    *httprouter.Router
	methods []string
	taken   map[string]bool // by method and neutral path
	shape   map[string]string
}

func newRouter() *router {
	return &router{tree: &httprouter.Router{}, taken: map[string]bool{}, shape: map[string]string{}}
}

// found carries what httprouter's handle knows out of it, as a ResponseWriter.
type found struct {
	http.ResponseWriter
	op     *operation
	places []int
}

// add registers one path of an operation. quiet makes a path that is taken, or would
// be ambiguous, no error: it is for derived paths.
func (t *router) add(op *operation, path string, quiet bool) error {
	neutral, places, err := op.neutral(path)
	if err != nil {
		return err
	}
	method := op.route.Method
	if why := t.conflict(method, neutral); why != "" {
		if quiet {
			return nil
		}
		return fmt.Errorf("%s %s: %s", method, path, why)
	}
	t.claim(method, neutral)
	t.tree.Handle(method, neutral, func(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) {
		f := w.(*found)
		f.op, f.places = op, places
	})
	return nil
}

// neutral renames the parameters of a path after their places. places[i] is the index,
// among the path's own parameters, of the route's parameter i; -1 if the path lacks it.
func (op *operation) neutral(path string) (neutral string, places []int, err error) {
	if !strings.HasPrefix(path, "/") {
		return "", nil, fmt.Errorf("path %q does not begin with a slash", path)
	}
	segments := strings.Split(path[1:], "/")
	var names []string
	for i, s := range segments {
		if name, ok := paramName(s); ok {
			names = append(names, name)
			segments[i] = ":" + strconv.Itoa(i)
		}
	}
	for i, name := range op.params {
		place := slices.Index(names, name)
		if place < 0 && !(op.route.EmptyLast && i == len(op.params)-1) {
			return "", nil, fmt.Errorf("path %q lacks the parameter %s", path, name)
		}
		places = append(places, place)
	}
	for _, name := range names {
		if !slices.Contains(op.params, name) {
			return "", nil, fmt.Errorf("path %q has the parameter %s, the route has not", path, name)
		}
	}
	return "/" + strings.Join(segments, "/"), places, nil
}

func paramName(segment string) (string, bool) {
	if strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}

// conflict says why a path cannot be added: it is there, or a parameter would stand at
// the place of a fixed word. httprouter would panic.
func (t *router) conflict(method, neutral string) string {
	if t.taken[method+neutral] {
		return "the path is already taken"
	}
	parent := method
	for segment := range strings.SplitSeq(neutral[1:], "/") {
		kind := segmentKind(segment)
		if was := t.shape[parent]; kind != "" && was != "" && was != kind {
			return "a parameter and a fixed word are at the same place after " + parent
		}
		parent += "/" + segment
	}
	return ""
}

func (t *router) claim(method, neutral string) {
	t.taken[method+neutral] = true
	parent := method
	for segment := range strings.SplitSeq(neutral[1:], "/") {
		if kind := segmentKind(segment); kind != "" {
			t.shape[parent] = kind
		}
		parent += "/" + segment
	}
	if !slices.Contains(t.methods, method) {
		t.methods = append(t.methods, method)
		slices.Sort(t.methods)
	}
}

func segmentKind(segment string) string {
	switch {
	case segment == "":
		return "" // the end of a path that ends in a slash goes with both
	case segment[0] == ':':
		return "parameter"
	default:
		return "word"
	}
}

// paths are all paths of a route: those it names, which have to fit, and those that
// are derived from them, which give way.
func paths(r *Route) (named, derived []string) {
	for _, p := range append([]string{r.Path}, r.Aliases...) {
		named = append(named, forms(r, p)...)
	}
	for _, version := range []string{"/r0/", "/v1/"} {
		if strings.HasPrefix(r.Path, "/_matrix/") && strings.Contains(r.Path, "/v3/") {
			derived = append(derived, forms(r, strings.Replace(r.Path, "/v3/", version, 1))...)
		}
	}
	return named, derived
}

// forms adds to a path those with an empty last parameter, where they are allowed.
func forms(r *Route, path string) []string {
	cut := strings.LastIndexByte(path, '/')
	if _, isParam := paramName(path[cut+1:]); !r.EmptyLast || !isParam {
		return []string{path}
	}
	return []string{path, path[:cut+1], path[:cut]}
}

// find returns the operation of a path and its parameters, unescaped, in the order of
// Route.Path.
func (t *router) find(method, escaped string) (*operation, []string, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handle, params, _ := t.tree.Lookup(method, escaped)
	if handle == nil {
		return nil, nil, t.refuse(escaped)
	}
	var f found
	handle(&f, nil, nil)
	values := make([]string, len(f.places))
	for i, place := range f.places {
		if place < 0 {
			continue
		}
		value, err := url.PathUnescape(params[place].Value)
		if value == "" {
			return f.op, nil, matrix.InvalidParam("The path parameter " + f.op.params[i] + " is empty.")
		}
		if err != nil || !utf8.ValidString(value) {
			return f.op, nil, matrix.InvalidParam("The path parameter " + f.op.params[i] + " is not valid percent-encoded UTF-8.")
		}
		values[i] = value
	}
	return f.op, values, nil
}

// Operation names the operation that a request for an escaped path reaches, empty if
// there is none: for tests that hold answers to the spec.
func (s *Server) Operation(method, escaped string) string {
	op, _, _ := s.router.find(method, escaped)
	if op == nil {
		return ""
	}
	return op.route.Op
}

// allowed are the methods that a path has, besides OPTIONS.
func (t *router) allowed(escaped string) []string {
	var all []string
	for _, m := range t.methods {
		if handle, _, _ := t.tree.Lookup(m, escaped); handle != nil {
			all = append(all, m)
			if m == http.MethodGet {
				all = append(all, http.MethodHead)
			}
		}
	}
	return all
}

func (t *router) refuse(escaped string) error {
	if all := t.allowed(escaped); len(all) > 0 {
		return &wrongMethod{allow: strings.Join(append(all, http.MethodOptions), ", ")}
	}
	return matrix.Unrecognized(http.StatusNotFound, "There is no such operation on this server.")
}

// wrongMethod is a 405 that knows what would be right.
type wrongMethod struct{ allow string }

func (e *wrongMethod) Error() string { return "wrong method, allowed: " + e.allow }
