package matrix

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxJSONDepth is how many arrays and objects may stand inside one another, in
// anything that comes from outside. Events of real rooms stay below ten.
const MaxJSONDepth = 100

// MaxEventBytes is the size no event may exceed in canonical JSON, signatures
// included (spec: client-server API, size limits).
const MaxEventBytes = 65536

// MaxCanonicalInt is the largest integer of canonical JSON, 2^53 - 1; the
// smallest is its negative (spec: appendices, canonical JSON).
const MaxCanonicalInt int64 = 1<<53 - 1

// Canonical rewrites JSON as canonical JSON: no white space, keys sorted by
// code point, strings in their shortest form (spec: appendices, canonical JSON).
//
// It is strict, as room versions 6 and later ask: a number has to be an integer
// within ±MaxCanonicalInt written without a decimal point, exponent or "-0". What
// is no JSON at all is M_NOT_JSON; floats, numbers out of range, duplicate keys,
// lone surrogates and nesting deeper than MaxJSONDepth are M_BAD_JSON.
func Canonical(raw []byte) ([]byte, error) {
	return rewrite(raw, strictIntegers)
}

// CanonicalLenient is Canonical for events of room versions 1 to 5, whose numbers
// need not be canonical. Integers in range are put in canonical form ("-0" is 0,
// "1e10" is 10000000000); any other number keeps the form it came in.
func CanonicalLenient(raw []byte) ([]byte, error) {
	return rewrite(raw, lenientNumbers)
}

// CheckJSON says whether raw is exactly one JSON value within the bounds that
// Canonical sets, except that numbers may be any of JSON's: it is for request
// bodies, where the order of a tag, say, may be a fraction. It writes nothing.
func CheckJSON(raw []byte) error {
	s := jsonScanner{in: raw, numbers: anyNumber, discard: true}
	return s.document()
}

func rewrite(raw []byte, numbers numberRule) ([]byte, error) {
	s := jsonScanner{in: raw, numbers: numbers, out: make([]byte, 0, len(raw))}
	if err := s.document(); err != nil {
		return nil, err
	}
	return s.out, nil
}

// numberRule is what a jsonScanner does with a number that is no canonical integer.
type numberRule int

const (
	strictIntegers numberRule = iota // refuse it
	lenientNumbers                   // normalise integers, keep the rest
	anyNumber                        // keep it
)

// jsonScanner walks over one JSON document, checks it and writes the canonical
// form to out as it goes. An object's members are written in the order in which
// they come and put in order at its end.
type jsonScanner struct {
	in      []byte
	pos     int
	depth   int
	numbers numberRule
	discard bool // check only: out stays empty

	out     []byte
	members []jsonMember // of all objects not yet closed, innermost last
	scratch []byte       // for reordering
}

// jsonMember is the unescaped key of a member, and where in out the member stands.
type jsonMember struct {
	key        []byte
	start, end int
}

func (s *jsonScanner) document() error {
	if !utf8.Valid(s.in) {
		return NotJSON("the JSON is not valid UTF-8")
	}
	s.space()
	if s.pos == len(s.in) {
		return NotJSON("there is no JSON here")
	}
	if err := s.value(); err != nil {
		return err
	}
	s.space()
	if s.pos != len(s.in) {
		return s.syntax("nothing may follow the JSON value")
	}
	return nil
}

func (s *jsonScanner) value() error {
	if s.pos == len(s.in) {
		return s.syntax("a value is missing")
	}
	switch c := s.in[s.pos]; {
	case c == '{':
		return s.nested(s.object)
	case c == '[':
		return s.nested(s.array)
	case c == '"':
		text, err := s.text()
		if err == nil && !s.discard {
			s.out = appendText(s.out, text)
		}
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.in[s.pos:], []byte(word)) {
			s.pos += len(word)
			s.emit([]byte(word)...)
			return nil
		}
	}
	return s.syntax("a value was expected")
}

func (s *jsonScanner) nested(inner func() error) error {
	if s.depth == MaxJSONDepth {
		return BadJSON(fmt.Sprintf("the JSON is nested deeper than %d levels", MaxJSONDepth))
	}
	s.depth++
	s.pos++
	err := inner()
	s.depth--
	return err
}

