package rooms

import (
	"bytes"
	"context"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Change puts other bytes into a stored event, as damage would.
func (k *Keeper) Change(tx *kv.WriteTx, id matrix.EventID, from, to string) {
	place, _ := k.eventIDs.Get(tx, id)
	row, _ := k.events.Get(tx, eventKey(place))
	row.PDU = bytes.Replace(row.PDU, []byte(from), []byte(to), 1)
	k.events.Put(tx, eventKey(place), row)
}

// Lose deletes rows of the indexes of an event, as a lost page would.
func (k *Keeper) Lose(tx *kv.WriteTx, id matrix.EventID, room matrix.RoomID, kind, key string) {
	k.eventIDs.Delete(tx, id)
	k.state.Delete(tx, stateKey{room, kind, key})
	k.memberships.Delete(tx, membershipKey{matrix.UserID(key), room})
}

// LoseEvent deletes an event and leaves what leads to it.
func (k *Keeper) LoseEvent(tx *kv.WriteTx, id matrix.EventID) {
	place, _ := k.eventIDs.Get(tx, id)
	k.events.Delete(tx, eventKey(place))
}

// ForgetStateSize makes a room look as it did before its state was counted.
func (k *Keeper) ForgetStateSize(tx *kv.WriteTx, room matrix.RoomID) { k.sizes.Forget(tx, room) }

// CheckSizes reports rooms whose state is counted wrongly.
func (k *Keeper) CheckSizes(r kv.Reader, report func(string, ...any)) {
	for room, size := range k.sizes.All(r, kv.All()) {
		n := int64(0)
		for key, pos := range k.state.Scan(r, kv.Prefix(room)) {
			n += k.sizeAt(r, key.Room, pos)
		}
		if n != size {
			report("the state of %s has %d bytes and is counted as %d", room, n, size)
		}
	}
}

// Portion does one portion of a task; more says that there was one.
func (k *Keeper) Portion(ctx context.Context) (more bool, err error) {
	key, row, more, err := k.nextTask(ctx)
	if err != nil || !more {
		return false, err
	}
	return true, k.DB.Update(ctx, func(tx *kv.WriteTx) error { return k.portion(tx, key, row) })
}
