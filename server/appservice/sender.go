package appservice

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// maxEvents is how many events a transaction has at most.
	maxEvents = 100
	// maxScan is how many changes are looked through in one reading transaction.
	maxScan = 10_000
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

	started bool
	saved   uint64
	mu      sync.Mutex // guards queue, which a deferred write reads
	queue   queueRow
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
		w := &worker{k: k, service: s, cancel: cancel, retry: make(chan struct{}, 1), ended: make(chan struct{})}
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
			w.k.Log.Info("application service failed", "service", w.service.ID, "failures", failures, "error", err)
			w.pause(ctx, retryAfter(failures))
		case more:
			failures = 0
		default:
			failures = 0
			select {
			case <-ctx.Done():
			case <-wake:
			}
		}
	}
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

// pause waits until it is time, or the service is known to answer, or ctx ends.
func (w *worker) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-w.retry:
	}
}

// step sends one transaction, if there is something to tell; more says that there may be
// another.
func (w *worker) step(ctx context.Context) (more bool, err error) {
	if !w.started {
		if err := w.load(ctx); err != nil {
			return false, err
		}
	}
	if len(w.queue.Events) == 0 {
		if w.queue.Done >= uint64(w.k.Changes.Published()) {
			return false, nil // woken for something that is only in memory
		}
		next, end, err := w.next(ctx)
		if err != nil {
			return false, err
		}
		if len(next.Events) == 0 {
			w.set(next)
			if next.Done-w.saved >= saveEvery {
				w.save()
			}
			return !end, nil
		}
		if err := w.k.DB.Update(ctx, func(tx *kv.WriteTx) error { return w.put(tx, next) }); err != nil {
			return false, err
		}
		w.saved = next.Done
		w.set(next)
	}
	if err := w.send(ctx); err != nil {
		return false, err
	}
	w.set(queueRow{Done: w.queue.Through})
	// A place that is lost is no harm: the same transaction is sent once more.
	w.save()
	return true, nil
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

// put writes how far the service was told, unless it was removed.
func (w *worker) put(tx *kv.WriteTx, q queueRow) error {
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
		if stored, _ := w.k.queues.Get(tx, w.service.ID); stored.Done > w.queue.Done {
			return nil // a worker that came later knows better
		}
		return w.put(tx, w.queue)
	})
}

// next is the next transaction; without events, how far there is nothing to tell. End says
// that this is the end of the log.
func (w *worker) next(ctx context.Context) (q queueRow, end bool, err error) {
	q, end = queueRow{Done: w.queue.Done}, true
	interest := interest{keeper: w.k, service: w.service, known: map[matrix.RoomID]bool{}}
	err = w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		n, last := 0, q.Done
		for pos, c := range w.k.Changes.Since(tx, changes.Position(q.Done)) {
			if n++; n > maxScan || len(q.Events) == maxEvents {
				end = false
				break
			}
			last = uint64(pos)
			if c.Kind != changes.Event {
				continue
			}
			if e, ok := w.k.Rooms.EventAt(tx, c.Room, pos); ok && interest.in(tx, e) {
				q.Events = append(q.Events, uint64(pos))
			}
		}
		if len(q.Events) == 0 {
			q.Done = last
		} else {
			q.Through = q.Events[len(q.Events)-1]
		}
		return nil
	})
	return q, end, err
}

// transaction is what a service gets (spec: application service API, PUT transactions).
type transaction struct {
	Events []matrix.ClientEvent `json:"events"`
}

// send sends the transaction that the queue holds. It returns nil once the service has
// taken it.
func (w *worker) send(ctx context.Context) error {
	body := transaction{Events: []matrix.ClientEvent{}}
	err := w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for _, pos := range w.queue.Events {
			for _, c := range w.k.Changes.Since(tx, changes.Position(pos-1)) {
				if e, ok := w.k.Rooms.EventAt(tx, c.Room, changes.Position(pos)); ok {
					body.Events = append(body.Events, w.k.Rooms.ClientEvent(tx, e, rooms.Viewer{User: w.service.Sender}))
				}
				break
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	id := strconv.FormatUint(w.queue.Through, 10)
	return w.k.call(ctx, w.service, http.MethodPut, raw, "/_matrix/app/v1/transactions/"+id, "/transactions/"+id)
}
