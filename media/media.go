package media

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// DefaultMaxUpload is the largest upload in bytes, unless Config says otherwise.
	DefaultMaxUpload = 50 << 20
	// MaxNameBytes is the longest file name.
	MaxNameBytes = 1024
	// maxTypeBytes is the longest content type.
	maxTypeBytes = 255
	// maxMediaID is the longest media ID that is looked for.
	maxMediaID = 255
)

// defaultType is the content type of what came without one.
const defaultType = "application/octet-stream"

// Config is what a Keeper is made with.
type Config struct {
	DB        *kv.DB
	Path      string            // of the file of contents
	Server    matrix.ServerName // whose media these are
	MaxUpload int64             // bytes; 0: DefaultMaxUpload
	Now       func() time.Time  // nil: time.Now
	Log       *slog.Logger      // nil: slog.Default()
}

// Keeper owns the content repository.
type Keeper struct {
	Config
	items *kv.Table[itemKey, itemRow]
	refs  *kv.Table[[sha256.Size]byte, blobRow]
	blobs *blobs

	drawing chan struct{} // holds one token while a thumbnail is made

	mu        sync.Mutex
	uploading map[blobID]bool // contents that have no item yet
}

type itemKey struct {
	Server matrix.ServerName
	ID     string
}

type itemRow struct {
	Type     string        `cbor:"1,keyasint,omitempty"`
	Name     string        `cbor:"2,keyasint,omitempty"`
	Size     int64         `cbor:"3,keyasint,omitempty"`
	Uploader matrix.UserID `cbor:"4,keyasint,omitempty"`
	Created  int64         `cbor:"5,keyasint,omitempty"` // ms
	SHA256   []byte        `cbor:"6,keyasint"`
}

type blobRow struct {
	Blob blobID `cbor:"1,keyasint"`
	Size int64  `cbor:"2,keyasint,omitempty"`
	Refs uint64 `cbor:"3,keyasint"`
}

// Item is what the repository knows about an upload.
type Item struct {
	Server   matrix.ServerName
	ID       string
	Type     string // content type, as it was uploaded
	Name     string // file name; may be empty
	Size     int64  // bytes
	Uploader matrix.UserID
	Created  time.Time
	SHA256   [sha256.Size]byte

	blob blobID
}

// URI is the item's mxc URI.
func (i Item) URI() string { return "mxc://" + string(i.Server) + "/" + i.ID }

// New opens the repository. Close it after the last use.
func New(c Config) (*Keeper, error) {
	if c.MaxUpload <= 0 {
		c.MaxUpload = DefaultMaxUpload
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	b, err := openBlobs(c.Path)
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		Config:    c,
		items:     kv.NewTable[itemKey, itemRow](c.DB, kv.MediaItems),
		refs:      kv.NewTable[[sha256.Size]byte, blobRow](c.DB, kv.MediaBlobs),
		blobs:     b,
		drawing:   make(chan struct{}, 1),
		uploading: map[blobID]bool{},
	}
	c.DB.AddCheck("media", k.check)
	return k, nil
}

// Close closes the file of contents.
func (k *Keeper) Close() error { return k.blobs.close() }

// Upload stores what body holds and returns the item under which it can be found. An
// empty contentType or name is allowed. The errors are M_TOO_LARGE for more than
// MaxUpload bytes, M_INVALID_PARAM for a type or name of the wrong form, and what body
// returns. It waits for the network and the disk: not to be called in a transaction.
func (k *Keeper) Upload(ctx context.Context, uploader matrix.UserID, contentType, name string, body io.Reader) (Item, error) {
	if err := checkName(&contentType, name); err != nil {
		return Item{}, err
	}
	id, err := k.begin()
	if err != nil {
		return Item{}, fmt.Errorf("begin an upload: %w", err)
	}
	defer k.end(id)
	hash := sha256.New()
	counted := &counter{r: io.TeeReader(body, hash), left: k.MaxUpload}
	if err := k.blobs.write(ctx, id, counted); err != nil {
		return Item{}, errors.Join(err, k.discard(id))
	}
	item := Item{
		Server: k.Server, ID: rand.Text(), Type: contentType, Name: name, Size: counted.n,
		Uploader: uploader, Created: k.Now(), SHA256: [sha256.Size]byte(hash.Sum(nil)),
	}
	err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		row, known := k.refs.Get(tx, item.SHA256)
		if !known {
			row = blobRow{Blob: id, Size: item.Size}
		}
		row.Refs++
		k.refs.Put(tx, item.SHA256, row)
		k.items.Put(tx, itemKey{item.Server, item.ID}, item.row())
		item.blob = row.Blob
		return nil
	})
	if err != nil {
		return Item{}, errors.Join(err, k.discard(id))
	}
	if item.blob != id {
		if err := k.discard(id); err != nil { // it was there already; this copy is of no use
			k.Log.Warn("a second copy of a content was not removed, check --repair will", "error", err)
		}
	}
	return item, nil
}

func checkName(contentType *string, name string) error {
	if *contentType == "" {
		*contentType = defaultType
	}
	if kind, _, err := mime.ParseMediaType(*contentType); err != nil || !strings.Contains(kind, "/") || len(*contentType) > maxTypeBytes {
		return matrix.InvalidParam("that is no content type")
	}
	if len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return matrix.InvalidParam(fmt.Sprintf("a file name may have at most %d bytes of text", MaxNameBytes))
	}
	return nil
}

