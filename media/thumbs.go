package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"porchlight/kv"
	"porchlight/media/thumb"
	"porchlight/server/matrix"
)

const (
	// thumbTime is how long reading and decoding a picture may take.
	thumbTime = 20 * time.Second
	// maxDrawing is how many thumbnails are made at once: each may take thumb.MaxBytes.
	maxDrawing = 2
	// maxQueued is how many requests wait for their turn.
	maxQueued = 64
	// maxVariants is how many thumbnails of one picture are kept.
	maxVariants = 12
	// usedEvery is how exactly it is known when a thumbnail was used last.
	usedEvery = 24 * time.Hour
)

type thumbKey struct {
	Source  [sha256.Size]byte
	Variant string // as variant makes it
}

type thumbRow struct {
	Type   string `cbor:"1,keyasint"`
	SHA256 []byte `cbor:"2,keyasint"`
	Size   int64  `cbor:"3,keyasint"`
	Used   int64  `cbor:"4,keyasint"` // ms, to usedEvery
}

func variant(s thumb.Size) string {
	name := fmt.Sprintf("%dx%d", s.Width, s.Height)
	if s.Crop {
		name += " crop"
	}
	if s.Animated {
		name += " animated"
	}
	return name
}

// Picture is a thumbnail, or the picture itself where that is small enough.
type Picture struct {
	Type    string // content type, as the content is and not as somebody says
	SHA256  [sha256.Size]byte
	Content io.ReadSeeker
}

// drawing is the workshop where thumbnails are made.
type drawing struct {
	queue chan struct{} // one token for each who is in it
	desks chan struct{} // one for each who draws
}

func newDrawing() drawing {
	return drawing{make(chan struct{}, maxQueued), make(chan struct{}, max(1, min(maxDrawing, runtime.NumCPU()/2)))}
}

// enter waits for a place. The error is M_LIMIT_EXCEEDED if too many wait already.
func (d *drawing) enter(ctx context.Context) (leave func(), err error) {
	select {
	case d.queue <- struct{}{}:
	default:
		return nil, matrix.LimitExceeded(busyRetry)
	}
	select {
	case d.desks <- struct{}{}:
		return func() { <-d.desks; <-d.queue }, nil
	case <-ctx.Done():
		<-d.queue
		return nil, ctx.Err()
	}
}

// Thumbnail finds or makes a smaller picture of an item. It is of the smallest standard
// size that covers the wanted one, and kept. The errors are M_INVALID_PARAM for a size
// that makes no sense, M_UNKNOWN (400) for what is no picture, M_TOO_LARGE for one that
// is too large to decode, M_LIMIT_EXCEEDED if too many are wanted at once. Not to be called
// in a transaction.
func (k *Keeper) Thumbnail(ctx context.Context, i Item, want thumb.Size) (Picture, error) {
	if want.Width < 1 || want.Height < 1 {
		return Picture{}, matrix.InvalidParam("width and height have to be at least 1")
	}
	key := thumbKey{i.SHA256, variant(thumb.Standard(want))}
	if kept, ok, err := k.keptThumb(ctx, key); ok || err != nil {
		return kept, err
	}
	leave, err := k.drawing.enter(ctx)
	if err != nil {
		return Picture{}, err
	}
	defer leave()
	if kept, ok, err := k.keptThumb(ctx, key); ok || err != nil { // somebody was faster
		return kept, err
	}
	timed, cancel := context.WithTimeout(ctx, thumbTime)
	defer cancel()
	source := &timedReader{ctx: timed, ReadSeeker: k.Open(i)}
	small, kind, err := thumb.Make(source, thumb.Standard(want))
	switch {
	case isDamage(source.err):
		return Picture{}, source.err
	case err == nil:
		sum := sha256.Sum256(small)
		if err := k.keepThumb(ctx, key, kind, small, sum); err != nil {
			k.Log.Warn("a thumbnail could not be kept", "error", err)
		}
		return Picture{kind, sum, bytes.NewReader(small)}, nil
	case errors.Is(err, thumb.ErrSmallEnough):
		return Picture{kind, i.SHA256, k.Open(i)}, nil
	case errors.Is(err, thumb.ErrTooLarge), timed.Err() != nil && ctx.Err() == nil:
		return Picture{}, matrix.TooLarge(thumb.ErrTooLarge.Error())
	case errors.Is(err, thumb.ErrNoPicture):
		return Picture{}, matrix.Unknown(http.StatusBadRequest, err.Error())
	case ctx.Err() != nil:
		return Picture{}, ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF): // deleted meanwhile
		return Picture{}, noSuchMedia()
	}
	return Picture{}, fmt.Errorf("thumbnail of %s: %w", i.URI(), err)
}

