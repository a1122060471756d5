package media

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"porchlight/kv"
)

const (
	// chunkBytes is the size of all chunks of a content but the last. bbolt keeps two to
	// four values in a page and writes them anew when one is added, so chunks of 256 KiB
	// are written twice, 64 KiB 1.27 times, 32 KiB 1.15 times, 8 KiB 1.06 times; those
	// below 32 KiB cost more processor than they save (BenchmarkChunkSize).
	chunkBytes = 32<<10 - 64
	// oldChunkBytes is what it was in oldVolume.
	oldChunkBytes = 256<<10 - 256
	// sumBytes follow each chunk: the CRC-32C of its key and content.
	sumBytes = 4
	// batchChunks is how much is written before the disk is waited for. It is the memory
	// that an upload needs, twice.
	batchChunks = 32
	// firstChunks is what is read of an upload before a whole batch's memory is taken.
	firstChunks = 2
	// readChunks is how many chunks a download reads at once.
	readChunks = 8
	// residentBytes is how much is read of a file before its pages are given back.
	residentBytes = 2 << 20
	// removeChunks is how many chunks are deleted in one commit.
	removeChunks = 64
)

// blobID numbers the contents; together with the file, it is never used again.
type blobID uint64

// part is where the chunks of a content lie from the one numbered First on.
type part struct {
	Volume uint32 `cbor:"1,keyasint,omitempty"`
	First  uint32 `cbor:"2,keyasint,omitempty"`
}

// place is where a content lies. A chunk's key in its file is the content's number and its
// own.
type place struct {
	id    blobID
	parts []part
	chunk int64 // bytes of a chunk
	// sealed says that chunks end with checksums. Those of earlier releases have none.
	sealed bool
}

// volumeOf is the file that has a chunk.
func (p place) volumeOf(n uint32) uint32 {
	v := uint32(oldVolume)
	for _, at := range p.parts {
		if at.First <= n {
			v = at.Volume
		}
	}
	return v
}

// blobs is the contents, whatever they are.
type blobs struct {
	*volumes

	idMu sync.Mutex
	last blobID

	provenMu sync.Mutex
	proven   map[blobID]bool // contents without checksums whose hash was right
}

// newID takes a number: the time, so that those of a later run are larger and chunks are
// appended, or the one after the last.
func (b *blobs) newID(nanoseconds int64) blobID {
	b.idMu.Lock()
	defer b.idMu.Unlock()
	b.last = max(b.last+1, blobID(nanoseconds))
	return b.last
}

func chunkKey(id blobID, n uint32) []byte {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, 12), uint64(id))
	return binary.BigEndian.AppendUint32(key, n)
}

// put writes chunks of a content, the first of them as number n, and syncs them to disk. It
// notes in p if they lie in another file than those before.
func (b *blobs) put(p *place, n uint32, chunks [][]byte) error {
	for {
		f, err := b.writable()
		if err != nil {
			return err
		}
		err = b.noteFailed(f, b.guard(f, func() error { return f.put(b.limit-b.limit/deletionShare, p.id, n, chunks) }))
		if errors.Is(err, bolterrors.ErrMaxSizeReached) || isDamage(err) {
			b.setFull(f, true)
			b.release(f)
			continue
		}
		b.release(f)
		if err == nil && (len(p.parts) == 0 || p.parts[len(p.parts)-1].Volume != f.n) {
			p.parts = append(p.parts, part{f.n, n})
		}
		return err
	}
}

// put writes chunks, which have room for their checksums at the end, into the file. The
// error is bbolt's ErrMaxSizeReached if it would be longer than limit then.
func (f *volume) put(limit int64, id blobID, n uint32, chunks [][]byte) error {
	return f.bolt.Update(func(tx *bbolt.Tx) error {
		f.bolt.MaxSize = int(limit) // only looked at by whoever writes, as this does
		in := tx.Bucket(chunkBucket)
		in.FillPercent = 1 // chunks are appended
		for i, chunk := range chunks {
			key := chunkKey(id, n+uint32(i))
			if in.Get(key) != nil {
				return fmt.Errorf("the content %d is there already", id)
			}
			content := chunk[:len(chunk)-sumBytes]
			binary.BigEndian.PutUint32(chunk[len(content):], chunkSum(key, content))
			if err := in.Put(key, chunk); err != nil {
				return err
			}
		}
		return nil
	})
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func chunkSum(key, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, content)
}

var errChunk = errors.New("the checksum of the content is wrong")

