package accounts

import (
	"context"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// erasePortion is how many rows of an erased user one transaction deletes.
const erasePortion = 200

// erase deletes account data and filters of a user, at most so many rows; done says that none
// are left.
func (k *Keeper) erase(tx *kv.WriteTx, user matrix.UserID) (done bool) {
	k.sizes.Forget(tx, user) // what is left is counted again
	n := 0
	for key := range k.accountData.Keys(tx, kv.Prefix(user)) {
		if n++; n > erasePortion {
			return false
		}
		k.accountData.Delete(tx, key)
	}
	for key := range k.filters.Keys(tx, kv.Prefix(user)) {
		if n++; n > erasePortion {
			return false
		}
		k.filters.Delete(tx, key)
	}
	return true
}

// eraseRest deletes what is left of erased users, in transactions that stay small however much
// they had. Nobody sees these rows any more: they were the user's own.
func (k *Keeper) eraseRest(ctx context.Context) error {
	var users []matrix.UserID
	err := k.db.View(ctx, func(tx *kv.ReadTx) error {
		for user, row := range k.users.Scan(tx, kv.All()) {
			if row.Erasing {
				users = append(users, user)
			}
		}
		return nil
	})
	for i := 0; i < len(users) && err == nil; {
		done := false
		err = k.db.Update(ctx, func(tx *kv.WriteTx) error {
			if done = k.erase(tx, users[i]); done {
				row, _ := k.users.Get(tx, users[i])
				row.Erasing = false
				k.users.Put(tx, users[i], row)
			}
			return nil
		})
		if done {
			i++
		}
	}
	return err
}
