package appservice

import (
	"context"
	"sync"
)

// queries are the questions that application services are being asked.
type queries struct {
	mu    sync.Mutex
	asked map[string]*underWay // by name
}

// underWay is one question. Its answer may be read when done is closed.
type underWay struct {
	done chan struct{}
	yes  bool
	err  error
}

// once asks, or waits for who asks the same already. Whoever asks first does so to the end, also
// if their client goes: the answer is for all.
func (q *queries) once(ctx context.Context, name string, ask func(context.Context) (bool, error)) (bool, error) {
	q.mu.Lock()
	one := q.asked[name]
	first := one == nil
	if first {
		one = &underWay{done: make(chan struct{})}
		if q.asked == nil {
			q.asked = map[string]*underWay{}
		}
		q.asked[name] = one
	}
	q.mu.Unlock()
	if first {
		defer func() {
			q.mu.Lock()
			delete(q.asked, name)
			q.mu.Unlock()
			close(one.done)
		}()
		one.yes, one.err = ask(context.WithoutCancel(ctx))
		return one.yes, one.err
	}
	select {
	case <-one.done:
		return one.yes, one.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
