package media

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// DefaultMaxUpload is the largest upload in bytes, unless Config says otherwise.
	DefaultMaxUpload = 50 << 20
	// DefaultMinFree is how many bytes uploads leave free on the disk.
	DefaultMinFree = 256 << 20
	// MaxNameBytes is the longest file name.
	MaxNameBytes = 1024
	// maxTypeBytes is the longest content type.
	maxTypeBytes = 255
	// maxMediaID is the longest media ID that is looked for.
	maxMediaID = 255
	// maxUploading is how many uploads go on at once; each needs batchBytes of memory.
	maxUploading = 32
	// maxUploadingOne is how many of them may be one user's: who sends slowly on purpose
	// must not keep the others out.
	maxUploadingOne = 16
	// busyRetry is what those are told who come when there are more.
	busyRetry = 2 * time.Second
)

// defaultType is the content type of what came without one.
const defaultType = "application/octet-stream"

// Config is what a Keeper is made with. DB, Folder and Server have to be there.
type Config struct {
	DB     *kv.DB
	Folder string // of the files of contents
	// OldFile is where the first houses kept all contents; if it is there it moves into
	// Folder. Empty: there is none.
	OldFile string
	Server  matrix.ServerName // whose media these are

	MaxUpload   int64 // bytes; 0: DefaultMaxUpload
	VolumeBytes int64 // of one file; 0: DefaultVolumeBytes
	UserQuota   int64 // bytes that one user may keep; 0: any number
	TotalQuota  int64 // bytes that all may keep together; 0: any number
	MinFree     int64 // bytes that stay free on the disk; 0: DefaultMinFree; negative: none
	// Open lets what is uploaded from now on be downloaded without an access token, too.
	Open bool
	// Retention is what is thrown away when; zero fields: the defaults.
	Retention Retention
	// Previews fetches pages for URL previews; nil: there are none.
	Previews Fetcher

	// Contact is whom a user may ask when the disk is full, a URI; nil: nobody is named.
	Contact func(kv.Reader) string
	// Free is how many bytes are free in a folder; nil: the operating system is asked.
	Free    func(folder string) (int64, error)
	Closing <-chan struct{}  // closed when waiting downloads have to answer; nil: never
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: slog.Default()
}

// Keeper owns the content repository.
type Keeper struct {
	Config
	items    *kv.Table[itemKey, itemRow]
	refs     *kv.Table[[sha256.Size]byte, blobRow]
	usages   *kv.Table[string, usageRow]
	pendings *kv.Table[pendingKey, pendingRow]
	thumbs   *kv.Table[thumbKey, thumbRow]
	previews *kv.Table[[sha256.Size]byte, previewRow]
	blobs    *blobs
	waiting  waiters
	drawing  drawing
	fetching fetching

	mu        sync.Mutex
	uploading map[blobID]matrix.UserID // contents that no row leads to yet
	held      int                      // backups that go on
	postponed []place                  // what is to be removed after them
}

type itemKey struct {
	Server matrix.ServerName
	ID     string
}

type itemRow struct {
	Type     string        `cbor:"1,keyasint,omitempty"`
	Name     string        `cbor:"2,keyasint,omitempty"`
	Size     int64         `cbor:"3,keyasint,omitempty"`
	Uploader matrix.UserID `cbor:"4,keyasint,omitempty"` // empty: the house itself
	Created  int64         `cbor:"5,keyasint,omitempty"` // ms
	SHA256   []byte        `cbor:"6,keyasint,omitempty"` // empty: nothing was uploaded yet
	Expires  int64         `cbor:"7,keyasint,omitempty"` // ms: until when it has to be uploaded
	Open     bool          `cbor:"8,keyasint,omitempty"` // needs no access token
}

type blobRow struct {
	Blob        blobID `cbor:"1,keyasint"`
	Size        int64  `cbor:"2,keyasint,omitempty"`
	Refs        uint64 `cbor:"3,keyasint"`
	Parts       []part `cbor:"4,keyasint,omitempty"` // empty: oldVolume
	Chunk       int64  `cbor:"5,keyasint,omitempty"` // bytes; 0: oldChunkBytes
	Quarantined bool   `cbor:"6,keyasint,omitempty"`
	Sealed      bool   `cbor:"7,keyasint,omitempty"` // chunks end with checksums
}

