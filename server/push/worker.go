package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

const (
	// gatewayTimeout is how long a gateway may take for one notification.
	gatewayTimeout = 30 * time.Second
	// maxGatewayAnswer is how much of a gateway's answer is read, in bytes.
	maxGatewayAnswer = 64 << 10
	// firstRetry and maxRetry bound how long a pusher waits after a failure.
	firstRetry = time.Second
	maxRetry   = 10 * time.Minute
	// maxAge is how old an event may be to be told; after that, nobody wants to be woken
	// for it.
	maxAge = 24 * time.Hour
)

// run sends until ctx ends.
func (w *worker) run(ctx context.Context) {
	failures := 0
	for {
		more, err := w.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			w.k.Log.Info("push gateway failed", "user", w.key.User, "app", w.key.AppID, "failures", failures, "error", err)
			if !sleep(ctx, retryAfter(failures)) {
				return
			}
			continue
		case more:
			failures = 0
			continue
		}
		var over <-chan time.Time
		if w.rest > 0 {
			over = time.After(w.rest)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-over:
		}
	}
}

// retryAfter is how long to wait after so many failures in a row: twice as long each time,
// up to a bound, with jitter so that not everybody comes back at once.
func retryAfter(failures int) time.Duration {
	wait := maxRetry
	if failures < 20 {
		wait = min(maxRetry, firstRetry<<(failures-1))
	}
	return wait/2 + rand.N(wait/2+1)
}

// sleep waits; false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// step sends one notification, if there is one; more says that there may be another.
func (w *worker) step(ctx context.Context) (more bool, err error) {
	s := &w.k.sender
	s.mu.Lock()
	row, pending, recount := w.row, w.pending, w.recount
	w.recount = false
	s.mu.Unlock()
	w.rest = 0
	if row.Kind == Email {
		return w.mail(ctx, &row, pending)
	}
	if pending == 0 {
		if !recount {
			return false, nil
		}
		if err := w.sendBadge(ctx, &row); err != nil {
			w.again()
			return false, err
		}
		return true, nil
	}
	var p *payload
	var at, last changes.Position
	err = w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		at, p, last = w.next(tx, &row, pending)
		return nil
	})
	if err != nil {
		return false, err
	}
	if p == nil {
		if recount {
			w.again()
		}
		return w.done(last), nil
	}
	if w.rest = w.hold(at, p.sent); w.rest > 0 {
		if recount {
			w.again() // the counts go along later
		}
		return false, nil
	}
	if err := w.k.tell(ctx, w.key, &row, p); err != nil {
		w.postpone(at)
		return false, err
	}
	if unread := p.Notification.Counts.Unread; unread != nil {
		w.told(*unread)
	}
	w.postpone(at + 1)
	return true, nil
}

// next is the first event from a position on that the pusher has to be told; if there is
// none, payload is nil and last how far was looked.
func (w *worker) next(r kv.Reader, row *pusherRow, from changes.Position) (at changes.Position, p *payload, last changes.Position) {
	oldest := w.k.Now().Add(-maxAge).UnixMilli()
	locked := w.k.isLocked(r, w.key.User)
	for pos, c := range w.k.Changes.Since(r, from-1) {
		last = pos
		if locked || c.Kind != changes.Event {
			continue
		}
		p, ok := w.k.payload(r, w.key, row, c.Room, pos)
		if !ok {
			continue
		}
		if e, ok := w.k.Rooms.EventAt(r, c.Room, pos); ok && e.TS >= oldest {
			return pos, p, pos
		}
	}
	return 0, nil, last
}

// isLocked says whether a user may do nothing, and so is told nothing either: whoever reads
// what pushers are told need not be the user.
func (k *Keeper) isLocked(r kv.Reader, user matrix.UserID) bool {
	row, _ := k.Accounts.User(r, user)
	return row.Locked
}

// again notes that the counts have to be told once more.
func (w *worker) again() {
	w.k.sender.mu.Lock()
	defer w.k.sender.mu.Unlock()
	w.recount = true
}

