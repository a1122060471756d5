package media

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"

	"go.etcd.io/bbolt"

	"porchlight/kv"
)

// Repair removes contents that no row leads to, as a crash in the middle of an upload
// leaves them, and says how many. Uploads may go on meanwhile.
func (k *Keeper) Repair(ctx context.Context) (removed int, err error) {
	// In this order: what is not uploading any more has its row by the time of the View.
	all, err := k.blobs.sizes(ctx)
	if err != nil {
		return 0, err
	}
	k.mu.Lock()
	uploading := maps.Clone(k.uploading)
	k.mu.Unlock()
	used := map[piece]bool{}
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for _, row := range k.refs.Scan(tx, kv.All()) {
			for _, p := range row.pieces() {
				used[p] = true
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	gone := map[blobID]bool{}
	for p := range all {
		if _, busy := uploading[p.id]; busy || used[p] {
			continue
		}
		if err := k.blobs.removeFrom(ctx, p.volume, p.id); err != nil && !errors.Is(err, errNoVolume) {
			return removed, err
		}
		if !gone[p.id] {
			gone[p.id] = true
			removed++
		}
	}
	for _, n := range k.blobs.numbers() {
		if err := k.blobs.drop(n); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (r blobRow) pieces() []piece {
	if len(r.Parts) == 0 {
		return []piece{{oldVolume, r.Blob}}
	}
	var all []piece
	for _, p := range r.Parts {
		all = append(all, piece{p.Volume, r.Blob})
	}
	return all
}

// Hold keeps all contents that there are from being removed until release is called, so
// that a backup that begins with the house's rows finds the contents of all of them.
func (k *Keeper) Hold() (release func() error) {
	k.mu.Lock()
	k.held++
	k.mu.Unlock()
	return func() error {
		k.mu.Lock()
		k.held--
		var due []place
		if k.held == 0 {
			due, k.postponed = k.postponed, nil
		}
		k.mu.Unlock()
		return k.discard(due...)
	}
}

// Backup gives each file of contents, as of the time it is that one's turn, to add: its
// name, its size in bytes, and what writes it. Hold has to be in force since before the
// house's own backup.
func (k *Keeper) Backup(ctx context.Context, add func(name string, size int64, write func(io.Writer) error) error) error {
	for _, n := range k.blobs.numbers() {
		err := k.blobs.with(n, func(f *volume) error {
			if err := k.blobs.checkVolume(ctx, f); err != nil {
				return err
			}
			return f.bolt.View(func(tx *bbolt.Tx) error {
				return add(volumeName(n), tx.Size(), func(w io.Writer) error {
					_, err := tx.WriteTo(cancelled{ctx, w})
					return err
				})
			})
		})
		if err != nil && !errors.Is(err, errNoVolume) {
			return errors.Join(ctx.Err(), err) // bbolt does not pass it on
		}
	}
	return nil
}

// cancelled stops writing when its context ends.
type cancelled struct {
	ctx context.Context
	w   io.Writer
}

// Write writes on.
func (c cancelled) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// Bytes is what the files of contents take on disk.
func (k *Keeper) Bytes() (int64, error) { return k.blobs.bytes() }

// check holds the rows to the invariants of this package.
func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	refs := map[[sha256.Size]byte]uint64{}
	usage := map[string]usageRow{everybody: {}}
	count := func(who string, size int64, raw []byte, what string) {
		row := usage[who]
		usage[who] = usageRow{row.Bytes + size, row.Items + 1}
		if len(raw) != sha256.Size {
			report("%s has no hash", what)
			return
		}
		sum := [sha256.Size]byte(raw)
		refs[sum]++
		if blob, ok := k.refs.Get(r, sum); !ok || blob.Size != size {
			report("%s of %d bytes leads to %+v", what, size, blob)
		}
	}
	for key, row := range k.items.Scan(r, kv.All()) {
		what := "item " + string(key.Server) + "/" + key.ID
		if len(row.SHA256) == 0 && row.Expires != 0 {
			if p, ok := k.pendings.Get(r, pendingKey{row.Uploader, key.ID}); !ok || p.Expires != row.Expires {
				report("%s waits for its content, but %s is not known to wait", what, row.Uploader)
			}
			continue
		}
		who := string(row.Uploader)
		if who == "" {
			who = previewsUse
		} else {
			all := usage[everybody]
			usage[everybody] = usageRow{all.Bytes + row.Size, all.Items + 1}
		}
		count(who, row.Size, row.SHA256, what)
	}
	for key, row := range k.thumbs.Scan(r, kv.All()) {
		count(thumbnailsUse, row.Size, row.SHA256, "thumbnail "+key.Variant)
		if !k.refs.Has(r, key.Source) {
			report("a thumbnail %s is of nothing", key.Variant)
		}
	}
	k.checkBlobs(r, refs, report)
	for who, row := range k.usages.Scan(r, kv.All()) {
		if usage[who] != row {
			report("usage of %q is %+v and should be %+v", who, row, usage[who])
		}
		delete(usage, who)
	}
	for who, row := range usage {
		if row != (usageRow{}) {
			report("usage of %q is not counted, and should be %+v", who, row)
		}
	}
	for key, row := range k.pendings.Scan(r, kv.All()) {
		if item, ok := k.items.Get(r, itemKey{k.Server, key.ID}); !ok || item.Expires != row.Expires || len(item.SHA256) > 0 {
			report("%s of %s waits, but is no item that does", key.ID, key.User)
		}
	}
}

func (k *Keeper) checkBlobs(r kv.Reader, refs map[[sha256.Size]byte]uint64, report func(string, ...any)) {
	for sum, row := range k.refs.Scan(r, kv.All()) {
		if refs[sum] != row.Refs {
			report("content %x is used %d times and has a count of %d", sum[:4], refs[sum], row.Refs)
		}
	}
}