// unseal returns the content of a stored chunk.
func (p place) unseal(key, value []byte) ([]byte, error) {
	if !p.sealed {
		return value, nil
	}
	n := len(value) - sumBytes
	if n < 0 || binary.BigEndian.Uint32(value[n:]) != chunkSum(key, value[:n]) {
		return nil, errChunk
	}
	return value[:n], nil
}

// write copies all of r into a content. The place is right as far as it was written also
// if there is an error.
func (b *blobs) write(ctx context.Context, id blobID, r io.Reader) (place, error) {
	p := place{id: id, chunk: chunkBytes, sealed: true}
	buffer := make([]byte, firstChunks*(chunkBytes+sumBytes))
	var kept [][]byte // chunks of the buffer from the round before
	for n := uint32(0); ; {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		chunks, ended, err := fillChunks(buffer, kept, r)
		if err != nil {
			return p, err
		}
		kept = nil
		if !ended && len(chunks) < batchChunks {
			first := buffer
			buffer = make([]byte, batchChunks*(chunkBytes+sumBytes))
			copy(buffer, first)
			for at := range len(chunks) {
				kept = append(kept, chunkOf(buffer, at, chunkBytes))
			}
			continue
		}
		if len(chunks) > 0 {
			if err := b.put(&p, n, chunks); err != nil {
				return p, err
			}
			n += uint32(len(chunks))
		}
		if ended {
			return p, nil
		}
	}
}

// chunkOf is the room for a chunk of size bytes and its checksum in a buffer.
func chunkOf(buffer []byte, n, size int) []byte {
	at := n * (chunkBytes + sumBytes)
	return buffer[at : at+size+sumBytes]
}

// fillChunks reads chunks behind those that the buffer has until it is full or r has ended.
func fillChunks(buffer []byte, have [][]byte, r io.Reader) (chunks [][]byte, ended bool, err error) {
	chunks = have
	for n := len(have); n < len(buffer)/(chunkBytes+sumBytes) && !ended; n++ {
		var got int
		got, ended, err = fill(chunkOf(buffer, n, chunkBytes)[:chunkBytes], r)
		if err != nil {
			return nil, false, err
		}
		if got > 0 {
			chunks = append(chunks, chunkOf(buffer, n, got))
		}
	}
	return chunks, ended, nil
}

// fill reads until the buffer is full or r has ended. io.ReadFull does not do: it cannot
// tell the end of r from a connection that broke off, which is io.ErrUnexpectedEOF too.
func fill(buffer []byte, r io.Reader) (got int, ended bool, err error) {
	for got < len(buffer) {
		n, err := r.Read(buffer[got:])
		got += n
		if err == io.EOF {
			return got, true, nil
		}
		if err != nil {
			return got, false, err
		}
	}
	return got, false, nil
}

// read copies chunks of a content out of their file into buffer, as many as it holds, but
// none of a further file. io.ErrUnexpectedEOF if the first is not there; a *kv.DamagedError
// if one is not what was written.
func (b *blobs) read(p place, n uint32, buffer []byte) (got int, err error) {
	err = b.with(p.volumeOf(n), func(f *volume) error {
		return f.bolt.View(func(tx *bbolt.Tx) error {
			var raw []byte
			room := func(value []byte) bool {
				return len(buffer)-got >= len(value) || p.sealed && len(buffer)-got >= len(value)-sumBytes
			}
			c := tx.Bucket(chunkBucket).Cursor()
			for key, value := c.Seek(chunkKey(p.id, n)); ofBlob(key, p.id) && room(value); key, value = c.Next() {
				if binary.BigEndian.Uint32(key[8:]) != n {
					break
				}
				content, err := p.unseal(key, value)
				if err != nil {
					return &kv.DamagedError{File: b.path(f.n), Offset: -1, Key: fmt.Sprintf("part %d of content %d", n, p.id), Err: err}
				}
				got += copy(buffer[got:], content)
				raw, n = value, n+1
				if int64(len(content)) < p.chunk {
					break // the last one
				}
			}
			if raw == nil {
				return io.ErrUnexpectedEOF
			}
			b.account(tx, f, raw, got)
			return nil
		})
	})
	if errors.Is(err, errNoVolume) {
		err = io.ErrUnexpectedEOF
	}
	return got, err
}

// account notes that n bytes were read through the mapping, and gives pages back in time.
func (b *blobs) account(tx *bbolt.Tx, f *volume, raw []byte, n int) {
	b.mu.Lock()
	f.seen += int64(n)
	due := f.seen >= residentBytes
	if due {
		f.seen = 0
	}
	b.mu.Unlock()
	if due {
		giveBack(tx, raw)
	}
}