// postpone notes from where on events have still to be told.
func (w *worker) postpone(from changes.Position) {
	w.k.sender.mu.Lock()
	defer w.k.sender.mu.Unlock()
	w.pending = from
	if from > w.offered {
		w.pending = 0
	}
}

// done notes that there is nothing to tell up to a position; more says that something was
// offered behind it.
func (w *worker) done(last changes.Position) (more bool) {
	w.k.sender.mu.Lock()
	defer w.k.sender.mu.Unlock()
	if w.offered > last && last > 0 { // 0: the log is an older copy and ends before
		w.pending = last + 1
		return true
	}
	w.pending = 0
	return w.recount
}

func (w *worker) sendBadge(ctx context.Context, row *pusherRow) error {
	var p *payload
	var unread int
	var locked bool
	err := w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		locked = w.k.isLocked(tx, w.key.User)
		p, unread = w.k.badge(tx, w.key, row)
		return nil
	})
	if err != nil || locked || unread == w.lastTold() {
		return err
	}
	if err := w.k.tell(ctx, w.key, row, p); err != nil {
		return err
	}
	w.told(unread)
	return nil
}

// told notes the count that the gateway was told.
func (w *worker) told(unread int) {
	w.k.sender.mu.Lock()
	defer w.k.sender.mu.Unlock()
	w.badge = unread
}

// lastTold is the count that the gateway was told last; -1 if none since the start.
func (w *worker) lastTold() int {
	w.k.sender.mu.Lock()
	defer w.k.sender.mu.Unlock()
	return w.badge
}

// tell sends one notification to a gateway, or to a browser. If the gateway rejects the
// pusher's key, the pusher is deleted.
func (k *Keeper) tell(ctx context.Context, key pusherKey, row *pusherRow, p *payload) error {
	data, err := matrix.ParseObject(row.Data)
	if err != nil {
		return err
	}
	if s, err := k.subscription(key.Pushkey, data); err != nil || s != nil {
		if err != nil {
			return err
		}
		return k.tellBrowser(ctx, key, row, s, p)
	}
	address, _ := data.Text("url")
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, gatewayTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ask, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	status, answer, err := k.ask(req, true)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d", status)
	}
	rejected, err := rejectedKeys(answer)
	if err != nil {
		return err
	}
	if !slices.Contains(rejected, key.Pushkey) {
		return nil
	}
	k.Log.Info("push gateway rejected a key", "user", key.User, "app", key.AppID)
	return k.forgetPusher(ctx, key, row)
}

// ask sends a request, and reads the answer if wanted. It goes nowhere else than where it is
// sent: a gateway cannot lead the house on to another address.
func (k *Keeper) ask(req *http.Request, wanted bool) (status int, answer []byte, err error) {
	req.Header.Set("User-Agent", "Porchlight")
	client := *k.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	// What a gateway says after its answer is of no interest.
	defer func() { _ = res.Body.Close() }()
	if !wanted || res.StatusCode != http.StatusOK {
		return res.StatusCode, nil, nil
	}
	if answer, err = io.ReadAll(io.LimitReader(res.Body, maxGatewayAnswer+1)); err != nil {
		return 0, nil, err
	}
	if len(answer) > maxGatewayAnswer {
		return 0, nil, errors.New("the answer is too long")
	}
	return res.StatusCode, answer, nil
}

// forgetPusher deletes a pusher, unless it was set anew meanwhile.
func (k *Keeper) forgetPusher(ctx context.Context, key pusherKey, row *pusherRow) error {
	return k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		if now, ok := k.pushers.Get(tx, key); ok && now.Set == row.Set {
			k.deletePusher(tx, key)
		}
		return nil
	})
}

// rejectedKeys reads a gateway's answer.
func rejectedKeys(answer []byte) ([]string, error) {
	o, err := matrix.ParseObject(answer)
	if err != nil {
		return nil, errors.New("the answer is no JSON object")
	}
	if !o.Has("rejected") {
		return nil, nil
	}
	var keys []string
	if err := json.Unmarshal(o["rejected"], &keys); err != nil {
		return nil, fmt.Errorf("the rejected keys: %w", err)
	}
	return keys, nil
}
