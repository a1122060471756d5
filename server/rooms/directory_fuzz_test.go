package rooms

import (
	"testing"

	"porchlight/server/matrix"
)

// FuzzDirectoryToken: what is taken for a token is one that this server would give, and
// everything else is an M_INVALID_PARAM.
func FuzzDirectoryToken(f *testing.F) {
	for _, token := range []string{"", "n", "p", "n3_!room:house.local", "p0_!room", "n+3_!room", "n-1_!room", "n3!room", "n3_", "n99999999999999999999_!x", "x3_!room"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, forwards, err := parsePlace(token)
		if err != nil {
			if !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Errorf("%q: %v", token, err)
			}
			return
		}
		if p.token(forwards) != token {
			t.Errorf("%q is read as %q", token, p.token(forwards))
		}
	})
}