// timedReader fails once its context is over, and with it whoever decodes.
type timedReader struct {
	ctx context.Context
	io.ReadSeeker
	err error // of the content, whatever whoever decodes makes of it
}

// Read reads on.
func (r *timedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.ReadSeeker.Read(p)
	if err != nil {
		r.err = err
	}
	return n, err
}

func (k *Keeper) keptThumb(ctx context.Context, key thumbKey) (p Picture, ok bool, err error) {
	now := k.Now()
	var row thumbRow
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		if row, ok = k.thumbs.Get(tx, key); !ok {
			return nil
		}
		var blob blobRow
		p.Type, p.SHA256 = row.Type, [sha256.Size]byte(row.SHA256)
		if blob, ok = k.refs.Get(tx, p.SHA256); ok {
			p.Content = &blobReader{blobs: k.blobs, place: blob.place(), size: blob.Size, sum: p.SHA256}
		}
		return nil
	})
	if err == nil && ok {
		if content := p.Content.(*blobReader); isDamage(k.blobs.prove(ctx, content.place, content.size, content.sum)) {
			return Picture{}, false, nil // it is made again
		}
	}
	if err != nil || !ok || now.Sub(time.UnixMilli(row.Used)) < usedEvery {
		return p, ok, err
	}
	k.DB.Defer("thumbnail used "+string(key.Source[:])+key.Variant, func(tx *kv.WriteTx) error {
		if row, ok := k.thumbs.Get(tx, key); ok {
			row.Used = now.UnixMilli()
			k.thumbs.Put(tx, key, row)
		}
		return nil
	})
	return p, true, nil
}

// keepThumb stores a thumbnail, if there are not too many of its picture.
func (k *Keeper) keepThumb(ctx context.Context, key thumbKey, kind string, small []byte, sum [sha256.Size]byte) error {
	if err := k.spare(ctx); err != nil {
		return nil // it is made again next time
	}
	s, err := k.keep(ctx, "", bytes.NewReader(small))
	if err != nil {
		return err
	}
	var used blobID
	err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		used = 0
		variants := 0
		for range k.thumbs.Scan(tx, kv.Prefix(key.Source)) {
			variants++
		}
		there := k.thumbs.Has(tx, key)
		if variants >= maxVariants && !there || !k.refs.Has(tx, key.Source) || there && s.instead.id == 0 {
			return nil
		}
		blob, err := k.hold(tx, s)
		if err != nil {
			return err
		}
		used = blob.Blob
		if there { // its damaged content was replaced, and is used no more often
			blob.Refs--
			k.refs.Put(tx, s.sum, blob)
			return nil
		}
		k.use(tx, thumbnailsUse, s.size, 1)
		k.thumbs.Put(tx, key, thumbRow{kind, sum[:], s.size, k.Now().UnixMilli()})
		return nil
	})
	return k.settle(s, used, err)
}

// removeThumb deletes a thumbnail's row and says which contents are of no use any more.
func (k *Keeper) removeThumb(tx *kv.WriteTx, key thumbKey, row thumbRow) (unused []place) {
	k.thumbs.Delete(tx, key)
	k.use(tx, thumbnailsUse, -row.Size, -1)
	if len(row.SHA256) != sha256.Size {
		return nil
	}
	return k.release(tx, [sha256.Size]byte(row.SHA256))
}
