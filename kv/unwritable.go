package kv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// UnwritableError says that a file can be read and takes no more writes: the disk refuses
// them, or it is not known what of the last ones has reached it. It lasts until the file
// is opened again.
type UnwritableError struct {
	File string // path of the file
	Err  error  // why
}

// Error names the file and the reason.
func (e *UnwritableError) Error() string {
	return fmt.Sprintf("%s cannot be written: %v", e.File, e.Err)
}

// Unwrap is the reason.
func (e *UnwritableError) Unwrap() error { return e.Err }

// maxCommitGrowth is by how many bytes one commit may lengthen the file. More is never
// asked for, except by a page whose sizes are damaged.
const maxCommitGrowth = 256 << 20

// bound keeps a commit from lengthening the file without measure. The caller has begun
// a transaction that writes.
func (db *DB) bound() {
	db.bolt.MaxSize = int(min(db.mapped()+maxCommitGrowth, maxInt))
}

const maxInt = int64(int(^uint(0) >> 1))

// mapped is the length of the file in bytes.
func (db *DB) mapped() int64 {
	size, err := db.Size()
	if err != nil {
		return maxInt - maxCommitGrowth // what is wrong with it, writing will tell
	}
	return size
}

// Unwritable is nil, or the *UnwritableError that writes are refused with.
func (db *DB) Unwritable() error {
	if err := db.unwritable.Load(); err != nil {
		return *err
	}
	return nil
}

// Refused is closed once no more writes are taken.
func (db *DB) Refused() <-chan struct{} { return db.refused }

// Refuse takes no more writes from now on: the cause is damage, or the disk takes none.
func (db *DB) Refuse(cause error) {
	var err error = &UnwritableError{File: db.path, Err: cause}
	if db.unwritable.CompareAndSwap(nil, &err) {
		db.log.Error("the database takes no more writes", "error", err)
		close(db.refused)
	}
}

// noteFailed looks at the error of a commit. After a failed sync the system may have
// thrown away what it could not write, and report the next sync as a success: so nothing
// may be acknowledged by this process any more. A full disk is no such failure: the pages
// of the commit were free ones, and the next commit writes them again.
func (db *DB) noteFailed(err error) {
	if CannotWrite(err) {
		db.Refuse(err)
	}
}

// full and gone are what a disk answers when it has no room, and when it takes no writes.
var (
	full = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}
	gone = []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV}
)

// resized and grown begin the errors of bbolt that carry the system's as text alone.
const (
	resized = "file resize error: "
	grown   = "file sync error: "
)

// withErrno gives an error of bbolt's commit the system's error back, for errors.Is.
func withErrno(err error) error {
	for _, before := range []string{resized, grown} {
		text, found := strings.CutPrefix(err.Error(), before)
		if !found {
			continue
		}
		for _, errno := range slices.Concat(full, gone) {
			if strings.HasSuffix(text, errno.Error()) {
				return fmt.Errorf("%s%w", before, errno)
			}
		}
	}
	return err
}

// DiskFull says whether an error, such as a commit's, is about a disk or quota that is full.
func DiskFull(err error) bool { return isAny(err, full) }

// CannotWrite says whether the error of a commit of bbolt's means that no later one can be
// trusted: the disk takes no writes, or the last ones were not synced.
func CannotWrite(err error) bool {
	if err == nil || DiskFull(withErrno(err)) {
		return false
	}
	_, bare := err.(syscall.Errno) // of fdatasync: those of writes are fs.PathErrors
	return bare || strings.HasPrefix(err.Error(), grown) || isAny(withErrno(err), gone)
}

func isAny(err error, any []syscall.Errno) bool {
	for _, errno := range any {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
