package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

// small files, so that a few uploads fill several.
const smallVolume = 4 << 20

func setUpSmall(t *testing.T, folder string) *fixture {
	return openWith(t, folder, Config{MaxUpload: 64 << 20, VolumeBytes: smallVolume, MinFree: -1})
}

// different is content that no other number has.
func different(n, size int) []byte {
	content := noise(size)
	copy(content, fmt.Sprintf("%020d", n))
	return content
}

func (f *fixture) mustRead(i Item, want []byte) {
	f.Helper()
	if got, err := io.ReadAll(f.k.Open(i)); err != nil || !bytes.Equal(got, want) {
		f.Errorf("%s: %d bytes of %d: %v", i.URI(), len(got), len(want), err)
	}
}

func (f *fixture) files() []uint32 { return f.k.blobs.numbers() }

func TestFilesRotateAndGo(t *testing.T) {
	folder := t.TempDir()
	f := setUpSmall(t, folder)
	large := different(0, 10<<20) // lies in three files at least
	items := []Item{f.upload(large, "", "")}
	for i := 1; i < 12; i++ {
		items = append(items, f.upload(different(i, 1<<20), "", ""))
	}
	for _, n := range f.files() {
		info, err := os.Stat(f.k.blobs.path(n))
		if err != nil || info.Size() > smallVolume {
			t.Errorf("file %d has %d bytes: %v", n, info.Size(), err)
		}
	}
	if n := len(f.files()); n < 6 {
		t.Errorf("%d files for 21 MB", n)
	}
	f.mustRead(items[0], large)
	r := f.k.Open(items[0])
	for _, at := range []int64{0, 9 << 20, 3<<20 + 5, 10<<20 - 1} { // back and forth through the files
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := io.ReadFull(r, b); err != nil || b[0] != large[at] {
			t.Errorf("byte %d: %x %v", at, b, err)
		}
	}
	if n := f.k.blobs.open; n > maxMapped() {
		t.Errorf("%d files are open", n)
	}
	before := len(f.files())
	if err := f.k.Delete(t.Context(), house, items[0].ID); err != nil {
		t.Fatal(err)
	}
	if n := len(f.files()); n >= before {
		t.Errorf("%d files before, %d after", before, n)
	}
	entries, err := os.ReadDir(filepath.Join(folder, "media"))
	if err != nil || len(entries) != len(f.files()) {
		t.Errorf("%d files in the folder: %v", len(entries), err)
	}
	// What is left can be read, and what is deleted makes room for what comes.
	for i, item := range items[1:] {
		f.mustRead(item, different(i+1, 1<<20))
	}
	for i := 1; i < 12; i += 2 {
		if err := f.k.Delete(t.Context(), house, items[i].ID); err != nil {
			t.Fatal(err)
		}
	}
	before = len(f.files())
	for i := range 5 {
		f.upload(different(100+i, 1<<20), "", "")
	}
	if n := len(f.files()); n > before {
		t.Errorf("%d files before and %d after as much was added as was deleted", before, n)
	}
}

