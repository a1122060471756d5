package pushrule

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"porchlight/server/matrix"
)

// bodyKey is the property of which event_match looks for words.
const bodyKey = "content.body"

// maxKey is the length of the path of a property in bytes; a longer one is never there.
const maxKey = 512

// condition is one that an event meets or not, for a user.
type condition func(e *Event, user matrix.UserID) bool

func never(*Event, matrix.UserID) bool { return false }

// condition kinds (spec: push rules, conditions).
func compileCondition(rawCondition json.RawMessage) condition {
	o, err := matrix.ParseObject(rawCondition)
	if err != nil {
		return never
	}
	kind, _ := o.Text("kind")
	switch kind {
	case "event_match":
		return eventMatch(o)
	case "event_property_is":
		return propertyIs(o)
	case "event_property_contains":
		return propertyContains(o)
	case "contains_display_name":
		return containsDisplayName
	case "room_member_count":
		return memberCount(o)
	case "sender_notification_permission":
		if key, ok := o.Text("key"); ok && key != "" && len(key) <= maxKey {
			return func(e *Event, _ matrix.UserID) bool { return e.mayNotify(key) }
		}
	}
	return never // spec: unrecognised conditions match no event
}

// keyOf is the path of the property that a condition looks at.
func keyOf(o matrix.Object) (key string, path []string, ok bool) {
	key, ok = o.Text("key")
	if !ok || len(key) > maxKey {
		return "", nil, false
	}
	return key, splitPath(key), true
}

func eventMatch(o matrix.Object) condition {
	key, path, ok := keyOf(o)
	pattern, has := o.Text("pattern")
	if !ok || !has {
		return never
	}
	return matchText(key, path, compileGlob(pattern))
}

func matchText(key string, path []string, g *glob) condition {
	if key == bodyKey {
		return func(e *Event, _ matrix.UserID) bool {
			s, ok := e.text(key, path)
			return ok && g.found(s, &e.left)
		}
	}
	return func(e *Event, _ matrix.UserID) bool {
		s, ok := e.text(key, path)
		return ok && g.matches(s, &e.left)
	}
}

// valueOf is the value that a condition compares with.
func valueOf(o matrix.Object) (any, bool) {
	if !o.Has("value") {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(o["value"]))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	return simple(v)
}

func propertyIs(o matrix.Object) condition {
	_, path, ok := keyOf(o)
	want, has := valueOf(o)
	if !ok || !has {
		return never
	}
	return func(e *Event, _ matrix.UserID) bool {
		v, there := e.property(path)
		got, ok := simple(v)
		return there && ok && got == want
	}
}

func propertyContains(o matrix.Object) condition {
	_, path, ok := keyOf(o)
	want, has := valueOf(o)
	if !ok || !has {
		return never
	}
	return func(e *Event, _ matrix.UserID) bool {
		v, _ := e.property(path)
		list, _ := v.([]any)
		for _, item := range list {
			if got, ok := simple(item); ok && got == want {
				return true
			}
		}
		return false
	}
}

func containsDisplayName(e *Event, user matrix.UserID) bool {
	s, ok := e.text(bodyKey, []string{"content", "body"})
	if !ok {
		return false
	}
	name := e.info.DisplayName(user)
	return name != "" && len(name) <= MaxPattern && foundPlain(s, fold(name), &e.left)
}

func memberCount(o matrix.Object) condition {
	is, _ := o.Text("is")
	digits := strings.TrimLeft(is, "<>=")
	if strings.ContainsAny(digits, "+-") {
		return never
	}
	want, err := strconv.Atoi(digits)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return never // what is out of range has become the largest number there is
	}
	var holds func(n int) bool
	switch strings.TrimSuffix(is, digits) {
	case "", "==":
		holds = func(n int) bool { return n == want }
	case "<":
		holds = func(n int) bool { return n < want }
	case ">":
		holds = func(n int) bool { return n > want }
	case "<=":
		holds = func(n int) bool { return n <= want }
	case ">=":
		holds = func(n int) bool { return n >= want }
	default:
		return never
	}
	return func(e *Event, _ matrix.UserID) bool { return holds(e.memberCount()) }
}