func (r blobRow) place() place {
	p := place{id: r.Blob, parts: r.Parts, chunk: r.Chunk, sealed: r.Sealed}
	if p.chunk == 0 {
		p.chunk = oldChunkBytes
	}
	return p
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

	// Open says that it may be downloaded without an access token.
	Open bool
	// Pending says that nothing was uploaded yet; it has to be before Expires.
	Pending bool
	Expires time.Time
	// Quarantined contents are not served to anybody.
	Quarantined bool

	place place
}

// URI is the item's mxc URI.
func (i Item) URI() string { return "mxc://" + string(i.Server) + "/" + i.ID }

// New opens the repository. Close it after the last use.
func New(c Config) (*Keeper, error) {
	c.fill()
	if err := moveOld(c); err != nil {
		return nil, err
	}
	v, err := openVolumes(c.Folder, c.VolumeBytes)
	if err != nil {
		return nil, err
	}
	v.refused = c.DB.Refuse
	k := &Keeper{
		Config:    c,
		items:     kv.NewTable[itemKey, itemRow](c.DB, kv.MediaItems),
		refs:      kv.NewTable[[sha256.Size]byte, blobRow](c.DB, kv.MediaBlobs),
		usages:    kv.NewTable[string, usageRow](c.DB, kv.MediaUsage),
		pendings:  kv.NewTable[pendingKey, pendingRow](c.DB, kv.MediaPending),
		thumbs:    kv.NewTable[thumbKey, thumbRow](c.DB, kv.MediaThumbs),
		previews:  kv.NewTable[[sha256.Size]byte, previewRow](c.DB, kv.MediaPreviews),
		blobs:     &blobs{volumes: v},
		drawing:   newDrawing(),
		fetching:  newFetching(),
		uploading: map[blobID]matrix.UserID{},
	}
	if err := k.countUsage(context.Background()); err != nil {
		return nil, errors.Join(err, v.close())
	}
	c.DB.AddCheck("media", k.check)
	c.DB.AddFileCheck("media", k.checkFiles)
	return k, nil
}

func (c *Config) fill() {
	if c.MaxUpload <= 0 {
		c.MaxUpload = DefaultMaxUpload
	}
	if c.VolumeBytes <= 0 {
		c.VolumeBytes = DefaultVolumeBytes
	}
	if c.MinFree == 0 {
		c.MinFree = DefaultMinFree
	}
	if c.Free == nil {
		c.Free = freeBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Retention.fill()
}

// moveOld takes the file of the first houses in.
func moveOld(c Config) error {
	if c.OldFile == "" {
		return nil
	}
	v, err := openVolumes(c.Folder, c.VolumeBytes) // makes the folder
	if err != nil {
		return err
	}
	return renameIfThere(c.OldFile, v.path(oldVolume))
}

func renameIfThere(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		if _, err := os.Lstat(from); err == nil {
			return fmt.Errorf("%s and %s are both there, so a release that knows only the first has run since: "+
				"move the one aside that has no media, or ask for help; neither is written over", from, to)
		}
	}
	err := syscall.Rename(from, to)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	return syncFolder(filepath.Dir(to))
}

// Close closes the files of contents.
func (k *Keeper) Close() error { return k.blobs.close() }

// Upload stores what body holds and returns the item under which it can be found. An
// empty contentType or name is allowed. It is the one way in: clients' uploads, avatars
// and the board's own pictures all come by here. The errors are M_TOO_LARGE for more than
// MaxUpload bytes, M_FORBIDDEN for more than the uploader's quota,
// M_RESOURCE_LIMIT_EXCEEDED if the house is full, M_LIMIT_EXCEEDED if too many upload at
// once, M_INVALID_PARAM for a type or name of the wrong form, and what body returns. It
// waits for the network and the disk: not to be called in a transaction.
func (k *Keeper) Upload(ctx context.Context, uploader matrix.UserID, contentType, name string, body io.Reader) (Item, error) {
	item := Item{Server: k.Server, ID: rand.Text(), Type: contentType, Name: name, Uploader: uploader, Created: k.Now(), Open: k.Config.Open}
	return k.store(ctx, item, body, nil)
}

