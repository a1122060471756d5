package changes

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"porchlight/server/matrix"
)

// Seal shows that a token was made by this server, for a user: nobody else can make one of
// a position that was not given out yet. The key is derived from the server's signing key,
// which is in every copy of the database, so the tokens of a lost server can be told from
// invented ones.
type Seal struct{ key []byte }

// sealLetters of five bits each are few enough for a token, and too many to guess.
const sealLetters = 9

// NewSeal makes a Seal from a secret of the server.
func NewSeal(secret []byte) Seal {
	return Seal{sum(secret, "porchlight sync tokens")}
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text)) // never fails: see hash.Hash
	return h.Sum(nil)
}

// Of are the letters that belong to a user's token.
func (s Seal) Of(user matrix.UserID, token string) string {
	letters := base32.StdEncoding.EncodeToString(sum(s.key, string(user)+"\x00"+token))
	return letters[:sealLetters]
}

// On puts the letters behind a token.
func (s Seal) On(user matrix.UserID, token string) string {
	return token + "_" + s.Of(user, token)
}

// Cut takes the letters off a token. ok says that they belong to it and to the user.
func (s Seal) Cut(user matrix.UserID, sealed string) (token string, ok bool) {
	at := strings.LastIndexByte(sealed, '_')
	if at < 0 {
		return sealed, false
	}
	token = sealed[:at]
	return token, hmac.Equal([]byte(s.Of(user, token)), []byte(sealed[at+1:]))
}
