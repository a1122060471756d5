package push

import (
	"context"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

const (
	// follower is the name of the cursor in the change log.
	follower = "push"
	// saveEvery is how often the cursor is written while there is something to send; with
	// it, what a crash makes be sent twice is bounded.
	saveEvery = time.Minute
	// activeDelay is the default of Config.
	activeDelay = 5 * time.Second
	// activeFor is how long a user who has sent or read something counts as plainly active.
	activeFor = 30 * time.Second
)

// sender follows the change log and wakes the pushers for which there is something.
type sender struct {
	mu      sync.Mutex // guards what follows
	stale   bool       // the pushers have changed since they were read
	started bool       // seen is known
	seen    changes.Position
	saved   time.Time
	workers map[pusherKey]*worker
	acted   map[matrix.UserID]time.Time // when users who have pushers last sent or read something
}

// worker sends what one pusher has to be told.
type worker struct {
	k      *Keeper
	key    pusherKey
	wake   chan struct{} // holds one
	cancel context.CancelFunc
	mailed time.Time     // when run last sent a mail
	rest   time.Duration // how long run may wait before it looks again; 0: until it is woken

	// The sender's mu guards what follows.
	row     pusherRow
	pending changes.Position // the first event that may still have to be sent, or 0
	offered changes.Position // the last one
	recount bool             // the counts may be others than those told last
	badge   int              // the count told last; -1: none since the start
	urgent  changes.Position // up to there nothing may wait: somebody calls
}

// pushersChanged notes that pushers were set or deleted, and wakes Run.
func (k *Keeper) pushersChanged() {
	k.sender.mu.Lock()
	k.sender.stale = true
	k.sender.mu.Unlock()
	k.Changes.Poke()
}

// Run sends notifications until ctx ends. It returns the error of a database that cannot be
// read.
func (k *Keeper) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.sender.mu.Lock()
	k.sender.stale = true
	k.sender.mu.Unlock()
	for {
		wake := k.Changes.Wait()
		if err := k.follow(ctx, &running); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			k.DB.Defer(follower, k.save)
			return nil
		case <-wake:
		}
	}
}

// follow reads the change log to its end.
func (k *Keeper) follow(ctx context.Context, running *sync.WaitGroup) error {
	s := &k.sender
	s.mu.Lock()
	idle := s.started && !s.stale && s.seen == k.Changes.Published()
	s.mu.Unlock()
	if idle {
		return nil
	}
	return k.DB.View(ctx, func(tx *kv.ReadTx) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.started {
			s.started, s.seen = true, k.Changes.Cursor(tx, follower)
		}
		if s.stale {
			s.stale = false
			k.readPushers(ctx, tx, running)
		}
		last := k.Changes.Last(tx)
		if len(s.workers) == 0 || s.seen == 0 {
			s.seen = last
			return nil
		}
		offered := false
		for pos, c := range k.Changes.Since(tx, s.seen) {
			offered = k.offer(tx, pos, c) || offered
		}
		s.seen = last
		if now := k.Now(); offered && now.Sub(s.saved) >= saveEvery {
			s.saved = now
			k.DB.Defer(follower, k.save)
		}
		return nil
	})
}

// readPushers starts workers for new pushers and stops those of deleted ones. The caller
// holds the sender's mu.
func (k *Keeper) readPushers(ctx context.Context, r kv.Reader, running *sync.WaitGroup) {
	s := &k.sender
	if s.workers == nil {
		s.workers = map[pusherKey]*worker{}
	}
	there := map[pusherKey]bool{}
	for key, row := range k.pushers.Scan(r, kv.All()) {
		there[key] = true
		if w := s.workers[key]; w != nil {
			w.row = row
			w.poke()
			continue
		}
		w := &worker{
			k: k, key: key, row: row, pending: row.Pending, offered: row.Pending, badge: -1, wake: make(chan struct{}, 1),
		}
		s.workers[key] = w
		work, cancel := context.WithCancel(ctx)
		w.cancel = cancel
		running.Go(func() { w.run(work) })
		w.poke()
	}
	for key, w := range s.workers {
		if !there[key] {
			w.cancel()
			delete(s.workers, key)
		}
	}
}

// offer wakes the pushers for which a change may mean something. The caller holds the
// sender's mu.
func (k *Keeper) offer(r kv.Reader, pos changes.Position, c changes.Change) (any bool) {
	switch c.Kind {
	case changes.Receipt:
		k.noteActive(c.User, k.Now())
		k.countAgain(c.User, false)
	case changes.AccountData:
		if c.Key == accounts.TypeIgnored && c.Room == "" {
			k.countAgain(c.User, true)
		}
	case changes.Event:
		e, ok := k.Rooms.EventAt(r, c.Room, pos)
		if !ok {
			return false
		}
		if !e.Automatic {
			k.noteActive(e.Sender, time.UnixMilli(e.TS))
			k.countAgain(e.Sender, false)
		}
		if e.Notice == nil || len(e.Notice.Groups) == 0 {
			return false
		}
		told := map[matrix.UserID]bool{} // whether the event notifies the user
		for key, w := range k.sender.workers {
			tell, known := told[key.User]
			if !known {
				tell = k.notified(r, e.Notice, key.User, e.Sender, c.Room, pos) != nil
				told[key.User] = tell
			}
			if !tell || pos <= w.row.Since {
				continue
			}
			any = true
			w.offered = max(w.offered, pos)
			if w.pending == 0 {
				w.pending = pos
			}
			if e.Type == typeCall {
				w.urgent = pos
			}
			w.poke()
		}
	}
	return any
}

// countAgain has the pushers of a user told of the counts, if they are others now: the user has
// read something, or, with rising, they may even have grown. The caller holds the sender's mu.
func (k *Keeper) countAgain(user matrix.UserID, rising bool) {
	for key, w := range k.sender.workers {
		// Where nothing was unread, and nothing is under way, nothing can have been read.
		if key.User == user && (rising || w.badge != 0 || w.pending != 0) {
			w.recount = true
			w.poke()
		}
	}
}

// noteActive notes that a user did something. The caller holds the sender's mu.
func (k *Keeper) noteActive(user matrix.UserID, when time.Time) {
	s := &k.sender
	for key := range s.workers {
		if key.User == user {
			if s.acted == nil || len(s.acted) > 2*len(s.workers) { // pushers come and go
				s.acted = map[matrix.UserID]time.Time{}
			}
			s.acted[user] = when
			return
		}
	}
}

// hold is how long an event at a position, sent at a time, has still to wait because its user
// is plainly active and may read it on another device. It stays what is sent next meanwhile,
// so that nothing is lost.
func (w *worker) hold(at changes.Position, sent time.Time) time.Duration {
	s := &w.k.sender
	s.mu.Lock()
	defer s.mu.Unlock()
	now := w.k.Now()
	if at <= w.urgent || now.Sub(s.acted[w.key.User]) > activeFor {
		return 0
	}
	return min(sent.Add(w.k.ActiveDelay).Sub(now), w.k.ActiveDelay)
}

// save writes the cursor, and in the same transaction what each pusher still has to send.
// It is a deferred write.
func (k *Keeper) save(tx *kv.WriteTx) error {
	s := &k.sender
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen > k.Changes.Cursor(tx, follower) {
		k.Changes.SetCursor(tx, follower, s.seen)
	}
	for key, w := range s.workers {
		row, ok := k.pushers.Get(tx, key)
		if ok && row.Pending != w.pending {
			row.Pending = w.pending
			k.pushers.Put(tx, key, row)
		}
	}
	return nil
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