func (s *jsonScanner) array() error {
	s.emit('[')
	if s.take(']') {
		s.emit(']')
		return nil
	}
	for {
		s.space()
		if err := s.value(); err != nil {
			return err
		}
		if s.take(']') {
			s.emit(']')
			return nil
		}
		if !s.take(',') {
			return s.syntax("a comma or \"]\" was expected")
		}
		s.emit(',')
	}
}

func (s *jsonScanner) object() error {
	s.emit('{')
	first := len(s.members)
	if s.take('}') {
		s.emit('}')
		return nil
	}
	for {
		s.space()
		if s.pos == len(s.in) || s.in[s.pos] != '"' {
			return s.syntax("a key was expected")
		}
		start := len(s.out)
		key, err := s.text()
		if err != nil {
			return err
		}
		if !s.discard {
			s.out = appendText(s.out, key)
		}
		if !s.take(':') {
			return s.syntax("a colon was expected")
		}
		s.emit(':')
		s.space()
		if err := s.value(); err != nil {
			return err
		}
		s.members = append(s.members, jsonMember{key, start, len(s.out)})
		if s.take('}') {
			break
		}
		if !s.take(',') {
			return s.syntax("a comma or \"}\" was expected")
		}
		s.emit(',')
	}
	if err := s.order(s.members[first:]); err != nil {
		return err
	}
	s.members = s.members[:first]
	s.emit('}')
	return nil
}

// order sorts the members of the object that ends at the end of out, and refuses
// duplicates. Sorting UTF-8 by bytes is sorting by code point.
func (s *jsonScanner) order(members []jsonMember) error {
	byKey := func(a, b jsonMember) int { return bytes.Compare(a.key, b.key) }
	start := members[0].start // before sorting: where the first one begins
	inOrder := slices.IsSortedFunc(members, byKey)
	if !inOrder {
		slices.SortFunc(members, byKey)
	}
	for i := 1; i < len(members); i++ {
		if bytes.Equal(members[i-1].key, members[i].key) {
			return BadJSON(fmt.Sprintf("the key %q stands twice in one object", shorten(string(members[i].key))))
		}
	}
	if inOrder || s.discard {
		return nil
	}
	s.scratch = append(s.scratch[:0], s.out[start:]...)
	s.out = s.out[:start]
	for i, m := range members {
		if i > 0 {
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, s.scratch[m.start-start:m.end-start]...)
	}
	return nil
}

// text reads a string and returns it unescaped; without escapes it is a part of
// the input.
func (s *jsonScanner) text() ([]byte, error) {
	s.pos++ // the opening quotation mark
	start := s.pos
	var unescaped []byte // what stands before start, once there was an escape
	for s.pos < len(s.in) {
		switch c := s.in[s.pos]; {
		case c == '"':
			part := s.in[start:s.pos]
			s.pos++
			if unescaped == nil {
				return part, nil
			}
			return append(unescaped, part...), nil
		case c < 0x20:
			return nil, s.syntax("a control character has to be escaped")
		case c == '\\':
			unescaped = append(unescaped, s.in[start:s.pos]...)
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			unescaped = utf8.AppendRune(unescaped, r)
			start = s.pos
		default:
			s.pos++
		}
	}
	return nil, s.syntax("a string does not end")
}

