package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// maxBatch is how many functions may share one commit.
	maxBatch = 256
	// maxBatchBytes ends a batch early, so that one commit stays small in memory.
	maxBatchBytes = 4 << 20
	// lingerShare is the part of the last commit's time that the next one may wait for
	// those whom the last one has just released.
	lingerShare = 4
)

// ErrClosed is returned by transactions after Close.
var ErrClosed = errors.New("the database is closed")

// work is one function that waits for its commit.
type work struct {
	ctx   context.Context
	fn    func(*WriteTx) error
	done  chan struct{} // closed when err is final
	err   error
	panic any // what fn panicked with; raised again in the caller
}

// Update runs fn in the next commit and returns after that commit has been synced
// to disk. Functions that arrive while a commit syncs go into the next one together
// and run one after the other; each sees what those before it wrote. When fn returns
// an error, nothing of it is written and Update returns that error. fn may run on
// another goroutine, and must neither wait for anything nor call View or Update.
// If ctx ends before fn has begun, fn does not run and the ctx's error is returned.
func (db *DB) Update(ctx context.Context, fn func(*WriteTx) error) error {
	w := &work{ctx: ctx, fn: fn, done: make(chan struct{})}
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return ErrClosed
	}
	db.queue = append(db.queue, w)
	complete := len(db.queue) >= db.expected
	db.mu.Unlock()
	if complete {
		select {
		case db.gathered <- struct{}{}:
		default:
		}
	}

	select {
	case <-w.done:
	case db.lead <- struct{}{}:
		// Leader: everything queued goes in order, so a batch or two bring w through.
		for !w.isDone() {
			db.linger()
			db.runBatch()
		}
		<-db.lead
	}
	if w.panic != nil {
		panic(w.panic)
	}
	return w.err
}

func (w *work) isDone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// linger waits a little for the writers that the last commit has released: many of them
// are about to come back. Without it, busy writers fall into two halves that wait for each
// other's commits, and each commit carries half of what it could. A writer who is alone
// is expected alone and never waits.
func (db *DB) linger() {
	db.mu.Lock()
	missing := len(db.queue) < db.expected
	left := db.lingerUntil.Sub(db.now())
	db.mu.Unlock()
	if !missing || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	for missing {
		select {
		case <-db.gathered: // may be a leftover of an earlier batch
		case <-timer.C:
			return
		}
		db.mu.Lock()
		missing = len(db.queue) < db.expected
		db.mu.Unlock()
	}
}

// Flush writes the deferred rows now, if there are any.
func (db *DB) Flush() error {
	db.mu.Lock()
	closed, waiting := db.closed, db.deferred.len() > 0
	db.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if !waiting {
		return nil
	}
	return db.Update(context.Background(), func(*WriteTx) error { return nil })
}

// runBatch takes what is queued and brings it to disk in one commit. The caller
// holds the lead.
func (db *DB) runBatch() {
	db.mu.Lock()
	n := min(len(db.queue), maxBatch)
	batch := db.queue[:n:n]
	db.queue = db.queue[n:]
	later := db.deferred.take()
	closed := db.closed
	db.mu.Unlock()

	if closed {
		for _, w := range batch {
			w.err = ErrClosed
			close(w.done)
		}
		return
	}
	began := db.now()
	b := &batchRun{db: db}
	rest := b.run(batch, later)
	ended := db.now()

	db.mu.Lock()
	defer db.mu.Unlock()
	db.queue = append(rest, db.queue...)
	db.expected = min(len(batch)-len(rest)+len(db.queue), maxBatch)
	db.lingerUntil = ended.Add(ended.Sub(began) / lingerShare)
}

// batchRun is one pass of the writer.
type batchRun struct {
	db      *DB
	bolt    *bbolt.Tx
	effects []func()
	written []*work // succeeded, waiting for the commit
	bytes   int
	broken  error // a write failed half-way: nothing of this pass may be committed
}

// run begins, lets every function write, commits, runs the effects and wakes the
// callers. It returns the work that did not fit any more.
func (b *batchRun) run(batch []*work, later []deferredWrite) (rest []*work) {
	tx, err := b.db.bolt.Begin(true)
	if err != nil {
		b.db.putBack(later)
		finish(batch, err)
		return nil
	}
	b.bolt = tx
	var failed []*work
	for i, w := range batch {
		if b.bytes > maxBatchBytes || b.broken != nil {
			rest = batch[i:]
			break
		}
		if w.err = w.ctx.Err(); w.err == nil {
			w.err = b.one(w)
		}
		if w.err != nil || w.panic != nil {
			failed = append(failed, w)
			continue
		}
		b.written = append(b.written, w)
	}
	deferredRun := b.runDeferred(later)

	switch {
	case b.broken != nil:
		err = errors.Join(b.broken, tx.Rollback())
	case b.bytes == 0: // nothing to write: no sync, and no page is spent
		err = tx.Rollback()
	default:
		if err = tx.Commit(); err != nil {
			err = fmt.Errorf("commit: %w", err)
		}
	}
	if err != nil {
		b.db.putBack(later)
	}
	if err == nil {
		for _, effect := range b.effects {
			effect()
		}
	}
	b.db.count(b, err, len(failed), deferredRun)
	finish(failed, nil)
	finish(b.written, err)
	return rest
}

func finish(all []*work, err error) {
	for _, w := range all {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
}

// one runs a single function over its own overlay and, if it is content, moves the
// overlay into the shared commit. So a failure takes nobody along.
func (b *batchRun) one(w *work) error {
	tx := &WriteTx{db: b.db, bolt: b.bolt}
	err := call(w, tx)
	tx.done = true
	if err == nil {
		err = tx.err
	}
	if err != nil || w.panic != nil {
		return err
	}
	if b.broken = tx.apply(); b.broken != nil {
		return b.broken
	}
	b.bytes += tx.bytes
	b.effects = append(b.effects, tx.effects...)
	return nil
}

func call(w *work, tx *WriteTx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.panic = r
		}
	}()
	return w.fn(tx)
}

func (b *batchRun) runDeferred(later []deferredWrite) (ran int) {
	for _, d := range later {
		w := &work{ctx: context.Background(), fn: d.fn}
		err := b.one(w)
		if w.panic != nil {
			err = fmt.Errorf("panic: %v", w.panic)
		}
		if err != nil {
			b.db.log.Error("a deferred write failed and is dropped", "key", d.key, "error", err)
			continue
		}
		ran++
	}
	return ran
}

func (db *DB) count(b *batchRun, err error, failed, deferredRun int) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.stats.Failed += uint64(failed)
	if err == nil && b.bytes > 0 {
		db.stats.Commits++
		db.stats.Updates += uint64(len(b.written))
		db.stats.Deferred += uint64(deferredRun)
	}
}
