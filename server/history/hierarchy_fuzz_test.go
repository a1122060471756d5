package history

import (
	"testing"

	"porchlight/server/matrix"
)

// FuzzHierarchyToken: what is taken for a token is one that this server would give, and
// everything else is an M_INVALID_PARAM.
func FuzzHierarchyToken(f *testing.F) {
	for _, token := range []string{"", "h", "h1_32_a", "h50_0_s", "h0_1_a", "h-1_1_a", "h1_1_x", "h 1_1_a", "h99999_1_a", "h1_1_a "} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		shown := 0
		depth, suggestedOnly, err := parseHierarchyToken(token, &shown)
		if err != nil {
			if !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Errorf("%q: %v", token, err)
			}
			return
		}
		if hierarchyToken(shown, depth, suggestedOnly) != token {
			t.Errorf("%q is read as %q", token, hierarchyToken(shown, depth, suggestedOnly))
		}
	})
}
