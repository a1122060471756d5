package matrix

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"
)

// Object is a JSON object read one level deep. Events and their content are read
// through it rather than into structs, because encoding/json matches the fields of
// a struct without regard to case: "Membership" is not "membership".
type Object map[string]json.RawMessage

// ParseObject reads a JSON object; anything else is M_BAD_JSON, and so is what CheckJSON
// refuses. The values are parts of raw, which must not be changed any more.
func ParseObject(raw []byte) (Object, error) {
	s := jsonScanner{in: raw, numbers: anyNumber, discard: true}
	o, err := s.fields()
	if err != nil {
		return nil, BadJSON("a JSON object was expected")
	}
	return o, nil
}

// fields reads one object as the whole document. encoding/json would do, but is several
// times slower, and every event goes through here over and over.
func (s *jsonScanner) fields() (Object, error) {
	o := Object{}
	if !utf8.Valid(s.in) || !s.take('{') {
		return nil, s.syntax("an object was expected")
	}
	for more := !s.take('}'); more; more = !s.take('}') {
		if len(o) > 0 && !s.take(',') {
			return nil, s.syntax("a comma or \"}\" was expected")
		}
		s.space()
		if s.pos == len(s.in) || s.in[s.pos] != '"' {
			return nil, s.syntax("a key was expected")
		}
		key, err := s.text()
		if err != nil {
			return nil, err
		}
		if !s.take(':') {
			return nil, s.syntax("a colon was expected")
		}
		s.space()
		start := s.pos
		if err := s.value(); err != nil {
			return nil, err
		}
		if o.Has(string(key)) {
			return nil, s.syntax("a key stands twice in one object")
		}
		o[string(key)] = s.in[start:s.pos:s.pos]
	}
	s.space()
	if s.pos != len(s.in) {
		return nil, s.syntax("nothing may follow the object")
	}
	return o, nil
}

// Encode writes the object with its keys in order: canonical JSON, if the values
// are canonical.
func (o Object) Encode() json.RawMessage {
	size := 2
	for key, value := range o {
		size += len(key) + len(value) + 4
	}
	out := append(make([]byte, 0, size), '{')
	for i, key := range slices.Sorted(maps.Keys(o)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendText(out, []byte(key))
		out = append(out, ':')
		out = append(out, o[key]...)
	}
	return append(out, '}')
}

// Has says whether the key is there, be its value null.
func (o Object) Has(key string) bool {
	_, ok := o[key]
	return ok
}

// Text is the string under the key; false if there is none, or no string.
func (o Object) Text(key string) (string, bool) {
	if raw := o[key]; plainText(raw) {
		return string(raw[1 : len(raw)-1]), true
	}
	var s *string
	if json.Unmarshal(o[key], &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// plainText says whether this is a string of ASCII without escapes, which stands for itself;
// almost all are, and need no decoder.
func plainText(raw []byte) bool {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return false
	}
	for _, c := range raw[1 : len(raw)-1] {
		if c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Object is the object under the key; false if there is none, or no object.
func (o Object) Object(key string) (Object, bool) {
	inner, err := ParseObject(o[key])
	return inner, err == nil
}

// SetText puts a string under the key, in canonical form.
func (o Object) SetText(key, value string) {
	o[key] = appendText(nil, []byte(value))
}
