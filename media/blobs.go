package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// chunkBytes is the size of all chunks of a blob but the last: with its key and the
	// page's header it fills 64 pages.
	chunkBytes = 256<<10 - 256
	// chunksPerCommit is how many chunks are written before the disk is waited for. They
	// are the memory that an upload needs.
	chunksPerCommit = 4
	// blobPage is fixed as the house's database's is.
	blobPage = 4096
	// lockTimeout is how long opening waits for another process to let go of the file.
	lockTimeout = time.Second
)

// blobID numbers the contents in the file.
type blobID uint64

// blobs is the file of contents. A chunk's key is the blob's number and its own.
type blobs struct{ bolt *bbolt.DB }

var chunkBucket = []byte("chunks")

// openBlobs opens the file, and creates it under another name first: bbolt's first
// initialisation is not safe against power loss.
func openBlobs(path string) (*blobs, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createBlobs(path); err != nil {
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
	}
	b, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	return &blobs{b}, nil
}

func openBolt(path string) (*bbolt.DB, error) {
	b, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, PageSize: blobPage, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return b, nil
}

func createBlobs(path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := openBolt(tmp)
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
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (b *blobs) close() error { return b.bolt.Close() }

func chunkKey(id blobID, n uint32) []byte {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, 12), uint64(id))
	return binary.BigEndian.AppendUint32(key, n)
}

// newID takes the next number. It is used up even if nothing is written under it.
func (b *blobs) newID() (id blobID, err error) {
	err = b.bolt.Update(func(tx *bbolt.Tx) error {
		n, err := tx.Bucket(chunkBucket).NextSequence()
		id = blobID(n)
		return err
	})
	return id, err
}

// put writes chunks of a blob, the first of them as number n, and syncs them to disk.
func (b *blobs) put(id blobID, n uint32, chunks [][]byte) error {
	return b.bolt.Update(func(tx *bbolt.Tx) error {
		in := tx.Bucket(chunkBucket)
		in.FillPercent = 1 // chunks are appended
		for i, chunk := range chunks {
			if err := in.Put(chunkKey(id, n+uint32(i)), chunk); err != nil {
				return err
			}
		}
		return nil
	})
}

// write copies all of r into a blob.
func (b *blobs) write(ctx context.Context, id blobID, r io.Reader) error {
	buffer := make([]byte, chunkBytes*chunksPerCommit)
	for n := uint32(0); ; n += chunksPerCommit {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, ended, err := fill(buffer, r)
		if err != nil {
			return err
		}
		var chunks [][]byte
		for at := 0; at < got; at += chunkBytes {
			chunks = append(chunks, buffer[at:min(at+chunkBytes, got)])
		}
		if len(chunks) > 0 {
			if err := b.put(id, n, chunks); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
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

// chunk copies a chunk out of the file; io.ErrUnexpectedEOF if it is not there.
func (b *blobs) chunk(id blobID, n uint32) (chunk []byte, err error) {
	err = b.bolt.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(chunkBucket).Get(chunkKey(id, n))
		if raw == nil {
			return io.ErrUnexpectedEOF
		}
		chunk = append([]byte(nil), raw...)
		return nil
	})
	return chunk, err
}

// remove deletes the chunks of a blob, a few in each transaction.
func (b *blobs) remove(ctx context.Context, id blobID) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := b.bolt.Update(func(tx *bbolt.Tx) error {
			more = false
			c := tx.Bucket(chunkBucket).Cursor()
			var keys [][]byte
			for key, _ := c.Seek(chunkKey(id, 0)); ofBlob(key, id); key, _ = c.Next() {
				if len(keys) == 64 {
					more = true
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
			return err
		}
	}
	return nil
}

func ofBlob(key []byte, id blobID) bool {
	return len(key) == 12 && binary.BigEndian.Uint64(key) == uint64(id)
}

// sizes are all blobs in the file and how many bytes each has.
func (b *blobs) sizes(ctx context.Context) (map[blobID]int64, error) {
	all := map[blobID]int64{}
	err := b.bolt.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(chunkBucket).ForEach(func(key, chunk []byte) error {
			if len(key) != 12 {
				return fmt.Errorf("a chunk has the key %x", key)
			}
			all[blobID(binary.BigEndian.Uint64(key))] += int64(len(chunk))
			return ctx.Err()
		})
	})
	return all, err
}

// blobReader reads a blob of known size, one chunk at a time; each in a transaction of its
// own, so that a slow download keeps nothing from being freed.
type blobReader struct {
	blobs *blobs
	id    blobID
	size  int64
	at    int64
	held  []byte // chunk number heldN
	heldN uint32
}

// Read reads what is left of the chunk under way.
func (r *blobReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	n := uint32(r.at / chunkBytes)
	if r.held == nil || n != r.heldN {
		chunk, err := r.blobs.chunk(r.id, n)
		if err != nil {
			return 0, err
		}
		r.held, r.heldN = chunk, n
	}
	from := r.at % chunkBytes
	if from >= int64(len(r.held)) {
		return 0, io.ErrUnexpectedEOF
	}
	got := copy(p, r.held[from:])
	r.at += int64(got)
	return got, nil
}

// Seek goes to any place of the blob or behind its end.
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
