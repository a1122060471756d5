package changes

import (
	"math/rand/v2"

	"porchlight/kv"
)

// A database that came back from an older copy is another incarnation of the server: what
// the lost one did after the copy was made is gone, but clients, bridges and gateways still
// hold positions of it. None of them may be given out again. So an incarnation begins far
// behind every position that the lost one can have reached, and everything that is numbered
// by position or by First stays unique: tokens, transactions for application services,
// stamps of sliding sync, versions of key backups.
const (
	// jumpUnit is more than a server gives out in its life: 2^32 changes are ten a second
	// for thirteen years.
	jumpUnit = 1 << 32
	// jumpUnits is how many of them a jump has at most. The number is random, so that two
	// servers restored from one copy do not continue with the same positions.
	jumpUnits = 1 << 12
	// maxPosition is the largest number that every JSON parser reads exactly. There is room
	// for a thousand restores, and for a million once the jumps have become small.
	maxPosition = 1<<53 - 1
)

// incarnationRow is what is known of an incarnation, by the position of its beginning.
type incarnationRow struct {
	// Last is the last position before it that is in the log.
	Last uint64 `cbor:"1,keyasint"`
	// Ahead is a position of the lost time that a client showed; 0: none did, the copy was
	// restored by order.
	Ahead uint64 `cbor:"2,keyasint,omitempty"`
}

// First is the position at which the incarnation begins: what a client knows of a lower one
// it may know from a server whose database was lost. 0 if the database never came back from
// a copy.
func (k *Keeper) First(r kv.Reader) Position {
	for pos := range k.starts.Keys(r, kv.All().Reverse()) {
		return Position(pos)
	}
	return 0
}

// Restart begins another incarnation and returns its first position. ahead is a position
// that the lost server is known to have reached, or 0.
func (k *Keeper) Restart(tx *kv.WriteTx, ahead Position) Position {
	last := k.Last(tx)
	first := jump(max(last, ahead), rand.Uint64N(jumpUnits)+1)
	k.starts.Put(tx, uint64(first), incarnationRow{Last: uint64(last), Ahead: uint64(ahead)})
	k.log.Put(tx, uint64(first), Change{Kind: Restored})
	tx.AfterCommit(func() { k.publish(uint64(first)) })
	return first
}

// jump is the beginning of an incarnation behind a position. When half of all positions are
// behind it, the jumps become short.
func jump(from Position, units uint64) Position {
	if from > maxPosition/2 {
		units = 1
	}
	if to := from + Position(units*jumpUnit); to <= maxPosition {
		return to
	}
	return from + 1
}
