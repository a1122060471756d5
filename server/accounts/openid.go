package accounts

import (
	"context"
	"net/http"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// OpenIDTokenLife is how long a token lasts that proves to other services who a user is.
const OpenIDTokenLife = time.Hour

// NewOpenIDToken makes a token by which another service can learn who the user is, and
// do nothing else (spec: client-server API, OpenID).
func (k *Keeper) NewOpenIDToken(tx *kv.WriteTx, user matrix.UserID) string {
	token := newToken()
	k.openIDTokens.Put(tx, hashToken(token), loginTokenRow{User: user, Expires: ms(k.now().Add(OpenIDTokenLife))})
	return token
}

// OpenIDUser is the user whom a token of NewOpenIDToken is for. The error is 401
// M_UNKNOWN_TOKEN.
func (k *Keeper) OpenIDUser(r kv.Reader, token string) (matrix.UserID, error) {
	row, ok := k.openIDTokens.Get(r, hashToken(token))
	if !ok || ms(k.now()) >= row.Expires || !k.Exists(r, row.User) {
		return "", matrix.Refusal(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "that token is not, or no longer, valid")
	}
	return row.User, nil
}

func (k *Keeper) cleanOpenIDTokens(ctx context.Context) error {
	return k.db.Update(ctx, func(tx *kv.WriteTx) error {
		for hash, row := range k.openIDTokens.Scan(tx, kv.All()) {
			if ms(k.now()) >= row.Expires {
				k.openIDTokens.Delete(tx, hash)
			}
		}
		return nil
	})
}