func (i Item) row() itemRow {
	return itemRow{Type: i.Type, Name: i.Name, Size: i.Size, Uploader: i.Uploader, Created: i.Created.UnixMilli(), SHA256: i.SHA256[:]}
}

// begin takes a number for a content that has no item yet.
func (k *Keeper) begin() (blobID, error) {
	id, err := k.blobs.newID()
	k.mu.Lock()
	k.uploading[id] = true
	k.mu.Unlock()
	return id, err
}

func (k *Keeper) end(id blobID) {
	k.mu.Lock()
	delete(k.uploading, id)
	k.mu.Unlock()
}

// discard removes a content that no item leads to. It does so even if the request is over.
func (k *Keeper) discard(id blobID) error { return k.blobs.remove(context.Background(), id) }

// counter counts what is read and refuses too much.
type counter struct {
	r    io.Reader
	n    int64
	left int64
}

// Read reads on, until there is too much.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.left -= int64(n); c.left < 0 {
		return 0, matrix.TooLarge(fmt.Sprintf("an upload may have at most %d bytes", c.n+c.left))
	}
	return n, err
}

// Item finds an item. The error is M_NOT_FOUND.
func (k *Keeper) Item(r kv.Reader, server matrix.ServerName, id string) (Item, error) {
	notFound := matrix.NotFound("there is no such media here")
	if !validID(id) {
		return Item{}, notFound
	}
	row, ok := k.items.Get(r, itemKey{server, id})
	if !ok || len(row.SHA256) != sha256.Size {
		return Item{}, notFound
	}
	item := Item{
		Server: server, ID: id, Type: row.Type, Name: row.Name, Size: row.Size, Uploader: row.Uploader,
		Created: time.UnixMilli(row.Created), SHA256: [sha256.Size]byte(row.SHA256),
	}
	blob, ok := k.refs.Get(r, item.SHA256)
	if !ok {
		return Item{}, notFound // Check reports it
	}
	item.blob = blob.Blob
	return item, nil
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

// Open reads an item's content. If the item is deleted meanwhile, reading ends with
// io.ErrUnexpectedEOF.
func (k *Keeper) Open(i Item) io.ReadSeeker {
	return &blobReader{blobs: k.blobs, id: i.blob, size: i.Size}
}

// Delete removes an item, and its content if no other item has the same. The error is
// M_NOT_FOUND.
func (k *Keeper) Delete(ctx context.Context, server matrix.ServerName, id string) error {
	var item Item
	unused := false
	err := k.DB.Update(ctx, func(tx *kv.WriteTx) (err error) {
		if item, err = k.Item(tx, server, id); err != nil {
			return err
		}
		row, _ := k.refs.Get(tx, item.SHA256)
		row.Refs--
		if unused = row.Refs == 0; unused {
			k.refs.Delete(tx, item.SHA256)
		} else {
			k.refs.Put(tx, item.SHA256, row)
		}
		k.items.Delete(tx, itemKey{server, id})
		return nil
	})
	if err != nil || !unused {
		return err
	}
	return k.discard(item.blob)
}

// Repair removes contents that no item leads to, as a crash in the middle of an upload
// leaves them, and says how many. Uploads may go on meanwhile.
func (k *Keeper) Repair(ctx context.Context) (removed int, err error) {
	// In this order: what is not uploading any more has its item by the time of the View.
	all, err := k.blobs.sizes(ctx)
	if err != nil {
		return 0, err
	}
	k.mu.Lock()
	uploading := maps.Clone(k.uploading)
	k.mu.Unlock()
	used := map[blobID]bool{}
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for _, row := range k.refs.Scan(tx, kv.All()) {
			used[row.Blob] = true
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for id := range all {
		if used[id] || uploading[id] {
			continue
		}
		if err := k.blobs.remove(ctx, id); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// Backup writes a copy of the file of contents. Made after the house's own backup, it has
// the content of every item in that.
func (k *Keeper) Backup(w io.Writer) (n int64, err error) {
	tx, err := k.blobs.bolt.Begin(false)
	if err != nil {
		return 0, err
	}
	n, err = tx.WriteTo(w)
	return n, errors.Join(err, tx.Rollback())
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	sizes, err := k.blobs.sizes(context.Background())
	if err != nil {
		report("the file of contents cannot be read: %v", err)
		return
	}
	refs := map[[sha256.Size]byte]uint64{}
	for key, row := range k.items.Scan(r, kv.All()) {
		if len(row.SHA256) != sha256.Size {
			report("item %s/%s has no hash", key.Server, key.ID)
			continue
		}
		sum := [sha256.Size]byte(row.SHA256)
		refs[sum]++
		if blob, ok := k.refs.Get(r, sum); !ok || blob.Size != row.Size {
			report("item %s/%s of %d bytes leads to %+v", key.Server, key.ID, row.Size, blob)
		}
	}
	for sum, row := range k.refs.Scan(r, kv.All()) {
		if refs[sum] != row.Refs {
			report("content %x has %d items and a count of %d", sum[:4], refs[sum], row.Refs)
		}
		if sizes[row.Blob] != row.Size {
			report("content %x has %d bytes of %d", sum[:4], sizes[row.Blob], row.Size)
		}
	}
}
