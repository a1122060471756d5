package kv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// pageSize is fixed: with the 16 KiB pages of some ARM kernels the same write
	// would cost three times as much, and a card has to be readable on any board.
	pageSize = 4096
	// DefaultFlushEvery is how long a deferred write may wait for a commit to go with.
	DefaultFlushEvery = 5 * time.Second
	// lockTimeout is how long Open waits for another process to let go of the file.
	lockTimeout = time.Second
	// initialMmap is mapped from the start where addresses have 64 bits, so that the file
	// grows without remapping, which has to wait for every reader. Mapping costs no memory.
	initialMmap = 16 << 30
	// initialMmap32 is mapped where a process has some 3 GiB of addresses for everything.
	initialMmap32 = 512 << 20
	// leastMmap is mapped where the system allows no more.
	leastMmap = 32 << 20
	// growBy is how much longer the file gets when it is full, in bytes.
	growBy = 1 << 20
)

// ErrInUse is returned by Open when another process has the file open.
var ErrInUse = errors.New("the database is in use by another process")

// Options say how to open a DB.
type Options struct {
	Path       string           // of the file; its folder has to exist
	Log        *slog.Logger     // nil: slog.Default()
	Now        func() time.Time // nil: time.Now
	FlushEvery time.Duration    // 0: DefaultFlushEvery
	Migrations []Migration      // in order of their versions
	ReadOnly   bool             // open for reading, beside other readers
	// Probe has Open commit a row to see whether the disk takes it. If not, the DB is only
	// read: see Unwritable.
	Probe bool
}

// DB is one file of rows. Its methods may be called from any goroutine.
type DB struct {
	bolt  *bbolt.DB
	path  string
	log   *slog.Logger
	now   func() time.Time
	every time.Duration

	lead     chan struct{} // holds one token while somebody runs a batch
	gathered chan struct{} // holds one token when all who were expected have queued

	unwritable atomic.Pointer[error] // why nothing is written any more
	refused    chan struct{}         // closed when unwritable is set
	lost       atomic.Pointer[error] // why nothing can be read any more either
	stuck      atomic.Bool           // bbolt's writer lock is held by nobody
	file       *os.File              // that bbolt has opened
	meta       *Table[string, uint64]

	mu         sync.Mutex // guards what follows
	queue      []*work
	deferred   deferredSet
	closed     bool
	tables     map[byte]tableCheck
	checks     []keeperCheck
	fileChecks []fileCheck
	stats      Stats
	wake       chan struct{}   // Run looks at deferred
	found      []*DamagedError // what Open found and could live with

	expected    int       // how many writers the next batch may have, see linger
	lingerUntil time.Time // how long it waits for them
}

// Stats counts what the writer has done since Open.
type Stats struct {
	Commits  uint64 // commits that reached the disk; each syncs the file twice
	Updates  uint64 // functions whose rows were in those commits
	Deferred uint64 // deferred functions among them
	Failed   uint64 // functions that failed and left nothing
	Written  uint64 // bytes of pages in those commits; what the file system adds is not counted
}

// Open opens the file, creates it if it is not there, and brings it to today's
// version. If the disk can be read and takes no writes, the DB is only read: see
// Unwritable. The errors are ErrInUse, a NewerError when the file is from a later
// release, and what bbolt or the operating system say of a broken or unreadable file.
func Open(o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = DefaultFlushEvery
	}
	if !o.ReadOnly {
		if err := createIfMissing(o.Path); err != nil {
			return nil, err
		}
	}
	found, err := inspect(o.Path)
	if err != nil {
		return nil, err
	}
	var file *os.File
	var frozen error // why the disk takes no writes
	b, err := openBolt(o.Path, o.ReadOnly, &file)
	if errors.Is(err, syscall.EROFS) {
		frozen = err
		b, err = openBolt(o.Path, true, &file)
	}
	if err != nil {
		return nil, err
	}
	db := &DB{
		bolt: b, path: o.Path, file: file, log: o.Log, now: o.Now, every: o.FlushEvery, refused: make(chan struct{}), found: found,
		lead: make(chan struct{}, 1), gathered: make(chan struct{}, 1),
		tables: map[byte]tableCheck{},
		wake:   make(chan struct{}, 1),
	}
	if frozen != nil {
		db.Refuse(frozen)
	}
	if err := db.migrate(o.Migrations, o.ReadOnly || frozen != nil); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if o.Probe {
		if err := db.probe(); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// openBolt opens the file with bbolt, which hands over its own handle of it.
func openBolt(path string, readOnly bool, file **os.File) (*bbolt.DB, error) {
	sizes := []int{initialMmap32, leastMmap}
	if bits.UintSize == 64 {
		large := int64(initialMmap) // an int of 32 bits does not hold the constant
		sizes = append([]int{int(large)}, sizes...)
	}
	var b *bbolt.DB
	var err error
	for _, size := range sizes {
		b, err = openMapped(path, readOnly, size, file)
		if !errors.Is(err, syscall.ENOMEM) {
			break
		}
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) && pathError.Path == path {
		return nil, err // it says all of that
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	b.AllocSize = growBy
	return b, nil
}

func openMapped(path string, readOnly bool, size int, file **os.File) (b *bbolt.DB, err error) {
	err = Guard(nil, path, func() (err error) {
		b, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         lockTimeout,
			PageSize:        pageSize,
			FreelistType:    bbolt.FreelistMapType,
			InitialMmapSize: size,
			ReadOnly:        readOnly,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				if file != nil {
					*file = f
				}
				return f, err
			},
		})
		return err
	})
	return b, err
}

// createIfMissing makes the file under another name, syncs it and renames it:
// bbolt's own first initialisation is not safe against power loss.
func createIfMissing(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := openBolt(tmp, false, nil)
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bbolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, b.Sync(), b.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in the folder last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Run writes deferred rows when no commit came along to take them. It returns
// nil when ctx ends; Close writes what is left.
func (db *DB) Run(ctx context.Context) error {
	timer := time.NewTimer(db.every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-db.wake:
			timer.Reset(db.every)
			continue
		case <-timer.C:
		}
		if err := db.Flush(); err != nil && !errors.Is(err, ErrClosed) {
			db.log.Error("deferred rows could not be written, will try again", "error", err)
			timer.Reset(db.every)
		}
	}
}

// Close writes the deferred rows and closes the file. Transactions that are under
// way are finished first; later ones get ErrClosed.
func (db *DB) Close() error {
	err := db.Flush()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	db.lead <- struct{}{}
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	<-db.lead
	if db.stuck.Load() || db.lost.Load() != nil {
		// bbolt's Close would wait for ever for locks that a panic has left taken. The
		// next who opens the file only needs the lock on it.
		return errors.Join(err, syscall.Flock(int(db.file.Fd()), syscall.LOCK_UN))
	}
	return errors.Join(err, db.bolt.Close())
}

// Stats is a snapshot of the counters.
func (db *DB) Stats() Stats {
	pages := db.bolt.Stats().TxStats
	db.mu.Lock()
	defer db.mu.Unlock()
	s := db.stats
	s.Written = uint64(pages.GetPageAlloc()) + s.Commits*pageSize // each commit ends with the meta page
	return s
}

// Path is the file's name.
func (db *DB) Path() string { return db.path }

// Size is the length of the file in bytes.
func (db *DB) Size() (int64, error) {
	st, err := os.Stat(db.path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
