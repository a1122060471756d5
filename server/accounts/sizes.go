package accounts

import (
	"context"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// DefaultMaxAccountData is how many bytes of account data a user may have in all.
const DefaultMaxAccountData = 8 << 20

// size is what account data count: the content, and its names.
func (key accountDataKey) size(content []byte) int64 {
	return int64(len(key.Room) + len(key.Type) + len(content))
}

func (k *Keeper) newSizes() *kv.Tally[matrix.UserID] {
	return kv.NewTally(k.db, kv.AccountDataSizes, k.countAccountData, func(r kv.Reader, user matrix.UserID) bool {
		for range k.accountData.Keys(r, kv.Prefix(user)) {
			return false
		}
		return true
	})
}

func (k *Keeper) countAccountData(r kv.Reader, user matrix.UserID) (n int64) {
	for key, content := range k.accountData.Scan(r, kv.Prefix(user)) {
		n += key.size(content)
	}
	return n
}

// growAccountData counts account data that are about to be written, and refuses them if the
// user has no room for more. What takes no more than before is always taken, and so is what
// the server itself writes. The error is M_RESOURCE_LIMIT_EXCEEDED.
func (k *Keeper) growAccountData(tx *kv.WriteTx, key accountDataKey, before, after []byte, there bool) error {
	delta := key.size(after)
	if there {
		delta -= key.size(before)
	}
	size, known := k.sizes.Get(tx, key.User)
	own := key.Type == TypeFullyRead || key.Type == TypePushRules
	if known && k.maxAccountData > 0 && delta > 0 && size+delta > k.maxAccountData && !own {
		return matrix.ResourceLimit(fmt.Sprintf("you have %d of %d bytes of account data: there is no room for more", size, k.maxAccountData))
	}
	k.sizes.Add(tx, key.User, delta)
	return nil
}

// AccountDataSize is how many bytes of account data a user has; false if that is not known yet.
func (k *Keeper) AccountDataSize(r kv.Reader, user matrix.UserID) (int64, bool) {
	return k.sizes.Get(r, user)
}

// RunSizes counts the account data of users that are older than the counting.
func (k *Keeper) RunSizes(ctx context.Context) error { return k.sizes.Run(ctx) }

// CountAccountData makes the size of a user's account data known. It must not be called in a
// transaction.
func (k *Keeper) CountAccountData(ctx context.Context, user matrix.UserID) error {
	return k.sizes.Count(ctx, user)
}
