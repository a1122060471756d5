package matrix

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// canonicalExamples are those of the specification (spec: appendices, canonical
// JSON, examples), and what they leave open.
var canonicalExamples = []struct{ name, in, want string }{
	{"empty", `{}`, `{}`},
	{"white space", "{\n  \"one\": 1,\n\t\"two\": \"Two\"\r\n}", `{"one":1,"two":"Two"}`},
	{"order", `{"b": "2", "a": "1"}`, `{"a":"1","b":"2"}`},
	{"ordered already", `{"a":"1","b":"2"}`, `{"a":"1","b":"2"}`},
	{"nested", `{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
		"three_pids": [{"medium": "email", "address": "john.doe@example.org"}, {"medium": "msisdn", "address": "123456789"}]}}}`,
		`{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}`},
	{"no escapes beyond ASCII", `{"a": "日本語"}`, `{"a":"日本語"}`},
	{"order by code point", `{"本": 2, "日": 1}`, `{"日":1,"本":2}`},
	{"unescaped", `{"a": "\u65E5"}`, `{"a":"日"}`},
	{"null", `{"a": null}`, `{"a":null}`},
	{"code point order is not UTF-16 order", `{"\ud83d\ude00":1,"\uffff":2}`, "{\"\uffff\":2,\"\U0001F600\":1}"},
	{"escaped keys are compared unescaped", `{"\u0062":1,"a":2}`, `{"a":2,"b":1}`},
	{"prefix first", `{"aa":1,"a":2,"":3}`, `{"":3,"a":2,"aa":1}`},
	{"short escapes", `"\u0008\u0009\u000a\u000c\u000d\u0022\u005c\/\u003c\u007f"`, `"\b\t\n\f\r\"\\/<` + "\x7f\""},
	{"long escapes", `"\u0000\u001F\u000B"`, `"\u0000\u001f\u000b"`},
	{"bounds", `[9007199254740991,-9007199254740991,0,-1]`, `[9007199254740991,-9007199254740991,0,-1]`},
	{"scalars", ` true `, `true`},
	{"empty array", `[ ]`, `[]`},
}

func TestCanonical(t *testing.T) {
	for _, tc := range canonicalExamples {
		t.Run(tc.name, func(t *testing.T) {
			for name, f := range map[string]func([]byte) ([]byte, error){"strict": Canonical, "lenient": CanonicalLenient} {
				got, err := f([]byte(tc.in))
				if err != nil || string(got) != tc.want {
					t.Errorf("%s: got %s, %v; want %s", name, got, err, tc.want)
				}
			}
			if err := CheckJSON([]byte(tc.in)); err != nil {
				t.Errorf("CheckJSON: %v", err)
			}
		})
	}
}

