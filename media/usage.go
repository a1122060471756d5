package media

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"syscall"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// The names under which usage is kept besides those of users.
const (
	everybody     = ""            // all users together
	thumbnailsUse = "*thumbnails" // what the house drew
	previewsUse   = "*previews"   // what the house fetched
)

type usageRow struct {
	Bytes int64 `cbor:"1,keyasint,omitempty"`
	Items int64 `cbor:"2,keyasint,omitempty"`
}

// Usage is how much is kept. Contents that are there twice count twice.
type Usage struct {
	Bytes int64
	Items int64
}

// UsageOf is how much a user keeps; of the empty user ID, how much all do.
func (k *Keeper) UsageOf(r kv.Reader, user matrix.UserID) Usage {
	row, _ := k.usages.Get(r, string(user))
	return Usage(row)
}

// OwnUsage is how much the house keeps that can be made or fetched again: thumbnails and
// the pictures of previews.
func (k *Keeper) OwnUsage(r kv.Reader) (thumbnails, previews Usage) {
	t, _ := k.usages.Get(r, thumbnailsUse)
	p, _ := k.usages.Get(r, previewsUse)
	return Usage(t), Usage(p)
}

// count adds an item to what its uploader keeps.
func (k *Keeper) count(tx *kv.WriteTx, uploader matrix.UserID, bytes, items int64) {
	if uploader == "" {
		k.use(tx, previewsUse, bytes, items)
		return
	}
	k.use(tx, string(uploader), bytes, items)
	k.use(tx, everybody, bytes, items)
}

func (k *Keeper) use(tx *kv.WriteTx, who string, bytes, items int64) {
	row, _ := k.usages.Get(tx, who)
	row.Bytes += bytes
	row.Items += items
	if row == (usageRow{}) && who != everybody {
		k.usages.Delete(tx, who)
		return
	}
	k.usages.Put(tx, who, row)
}

// countUsage makes the counts of a house that was without them.
func (k *Keeper) countUsage(ctx context.Context) error {
	counted := false
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		counted = k.usages.Has(tx, everybody)
		return nil
	})
	if err != nil || counted {
		return err
	}
	return k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		k.use(tx, everybody, 0, 0)
		for item := range k.Items(tx) {
			if !item.Pending {
				k.count(tx, item.Uploader, item.Size, 1)
			}
		}
		return nil
	})
}

// fits says whether so much more may be kept. The errors are M_FORBIDDEN and
// M_RESOURCE_LIMIT_EXCEEDED.
func (k *Keeper) fits(r kv.Reader, uploader matrix.UserID, bytes int64) error {
	if uploader == "" {
		return nil // the house looks after its own
	}
	if used := k.UsageOf(r, uploader).Bytes; k.UserQuota > 0 && used+bytes > k.UserQuota {
		return matrix.Forbidden(fmt.Sprintf("you may keep %d bytes of media here and have %d", k.UserQuota, used))
	}
	if used := k.UsageOf(r, "").Bytes; k.TotalQuota > 0 && used+bytes > k.TotalQuota {
		return k.noRoom(r)
	}
	return nil
}

// noRoom is M_RESOURCE_LIMIT_EXCEEDED (spec: client-server API, common error codes).
func (k *Keeper) noRoom(r kv.Reader) error {
	contact := ""
	if k.Contact != nil {
		contact = k.Contact(r)
	}
	return matrix.Refusal(http.StatusForbidden, "M_RESOURCE_LIMIT_EXCEEDED", "there is no room for more media here; messages still go through").
		With("admin_contact", contact)
}

func (k *Keeper) full(ctx context.Context) (refusal error) {
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		refusal = k.noRoom(tx)
		return nil
	})
	if err != nil {
		return err
	}
	return refusal
}

// admit looks whether anything may be uploaded, and returns a reader of the body that
// ends with an error once it is too much.
func (k *Keeper) admit(ctx context.Context, uploader matrix.UserID, body io.Reader) (io.Reader, error) {
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error { return k.fits(tx, uploader, 1) })
	if err == nil {
		err = k.spare(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &bounded{keeper: k, ctx: ctx, uploader: uploader, r: body}, nil
}

// spare says whether the disk has room.
func (k *Keeper) spare(ctx context.Context) error {
	if k.MinFree < 0 {
		return nil
	}
	free, err := k.Free(k.Folder)
	if err != nil {
		return fmt.Errorf("how much of the disk is free: %w", err)
	}
	if free < k.MinFree {
		return k.full(ctx)
	}
	return nil
}

// freeBytes is what a process without privileges may still write.
func freeBytes(folder string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil // both types differ between platforms
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

// Read reads on.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// checkEvery is after how many bytes of an upload the quotas and the disk are looked at
// again.
const checkEvery = 8 << 20

// bounded refuses too much.
type bounded struct {
	keeper   *Keeper
	ctx      context.Context
	uploader matrix.UserID
	r        io.Reader
	n        int64
	checked  int64
}

// Read reads on, until there is too much.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if most := b.keeper.MaxUpload; b.n > most {
		return 0, matrix.TooLarge(fmt.Sprintf("an upload may have at most %d bytes", most))
	}
	if b.n-b.checked >= checkEvery {
		b.checked = b.n
		refusal := b.keeper.DB.View(b.ctx, func(tx *kv.ReadTx) error { return b.keeper.fits(tx, b.uploader, b.n) })
		if refusal == nil {
			refusal = b.keeper.spare(b.ctx)
		}
		if refusal != nil {
			return 0, refusal
		}
	}
	return n, err
}
