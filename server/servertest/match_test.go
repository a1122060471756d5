package servertest

import (
	"encoding/json"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		got, want string
		ok        bool
	}{
		{`{"a":1,"b":2}`, `{"a":1}`, true},
		{`{"a":1}`, `{"a":2}`, false},
		{`{"a":1}`, `{"b":1}`, false},
		{`{"a":{"b":null}}`, `{"a":{"b":null}}`, true},
		{`{"a":null}`, `{"a":"*"}`, false},
		{`{"a":3}`, `{"a":"*"}`, true},
		{`{"a":"$x/y:h"}`, `{"a":"$*:h"}`, true},
		{`{"a":"x"}`, `{"a":"$*"}`, false},
		{`{"a":"[?]"}`, `{"a":"[?*"}`, true},
		{`{"a":1}`, `{"a":"!absent"}`, false},
		{`{"b":1}`, `{"a":"!absent"}`, true},
		{`[1,2]`, `[1,2]`, true},
		{`[1,2]`, `[1]`, false},
		{`[1,2]`, `[1,"…"]`, true},
		{`[1,2]`, `[1,2,"…"]`, true},
		{`[1]`, `[1,2,"…"]`, false},
		{`[{"a":1,"b":2}]`, `[{"b":2}]`, true},
		{`{}`, `[]`, false},
		{`true`, `true`, true},
	}
	for _, tt := range tests {
		var got, want any
		if err := json.Unmarshal([]byte(tt.got), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if why := differ(got, want, ""); (len(why) == 0) != tt.ok {
			t.Errorf("%s against %s: %v", tt.got, tt.want, why)
		}
	}
}
