package ephemeral

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// Rooms is what this package asks about rooms; *rooms.Keeper is it.
type Rooms interface {
	Membership(r kv.Reader, room matrix.RoomID, user matrix.UserID) string
	Event(r kv.Reader, id matrix.EventID) (*rooms.Event, bool)
	Visible(r kv.Reader, user matrix.UserID, e *rooms.Event) bool
}

// Config is what a Keeper is made with.
type Config struct {
	DB      *kv.DB
	Changes *changes.Keeper
	Rooms   Rooms
	Now     func() time.Time // nil: time.Now
}

// Keeper knows who types, who has read what and who is there. Run has to run for typing
// and presence to end by themselves.
type Keeper struct {
	Config
	boot     string
	receipts *kv.Table[receiptKey, receiptRow]
	wake     chan struct{} // Run looks at its deadlines again

	mu       sync.Mutex // guards what follows
	counter  uint64
	typing   map[matrix.RoomID]*typists
	presence map[matrix.UserID]*presence
	recent   map[receiptKey]recentReceipt
	// floor is the highest counter of a receipt that was dropped from recent; earlier
	// tokens have to look into the log.
	floor uint64
}

// New opens the receipts. Nobody is typing, and nobody is there.
func New(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Keeper{
		Config:   c,
		boot:     rand.Text()[:8],
		receipts: kv.NewTable[receiptKey, receiptRow](c.DB, kv.Receipts),
		wake:     make(chan struct{}, 1),
		typing:   map[matrix.RoomID]*typists{},
		presence: map[matrix.UserID]*presence{},
		recent:   map[receiptKey]recentReceipt{},
	}
	c.DB.AddCheck("ephemeral", k.check)
	return k
}

// Boot is another word after each start. It has letters and digits only.
func (k *Keeper) Boot() string { return k.boot }

// Counter is the number of the last change in memory.
func (k *Keeper) Counter() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counter
}

// Run ends typing and presence whose time is over. It returns nil when ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if next, any := k.expire(); any {
			timer.Reset(next.Sub(k.Now()))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// expire does what is due and says when to come again, if there is anything to wait for.
func (k *Keeper) expire() (next time.Time, any bool) {
	now := k.Now()
	k.mu.Lock()
	before := k.counter
	typing, anyTyping := k.expireTyping(now)
	idle, anyIdle := k.expirePresence(now)
	news := k.counter != before
	k.mu.Unlock()
	if news {
		k.Changes.Poke()
	}
	if !anyTyping || anyIdle && idle.Before(typing) {
		typing = idle
	}
	return typing, anyTyping || anyIdle
}

// changed tells waiters and Run that something is new. The caller does not hold mu.
func (k *Keeper) changed() {
	k.Changes.Poke()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// next numbers a change. The caller holds mu.
func (k *Keeper) next() uint64 {
	k.counter++
	return k.counter
}
