package syncv2

import (
	"context"
	"strconv"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Token is a place in everything that a client hears of. Written, it is
//
//	s<position>_<to-device>_<boot>_<count>_<seal>
//
// Position is that of the change log. To-device is how far the device's messages have been
// told, which may lag behind when many wait. Count is what was told of typing and presence,
// which are only in memory, by the server's run named boot; it means nothing to a later
// run, which tells them anew. So every token is good for ever, across restarts. All but
// the position may be missing.
//
// The seal proves that this server gave the token to that user. Earlier releases gave out
// tokens without one, which are as good, but prove nothing when they lie ahead of the log.
// It also makes the tokens of two users differ: a browser sends equal requests one after
// the other.
type Token struct {
	Position changes.Position
	ToDevice changes.Position
	Boot     string
	Count    uint64
	sealed   bool
}

func (t Token) String() string {
	b := make([]byte, 0, 48)
	b = strconv.AppendUint(append(b, 's'), uint64(t.Position), 10)
	b = strconv.AppendUint(append(b, '_'), uint64(t.ToDevice), 10)
	b = append(append(b, '_'), t.Boot...)
	b = strconv.AppendUint(append(b, '_'), t.Count, 10)
	return string(b)
}

// sealedFields is how many fields a token with a seal has.
const sealedFields = 5

// parseToken reads a token that a user's client gives as since.
func (v *View) parseToken(user matrix.UserID, s string) (Token, error) {
	bad := matrix.InvalidParam("That is not a token of this server's /sync, or it belongs to another user.")
	sealed := strings.Count(s, "_") == sealedFields-1
	if sealed {
		var ok bool
		if s, ok = v.Seal.Cut(user, s); !ok {
			return Token{}, bad
		}
	}
	digits, ok := strings.CutPrefix(s, "s")
	fields := strings.Split(digits, "_")
	if !ok || len(fields) > sealedFields-1 {
		return Token{}, bad
	}
	position, err := parseNumber(fields[0])
	if err != nil {
		return Token{}, bad
	}
	t := Token{Position: changes.Position(position), ToDevice: changes.Position(position), sealed: sealed}
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

// ReadToken reads a token that a user's client gives. One that this server gave out, but
// that lies ahead of the log, shows that the database is an older copy: then Config.Ahead
// is told of it first. The error is M_INVALID_PARAM.
func (v *View) ReadToken(ctx context.Context, user matrix.UserID, s string) (Token, error) {
	t, err := v.parseToken(user, s)
	if err != nil || !t.sealed || v.Ahead == nil {
		return t, err
	}
	var last changes.Position
	err = v.DB.View(ctx, func(tx *kv.ReadTx) error {
		last = v.Changes.Last(tx)
		return nil
	})
	if err == nil && t.Position > last {
		err = v.Ahead(ctx, t.Position)
	}
	return t, err
}

// Foreign says whether a token was given out by another incarnation of the server, or is
// not from here: what its client knows may not be so. Everything has to be told again.
func (v *View) Foreign(r kv.Reader, t Token) bool {
	return t.Position < v.Changes.First(r) || t.Position > v.Changes.Last(r)
}

// parseNumber reads what fits a position: 63 bits, digits only.
func parseNumber(s string) (uint64, error) {
	return strconv.ParseUint(s, 10, 63)
}
