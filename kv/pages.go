package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"

	"go.etcd.io/bbolt"
)

// The layout of bbolt's pages. They are read here through read(2), not the mapping: a
// block that cannot be read is an error then, and no signal.
const (
	pageHead    = 16 // id, flags, count, overflow
	elementHead = 16 // of a branch or leaf
	bucketHead  = 16 // root page and sequence, before an inline page
	metaSize    = 64

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
	bucketLeaf   = 0x01 // flag of a leaf's element that is a bucket

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = ^uint64(0)

	// maxRun bounds the pages that are read at once, in bytes: no row is that large, and no
	// list of free pages.
	maxRun = 64 << 20
	// maxDepth bounds the height of a tree; one of four has a hundred million rows.
	maxDepth = 24
)

var order = binary.NativeEndian // bbolt writes what lies in memory

// meta is what a meta page says.
type meta struct{ root, freelist, high, tx uint64 }

// pageReader reads the pages of a file as of one transaction.
type pageReader struct {
	r    io.ReaderAt
	file string
	meta
}

// readMetas reads both meta pages. bbolt writes them in turn, so one may be damaged by a
// power cut without any loss.
func readMetas(r io.ReaderAt) (metas [2]meta, errs [2]error) {
	for i := range metas {
		metas[i], errs[i] = readMeta(r, i)
	}
	return metas, errs
}

func readMeta(r io.ReaderAt, n int) (m meta, err error) {
	buf := make([]byte, pageHead+metaSize)
	if _, err := r.ReadAt(buf, int64(n)*pageSize); err != nil {
		return m, unreadable(err)
	}
	b := buf[pageHead:]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	switch {
	case order.Uint32(b) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint16(buf[8:])&metaPage == 0:
		return m, errors.New("this is no page that begins a database")
	case order.Uint32(b[8:]) != pageSize:
		return m, fmt.Errorf("pages have %d bytes instead of %d", order.Uint32(b[8:]), pageSize)
	case order.Uint64(b[56:]) != sum.Sum64():
		return m, errors.New("the checksum of the first pages is wrong")
	}
	return meta{root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), high: order.Uint64(b[40:]), tx: order.Uint64(b[48:])}, nil
}

// damaged is an error about a page.
func (p *pageReader) damaged(id uint64, err error) *DamagedError {
	return &DamagedError{File: p.file, Offset: int64(id) * pageSize, Err: fmt.Errorf("page %d: %w", id, err)}
}

// read reads a page with the pages that continue it into buf, which it lengthens if need be.
func (p *pageReader) read(id uint64, buf []byte) ([]byte, error) {
	if id < 2 || id >= p.high {
		return buf, fmt.Errorf("there is no such page, they end at %d", p.high)
	}
	if cap(buf) < pageSize {
		buf = make([]byte, pageSize)
	}
	buf = buf[:pageSize]
	if _, err := p.r.ReadAt(buf, int64(id)*pageSize); err != nil {
		return buf, unreadable(err)
	}
	if own := order.Uint64(buf); own != id {
		return buf, fmt.Errorf("it says that it is page %d", own)
	}
	more := uint64(order.Uint32(buf[12:]))
	if more == 0 {
		return buf, nil
	}
	size := (more + 1) * pageSize
	if id+more >= p.high || size > maxRun {
		return buf, fmt.Errorf("it claims to be %d pages long", more+1)
	}
	if uint64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := p.r.ReadAt(buf, int64(id)*pageSize); err != nil {
		return buf, unreadable(err)
	}
	return buf, nil
}

func unreadable(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the file ends before it")
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok { // the file is named already
		err = path.Err
	}
	return fmt.Errorf("it cannot be read: %w", err)
}

// element is one entry of a page; key and value lie in the page's buffer.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	bucket     bool   // of a leaf: the value is a bucket
}

// elements takes a branch or leaf apart. bbolt writes keys and values one after the other
// right behind the heads, in ascending order; anything else is damage. It returns those
// before the first that makes no sense, too.
func elements(buf []byte, into []element) (all []element, err error) {
	all = into[:0]
	flags, count := order.Uint16(buf[8:]), int(order.Uint16(buf[10:]))
	if flags != branchPage && flags != leafPage {
		return all, fmt.Errorf("it is neither branch nor leaf (%#x)", flags)
	}
	if flags == branchPage && count == 0 {
		return all, errors.New("it leads nowhere")
	}
	at := pageHead + count*elementHead // of the next key
	if at > len(buf) {
		return all, fmt.Errorf("it claims to have %d rows", count)
	}
	for i := range count {
		head := pageHead + i*elementHead
		h := buf[head:]
		var e element
		var pos, ksize, vsize uint64
		if flags == branchPage {
			pos, ksize, e.child = uint64(order.Uint32(h)), uint64(order.Uint32(h[4:])), order.Uint64(h[8:])
		} else {
			e.bucket = order.Uint32(h) == bucketLeaf
			if kind := order.Uint32(h); kind > bucketLeaf {
				return all, fmt.Errorf("row %d is of an unknown kind", i)
			}
			pos, ksize, vsize = uint64(order.Uint32(h[4:])), uint64(order.Uint32(h[8:])), uint64(order.Uint32(h[12:]))
		}
		if uint64(head)+pos != uint64(at) || uint64(at)+ksize+vsize > uint64(len(buf)) {
			return all, fmt.Errorf("row %d does not lie where it should", i)
		}
		e.key = buf[at : at+int(ksize)]
		e.value = buf[at+int(ksize) : at+int(ksize+vsize)]
		at += int(ksize + vsize)
		if i > 0 && string(all[i-1].key) >= string(e.key) {
			return all, fmt.Errorf("row %d is not in order", i)
		}
		all = append(all, e)
	}
	return all, nil
}

// freePages reads the list of free pages and where it lies itself.
func (p *pageReader) freePages() (free []uint64, run uint64, err error) {
	if p.freelist == noFreelist {
		return nil, 0, nil
	}
	buf, err := p.read(p.freelist, nil)
	if err != nil {
		return nil, 0, err
	}
	if flags := order.Uint16(buf[8:]); flags != freelistPage {
		return nil, 0, fmt.Errorf("it is no list of free pages (%#x)", flags)
	}
	count, at := uint64(order.Uint16(buf[10:])), pageHead
	if count == 0xFFFF { // too many for that field
		count, at = order.Uint64(buf[at:]), at+8
	}
	if count > uint64(len(buf)-at)/8 {
		return nil, 0, fmt.Errorf("it claims to have %d free pages", count)
	}
	for i := range int(count) {
		id := order.Uint64(buf[at+8*i:])
		if id < 2 || id >= p.high || i > 0 && free[i-1] >= id {
			return nil, 0, fmt.Errorf("entry %d of the list of free pages makes no sense", i)
		}
		free = append(free, id)
	}
	return free, uint64(len(buf)) / pageSize, nil
}

// readerOf reads the pages that tx sees, from its file. The pages stay as they are until
// tx ends; false if the meta page of tx was overwritten already.
func readerOf(r io.ReaderAt, file string, tx *bbolt.Tx) (*pageReader, bool) {
	metas, errs := readMetas(r)
	for i, m := range metas {
		if errs[i] == nil && m.tx == uint64(tx.ID()) {
			return &pageReader{r: r, file: file, meta: m}, true
		}
	}
	return nil, false
}
