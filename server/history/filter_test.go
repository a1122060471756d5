package history_test

import (
	"strings"
	"testing"

	"porchlight/server/history"
	"porchlight/server/matrix"
)

func TestTypesWithWildcards(t *testing.T) {
	for _, row := range []struct {
		pattern, eventType string
		match              bool
	}{
		{"m.room.message", "m.room.message", true},
		{"m.room.message", "m.room.messages", false},
		{"m.room.*", "m.room.message", true},
		{"m.room.*", "m.room.", true},
		{"m.room.*", "m.space", false},
		{"*", "", true},
		{"*.message", "m.room.message", true},
		{"m.*.x", "m.x", false},
		{"a*b*c", "axxbxxc", true},
		{"a*b*c", "abcbc", true},
		{"a*bc*c", "abc", false},
		{"*aa", "aaa", true},
		{"m.room", "m.roomy", false},
	} {
		f := history.EventFilter{Types: []string{row.pattern}}
		if f.Match(row.eventType, "") != row.match {
			t.Errorf("%q and %q: %v", row.pattern, row.eventType, !row.match)
		}
		f = history.EventFilter{NotTypes: []string{row.pattern}}
		if f.Match(row.eventType, "") == row.match {
			t.Errorf("not %q and %q: %v", row.pattern, row.eventType, row.match)
		}
	}
}

func TestBadFilters(t *testing.T) {
	long := `{"room":{"timeline":{"types":["` + strings.Repeat(`a","`, 1000) + `"]}}}`
	for raw, code := range map[string]string{
		`[]`:                            "M_BAD_JSON",
		`null`:                          "M_BAD_JSON",
		`{`:                             "M_NOT_JSON",
		`{"room":[]}`:                   "M_BAD_JSON",
		`{"room":{"rooms":["x"]}}`:      "M_INVALID_PARAM",
		`{"presence":{"senders":[""]}}`: "M_INVALID_PARAM",
		`{"event_format":"xml"}`:        "M_INVALID_PARAM",
		`{"account_data":{"limit":-3}}`: "M_INVALID_PARAM",
		long:                            "M_INVALID_PARAM",
		`{"room":{"timeline":{"limit":0,"types":[],"org.x":1}}}`: "",
	} {
		_, err := history.ParseFilter([]byte(raw))
		if errcode(t, err) != code {
			t.Errorf("%.60s: %v, want %q", raw, err, code)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	for _, s := range []string{"t0", "s12_3_boot_4", "t", "x1", "t99999999999999999999", "t+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pos, err := history.ParseToken(s)
		if err != nil {
			if !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Error(err)
			}
			return
		}
		if again, err := history.ParseToken(history.Token(pos)); err != nil || again != pos {
			t.Errorf("%q is %d, then %d, %v", s, pos, again, err)
		}
	})
}
