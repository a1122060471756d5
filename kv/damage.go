package kv

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"go.etcd.io/bbolt"
)

// DamagedError says that a file does not hold what was written into it: a block of the
// disk cannot be read, or a page or row makes no sense. Fields that are not known are
// zero, Offset is -1 then.
type DamagedError struct {
	File   string // path of the file
	Offset int64  // in bytes from the beginning of the file
	Table  string // name of the table whose row or page it is
	Key    string // of the row, for a person to read
	Err    error  // what was found
}

// Error names the file and, as far as they are known, the place, the table and the row.
func (e *DamagedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is damaged", e.File)
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " at byte %d", e.Offset)
	}
	if e.Table != "" {
		fmt.Fprintf(&b, ", table %s", e.Table)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ", row %s", e.Key)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap is what was found.
func (e *DamagedError) Unwrap() error { return e.Err }

// Guard runs fn, which reads or writes a file of bbolt's and does nothing else, and
// returns its error. A block that cannot be read through the mapping (SIGBUS) and bbolt's
// panics over pages that make no sense become a DamagedError. What fn held of bbolt's
// locks then, it may hold still.
func Guard(b *bbolt.DB, file string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damageOf(b, file, r)
		}
	}()
	return fn()
}

// damageOf is what a panic says about the file.
func damageOf(b *bbolt.DB, file string, r any) *DamagedError {
	d := &DamagedError{File: file, Offset: -1}
	fault, isFault := r.(interface{ Addr() uintptr })
	if isFault && b != nil {
		d.Offset = offsetIn(b, fault.Addr())
	}
	switch cause, isError := r.(error); {
	case isFault:
		d.Err = errUnreadable
	case isError:
		d.Err = fmt.Errorf("a page makes no sense: %w", cause)
	default:
		d.Err = fmt.Errorf("a page makes no sense: %v", r)
	}
	return d
}

// errUnreadable: the system raised SIGBUS or SIGSEGV over a page of the mapping.
var errUnreadable = errors.New("the block cannot be read, or the file is too short")

// maxFileOffset bounds the offsets that are told: an address beyond it lies in no file.
const maxFileOffset = 1 << 46

// offsetIn is where in the file an address of the mapping lies, or -1.
func offsetIn(b *bbolt.DB, addr uintptr) (offset int64) {
	defer func() {
		if recover() != nil { // not mapped any more
			offset = -1
		}
	}()
	base := b.Info().Data
	if addr < base || int64(addr-base) > maxFileOffset {
		return -1
	}
	return int64(addr - base)
}

// describe names the table that a stored key belongs to and the key's parts.
func describe(key []byte) (table, text string) {
	if len(key) == 0 {
		return "", ""
	}
	space := spaceOf(key[0])
	if space == nil {
		return "", fmt.Sprintf("%x", key)
	}
	return space.Name, space.describe(key[1:])
}

// spaceOf is the keyspace with a tag, or nil.
func spaceOf(tag byte) *Keyspace { return spaces[tag] }

var spaces = func() (all [256]*Keyspace) {
	for _, s := range Ledger() {
		all[s.Tag] = s
	}
	return all
}()
