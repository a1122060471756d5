package media

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"porchlight/kv"
)

const (
	// sweepEvery is how often what is too old or too much is thrown away.
	sweepEvery = time.Hour
	// sweepRows is how many rows go in one transaction.
	sweepRows = 100
)

// Retention says what is thrown away when. What people upload stays until they or the
// owner delete it: this is for what can be made or fetched again.
type Retention struct {
	ThumbnailAge   time.Duration // since it was last used; 0: 90 days
	ThumbnailBytes int64         // of all thumbnails; 0: 256 MiB
	PreviewAge     time.Duration // since it was fetched; 0: 7 days
	PreviewBytes   int64         // of all previews' pictures; 0: 128 MiB
}

func (r *Retention) fill() {
	r.ThumbnailAge = cmp.Or(r.ThumbnailAge, 90*24*time.Hour)
	r.ThumbnailBytes = cmp.Or(r.ThumbnailBytes, 256<<20)
	r.PreviewAge = cmp.Or(r.PreviewAge, 7*24*time.Hour)
	r.PreviewBytes = cmp.Or(r.PreviewBytes, 128<<20)
}

// Run throws away what is too old or too much, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTicker(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := k.Sweep(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("old media could not be thrown away, will try again", "error", err)
		}
	}
}

// Sweep throws away media IDs that were never used, and thumbnails and previews that are
// too old or too much.
func (k *Keeper) Sweep(ctx context.Context) error {
	now := k.Now()
	for _, step := range []func(context.Context, time.Time) error{k.sweepPending, k.sweepThumbs, k.sweepPreviews, k.sweepPictures} {
		if err := step(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// inBatches runs fn on some of the rows in each of several transactions, and removes the
// contents that it returns.
func inBatches[K any](ctx context.Context, k *Keeper, rows []K, fn func(tx *kv.WriteTx, row K) []place) error {
	for batch := range slices.Chunk(rows, sweepRows) {
		var unused []place
		err := k.DB.Update(ctx, func(tx *kv.WriteTx) error {
			unused = nil
			for _, row := range batch {
				unused = append(unused, fn(tx, row)...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := k.discard(unused...); err != nil {
			return fmt.Errorf("remove contents: %w", err)
		}
	}
	return nil
}

func (k *Keeper) sweepPending(ctx context.Context, now time.Time) error {
	var late []pendingKey
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for key, row := range k.pendings.Scan(tx, kv.All()) {
			if row.Expires <= now.UnixMilli() {
				late = append(late, key)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return inBatches(ctx, k, late, func(tx *kv.WriteTx, key pendingKey) []place {
		if k.pendings.Has(tx, key) {
			k.expire(tx, key)
		}
		return nil
	})
}

// aged is something with a size and a time.
type aged[K any] struct {
	key  K
	time int64 // ms
	size int64
}

// tooMuch picks those from before a time, and the oldest of the others until no more than
// so many bytes are left.
func tooMuch[K any](all []aged[K], before time.Time, bytes int64) (gone []K) {
	slices.SortFunc(all, func(a, b aged[K]) int { return cmp.Compare(b.time, a.time) })
	for _, a := range all {
		if bytes -= a.size; bytes < 0 || a.time < before.UnixMilli() {
			gone = append(gone, a.key)
		}
	}
	return gone
}

func (k *Keeper) sweepThumbs(ctx context.Context, now time.Time) error {
	var all []aged[thumbKey]
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for key, row := range k.thumbs.Scan(tx, kv.All()) {
			all = append(all, aged[thumbKey]{key, row.Used, row.Size})
		}
		return nil
	})
	if err != nil {
		return err
	}
	gone := tooMuch(all, now.Add(-k.Retention.ThumbnailAge), k.Retention.ThumbnailBytes)
	return inBatches(ctx, k, gone, func(tx *kv.WriteTx, key thumbKey) []place {
		row, ok := k.thumbs.Get(tx, key)
		if !ok {
			return nil
		}
		return k.removeThumb(tx, key, row)
	})
}

// sweepPreviews deletes what pages said.
func (k *Keeper) sweepPreviews(ctx context.Context, now time.Time) error {
	var old [][32]byte
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for key, row := range k.previews.Scan(tx, kv.All()) {
			if row.Fetched < now.Add(-k.Retention.PreviewAge).UnixMilli() {
				old = append(old, key)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return inBatches(ctx, k, old, func(tx *kv.WriteTx, key [32]byte) []place {
		k.previews.Delete(tx, key)
		return nil
	})
}

// sweepPictures deletes previews' pictures.
func (k *Keeper) sweepPictures(ctx context.Context, now time.Time) error {
	var all []aged[itemKey]
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for key, row := range k.items.Scan(tx, kv.All()) {
			if row.Uploader == "" {
				all = append(all, aged[itemKey]{key, row.Created, row.Size})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	gone := tooMuch(all, now.Add(-k.Retention.PreviewAge), k.Retention.PreviewBytes)
	return inBatches(ctx, k, gone, func(tx *kv.WriteTx, key itemKey) []place {
		item, ok := k.lookUp(tx, key.Server, key.ID)
		if !ok {
			return nil
		}
		return k.remove(tx, item)
	})
}
