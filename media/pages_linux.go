package media

import (
	"os"
	"syscall"
	"unsafe"

	"go.etcd.io/bbolt"
)

// giveBack tells the kernel that the pages of a mapped file need not stay resident: a
// download of 100 MB would otherwise leave all of them counted as this process's memory.
// They stay in the page cache, and whoever reads them next gets them from there. value has
// to lie in the mapping, and a transaction has to keep the mapping where it is.
func giveBack(tx *bbolt.Tx, value []byte) {
	if len(value) == 0 {
		return
	}
	first := unsafe.Pointer(&value[0])
	offset := uintptr(first) - tx.DB().Info().Data
	page := int64(os.Getpagesize())
	size := tx.Size() / page * page
	if size == 0 || offset >= uintptr(size) {
		return // not in the mapping
	}
	// An error would mean that the pages stay, as they do without this.
	_ = syscall.Madvise(unsafe.Slice((*byte)(unsafe.Add(first, -int(offset))), size), syscall.MADV_DONTNEED)
}
