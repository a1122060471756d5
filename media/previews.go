package media

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/media/preview"
	"porchlight/media/thumb"
	"porchlight/server/matrix"
)

const (
	// previewFresh is how long what a page said is given out again without asking it.
	previewFresh = time.Hour
	// maxFetching is how many pages are fetched at once.
	maxFetching = 4
)

// Fetcher fetches pages and pictures; *preview.Fetcher is one.
type Fetcher interface {
	Fetch(ctx context.Context, url string) (preview.Page, error)
	Picture(ctx context.Context, url string) (body io.ReadCloser, contentType, name string, err error)
}

type previewRow struct {
	JSON    []byte `cbor:"1,keyasint"`
	Fetched int64  `cbor:"2,keyasint"` // ms
	Picture string `cbor:"3,keyasint,omitempty"`
	SHA256  []byte `cbor:"4,keyasint,omitempty"` // of the picture
}

// fetching is who fetches what just now.
type fetching struct {
	places chan struct{}

	mu  *sync.Mutex
	now map[[sha256.Size]byte]chan struct{} // closed when it is there
}

func newFetching() fetching {
	return fetching{make(chan struct{}, maxFetching), &sync.Mutex{}, map[[sha256.Size]byte]chan struct{}{}}
}

// begin is true for the first who wants a page; others wait and are told when it ended.
func (f *fetching) begin(ctx context.Context, key [sha256.Size]byte) (first bool, err error) {
	f.mu.Lock()
	over, busy := f.now[key]
	if !busy {
		f.now[key] = make(chan struct{})
	}
	f.mu.Unlock()
	if busy {
		select {
		case <-over:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	select {
	case f.places <- struct{}{}:
		return true, nil
	default:
		f.forget(key)
		return false, matrix.LimitExceeded(busyRetry)
	}
}

func (f *fetching) end(key [sha256.Size]byte) {
	<-f.places
	f.forget(key)
}

func (f *fetching) forget(key [sha256.Size]byte) {
	f.mu.Lock()
	close(f.now[key])
	delete(f.now, key)
	f.mu.Unlock()
}

// Preview says what a page says of itself, as JSON (spec: client-server API, GET
// media/preview_url). The errors are M_INVALID_PARAM for what is no web address,
// M_UNRECOGNIZED if previews are off, M_LIMIT_EXCEEDED if too many are wanted at once, and
// M_UNKNOWN (502) if the page cannot be fetched. Not to be called in a transaction.
func (k *Keeper) Preview(ctx context.Context, raw string) (json.RawMessage, error) {
	if k.Previews == nil {
		return nil, matrix.Unrecognized(http.StatusNotFound, "this house makes no previews")
	}
	u, err := preview.Parse(raw)
	if err != nil {
		return nil, matrix.InvalidParam(err.Error())
	}
	key := sha256.Sum256([]byte(u.String()))
	for range 2 {
		row, err := k.keptPreview(ctx, key)
		if err != nil || row.JSON != nil && k.Now().Sub(time.UnixMilli(row.Fetched)) < previewFresh {
			return row.JSON, err
		}
		first, err := k.fetching.begin(ctx, key)
		if err != nil {
			return nil, err
		}
		if first {
			defer k.fetching.end(key)
			return k.fetch(ctx, key, u.String(), row)
		}
	}
	return nil, unreachable() // for whoever was first, too
}

func unreachable() error {
	return matrix.Unknown(http.StatusBadGateway, "that page cannot be fetched")
}

func (k *Keeper) keptPreview(ctx context.Context, key [sha256.Size]byte) (row previewRow, err error) {
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		row, _ = k.previews.Get(tx, key)
		if row.Picture != "" {
			if _, err := k.Item(tx, k.Server, row.Picture); err != nil {
				row = previewRow{} // its picture was thrown away
			}
		}
		return nil
	})
	return row, err
}

func (k *Keeper) fetch(ctx context.Context, key [sha256.Size]byte, url string, before previewRow) (json.RawMessage, error) {
	timed, cancel := context.WithTimeout(ctx, preview.Timeout)
	defer cancel()
	page, err := k.Previews.Fetch(timed, url)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		// What failed is for the log only: it would tell a user about the house's network.
		k.Log.Debug("no preview", "error", err)
		if errors.Is(err, preview.ErrURL) {
			return nil, matrix.InvalidParam(preview.ErrURL.Error())
		}
		return nil, unreachable()
	}
	said := make(map[string]any, len(page.Properties)+5)
	for name, value := range page.Properties {
		said[name] = value
	}
	row := previewRow{Fetched: k.Now().UnixMilli()}
	if page.Picture != "" {
		if item, err := k.fetchPicture(timed, page.Picture, before, said); err == nil {
			row.Picture, row.SHA256 = item.ID, item.SHA256[:]
		} else if ctx.Err() == nil {
			k.Log.Debug("a preview goes without its picture", "error", err)
		}
	}
	if row.JSON, err = json.Marshal(said); err != nil {
		return nil, err
	}
	return row.JSON, k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		k.previews.Put(tx, key, row)
		return nil
	})
}

// fetchPicture stores a page's picture, once, and says what it is.
func (k *Keeper) fetchPicture(ctx context.Context, url string, before previewRow, said map[string]any) (Item, error) {
	body, contentType, name, err := k.Previews.Picture(ctx, url)
	if err != nil {
		return Item{}, err
	}
	defer body.Close()
	if len(name) > MaxNameBytes {
		name = ""
	}
	item := Item{Server: k.Server, ID: rand.Text(), Type: contentType, Name: name, Created: k.Now()}
	if item, err = k.store(ctx, item, body, nil); err != nil {
		return Item{}, err
	}
	info, err := thumb.Inspect(k.Open(item))
	if err != nil { // whatever it says, it is none
		return Item{}, errors.Join(err, k.Delete(ctx, item.Server, item.ID))
	}
	if before.Picture != "" && string(before.SHA256) == string(item.SHA256[:]) {
		// Still the same: clients need not fetch it anew.
		if err := k.Delete(ctx, item.Server, item.ID); err != nil {
			return Item{}, err
		}
		item.ID = before.Picture
	}
	said["og:image"], said["matrix:image:size"] = item.URI(), item.Size
	said["og:image:type"], said["og:image:width"], said["og:image:height"] = info.Type, info.Width, info.Height
	return item, nil
}
