package kv_test

import (
	"regexp"
	"testing"

	"porchlight/kv"
)

// retired are the tags of tables that are gone; they are never given again.
var retired = map[byte]string{18: "once_expiry", 51: "read_positions"}

func TestLedgerIsSound(t *testing.T) {
	tags := map[byte]string{}
	names := map[string]bool{}
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, s := range kv.Ledger() {
		if s.Tag == 0 || s.Tag == 255 {
			t.Errorf("%s: tag %d cannot be used", s.Name, s.Tag)
		}
		if other := tags[s.Tag]; other != "" {
			t.Errorf("%s and %s have the same tag %d", s.Name, other, s.Tag)
		}
		if gone := retired[s.Tag]; gone != "" {
			t.Errorf("%s: tag %d belonged to %s and is never reused", s.Name, s.Tag, gone)
		}
		if names[s.Name] || !name.MatchString(s.Name) {
			t.Errorf("the name %q is bad or given twice", s.Name)
		}
		if s.Owner == "" || s.Caption == "" || len(s.Key) == 0 {
			t.Errorf("%s: owner, caption or key is missing", s.Name)
		}
		for _, p := range s.Key {
			if p.Name == "" || p.Kind.String() == "?" {
				t.Errorf("%s: key part %q has no name or kind", s.Name, p.Name)
			}
		}
		tags[s.Tag], names[s.Name] = s.Name, true
	}
}
