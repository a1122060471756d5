package media

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"porchlight/kv"
)

// maxProven bounds how many contents are remembered to be what they should be.
const maxProven = 4096

var errHash = errors.New("the content is not what was uploaded: its hash is another")

// prove reads a content in all. The error is a *kv.DamagedError, or io.ErrUnexpectedEOF, if
// it is not what was uploaded.
func (b *blobs) prove(ctx context.Context, p place, size int64, sum [sha256.Size]byte) error {
	hash := sha256.New()
	n, err := io.Copy(cancelled{ctx, hash}, &blobReader{blobs: b, place: p, size: size})
	if err != nil {
		return err
	}
	if n != size || [sha256.Size]byte(hash.Sum(nil)) != sum {
		return &kv.DamagedError{File: b.path(p.volumeOf(0)), Offset: -1, Key: fmt.Sprintf("content %d", p.id), Err: errHash}
	}
	return nil
}

// proveOld proves a content whose chunks have no checksums, once.
func (b *blobs) proveOld(r *blobReader) error {
	if r.place.sealed || r.sum == [sha256.Size]byte{} {
		return nil
	}
	b.provenMu.Lock()
	proven := b.proven[r.place.id]
	b.provenMu.Unlock()
	if proven {
		return nil
	}
	if err := b.prove(context.Background(), r.place, r.size, r.sum); err != nil {
		return err
	}
	b.provenMu.Lock()
	defer b.provenMu.Unlock()
	if b.proven == nil || len(b.proven) >= maxProven {
		b.proven = map[blobID]bool{}
	}
	b.proven[r.place.id] = true
	return nil
}

// spoiled finds the content of an upload that is there already and cannot be read as what
// was uploaded: the new copy takes its place. The place is zero if there is none.
func (k *Keeper) spoiled(ctx context.Context, sum [sha256.Size]byte) (place, error) {
	var row blobRow
	known := false
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		row, known = k.refs.Get(tx, sum)
		return nil
	})
	if err != nil || !known {
		return place{}, err
	}
	switch err := k.blobs.prove(ctx, row.place(), row.Size, sum); {
	case err == nil:
		return place{}, nil
	case isDamage(err), errors.Is(err, io.ErrUnexpectedEOF):
		k.Log.Warn("a damaged content is replaced by an upload of the same", "error", err)
		return row.place(), nil
	default:
		return place{}, err
	}
}

// content is a row with a content and an item that has it.
type content struct {
	sum  [sha256.Size]byte
	row  blobRow
	name string
}

// checkFiles reads all files of contents, and holds each content to its hash.
func (k *Keeper) checkFiles(ctx context.Context, report func(string, ...any)) (err error) {
	if k.blobs.isClosed() {
		return nil
	}
	release := k.Hold()
	defer func() { err = errors.Join(err, release()) }()
	var all []content
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		names := map[[sha256.Size]byte]string{}
		for key, row := range k.items.Scan(tx, kv.All()) {
			if len(row.SHA256) == sha256.Size {
				names[[sha256.Size]byte(row.SHA256)] = "mxc://" + string(key.Server) + "/" + key.ID
			}
		}
		for sum, row := range k.refs.Scan(tx, kv.All()) {
			all = append(all, content{sum, row, names[sum]})
		}
		return nil
	})
	if isDamage(err) {
		report("which contents there should be is not known: %v", err)
		err = nil
	}
	if err != nil {
		return err
	}
	for _, n := range k.blobs.numbers() {
		err := k.blobs.with(n, func(f *volume) error {
			return kv.CheckFile(ctx, f.bolt, k.blobs.path(n), nil, func(d *kv.DamagedError) { report("%v", d) })
		})
		if err := k.passOver(ctx, err, report); err != nil {
			return err
		}
	}
	for _, c := range all {
		if c.name == "" {
			c.name = fmt.Sprintf("%x… (a thumbnail or preview)", c.sum[:4])
		}
		err := k.blobs.prove(ctx, c.row.place(), c.row.Size, c.sum)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("a part of it is missing")
		}
		if err != nil {
			err = fmt.Errorf("content of %s: %w", c.name, err)
		}
		if err := k.passOver(ctx, err, report); err != nil {
			return err
		}
	}
	return nil
}

// passOver reports an error and returns only that of ctx.
func (k *Keeper) passOver(ctx context.Context, err error, report func(string, ...any)) error {
	if err != nil && ctx.Err() == nil && !errors.Is(err, errNoVolume) {
		report("%v", err)
	}
	return ctx.Err()
}

// checkVolume is a file's first look before a backup copies it.
func (b *blobs) checkVolume(ctx context.Context, f *volume) error {
	var first error
	err := kv.CheckFile(ctx, f.bolt, b.path(f.n), nil, func(d *kv.DamagedError) {
		if first == nil {
			first = d
		}
	})
	return errors.Join(err, first)
}
