package media

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"porchlight/kv"
)

const (
	// DefaultVolumeBytes is how large a file of contents gets. bbolt maps a file in powers
	// of two, and a 32-bit process has about 3 GiB for everything.
	DefaultVolumeBytes = 512 << 20
	// volumePage is fixed as the house's database's is.
	volumePage = 4096
	// volumeGrowth is by how much a file grows when it is full, in bytes.
	volumeGrowth = 1 << 20
	// lockTimeout is how long opening waits for another process to let go of a file.
	lockTimeout = time.Second
	// oldVolume is the number of the one file that the first houses kept everything in.
	// Nothing is added to it; it goes once it is empty.
	oldVolume = 0
	// deletionShare is which part of a file stays free for the pages that deleting needs.
	deletionShare = 64
	// volumeSuffix ends the names of the files; their numbers begin them.
	volumeSuffix = ".db"
)

// maxMapped is how many files are mapped at once.
func maxMapped() int {
	if bits.UintSize == 32 {
		return 2
	}
	return 4
}

var chunkBucket = []byte("chunks")

// errNoVolume: the file is not there, or not any more.
var errNoVolume = errors.New("a file of contents is missing")

// volume is one file of contents. volumes.mu guards its fields; whoever has acquired it
// may use bolt.
type volume struct {
	n     uint32
	bolt  *bbolt.DB // nil: closed
	users int
	used  uint64 // volumes.tick at its last use
	full  bool   // as far as is known
	// damaged says that a page makes no sense, stuck that bbolt's locks stay taken after it:
	// nothing is written, and such a file is never closed.
	damaged, stuck bool
	seen           int64 // bytes that were read through the mapping since they were given back
}

// volumes is the folder of all files. They are opened when they are needed, a few at once.
type volumes struct {
	folder  string
	limit   int64 // bytes of a file
	maxOpen int
	refused func(error) // told when the disk takes no writes; may be nil

	mu     sync.Mutex
	idle   *sync.Cond // somebody let go of a file
	all    map[uint32]*volume
	open   int
	tick   uint64
	closed bool
}

// openVolumes looks into the folder, which it makes if need be, and opens nothing.
func openVolumes(folder string, limit int64) (*volumes, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	v := &volumes{folder: folder, limit: limit, maxOpen: maxMapped(), all: map[uint32]*volume{}}
	v.idle = sync.NewCond(&v.mu)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), volumeSuffix)
		if n, err := strconv.ParseUint(name, 10, 32); ok && err == nil && e.Type().IsRegular() {
			v.all[uint32(n)] = &volume{n: uint32(n)}
		}
	}
	return v, nil
}

func volumeName(n uint32) string { return fmt.Sprintf("%08d%s", n, volumeSuffix) }

func (v *volumes) path(n uint32) string { return filepath.Join(v.folder, volumeName(n)) }

// openBolt maps a file at the size that it may have, from the start: mapping it anew would
// wait for every reader, and a backup reads for long. Mapping takes addresses, no memory.
func openBolt(path string, limit int64) (b *bbolt.DB, err error) {
	if err := inspect(path); err != nil {
		return nil, err
	}
	open := func(readOnly bool) error {
		return kv.Guard(nil, path, func() error {
			b, err = bbolt.Open(path, 0o600, &bbolt.Options{
				Timeout: lockTimeout, PageSize: volumePage, FreelistType: bbolt.FreelistMapType, InitialMmapSize: int(limit),
				ReadOnly: readOnly,
			})
			return err
		})
	}
	if err = open(false); errors.Is(err, syscall.EROFS) { // what is there can still be read
		err = open(true)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	b.AllocSize = volumeGrowth
	return b, nil
}

// inspect looks whether a file may be mapped.
func inspect(path string) (err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it is about to be made
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = kv.Inspect(f, path)
	return err
}

// createVolume makes a file under another name first: bbolt's first initialisation is not
// safe against power loss.
func createVolume(path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := openBolt(tmp, 0)
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(chunkBucket)
		return err
	})
	if err := errors.Join(err, b.Sync(), b.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename in the folder last through a power cut.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// acquire opens a file, or keeps it open, until release. It waits if too many others are
// in use, so nobody may hold one and ask for another.
func (v *volumes) acquire(n uint32) (*volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.acquireLocked(n)
}

func (v *volumes) acquireLocked(n uint32) (*volume, error) {
	for {
		f := v.all[n]
		switch {
		case v.closed:
			return nil, kv.ErrClosed
		case f == nil:
			return nil, fmt.Errorf("%w: %s", errNoVolume, volumeName(n))
		case f.bolt == nil && v.open >= v.maxOpen:
			if err := v.closeOne(); err != nil {
				return nil, err
			}
			continue
		case f.bolt == nil:
			b, err := openBolt(v.path(n), v.limit)
			if err != nil {
				return nil, err
			}
			f.bolt, f.seen = b, 0
			v.open++
		}
		f.users++
		v.tick++
		f.used = v.tick
		return f, nil
	}
}

// closeOne closes the file that was unused longest, or waits until there is one.
func (v *volumes) closeOne() error {
	var oldest *volume
	for _, f := range v.all {
		if f.bolt != nil && f.users == 0 && !f.stuck && (oldest == nil || f.used < oldest.used) {
			oldest = f
		}
	}
	if oldest == nil {
		v.idle.Wait()
		return nil
	}
	return v.shut(oldest)
}

func (v *volumes) shut(f *volume) error {
	b := f.bolt
	f.bolt = nil
	v.open--
	if f.stuck {
		return nil // bbolt's Close could wait for ever
	}
	return b.Close()
}

func (v *volumes) release(f *volume) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f.users--
	v.idle.Broadcast()
}

