package clientapi

import (
	"context"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// stateSize is about how many bytes the state of a room takes in an answer.
func (a *API) stateSize(_ *web.Call, tx *kv.ReadTx, in roomIn) int64 {
	n, _ := a.Rooms.StateSize(tx, in.Room)
	return n
}

// backupSize is about how many bytes the keys of a backup take in an answer.
func (a *API) backupSize(c *web.Call, tx *kv.ReadTx, in backupKeysIn) int64 {
	n, _ := a.E2EE.BackupSize(tx, c.User, in.Version)
	return n
}

// expectEverything charges the state of all rooms that a user is in, and the account data:
// what a client is told that begins. Where the size is not known yet, it counts as nothing.
func (a *API) expectEverything(c *web.Call) error {
	var n int64
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		n = a.everything(c.Ctx, tx, c.User)
		return nil
	})
	if err != nil {
		return err
	}
	return c.Expect(n)
}

func (a *API) everything(ctx context.Context, r kv.Reader, user matrix.UserID) int64 {
	n, _ := a.Accounts.AccountDataSize(r, user)
	for _, room := range a.Rooms.JoinedRooms(r, user) {
		if ctx.Err() != nil {
			break
		}
		size, _ := a.Rooms.StateSize(r, room)
		n += size
	}
	return n
}
