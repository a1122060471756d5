package accounts

import (
	"porchlight/kv"
	"porchlight/server/matrix"
)

// ForgetAccountDataSize makes a user look as before account data were counted.
func (k *Keeper) ForgetAccountDataSize(tx *kv.WriteTx, user matrix.UserID) { k.sizes.Forget(tx, user) }

// CheckSizes reports users whose account data are counted wrongly.
func (k *Keeper) CheckSizes(r kv.Reader, report func(string, ...any)) {
	for user, size := range k.sizes.All(r, kv.All()) {
		if n := k.countAccountData(r, user); n != size {
			report("the account data of %s have %d bytes and are counted as %d", user, n, size)
		}
	}
}