// with runs fn on a file.
func (v *volumes) with(n uint32, fn func(f *volume) error) error {
	f, err := v.acquire(n)
	if err != nil {
		return err
	}
	defer v.release(f)
	return v.guard(f, func() error { return fn(f) })
}

// guard runs fn, which uses the file: damage is an error.
func (v *volumes) guard(f *volume, fn func() error) error {
	return kv.Guard(f.bolt, v.path(f.n), fn)
}

// noteFailed looks at the error of who has written into the file. After a page that makes
// no sense it is only read; and after a sync that failed nobody knows what it holds, so it
// is taken for full until it is opened again by the next start.
func (v *volumes) noteFailed(f *volume, err error) error {
	damaged := isDamage(err)
	if !damaged && !kv.CannotWrite(err) {
		return err
	}
	v.mu.Lock()
	f.damaged = true
	if damaged && !f.stuck {
		f.stuck = true
		v.maxOpen++ // it is not closed any more, and must not keep others from being opened
	}
	v.mu.Unlock()
	if !damaged && v.refused != nil {
		v.refused(err)
	}
	return err
}

func (v *volumes) isClosed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

func (v *volumes) isDamaged(f *volume) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return f.damaged
}

func isDamage(err error) bool {
	_, is := errors.AsType[*kv.DamagedError](err)
	return is
}

// numbers are all files', in order.
func (v *volumes) numbers() []uint32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.numbersLocked()
}

func (v *volumes) numbersLocked() []uint32 {
	all := make([]uint32, 0, len(v.all))
	for n := range v.all {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// writable acquires a file that is not known to be full: the newest, else the one with the
// lowest number, else a new one.
func (v *volumes) writable() (*volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.numbersLocked()
	newest := uint32(oldVolume)
	if len(all) > 0 {
		newest = all[len(all)-1]
	}
	slices.SortStableFunc(all, func(a, b uint32) int { return cmp.Compare(notNewest(a, newest), notNewest(b, newest)) })
	for _, n := range all {
		if n == oldVolume || v.all[n].full || v.all[n].damaged {
			continue
		}
		f, err := v.acquireLocked(n)
		if isDamage(err) { // the others still take something
			v.all[n].damaged = true
			continue
		}
		return f, err
	}
	if v.closed {
		return nil, kv.ErrClosed
	}
	if err := createVolume(v.path(newest + 1)); err != nil {
		return nil, fmt.Errorf("create %s: %w", v.path(newest+1), err)
	}
	v.all[newest+1] = &volume{n: newest + 1}
	return v.acquireLocked(newest + 1)
}

func notNewest(n, newest uint32) int {
	if n == newest {
		return 0
	}
	return 1
}

// setFull notes that a file took no more, or that something was deleted from it.
func (v *volumes) setFull(f *volume, full bool) {
	v.mu.Lock()
	f.full = full
	v.mu.Unlock()
}

// drop deletes a file without contents, unless it is in use or the newest.
func (v *volumes) drop(n uint32) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.all[n]
	if f == nil || f.users > 0 || f.damaged {
		return nil
	}
	if all := v.numbersLocked(); n == all[len(all)-1] && n != oldVolume {
		return nil
	}
	f, err := v.acquireLocked(n)
	if err != nil {
		return err
	}
	f.users--
	if f.users > 0 { // somebody came while this waited
		return nil
	}
	empty := false
	err = v.guard(f, func() error {
		return f.bolt.View(func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket(chunkBucket).Cursor().First()
			empty = key == nil
			return nil
		})
	})
	if err != nil || !empty {
		return err
	}
	delete(v.all, n)
	return errors.Join(v.shut(f), os.Remove(v.path(n)))
}

// bytes is what all files have on disk.
func (v *volumes) bytes() (total int64, err error) {
	for _, n := range v.numbers() {
		info, err := os.Stat(v.path(n))
		if errors.Is(err, os.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// close waits for those who use a file.
func (v *volumes) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	var errs []error
	for _, f := range v.all {
		for f.users > 0 {
			v.idle.Wait()
		}
		if f.bolt != nil {
			errs = append(errs, v.shut(f))
		}
	}
	return errors.Join(errs...)
}

// OldVolume is the name of the file that the first releases kept everything in.
const OldVolume = "00000000" + volumeSuffix

// Volumes are the names of the files in the media folder that a database names, in order.
// No Keeper may be open on it.
func Volumes(ctx context.Context, db *kv.DB) ([]string, error) {
	refs := kv.NewTable[[sha256.Size]byte, blobRow](db, kv.MediaBlobs)
	named := map[uint32]bool{}
	err := db.View(ctx, func(tx *kv.ReadTx) error {
		for _, row := range refs.Scan(tx, kv.All()) {
			if row.Size > 0 {
				named[row.place().volumeOf(0)] = true
			}
			for _, p := range row.Parts {
				named[p.Volume] = true
			}
		}
		return nil
	})
	var names []string
	for _, n := range slices.Sorted(maps.Keys(named)) {
		names = append(names, volumeName(n))
	}
	return names, err
}
