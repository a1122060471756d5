package media

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// PendingLife is how long a media ID waits for its content (spec: MSC2246).
	PendingLife = 24 * time.Hour
	// MaxPending is how many media IDs without content a user may have.
	MaxPending = 50
	// DefaultWait is how long a download waits for content that is on its way.
	DefaultWait = 20 * time.Second
	// MaxWait is how long it waits at most, whatever the client says.
	MaxWait = time.Minute
	// maxWaiting is how many downloads wait at once. When there is one more, the one
	// that has waited longest is answered.
	maxWaiting = 64
)

type pendingKey struct {
	User matrix.UserID
	ID   string
}

type pendingRow struct {
	Expires int64 `cbor:"1,keyasint"` // ms
}

func notYetUploaded() error {
	return matrix.Refusal(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "this content has not been uploaded yet")
}

// Create makes an item whose content is to be uploaded later with UploadTo. The error is
// M_LIMIT_EXCEEDED for more than MaxPending of a user (spec: MSC2246).
func (k *Keeper) Create(tx *kv.WriteTx, user matrix.UserID) (Item, error) {
	now := k.Now()
	waiting, first := 0, now.Add(PendingLife)
	for key, row := range k.pendings.Scan(tx, kv.Prefix(user)) {
		expires := time.UnixMilli(row.Expires)
		if !expires.After(now) {
			k.expire(tx, key)
			continue
		}
		waiting++
		if expires.Before(first) {
			first = expires
		}
	}
	if waiting >= MaxPending {
		return Item{}, matrix.LimitExceeded(first.Sub(now))
	}
	item := Item{Server: k.Server, ID: rand.Text(), Uploader: user, Created: now, Pending: true, Expires: now.Add(PendingLife).Truncate(time.Millisecond)}
	k.items.Put(tx, itemKey{item.Server, item.ID}, itemRow{Uploader: user, Created: now.UnixMilli(), Expires: item.Expires.UnixMilli()})
	k.pendings.Put(tx, pendingKey{user, item.ID}, pendingRow{item.Expires.UnixMilli()})
	return item, nil
}

func (k *Keeper) expire(tx *kv.WriteTx, key pendingKey) {
	k.pendings.Delete(tx, key)
	k.items.Delete(tx, itemKey{k.Server, key.ID})
}

// UploadTo is Upload to an item of Create's. The errors are M_NOT_FOUND for what is no
// such item, or not any more, M_FORBIDDEN if another user made it,
// M_CANNOT_OVERWRITE_MEDIA if it has its content, and Upload's (spec: MSC2246). An upload
// that began in time may end later.
func (k *Keeper) UploadTo(ctx context.Context, server matrix.ServerName, id string, uploader matrix.UserID, contentType, name string, body io.Reader) (Item, error) {
	var item Item
	err := k.DB.View(ctx, func(tx *kv.ReadTx) (err error) {
		item, err = k.vacant(tx, server, id, uploader)
		if err == nil && !item.Expires.After(k.Now()) {
			err = noSuchMedia()
		}
		return err
	})
	if err != nil {
		return Item{}, err
	}
	item.Type, item.Name, item.Pending, item.Open, item.Created = contentType, name, false, k.Config.Open, k.Now()
	item, err = k.store(ctx, item, body, func(tx *kv.WriteTx, item *Item) error {
		if _, err := k.vacant(tx, server, id, uploader); err != nil {
			return err
		}
		k.pendings.Delete(tx, pendingKey{uploader, id})
		return nil
	})
	if err != nil {
		return Item{}, err
	}
	k.waiting.wake(itemKey{server, id})
	return item, nil
}

// vacant finds an item that this user may upload to.
func (k *Keeper) vacant(r kv.Reader, server matrix.ServerName, id string, uploader matrix.UserID) (Item, error) {
	item, ok := k.lookUp(r, server, id)
	switch {
	case !ok || server != k.Server:
		return Item{}, noSuchMedia()
	case item.Uploader != uploader:
		return Item{}, matrix.Forbidden("somebody else made this media ID")
	case !item.Pending:
		return Item{}, matrix.Refusal(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "this media has its content already")
	}
	return item, nil
}

// Await is Item, but waits up to wait, which may not be more than MaxWait, for content
// that is on its way (spec: MSC2246). Not to be called in a transaction.
func (k *Keeper) Await(ctx context.Context, server matrix.ServerName, id string, wait time.Duration) (Item, error) {
	find := func() (item Item, err error) {
		err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
			item, err = k.Item(tx, server, id)
			return err
		})
		return item, err
	}
	item, err := find()
	wait = min(wait, MaxWait, item.Expires.Sub(k.Now()))
	if !matrix.IsCode(err, "M_NOT_YET_UPLOADED") || wait <= 0 {
		return item, err
	}
	w := k.waiting.join(itemKey{server, id})
	defer k.waiting.leave(w)
	if item, err = find(); !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
		return item, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return Item{}, ctx.Err()
	case <-w.over:
	case <-k.Closing:
	case <-timer.C:
	}
	return find()
}

// waiters are the downloads that wait for contents, those that came first in front.
type waiters struct {
	mu  sync.Mutex
	all []*waiter
}

type waiter struct {
	key  itemKey
	over chan struct{} // closed when it has to look again, and answer
}

func (w *waiters) join(key itemKey) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) >= maxWaiting {
		close(w.all[0].over)
		w.all = slices.Delete(w.all, 0, 1)
	}
	one := &waiter{key, make(chan struct{})}
	w.all = append(w.all, one)
	return one
}

func (w *waiters) leave(one *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = slices.DeleteFunc(w.all, func(o *waiter) bool { return o == one })
}

func (w *waiters) wake(key itemKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = slices.DeleteFunc(w.all, func(o *waiter) bool {
		if o.key == key {
			close(o.over)
		}
		return o.key == key
	})
}