// remove deletes the chunks of a content, a few in each transaction, and the files that
// are empty then.
func (b *blobs) remove(ctx context.Context, p place) error {
	parts := p.parts
	if len(parts) == 0 {
		parts = []part{{Volume: oldVolume}}
	}
	for _, at := range parts {
		err := b.removeFrom(ctx, at.Volume, p.id)
		if err != nil && !errors.Is(err, errNoVolume) {
			return err
		}
	}
	return nil
}

func (b *blobs) removeFrom(ctx context.Context, n uint32, id blobID) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := b.with(n, func(f *volume) (err error) {
			if b.isDamaged(f) { // nothing is written over what makes no sense
				more = false
				return nil
			}
			err = b.noteFailed(f, b.guard(f, func() error {
				more, err = f.remove(id)
				return err
			}))
			b.setFull(f, false)
			return err
		})
		if err != nil {
			return err
		}
	}
	return b.drop(n)
}

// remove deletes some chunks of a content and says whether there are more.
func (f *volume) remove(id blobID) (more bool, err error) {
	err = f.bolt.Update(func(tx *bbolt.Tx) error {
		f.bolt.MaxSize = 0 // a full file has to grow a little before it gets emptier
		c := tx.Bucket(chunkBucket).Cursor()
		var keys [][]byte
		for key, _ := c.Seek(chunkKey(id, 0)); ofBlob(key, id); key, _ = c.Next() {
			if more = len(keys) == removeChunks; more {
				break
			}
			keys = append(keys, append([]byte(nil), key...))
		}
		for _, key := range keys {
			if err := tx.Bucket(chunkBucket).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return more, err
	}
	return more, f.relieve()
}

// relieve gives back the pages that a commit has read through the mapping.
func (f *volume) relieve() error {
	return f.bolt.View(func(tx *bbolt.Tx) error {
		key, _ := tx.Bucket(chunkBucket).Cursor().First()
		giveBack(tx, key)
		return nil
	})
}

func ofBlob(key []byte, id blobID) bool {
	return len(key) == 12 && binary.BigEndian.Uint64(key) == uint64(id)
}

// piece is what a file has of a content.
type piece struct {
	volume uint32
	id     blobID
}

// sizes are all contents in all files and how many bytes each has there.
func (b *blobs) sizes(ctx context.Context) (map[piece]int64, error) {
	all := map[piece]int64{}
	for _, n := range b.numbers() {
		err := b.with(n, func(f *volume) error {
			return f.bolt.View(func(tx *bbolt.Tx) error {
				var last []byte
				defer func() { giveBack(tx, last) }()
				return tx.Bucket(chunkBucket).ForEach(func(key, chunk []byte) error {
					if len(key) != 12 {
						return fmt.Errorf("a chunk in %s has the key %x", volumeName(n), key)
					}
					all[piece{n, blobID(binary.BigEndian.Uint64(key))}] += int64(len(chunk))
					b.account(tx, f, key, len(chunk))
					last = key
					return ctx.Err()
				})
			})
		})
		if err != nil && !errors.Is(err, errNoVolume) {
			return nil, err
		}
	}
	return all, nil
}

// blobReader reads a content of known size, a few chunks at a time; each time in a
// transaction of its own, so that a slow download keeps nothing from being freed. It gives
// out nothing that is not what was written: chunks without checksums are read once in all
// before the first of them is.
type blobReader struct {
	blobs *blobs
	place place
	size  int64
	sum   [sha256.Size]byte // of all; zero: is not looked at
	at    int64
	held  []byte // from heldAt on
	from  int64
}

// Read reads what is left of the chunks under way.
func (r *blobReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.at < r.from || r.at >= r.from+int64(len(r.held)) {
		if err := r.load(); err != nil {
			return 0, err
		}
	}
	got := copy(p, r.held[r.at-r.from:])
	r.at += int64(got)
	return got, nil
}

func (r *blobReader) load() error {
	if err := r.blobs.proveOld(r); err != nil {
		return err
	}
	n, want := r.at/r.place.chunk, int64(1) // the beginning is often all that is wanted
	if len(r.held) > 0 && r.at == r.from+int64(len(r.held)) {
		want = max(1, readChunks*chunkBytes/r.place.chunk)
	}
	if size := want * r.place.chunk; int64(cap(r.held)) < size {
		r.held = make([]byte, size)
	}
	buffer := r.held[:want*r.place.chunk]
	r.held = r.held[:0]
	got, err := r.blobs.read(r.place, uint32(n), buffer)
	if err != nil {
		return err
	}
	r.held, r.from = buffer[:got], n*r.place.chunk
	if r.at >= r.from+int64(got) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Seek goes to any place of the content or behind its end.
func (r *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	r.at = offset
	return offset, nil
}
