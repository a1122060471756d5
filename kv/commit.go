package kv

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
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

	tx       *WriteTx // what fn wrote
	deferred bool     // nobody waits for it
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
	idle    error // why nothing can be written: functions that write nothing still run
	written []*work
	bytes   int
	broken  error // a write failed half-way: nothing of bolt may be committed
}

// run begins, lets every function write, commits, runs the effects and wakes the
// callers. It returns the work that did not fit any more.
func (b *batchRun) run(batch []*work, later []deferredWrite) (rest []*work) {
	if err := b.begin(); err != nil {
		b.db.putBack(later)
		finish(batch, err)
		return nil
	}
	var failed []*work
	for i, w := range batch {
		if b.bytes > maxBatchBytes || b.broken != nil {
			rest = batch[i:]
			break
		}
		if w.err = w.ctx.Err(); w.err == nil {
			b.try(w)
		}
		if w.err != nil || w.panic != nil {
			failed = append(failed, w)
			continue
		}
		b.written = append(b.written, w)
	}
	if b.idle != nil { // the values stay readable where they are
		b.db.putBack(later)
		later = nil
	}
	failed = append(failed, b.runDeferred(later)...)
	err := b.end()
	if err == nil {
		for _, w := range b.written {
			for _, effect := range w.tx.effects {
				effect()
			}
		}
	} else if !isDamage(err) { // over damage they would fail everybody's commit for ever
		b.db.putBack(later)
	}
	b.db.count(b, err, failed)
	finish(failed, nil)
	finish(b.written, err)
	return rest
}

// begin begins bbolt's transaction: one that reads where nothing can be written.
func (b *batchRun) begin() (err error) {
	b.idle = b.db.Unwritable()
	b.broken = nil
	b.bolt, err = b.db.begin(b.idle == nil)
	if err == nil && b.idle == nil {
		b.db.bound()
	}
	return err
}

// try runs a function. If it meets damage when it writes, the others go on without it.
func (b *batchRun) try(w *work) {
	w.err = b.one(w)
	if isDamage(b.broken) {
		b.again()
	}
}

// again writes what succeeded before a damaged page was met into another transaction: who
// has nothing to do with that page is not refused for it.
func (b *batchRun) again() {
	broken := b.broken
	if err := b.rollback(); err != nil {
		b.broken = err
		return
	}
	if err := b.begin(); err != nil {
		b.broken = errors.Join(broken, err)
		return
	}
	for _, w := range b.written {
		if b.broken = w.tx.apply(b.bolt); b.broken != nil {
			return
		}
	}
}

// end commits, unless there is nothing to write or something went wrong.
func (b *batchRun) end() error {
	switch {
	case b.bolt == nil:
		return b.broken
	case b.broken != nil:
		return errors.Join(b.broken, b.rollback())
	case b.bytes == 0: // nothing to write: no sync, and no page is spent
		return b.rollback()
	}
	err := Guard(b.db.bolt, b.db.path, b.bolt.Commit)
	if err == nil {
		return nil
	}
	if isDamage(err) || errors.Is(err, bolterrors.ErrMaxSizeReached) {
		if !isDamage(err) {
			err = &DamagedError{File: b.db.path, Offset: -1, Err: fmt.Errorf("a page claims to hold more than any commit writes: %w", err)}
		}
		err = errors.Join(err, b.rollback())
	}
	b.db.noteFailed(err)
	return fmt.Errorf("commit: %w", withErrno(err))
}

// rollback ends bbolt's transaction. If that panics, bbolt's locks stay taken, and nothing
// is written any more.
func (b *batchRun) rollback() error {
	tx := b.bolt
	b.bolt = nil
	err := Guard(b.db.bolt, b.db.path, tx.Rollback)
	if errors.Is(err, bolterrors.ErrTxClosed) { // a commit that fails does so itself
		return nil
	}
	if err != nil {
		b.db.stuck.Store(true)
		b.db.Refuse(err)
	}
	return err
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
	w.tx = tx
	err := call(w, tx)
	tx.done = true
	if isDamage(tx.err) { // whatever came of it in the function
		w.panic = nil
	}
	if tx.err != nil && (err == nil || isDamage(tx.err)) {
		err = tx.err
	}
	if err != nil || w.panic != nil {
		return err
	}
	if b.idle != nil && tx.bytes > 0 {
		return b.idle
	}
	if b.broken = tx.apply(b.bolt); b.broken != nil {
		return b.broken
	}
	b.bytes += tx.bytes
	return nil
}

func call(w *work, tx *WriteTx) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			w.panic = r
		}
	}()
	return w.fn(tx)
}

// runDeferred runs deferred functions after the others and returns those that failed.
func (b *batchRun) runDeferred(later []deferredWrite) (failed []*work) {
	for _, d := range later {
		w := &work{ctx: context.Background(), fn: d.fn, done: make(chan struct{}), deferred: true}
		if w.err = b.broken; w.err == nil {
			b.try(w)
		}
		if w.panic != nil {
			w.err = fmt.Errorf("panic: %v", w.panic)
		}
		if w.err != nil {
			b.db.log.Error("a deferred write failed and is dropped", "key", d.key, "error", w.err)
			failed = append(failed, w)
			continue
		}
		b.written = append(b.written, w)
	}
	return failed
}

func (db *DB) count(b *batchRun, err error, failed []*work) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, w := range failed {
		if !w.deferred {
			db.stats.Failed++
		}
	}
	if err != nil || b.bytes == 0 {
		return
	}
	db.stats.Commits++
	for _, w := range b.written {
		if w.deferred {
			db.stats.Deferred++
		} else {
			db.stats.Updates++
		}
	}
}