func TestSpaceIsUsedAgainAfterARestart(t *testing.T) {
	folder := t.TempDir()
	t.Run("before", func(t *testing.T) {
		f := setUpSmall(t, folder)
		var items []Item
		for i := range 10 {
			items = append(items, f.upload(different(i, 1<<20), "", ""))
		}
		for i := 0; i < 10; i += 2 {
			if err := f.k.Delete(t.Context(), house, items[i].ID); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("after", func(t *testing.T) {
		f := setUpSmall(t, folder)
		before := len(f.files())
		for i := range 4 {
			f.upload(different(100+i, 1<<20), "", "")
		}
		if n := len(f.files()); n > before {
			t.Errorf("%d files before, %d after", before, n)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	f := setUpSmall(t, t.TempDir())
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			content := different(i, 700_000+i*10_000)
			item, err := f.k.Upload(t.Context(), alice, "", "", bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := io.ReadAll(f.k.Open(item)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("upload %d: %d bytes, %v", i, len(got), err)
			}
			if i%2 == 0 {
				if err := f.k.Delete(t.Context(), house, item.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := f.contents(); n < 8 {
		t.Errorf("%d contents", n)
	}
}

// oldHouse makes media as the first houses kept them: one file, larger chunks, no counts.
func oldHouse(t *testing.T, folder string, content []byte) (id string) {
	t.Helper()
	path := filepath.Join(folder, "media.db")
	if err := createVolume(path); err != nil {
		t.Fatal(err)
	}
	b, err := openBolt(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	var chunks [][]byte
	for at := 0; at < len(content); at += oldChunkBytes {
		chunks = append(chunks, content[at:min(at+oldChunkBytes, len(content))])
	}
	if err := (&volume{bolt: b}).put(0, 7, 0, chunks); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := kv.Open(kv.Options{Path: filepath.Join(folder, "porchlight.db")})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	items, refs := kv.NewTable[itemKey, itemRow](db, kv.MediaItems), kv.NewTable[[32]byte, blobRow](db, kv.MediaBlobs)
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		items.Put(tx, itemKey{house, "Old"}, itemRow{Type: "image/png", Size: int64(len(content)), Uploader: alice, Created: 1, SHA256: sum[:]})
		refs.Put(tx, sum, blobRow{Blob: 7, Size: int64(len(content)), Refs: 1})
		return nil
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return "Old"
}

func TestAnOldHouseKeepsItsMedia(t *testing.T) {
	folder := t.TempDir()
	content := noise(3*oldChunkBytes + 5)
	id := oldHouse(t, folder, content)
	t.Run("opened", func(t *testing.T) {
		f := setUpSmall(t, folder)
		item, err := f.item(id)
		if err != nil {
			t.Fatal(err)
		}
		f.mustRead(item, content)
		kvtest.View(t, f.db, func(tx *kv.ReadTx) {
			if got := f.k.UsageOf(tx, alice); got != (Usage{int64(len(content)), 1}) {
				t.Errorf("%+v", got)
			}
		})
		if again := f.upload(content, "", ""); again.place.id != 7 {
			t.Error("the same content is there twice")
		}
		f.upload(different(1, 1<<20), "", "")
	})
	t.Run("opened again", func(t *testing.T) {
		f := setUpSmall(t, folder)
		if got := f.files(); len(got) != 2 || got[0] != oldVolume {
			t.Errorf("files %v", got)
		}
		var ids []string
		kvtest.View(t, f.db, func(tx *kv.ReadTx) {
			for item := range f.k.Items(tx) {
				ids = append(ids, item.ID)
			}
		})
		for _, id := range ids {
			if err := f.k.Delete(t.Context(), house, id); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.files(); len(got) != 1 || got[0] == oldVolume {
			t.Errorf("files %v", got)
		}
	})
}

func TestABackupHasAllOfItsRows(t *testing.T) {
	f := setUpSmall(t, t.TempDir())
	kept, deleted := f.upload(different(1, 5<<20), "", ""), f.upload(different(2, 5<<20), "", "")
	release := f.k.Hold()
	other := f.k.Hold() // two at once
	if err := f.k.Delete(t.Context(), house, deleted.ID); err != nil {
		t.Fatal(err)
	}
	if n := f.contents(); n < 2 {
		t.Errorf("%d contents while a backup goes on", n)
	}
	folder := t.TempDir()
	err := f.k.Backup(t.Context(), func(name string, size int64, write func(io.Writer) error) error {
		var b bytes.Buffer
		if err := write(&b); err != nil || int64(b.Len()) != size {
			t.Errorf("%s: %d bytes of %d, %v", name, b.Len(), size, err)
		}
		return os.WriteFile(filepath.Join(folder, name), b.Bytes(), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	copied, err := openVolumes(folder, smallVolume)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []Item{kept, deleted} {
		n, err := io.Copy(io.Discard, &blobReader{blobs: &blobs{volumes: copied}, place: item.place, size: item.Size})
		if n != item.Size || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := errors.Join(copied.close(), other(), release()); err != nil {
		t.Fatal(err)
	}
	if n := len(f.k.postponed); n != 0 {
		t.Errorf("%d contents are still to be removed", n)
	}
	if n, err := f.k.Repair(t.Context()); n != 0 || err != nil {
		t.Errorf("repaired %d: %v", n, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	err = f.k.Backup(cancelled, func(_ string, _ int64, write func(io.Writer) error) error { return write(io.Discard) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled backup: %v", err)
	}
}

func TestDownloadOfWhatIsDeletedMeanwhile(t *testing.T) {
	f := setUpSmall(t, t.TempDir())
	f.upload(different(0, 3<<20), "", "")
	item := f.upload(different(1, 9<<20), "", "")
	r := f.k.Open(item)
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.k.Delete(t.Context(), house, item.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestBrokenFilesAreReported(t *testing.T) {
	folder := t.TempDir()
	var item Item
	t.Run("before", func(t *testing.T) {
		item = setUpSmall(t, folder).upload(different(1, 1<<20), "", "")
	})
	b, err := openBolt(filepath.Join(folder, "media", volumeName(item.place.parts[0].Volume)), 0)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bbolt.Tx) error { return tx.Bucket(chunkBucket).Delete(chunkKey(item.place.id, 3)) })
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := kv.Open(kv.Options{Path: filepath.Join(folder, "porchlight.db")})
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(Config{DB: db, Folder: filepath.Join(folder, "media"), Server: house})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := db.Check(t.Context())
	if len(problems) != 1 || err != nil {
		t.Errorf("%q %v", problems, err)
	}
	if _, err := io.Copy(io.Discard, k.Open(item)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reading: %v", err)
	}
	if err := errors.Join(k.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.blobs.acquire(1); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("after closing: %v", err)
	}
}

// TestABackupHoldsNobodyUp uploads and downloads while a file is read by a slow backup.
func TestABackupHoldsNobodyUp(t *testing.T) {
	f := setUpSmall(t, t.TempDir())
	item := f.upload(different(0, 10<<10), "", "")
	err := f.k.Backup(t.Context(), func(string, int64, func(io.Writer) error) error {
		f.upload(different(1, 3<<20), "", "") // the file grows a hundredfold
		f.mustRead(item, different(0, 10<<10))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRenameWritesNothingOver: a file of the first releases that came back is not moved over
// the one that is there.
func TestRenameWritesNothingOver(t *testing.T) {
	folder := t.TempDir()
	from, to := filepath.Join(folder, "media.db"), filepath.Join(folder, "00000000.db")
	for path, body := range map[string]string{from: "new", to: "old"} {
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := renameIfThere(from, to); err == nil || !strings.Contains(err.Error(), from) {
		t.Errorf("the error is %v", err)
	}
	if raw, err := os.ReadFile(to); err != nil || string(raw) != "old" {
		t.Errorf("the file is %q, %v", raw, err)
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	if err := renameIfThere(from, to); err != nil {
		t.Error(err)
	}
	if err := renameIfThere(from, to); err != nil { // there is nothing to move
		t.Error(err)
	}
}
