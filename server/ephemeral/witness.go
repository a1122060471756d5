package ephemeral

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// EventAppended notes that the sender is active, and that whoever sends a message or
// leaves has stopped typing. It is a witness of server/rooms.
func (k *Keeper) EventAppended(tx *kv.WriteTx, e *rooms.Event) error {
	tx.AfterCommit(func() {
		if !e.Automatic {
			k.Active(e.Sender)
		}
		switch {
		case e.Type == "m.room.message" || e.Type == "m.room.encrypted":
			k.StopTyping(e.Room, e.Sender)
		case e.Type == "m.room.member" && e.StateKey != nil && e.Membership() != "join":
			k.StopTyping(e.Room, matrix.UserID(*e.StateKey))
		}
	})
	return nil
}
