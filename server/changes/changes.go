// Package changes is the one numbered log of all that clients may need to hear, and
// the hub that wakes those who wait for it.
//
// Every durable change, whatever its kind, gets the next position in the transaction
// that makes it. An event's position in its room's timeline is that same number. So one
// scan from a position tells everything that is new, and a sync token is one number.
//
// Waiters are told that there is news, never what: they read it themselves, in a read
// transaction of their own. Followers (push, the board's agent) keep a cursor here.
//
// Invariant: positions have no gaps that are filled later; whoever has read up to
// Published has seen everything that will ever stand there. The only gaps lie in front of a
// change of kind Restored, see Restart: the positions in them may have been given out by the
// server whose database was lost.
package changes

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Position orders everything durable. The first change has position 1.
type Position uint64

// Kind says what a change is about.
type Kind uint8

// The kinds of changes. The numbers are stored and never reused.
const (
	Event       Kind = 1 // an event in Room's timeline, at this position
	AccountData Kind = 2 // account data of User, in Room or global; Key is its type
	DeviceList  Kind = 3 // the devices or keys of User
	ToDevice    Kind = 4 // a message waits for User's Device
	Receipt     Kind = 5 // receipts of User in Room reached the disk
	Profile     Kind = 6 // the profile of User; Key is the field
	Forgotten   Kind = 7 // User forgot Room
	KeyCount    Kind = 8 // the one-time or fallback keys of User's Device were used up or refilled
	Restored    Kind = 9 // the database came back from an older copy: an incarnation begins here
)

// Change is one row of the log.
type Change struct {
	Kind   Kind            `cbor:"1,keyasint"`
	Room   matrix.RoomID   `cbor:"2,keyasint,omitempty"`
	User   matrix.UserID   `cbor:"3,keyasint,omitempty"`
	Device matrix.DeviceID `cbor:"4,keyasint,omitempty"`
	Key    string          `cbor:"5,keyasint,omitempty"`
}

// Keeper owns the log and the followers' cursors.
type Keeper struct {
	log     *kv.Table[uint64, Change]
	cursors *kv.Table[string, uint64]
	starts  *kv.Table[uint64, incarnationRow]

	published atomic.Uint64

	mu   sync.Mutex
	news chan struct{} // closed and replaced when something is published
}

// New opens the log.
func New(ctx context.Context, db *kv.DB) (*Keeper, error) {
	k := &Keeper{
		log:     kv.NewTable[uint64, Change](db, kv.Changes),
		cursors: kv.NewTable[string, uint64](db, kv.Cursors),
		starts:  kv.NewTable[uint64, incarnationRow](db, kv.Incarnations),
		news:    make(chan struct{}),
	}
	err := db.View(ctx, func(tx *kv.ReadTx) error {
		k.published.Store(uint64(k.Last(tx)))
		return nil
	})
	db.AddCheck("changes", k.check)
	return k, err
}

// Append writes the next row of the log and returns its position. Waiters are woken
// once it is on disk.
func (k *Keeper) Append(tx *kv.WriteTx, c Change) Position {
	pos := uint64(k.Last(tx)) + 1
	k.log.Put(tx, pos, c)
	tx.AfterCommit(func() { k.publish(pos) })
	return Position(pos)
}

// Last is the highest position that r sees, 0 for an empty log.
func (k *Keeper) Last(r kv.Reader) Position {
	for pos := range k.log.Keys(r, kv.All().Reverse()) {
		return Position(pos)
	}
	return 0
}

// Published is the highest position that is on disk.
func (k *Keeper) Published() Position { return Position(k.published.Load()) }

// Since yields the changes behind a position, in order.
func (k *Keeper) Since(r kv.Reader, after Position) iter.Seq2[Position, Change] {
	return func(yield func(Position, Change) bool) {
		for pos, c := range k.log.Scan(r, kv.All().After(uint64(after))) {
			if !yield(Position(pos), c) {
				return
			}
		}
	}
}

// Before yields the changes at or before a position, the last first.
func (k *Keeper) Before(r kv.Reader, through Position) iter.Seq2[Position, Change] {
	return func(yield func(Position, Change) bool) {
		for pos, c := range k.log.Scan(r, kv.All().Through(uint64(through)).Reverse()) {
			if !yield(Position(pos), c) {
				return
			}
		}
	}
}

// Wait returns a channel that is closed at the next publication or Poke. Take it first,
// then look for news, then wait: so nothing is missed.
func (k *Keeper) Wait() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.news
}

// Poke wakes the waiters for something that is only in memory (typing, presence).
func (k *Keeper) Poke() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.news)
	k.news = make(chan struct{})
}

// publish runs in commit order, so the number only grows.
func (k *Keeper) publish(pos uint64) {
	k.published.Store(pos)
	k.Poke()
}

// Cursor is how far a follower has read; 0 when it never did.
func (k *Keeper) Cursor(r kv.Reader, follower string) Position {
	pos, _ := k.cursors.Get(r, follower)
	return Position(pos)
}

// SetCursor notes how far a follower has read.
func (k *Keeper) SetCursor(tx *kv.WriteTx, follower string, pos Position) {
	k.cursors.Put(tx, follower, uint64(pos))
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	last := k.Last(r)
	want := uint64(1)
	for pos, c := range k.log.Scan(r, kv.All()) {
		if pos != want && c.Kind != Restored {
			report("position %d follows %d", pos, want-1)
		}
		want = pos
		if c.Kind == 0 || c.Kind > Restored {
			report("position %d has the unknown kind %d", pos, c.Kind)
		}
		if c.Kind == Restored && !k.starts.Has(r, pos) {
			report("an incarnation begins at position %d, and is not among those known", pos)
		}
		want++
	}
	for pos := range k.starts.Keys(r, kv.All()) {
		if c, _ := k.log.Get(r, pos); c.Kind != Restored {
			report("the incarnation that begins at position %d is not in the log", pos)
		}
	}
	for follower, pos := range k.cursors.Scan(r, kv.All()) {
		if Position(pos) > last {
			report("follower %s stands at %d, the log ends at %d", follower, pos, last)
		}
	}
}
