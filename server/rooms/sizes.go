package rooms

import (
	"context"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/pdu"
)

// DefaultMaxState is how many bytes the current state of a room may have, as the events are
// signed.
const DefaultMaxState = 8 << 20

// stateOverhead is added for each state event, so that many small ones count, too.
const stateOverhead = 64

// alwaysState are the types that are taken whatever size the state has: with one key each they
// are few, and those who run the room need them.
var alwaysState = map[string]bool{
	"m.room.power_levels": true, "m.room.join_rules": true, "m.room.history_visibility": true,
	"m.room.tombstone": true, "m.room.guest_access": true,
}

func (k *Keeper) newSizes() *kv.Tally[matrix.RoomID] {
	count := func(r kv.Reader, room matrix.RoomID) (n int64) {
		for key, pos := range k.state.Scan(r, kv.Prefix(room)) {
			n += k.sizeAt(r, key.Room, pos)
		}
		return n
	}
	empty := func(r kv.Reader, room matrix.RoomID) bool {
		for range k.state.Keys(r, kv.Prefix(room)) {
			return false
		}
		return true
	}
	return kv.NewTally(k.DB, kv.RoomSizes, count, empty)
}

// sizeAt is what the state event at a position counts.
func (k *Keeper) sizeAt(r kv.Reader, room matrix.RoomID, pos uint64) int64 {
	row, ok := k.events.Get(r, eventKey{room, pos})
	if !ok {
		return 0
	}
	return int64(len(row.PDU)) + stateOverhead
}

// StateSize is how many bytes the current state of a room has; false if that is not known yet.
func (k *Keeper) StateSize(r kv.Reader, room matrix.RoomID) (int64, bool) {
	return k.sizes.Get(r, room)
}

// RunSizes counts the state of rooms that are older than the counting.
func (k *Keeper) RunSizes(ctx context.Context) error { return k.sizes.Run(ctx) }

// CountState makes the size of a room's state known. It must not be called in a transaction.
func (k *Keeper) CountState(ctx context.Context, room matrix.RoomID) error {
	return k.sizes.Count(ctx, room)
}

// grow counts a state event that is about to become current, and refuses it if the room has
// no room for it: what takes no more than what it replaces is always taken, and so is what
// ends a membership. The error is M_RESOURCE_LIMIT_EXCEEDED.
func (k *Keeper) grow(tx *kv.WriteTx, p *pdu.PDU) error {
	delta := int64(len(p.Raw)) + stateOverhead
	if before, ok := k.state.Get(tx, stateKey{p.Room, p.Type, *p.StateKey}); ok {
		delta -= k.sizeAt(tx, p.Room, before)
	}
	size, known := k.sizes.Get(tx, p.Room)
	if known && k.MaxState > 0 && delta > 0 && size+delta > k.MaxState && !alwaysTaken(p) {
		return matrix.ResourceLimit(fmt.Sprintf("the state of this room has %d of %d bytes: there is no room for more", size, k.MaxState))
	}
	k.sizes.Add(tx, p.Room, delta)
	return nil
}

func alwaysTaken(p *pdu.PDU) bool {
	if p.Type == "m.room.member" {
		membership := contentText(p.Content, "membership")
		return membership == "leave" || membership == "ban"
	}
	return alwaysState[p.Type] && *p.StateKey == ""
}

// shrink counts a state event that was stripped of its content.
func (k *Keeper) shrink(tx *kv.WriteTx, e *Event, before, after []byte) {
	if e.StateKey == nil {
		return
	}
	if pos, ok := k.state.Get(tx, stateKey{e.Room, e.Type, *e.StateKey}); ok && pos == uint64(e.Position) {
		k.sizes.Add(tx, e.Room, int64(len(after))-int64(len(before)))
	}
}
