package media

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

// BenchmarkChunkSize is what chunkBytes was chosen by: 16 MB uploads into one file, four
// at once, of which every second is deleted again and replaced. "written/byte" is what
// goes to the disk for each byte that is uploaded, "file/byte" how long the file is for
// each byte that is in it at the end.
func BenchmarkChunkSize(b *testing.B) {
	for _, kib := range []int{8, 16, 32, 64, 128, 256} {
		chunk := kib<<10 - 64
		b.Run(fmt.Sprintf("%dKiB", kib), func(b *testing.B) {
			for b.Loop() {
				measureChunks(b, chunk)
			}
		})
	}
}

func measureChunks(b *testing.B, chunk int) {
	const size, uploads, batch = 16 << 20, 8, 1 << 20
	path := filepath.Join(b.TempDir(), "chunks.db")
	if err := createVolume(path); err != nil {
		b.Fatal(err)
	}
	bolt, err := openBolt(path, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer bolt.Close()
	f := &volume{bolt: bolt}
	content := noise(size)
	upload := func(id blobID) {
		per := max(1, batch/chunk)
		var chunks [][]byte
		for at := 0; at < size; at += chunk {
			chunks = append(chunks, content[at:min(at+chunk, size)])
		}
		for n := 0; n < len(chunks); n += per {
			if err := f.put(0, id, uint32(n), chunks[n:min(n+per, len(chunks))]); err != nil {
				b.Error(err)
			}
		}
	}
	many := func(first, step blobID) {
		var all sync.WaitGroup
		for i := first; i < first+step*uploads/2; i += step {
			all.Go(func() { upload(i) })
		}
		all.Wait()
	}
	many(1, 1)
	many(1+uploads/2, 1)
	stats := bolt.Stats().TxStats
	written := stats.GetPageAlloc()
	for i := blobID(1); i <= uploads; i += 2 {
		for more := true; more; {
			if more, err = f.remove(i); err != nil {
				b.Fatal(err)
			}
		}
	}
	many(100, 1)
	var length int64
	err = bolt.View(func(tx *bbolt.Tx) error {
		length = tx.Size()
		for i := 0; i*chunk < size; i++ {
			if len(tx.Bucket(chunkBucket).Get(chunkKey(2, uint32(i)))) == 0 {
				return io.ErrUnexpectedEOF
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size * (uploads + uploads/2))
	b.ReportMetric(float64(written)/(size*uploads), "written/byte")
	b.ReportMetric(float64(length)/(size*uploads), "file/byte")
}

// openBench is a repository to measure.
func openBench(b *testing.B) *Keeper {
	folder := b.TempDir()
	db := kvtest.OpenAt(b, filepath.Join(folder, "porchlight.db"))
	k, err := New(Config{DB: db, Folder: filepath.Join(folder, "media"), Server: house, MaxUpload: 1 << 30, MinFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil { // its check needs the contents
			b.Error(err)
		}
		if err := k.Close(); err != nil {
			b.Error(err)
		}
	})
	return k
}

// BenchmarkUpload uploads what is not there yet: a small picture and a large one.
func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{20 << 10, 200 << 10, 4 << 20, 20 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			k, content, n := openBench(b), noise(size), 0
			b.SetBytes(int64(size))
			for b.Loop() {
				n++
				copy(content, fmt.Sprint(n))
				if _, err := k.Upload(b.Context(), alice, "", "", bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDownload reads a content from its beginning to its end.
func BenchmarkDownload(b *testing.B) {
	k := openBench(b)
	item, err := k.Upload(b.Context(), alice, "", "", bytes.NewReader(noise(20<<20)))
	if err != nil {
		b.Fatal(err)
	}
	err = k.DB.View(b.Context(), func(tx *kv.ReadTx) error {
		_, err := k.Item(tx, house, item.ID)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(item.Size)
	for b.Loop() {
		if _, err := io.Copy(io.Discard, k.Open(item)); err != nil {
			b.Fatal(err)
		}
	}
}
