package accounts

import (
	"context"

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

// EraseRest is for the tests in another package.
func (k *Keeper) EraseRest(ctx context.Context) error { return k.eraseRest(ctx) }

// Left is how many rows of account data a user has.
func (k *Keeper) Left(r kv.Reader, user matrix.UserID) (n int) {
	for range k.accountData.Keys(r, kv.Prefix(user)) {
		n++
	}
	return n
}
