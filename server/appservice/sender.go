package appservice

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"porchlight/kv"
)

const (
	// saveEvery is after how many changes that are not for a service its place is written.
	saveEvery = 1000
	// firstRetry and maxRetry bound how long a service is left alone after a failure.
	firstRetry = time.Second
	maxRetry   = 5 * time.Minute
)

// worker tells one service what it has to be told, in order.
type worker struct {
	k       *Keeper
	service *Service
	cancel  context.CancelFunc
	retry   chan struct{} // holds one: the service answers again
	ended   chan struct{}

	started  bool
	saved    uint64
	interest interest
	heard    uint64     // counter of the typing and presence that was put into volatile
	volatile []volatile // that the service has not taken yet

	mu    sync.Mutex // guards what follows, which others read
	queue queueRow
	state State
}

// Run tells the services of events until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen *[]*Service
	for {
		wake := k.Changes.Wait()
		if now := k.known.Load(); now != seen {
			seen = now
			k.manage(ctx, *now, &running)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
	}
}

// manage starts a worker for each service that has none and stops those of services that
// are gone or registered anew.
func (k *Keeper) manage(ctx context.Context, services []*Service, running *sync.WaitGroup) {
	there := map[string]*Service{}
	for _, s := range services {
		there[s.ID] = s
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	before := map[string]*worker{}
	for id, w := range k.workers {
		if there[id] != w.service {
			w.cancel()
			before[id] = w
			delete(k.workers, id)
		}
	}
	for id, s := range there {
		if s.URL == "" || k.workers[id] != nil {
			continue
		}
		work, cancel := context.WithCancel(ctx)
		w := &worker{
			k: k, service: s, cancel: cancel, retry: make(chan struct{}, 1), ended: make(chan struct{}),
			interest: interest{keeper: k, service: s},
		}
		w.interest.forget()
		k.workers[id] = w
		old := before[id]
		running.Go(func() {
			defer close(w.ended)
			if old != nil {
				<-old.ended
			}
			w.run(work)
		})
	}
}

// answers tells a service's worker that the service can be reached.
func (k *Keeper) answers(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.workers[id]; w != nil {
		select {
		case w.retry <- struct{}{}:
		default:
		}
	}
}

func (w *worker) run(ctx context.Context) {
	defer w.save()
	for failures := 0; ctx.Err() == nil; {
		wake := w.k.Changes.Wait()
		more, err := w.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			wait := retryAfter(failures)
			w.failed(failures, err, wait)
			if w.pause(ctx, wait) {
				failures = 0
			}
			continue
		case failures > 0:
			w.k.Log.Info("application service answers again", "service", w.service.ID)
		}
		failures = 0
		w.failed(0, nil, 0)
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-wake:
		}
	}
}

// failed notes how it went with the service, and tells the log of the first failure.
func (w *worker) failed(failures int, err error, wait time.Duration) {
	w.mu.Lock()
	w.state.Failures, w.state.Err = failures, err
	w.mu.Unlock()
	if err == nil {
		return
	}
	level := slog.LevelInfo
	if failures == 1 {
		level = slog.LevelWarn
	}
	w.k.Log.Log(context.Background(), level, "application service did not take a transaction",
		"service", w.service.ID, "failures", failures, "again_in", wait.Round(time.Millisecond), "error", err)
}

// retryAfter is how long to wait after so many failures in a row: twice as long each time
// up to a bound, with jitter.
func retryAfter(failures int) time.Duration {
	wait := maxRetry
	if failures < 20 {
		wait = min(maxRetry, firstRetry<<(failures-1))
	}
	return wait/2 + rand.N(wait/2+1)
}

// pause waits until it is time or ctx ends, or until the service is known to answer, which
// it then says.
func (w *worker) pause(ctx context.Context, d time.Duration) (answers bool) {
	select {
	case <-w.retry: // it answered before it failed
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-w.retry:
		return true
	}
	return false
}

// step sends one transaction of the log and one of typing and presence, if there is
// something to tell; more says that there may be another.
func (w *worker) step(ctx context.Context) (more bool, err error) {
	more, err = w.stepLog(ctx)
	if err != nil {
		return false, err
	}
	moreVolatile, err := w.stepVolatile(ctx)
	return more || moreVolatile, err
}

// stepLog sends the next transaction of what the log has for the service.
func (w *worker) stepLog(ctx context.Context) (more bool, err error) {
	if !w.started {
		if err := w.load(ctx); err != nil {
			return false, err
		}
	}
	if !w.queue.pending() {
		if w.queue.Done >= uint64(w.k.Changes.Published()) {
			return false, nil // woken for something that is only in memory
		}
		next, end, err := w.next(ctx)
		if err != nil {
			return false, err
		}
		if !next.pending() {
			w.set(next)
			if next.Done-w.saved >= saveEvery {
				w.save()
			}
			return !end, nil
		}
		if err := w.k.DB.Update(ctx, func(tx *kv.WriteTx) error { return w.store(tx, next) }); err != nil {
			w.interest.forget()
			return false, err
		}
		w.saved = next.Done
		w.set(next)
	}
	if err := w.send(ctx); err != nil {
		return false, err
	}
	err = w.taken(ctx)
	w.set(queueRow{Done: w.queue.Through})
	// A place that is lost is no harm: the same transaction is sent once more.
	w.save()
	return true, err
}

// load reads how far the service was told.
func (w *worker) load(ctx context.Context) error {
	return w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		q, _ := w.k.queues.Get(tx, w.service.ID)
		q.Done = min(q.Done, uint64(w.k.Changes.Last(tx))) // the log may be an older copy
		w.started, w.saved = true, q.Done
		w.set(q)
		return nil
	})
}

func (w *worker) set(q queueRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = q
}

// store writes how far the service was told, unless it was removed.
func (w *worker) store(tx *kv.WriteTx, q queueRow) error {
	if w.k.services.Has(tx, w.service.ID) {
		w.k.queues.Put(tx, w.service.ID, q)
	}
	return nil
}

// save writes the same soon.
func (w *worker) save() {
	if !w.started {
		return
	}
	w.saved = w.queue.Done
	w.k.DB.Defer("appservice/"+w.service.ID, func(tx *kv.WriteTx) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if stored, _ := w.k.queues.Get(tx, w.service.ID); !w.queue.after(stored) {
			return nil // this runs later: the next transaction may be there already
		}
		return w.store(tx, w.queue)
	})
}

// State is how it goes with a service.
type State struct {
	Behind   uint64 // changes that it was not told of or asked about yet
	Failures int    // in a row
	Err      error  // of the last one
}

// State is how it goes with a service.
func (k *Keeper) State(r kv.Reader, id string) State {
	k.mu.Lock()
	w := k.workers[id]
	k.mu.Unlock()
	q, _ := k.queues.Get(r, id)
	var state State
	if w != nil {
		w.mu.Lock()
		state, q.Done = w.state, max(q.Done, w.queue.Done)
		w.mu.Unlock()
	}
	if last := uint64(k.Changes.Last(r)); last > q.Done {
		state.Behind = last - q.Done
	}
	return state
}
