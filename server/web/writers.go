package web

import (
	"context"
	"sync"
)

// writesPerClient is how many writes of one client may wait for their commit at once. The
// writer takes all in the order in which they come: without a bound, whoever sends on a
// hundred connections would put as many before everybody else's, and before the board's own.
const writesPerClient = 16

// writers lets each client queue a few writes at a time; the others wait their turn here.
type writers struct {
	mu sync.Mutex
	by map[string]*turns
}

type turns struct {
	free chan struct{} // holds one for each write that may be queued now
	here int           // who has a turn or waits for one
}

// enter waits for a turn. The caller gives it back with leave, unless there is an error.
func (w *writers) enter(ctx context.Context, who string) error {
	w.mu.Lock()
	t := w.by[who]
	if t == nil {
		t = &turns{free: make(chan struct{}, writesPerClient)}
		for range writesPerClient {
			t.free <- struct{}{}
		}
		w.by[who] = t
	}
	t.here++
	w.mu.Unlock()
	select {
	case <-t.free:
		return nil
	case <-ctx.Done():
		w.forget(who, t)
		return ctx.Err()
	}
}

func (w *writers) leave(who string) {
	w.mu.Lock()
	t := w.by[who]
	w.mu.Unlock()
	t.free <- struct{}{}
	w.forget(who, t)
}

func (w *writers) forget(who string, t *turns) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.here--; t.here == 0 {
		delete(w.by, who)
	}
}