// escape reads what starts with a backslash, both halves of a surrogate pair.
func (s *jsonScanner) escape() (rune, error) {
	s.pos++
	if s.pos == len(s.in) {
		return 0, s.syntax("a string does not end")
	}
	c := s.in[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
	default:
		return 0, s.syntax("there is no such escape")
	}
	r, ok := s.hex()
	if !ok {
		return 0, s.syntax("\\u needs four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if bytes.HasPrefix(s.in[s.pos:], []byte(`\u`)) {
		s.pos += 2
		low, ok := s.hex()
		if !ok {
			return 0, s.syntax("\\u needs four hexadecimal digits")
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, BadJSON("a string holds half a surrogate pair, which is no character")
}

func (s *jsonScanner) hex() (rune, bool) {
	const digits = 4
	if len(s.in)-s.pos < digits {
		return 0, false
	}
	var r rune
	for _, c := range s.in[s.pos : s.pos+digits] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.pos += digits
	return r, true
}

func (s *jsonScanner) number() error {
	start := s.pos
	if s.in[s.pos] == '-' {
		s.pos++
	}
	whole := s.digits()
	if whole == 0 || whole > 1 && s.in[s.pos-whole] == '0' {
		return s.syntax("that is no number")
	}
	isFloat := false
	if s.pos < len(s.in) && s.in[s.pos] == '.' {
		isFloat = true
		s.pos++
		if s.digits() == 0 {
			return s.syntax("digits are missing behind the decimal point")
		}
	}
	mantissa := s.in[start:s.pos]
	var exponent []byte
	if s.pos < len(s.in) && (s.in[s.pos] == 'e' || s.in[s.pos] == 'E') {
		s.pos++
		from := s.pos
		if s.pos < len(s.in) && (s.in[s.pos] == '+' || s.in[s.pos] == '-') {
			s.pos++
		}
		if s.digits() == 0 {
			return s.syntax("the exponent is missing")
		}
		exponent = s.in[from:s.pos]
	}
	literal := s.in[start:s.pos]
	if s.numbers == anyNumber {
		s.emit(literal...)
		return nil
	}
	value, ok := int64(0), false
	if !isFloat {
		value, ok = canonicalInt(mantissa, exponent)
	}
	if s.numbers == strictIntegers && (!ok || exponent != nil || string(literal) == "-0") {
		return BadJSON(fmt.Sprintf("%s is not allowed here: numbers have to be integers between -%d and %d",
			shorten(string(literal)), MaxCanonicalInt, MaxCanonicalInt))
	}
	if !ok {
		s.emit(literal...)
		return nil
	}
	if !s.discard {
		s.out = strconv.AppendInt(s.out, value, 10)
	}
	return nil
}

// canonicalInt is the integer that the literal means, if canonical JSON can hold it.
func canonicalInt(mantissa, exponent []byte) (int64, bool) {
	value, err := strconv.ParseInt(string(mantissa), 10, 64)
	if err != nil {
		return 0, false
	}
	zeros := 0
	if exponent != nil {
		zeros, err = strconv.Atoi(string(exponent))
		if err != nil || zeros < 0 {
			return 0, false
		}
	}
	for ; zeros > 0 && value != 0; zeros-- {
		if value > MaxCanonicalInt || value < -MaxCanonicalInt {
			return 0, false // and the next step could overflow
		}
		value *= 10
	}
	return value, value <= MaxCanonicalInt && value >= -MaxCanonicalInt
}

func (s *jsonScanner) digits() (n int) {
	for s.pos < len(s.in) && s.in[s.pos] >= '0' && s.in[s.pos] <= '9' {
		s.pos++
		n++
	}
	return n
}

func (s *jsonScanner) space() {
	for s.pos < len(s.in) {
		switch s.in[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// take skips white space and then c, if c comes next.
func (s *jsonScanner) take(c byte) bool {
	s.space()
	if s.pos < len(s.in) && s.in[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *jsonScanner) emit(b ...byte) {
	if !s.discard {
		s.out = append(s.out, b...)
	}
}

func (s *jsonScanner) syntax(msg string) error {
	return NotJSON(fmt.Sprintf("this is no JSON: %s (byte %d)", msg, s.pos))
}

// appendText writes a string as canonical JSON does: only quotation marks,
// backslashes and control characters are escaped.
func appendText(out, text []byte) []byte {
	out = append(out, '"')
	start := 0
	for i, c := range text {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		out = append(out, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, '\\', 'b')
		case '\t':
			out = append(out, '\\', 't')
		case '\n':
			out = append(out, '\\', 'n')
		case '\f':
			out = append(out, '\\', 'f')
		case '\r':
			out = append(out, '\\', 'r')
		default:
			const hex = "0123456789abcdef"
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	out = append(out, text[start:]...)
	return append(out, '"')
}