func TestCanonicalNumbers(t *testing.T) {
	for _, tc := range []struct{ in, lenient string }{
		{`{"a":-0,"b":1e10}`, `{"a":0,"b":10000000000}`}, // the specification's last example
		{`1E+3`, `1000`},
		{`0e999999999999999999999`, `0e999999999999999999999`},
		{`0e99`, `0`},
		{`1e-1`, `1e-1`},
		{`1.0`, `1.0`},
		{`1.5e1`, `1.5e1`},
		{`9007199254740992`, `9007199254740992`},
		{`-9007199254740992`, `-9007199254740992`},
		{`900719925474099e2`, `900719925474099e2`},
		{`1e400`, `1e400`},
		{`123456789012345678901234567890`, `123456789012345678901234567890`},
	} {
		got, err := CanonicalLenient([]byte(tc.in))
		if err != nil || string(got) != tc.lenient {
			t.Errorf("lenient %s: got %s, %v", tc.in, got, err)
		}
		if _, err := Canonical([]byte(tc.in)); !IsCode(err, "M_BAD_JSON") {
			t.Errorf("strict %s: %v, want M_BAD_JSON", tc.in, err)
		}
		if err := CheckJSON([]byte(tc.in)); err != nil {
			t.Errorf("check %s: %v", tc.in, err)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	if err := CheckJSON([]byte(deep(MaxJSONDepth))); err != nil {
		t.Errorf("nesting at the bound: %v", err)
	}
	for code, inputs := range map[string][]string{
		"M_NOT_JSON": {
			"", " ", "{", "}", "[", "[1", "[1,", "[1,]", "[,1]", `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `{1:1}`,
			`"`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\ud800\u12g4"`, "\"\n\"", "\"\x00\"", "\"\xff\"", "\"\xed\xa0\x80\"",
			"01", "-", "+1", "1.", ".5", "1e", "1e+", "--1", "0x1", "NaN", "Infinity", "-Infinity", "nul", "True",
			"1 2", "{} {}", "{}x", "\xef\xbb\xbf{}", "'a'", "/**/{}",
		},
		"M_BAD_JSON": {
			`{"a":1,"a":1}`, `{"a":1,"b":2,"\u0061":3}`, `[{"x":{"y":1,"y":2}}]`,
			`"\ud800"`, `"\udc00"`, `"\ud800x"`, `"\ud800\u0041"`, `"\ud800\ud800"`, `{"\ud800":1}`,
			deep(MaxJSONDepth + 1), strings.Repeat("[", 1_000_000), strings.Repeat(`{"a":`, 1_000_000),
		},
	} {
		for _, in := range inputs {
			for name, err := range map[string]error{
				"Canonical": second(Canonical([]byte(in))), "CanonicalLenient": second(CanonicalLenient([]byte(in))), "CheckJSON": CheckJSON([]byte(in)),
			} {
				if !IsCode(err, code) {
					t.Errorf("%s(%.40q): %v, want %s", name, in, err, code)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzCanonical(f *testing.F) {
	for _, tc := range canonicalExamples {
		f.Add([]byte(tc.in))
	}
	for _, s := range []string{`{"a":-0,"b":1e10}`, `{"a":1,"a":2}`, `"\ud83d\ude00\ud800"`, `[[[{"b":[1,{"c":1,"a":2}],"a":{}}]]]`, `1.25`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		lenient, lenientErr := CanonicalLenient(in)
		if err := CheckJSON(in); (err == nil) != (lenientErr == nil) {
			t.Fatalf("CheckJSON: %v, CanonicalLenient: %v", err, lenientErr)
		}
		if lenientErr == nil {
			again, err := CanonicalLenient(lenient)
			if err != nil || string(again) != string(lenient) {
				t.Fatalf("lenient is not idempotent: %q, then %q, %v", lenient, again, err)
			}
			if !json.Valid(in) {
				t.Fatalf("accepted what encoding/json refuses")
			}
		}
		out, err := Canonical(in)
		if err != nil {
			return
		}
		if lenientErr != nil || string(out) != string(lenient) {
			t.Fatalf("strict %q, lenient %q, %v", out, lenient, lenientErr)
		}
		if got, want := decode(t, out), decode(t, in); !reflect.DeepEqual(got, want) {
			t.Fatalf("changed the value: %v, was %v", got, want)
		}
	})
}

func decode(t *testing.T, raw []byte) (v any) {
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", raw, err)
	}
	return v
}

func BenchmarkCanonical(b *testing.B) {
	raw := []byte(canonicalExamples[4].in)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonical(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParseObject holds ParseObject to encoding/json, for all that CheckJSON lets in.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{}`, ` { "a" : [1, {"b":"\u00e9"}] , "a\n":null } `, `[]`, `null`, `{"a":1,"a":2}`, `{"a":1}x`, `{"a"}`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := ParseObject(raw)
		var want map[string]json.RawMessage
		isObject := CheckJSON(raw) == nil && json.Unmarshal(raw, &want) == nil && want != nil
		if isObject != (err == nil) {
			t.Fatalf("%q: %v", raw, err)
		}
		if len(got) != len(want) {
			t.Fatalf("%q: %v, want %v", raw, got, want)
		}
		for key, value := range want {
			if string(got[key]) != string(value) {
				t.Errorf("%q: %q is %q, want %q", raw, key, got[key], value)
			}
			var text *string
			isText := json.Unmarshal(value, &text) == nil && text != nil
			if got, ok := got.Text(key); ok != isText || ok && got != *text {
				t.Errorf("%q: the text of %q is %q, %t", raw, key, got, ok)
			}
		}
	})
}
