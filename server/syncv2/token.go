package syncv2

import (
	"strconv"
	"strings"

	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Token is a place in everything that a client hears of. Written, it is
//
//	s<position>_<to-device>_<boot>_<count>
//
// Position is that of the change log. To-device is how far the device's messages have been
// told, which may lag behind when many wait. Count is what was told of typing and presence,
// which are only in memory, by the server's run named boot; it means nothing to a later
// run, which tells them anew. So every token is good for ever, across restarts. All but
// the position may be missing.
type Token struct {
	Position changes.Position
	ToDevice changes.Position
	Boot     string
	Count    uint64
}

func (t Token) String() string {
	b := make([]byte, 0, 48)
	b = strconv.AppendUint(append(b, 's'), uint64(t.Position), 10)
	b = strconv.AppendUint(append(b, '_'), uint64(t.ToDevice), 10)
	b = append(append(b, '_'), t.Boot...)
	b = strconv.AppendUint(append(b, '_'), t.Count, 10)
	return string(b)
}

// ParseToken reads a token that a client gives as since.
func ParseToken(s string) (Token, error) {
	bad := matrix.InvalidParam("since is no token of this server's /sync.")
	digits, ok := strings.CutPrefix(s, "s")
	fields := strings.Split(digits, "_")
	if !ok || len(fields) > 4 {
		return Token{}, bad
	}
	position, err := parseNumber(fields[0])
	if err != nil {
		return Token{}, bad
	}
	t := Token{Position: changes.Position(position), ToDevice: changes.Position(position)}
	if len(fields) > 1 {
		told, err := parseNumber(fields[1])
		if err != nil {
			return Token{}, bad
		}
		t.ToDevice = min(t.Position, changes.Position(told))
	}
	if len(fields) == 4 {
		if t.Count, err = parseNumber(fields[3]); err != nil {
			return Token{}, bad
		}
		t.Boot = fields[2]
	}
	return t, nil
}

// parseNumber reads what fits a position: 63 bits, digits only.
func parseNumber(s string) (uint64, error) {
	return strconv.ParseUint(s, 10, 63)
}
