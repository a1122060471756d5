package media

import (
	"context"
	"crypto/sha256"
	"io"
	"iter"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

func (i Item) row() itemRow {
	return itemRow{
		Type: i.Type, Name: i.Name, Size: i.Size, Uploader: i.Uploader,
		Created: i.Created.UnixMilli(), SHA256: i.SHA256[:], Open: i.Open,
	}
}

// item is what a row says, quarantined and pending ones included; false for a row that
// leads nowhere, which the check reports.
func (k *Keeper) item(r kv.Reader, key itemKey, row itemRow) (Item, bool) {
	item := Item{
		Server: key.Server, ID: key.ID, Type: row.Type, Name: row.Name, Size: row.Size, Uploader: row.Uploader,
		Created: time.UnixMilli(row.Created), Open: row.Open,
	}
	if len(row.SHA256) == 0 {
		item.Pending, item.Expires = true, time.UnixMilli(row.Expires)
		return item, true
	}
	if len(row.SHA256) != sha256.Size {
		return Item{}, false
	}
	item.SHA256 = [sha256.Size]byte(row.SHA256)
	blob, ok := k.refs.Get(r, item.SHA256)
	item.place, item.Quarantined = blob.place(), blob.Quarantined
	return item, ok
}

func noSuchMedia() error { return matrix.NotFound("there is no such media here") }

// Item finds an item whose content is there. The errors are M_NOT_FOUND and, if the
// content is on its way, M_NOT_YET_UPLOADED.
func (k *Keeper) Item(r kv.Reader, server matrix.ServerName, id string) (Item, error) {
	item, ok := k.lookUp(r, server, id)
	switch {
	case !ok || item.Quarantined:
		return Item{}, noSuchMedia()
	case item.Pending && !item.Expires.After(k.Now()):
		return Item{}, noSuchMedia() // spec: MSC2246, expired IDs answer at once
	case item.Pending:
		return item, notYetUploaded()
	}
	return item, nil
}

func (k *Keeper) lookUp(r kv.Reader, server matrix.ServerName, id string) (Item, bool) {
	if !validID(id) {
		return Item{}, false
	}
	key := itemKey{server, id}
	row, ok := k.items.Get(r, key)
	if !ok {
		return Item{}, false
	}
	return k.item(r, key, row)
}

// validID: letters, digits, _ and - (spec: content repository, mxc URIs).
func validID(id string) bool {
	if id == "" || len(id) > maxMediaID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// Items are all items, quarantined and pending ones, too.
func (k *Keeper) Items(r kv.Reader) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for key, row := range k.items.Scan(r, kv.All()) {
			if item, ok := k.item(r, key, row); ok && !yield(item) {
				return
			}
		}
	}
}

// Open reads an item's content. If the item is deleted meanwhile, reading ends with
// io.ErrUnexpectedEOF; if it is not what was uploaded, with a *kv.DamagedError before any
// of the damaged part is given out.
func (k *Keeper) Open(i Item) io.ReadSeeker {
	return &blobReader{blobs: k.blobs, place: i.place, size: i.Size, sum: i.SHA256}
}

// Delete removes an item, and its content if no other item has the same. The error is
// M_NOT_FOUND.
func (k *Keeper) Delete(ctx context.Context, server matrix.ServerName, id string) error {
	var unused []place
	err := k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		item, ok := k.lookUp(tx, server, id)
		if !ok {
			return noSuchMedia()
		}
		unused = k.remove(tx, item)
		return nil
	})
	if err != nil {
		return err
	}
	return k.discard(unused...)
}

// remove deletes an item's rows and says which contents are of no use any more.
func (k *Keeper) remove(tx *kv.WriteTx, item Item) (unused []place) {
	k.items.Delete(tx, itemKey{item.Server, item.ID})
	if item.Pending {
		k.pendings.Delete(tx, pendingKey{item.Uploader, item.ID})
		return nil
	}
	k.count(tx, item.Uploader, -item.Size, -1)
	return k.release(tx, item.SHA256)
}

// release takes back a reference to a content. With the last one go its thumbnails.
func (k *Keeper) release(tx *kv.WriteTx, sum [sha256.Size]byte) (unused []place) {
	row, ok := k.refs.Get(tx, sum)
	if !ok {
		return nil // the check reports it
	}
	if row.Refs--; row.Refs > 0 {
		k.refs.Put(tx, sum, row)
		return nil
	}
	k.refs.Delete(tx, sum)
	unused = []place{row.place()}
	for key, thumb := range k.thumbs.Scan(tx, kv.Prefix(sum)) {
		unused = append(unused, k.removeThumb(tx, key, thumb)...)
	}
	return unused
}

// Quarantine hides the content of an item, and all other items that have the same, from
// everybody, or shows them again. As long as one of them is there, nobody can upload it
// anew. It returns how many items that are. The error is M_NOT_FOUND.
func (k *Keeper) Quarantine(tx *kv.WriteTx, server matrix.ServerName, id string, hidden bool) (items int, err error) {
	item, ok := k.lookUp(tx, server, id)
	if !ok || item.Pending {
		return 0, noSuchMedia()
	}
	row, _ := k.refs.Get(tx, item.SHA256)
	row.Quarantined = hidden
	k.refs.Put(tx, item.SHA256, row)
	for other := range k.Items(tx) {
		if !other.Pending && other.SHA256 == item.SHA256 {
			items++
		}
	}
	return items, nil
}
