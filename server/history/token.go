package history

import (
	"strconv"
	"strings"

	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Token is the place right behind a position, for /messages and its like.
func Token(after changes.Position) string {
	return "t" + strconv.FormatUint(uint64(after), 10)
}

// ParseToken reads a pagination token or a sync token: a letter, the position, and in sync
// tokens more behind an underscore, which does not matter here.
func ParseToken(s string) (changes.Position, error) {
	if s == "" || s[0] != 't' && s[0] != 's' {
		return 0, badToken()
	}
	number, _, _ := strings.Cut(s[1:], "_")
	pos, err := strconv.ParseUint(number, 10, 63)
	if err != nil || number[0] == '+' {
		return 0, badToken()
	}
	return changes.Position(pos), nil
}

func badToken() error {
	return matrix.InvalidParam("That is no token of a page or of a sync of this server.")
}
