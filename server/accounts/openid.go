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
// do nothing else (spec: client-server API, OpenID). It ends with the device that asks for it.
func (k *Keeper) NewOpenIDToken(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) string {
	return k.shortLived(tx, k.openIDTokens, user, device, OpenIDTokenLife)
}

// OpenIDUser is the user whom a token of NewOpenIDToken is for. The errors are 401
// M_UNKNOWN_TOKEN and M_USER_LOCKED.
func (k *Keeper) OpenIDUser(r kv.Reader, token string) (matrix.UserID, error) {
	row, ok := k.openIDTokens.Get(r, hashToken(token))
	if !ok || !row.stands(r, k) {
		return "", matrix.Refusal(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "that token is not, or no longer, valid")
	}
	return row.User, k.refuseLocked(r, row.User)
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