// store writes the content and then the rows, with what the caller adds in the same
// transaction.
func (k *Keeper) store(ctx context.Context, item Item, body io.Reader, also func(tx *kv.WriteTx, item *Item) error) (Item, error) {
	if err := checkName(&item.Type, item.Name); err != nil {
		return Item{}, err
	}
	counted, err := k.admit(ctx, item.Uploader, body)
	if err != nil {
		return Item{}, err
	}
	stored, err := k.keep(ctx, item.Uploader, counted)
	if err != nil {
		return Item{}, err
	}
	item.Size, item.SHA256 = stored.size, stored.sum
	err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		if err := k.fits(tx, item.Uploader, item.Size); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx, &item); err != nil {
				return err
			}
		}
		row, err := k.hold(tx, stored)
		if err != nil {
			return err
		}
		item.place = row.place()
		k.count(tx, item.Uploader, item.Size, 1)
		k.items.Put(tx, itemKey{item.Server, item.ID}, item.row())
		return nil
	})
	return item, k.settle(stored, item.place.id, err)
}

// stored is a content on disk that no row leads to yet.
type stored struct {
	place place
	size  int64
	sum   [sha256.Size]byte
	// instead of which content that is damaged; the zero place for none.
	instead place
}

// begin takes a number for a content. The error is M_LIMIT_EXCEEDED if too many are being
// uploaded.
func (k *Keeper) begin(uploader matrix.UserID) (blobID, error) {
	id := k.blobs.newID(k.Now().UnixNano())
	k.mu.Lock()
	defer k.mu.Unlock()
	own := 0
	for _, other := range k.uploading {
		if other == uploader && uploader != "" {
			own++
		}
	}
	if len(k.uploading) >= maxUploading || own >= maxUploadingOne {
		return 0, matrix.LimitExceeded(busyRetry)
	}
	k.uploading[id] = uploader
	return id, nil
}

// keep writes a content; uploader is empty for the house itself. settle has to follow.
func (k *Keeper) keep(ctx context.Context, uploader matrix.UserID, body io.Reader) (stored, error) {
	id, err := k.begin(uploader)
	if err != nil {
		return stored{}, err
	}
	hash := sha256.New()
	counted := &counter{r: body}
	p, err := k.blobs.write(ctx, id, io.TeeReader(counted, hash))
	s := stored{place: p, size: counted.n, sum: [sha256.Size]byte(hash.Sum(nil))}
	if errors.Is(err, syscall.ENOSPC) {
		k.Log.Error("the disk is full", "error", err)
		err = k.full(ctx)
	}
	if err == nil {
		s.instead, err = k.spoiled(ctx, s.sum)
	}
	if err != nil {
		return stored{}, k.settle(s, 0, err)
	}
	return s, nil
}

// hold counts a reference to a content, and takes it over if it is not there yet. The
// error is M_FORBIDDEN for what is quarantined.
func (k *Keeper) hold(tx *kv.WriteTx, s stored) (blobRow, error) {
	row, known := k.refs.Get(tx, s.sum)
	if row.Quarantined {
		return row, matrix.Forbidden("this content has been put into quarantine here")
	}
	if !known || s.instead.id != 0 && row.Blob == s.instead.id {
		row = blobRow{Blob: s.place.id, Size: s.size, Refs: row.Refs, Parts: s.place.parts, Chunk: s.place.chunk, Sealed: s.place.sealed}
	}
	row.Refs++
	k.refs.Put(tx, s.sum, row)
	return row, nil
}

// settle ends what keep began: the content is removed if it failed or was there already,
// and the damaged one that it replaces.
// It does so even if the request is over.
func (k *Keeper) settle(s stored, used blobID, err error) error {
	if err != nil {
		err = errors.Join(err, k.discard(s.place))
	} else if used != s.place.id {
		if err := k.discard(s.place); err != nil {
			k.Log.Warn("a second copy of a content was not removed, check --repair will", "error", err)
		}
	} else if s.instead.id != 0 {
		if err := k.discard(s.instead); err != nil {
			k.Log.Warn("a damaged content was replaced and not removed, check --repair will", "error", err)
		}
	}
	k.mu.Lock()
	delete(k.uploading, s.place.id)
	k.mu.Unlock()
	return err
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

// discard removes contents that no row leads to, or will once nobody makes a backup any
// more: a backup has the rows of its beginning and the contents of its end.
func (k *Keeper) discard(all ...place) error {
	k.mu.Lock()
	if k.held > 0 {
		k.postponed = append(k.postponed, all...)
		all = nil
	}
	k.mu.Unlock()
	var errs []error
	for _, p := range all {
		errs = append(errs, k.blobs.remove(context.Background(), p))
	}
	return errors.Join(errs...)
}
