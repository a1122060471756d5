package accounts

import (
	"context"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// DefaultGuestLife is how long a guest's account is kept that nobody uses.
const DefaultGuestLife = 30 * 24 * time.Hour

// maxGuestsCleaned is how many accounts one cleaning closes; the next one goes on.
const maxGuestsCleaned = 100

// cleanGuests closes the accounts of guests that nobody has used for Config.GuestLife, each
// in a transaction of its own, since they leave their rooms.
func (k *Keeper) cleanGuests(ctx context.Context) error {
	if k.guestLife <= 0 {
		return nil
	}
	var stale []matrix.UserID
	err := k.db.View(ctx, func(tx *kv.ReadTx) error {
		for user, row := range k.users.Scan(tx, kv.All()) {
			if len(stale) == maxGuestsCleaned {
				break
			}
			if k.isStaleGuest(tx, user, row) {
				stale = append(stale, user)
			}
		}
		return nil
	})
	for _, user := range stale {
		if err != nil {
			break
		}
		err = k.db.Update(ctx, func(tx *kv.WriteTx) error {
			if row, _ := k.users.Get(tx, user); !k.isStaleGuest(tx, user, row) {
				return nil // they came back
			}
			return k.Deactivate(tx, user, false)
		})
	}
	return err
}

func (k *Keeper) isStaleGuest(r kv.Reader, user matrix.UserID, row UserRow) bool {
	if !row.Guest || row.Deactivated {
		return false
	}
	used := row.Created
	for _, d := range k.Devices(r, user) {
		used = max(used, d.Created, d.SeenAt)
	}
	return used < ms(k.now().Add(-k.guestLife))
}
