package media

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"porchlight/server/matrix"
)

// spoil changes the file of contents where it holds part, also in pages that are free.
func spoil(t *testing.T, folder string, part []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at := bytes.Index(data, part); at >= 0; at = bytes.Index(data, part) {
			data[at] ^= 4
			_, failed := f.WriteAt(data[at:at+1], int64(at))
			err = errors.Join(err, failed)
			found = true
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatal("the content was not found in any file")
	}
}

func (f *fixture) problems() []string {
	f.Helper()
	problems, err := f.db.Check(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return problems
}

// TestDamagedContent: a content that is damaged anywhere is never given out to its end, the
// check names it, and an upload of the same mends it.
func TestDamagedContent(t *testing.T) {
	content := noise(10*chunkBytes + 5)
	for _, at := range []int{0, chunkBytes + 1, 9 * chunkBytes, 10 * chunkBytes} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			f := openAt(t, t.TempDir(), 8<<20)
			id := f.upload(content, "", "").ID
			other := f.upload([]byte("another content"), "", "").ID
			spoil(t, f.k.Folder, content[at:min(at+200, len(content))])
			item, err := f.item(id)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f.k.Open(item))
			if !isDamage(err) || !bytes.HasPrefix(content, got) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if p := f.problems(); len(p) != 1 || !strings.Contains(p[0], id) || !strings.Contains(p[0], "00000001.db") {
				t.Errorf("check: %q", p)
			}
			again := f.upload(content, "", "")
			for _, id := range []string{id, again.ID, other} {
				item, err := f.item(id)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(f.k.Open(item)); err != nil || int64(len(got)) != item.Size {
					t.Errorf("after an upload of the same: %d bytes, %v", len(got), err)
				}
			}
			if n := f.contents(); n != 2 {
				t.Errorf("%d contents are kept", n)
			}
			if p := f.problems(); len(p) != 0 {
				t.Errorf("check after it: %q", p)
			}
		})
	}
}

// TestDamagedOldContent: contents of earlier releases have no checksums; their hash is
// looked at before anything is given out.
func TestDamagedOldContent(t *testing.T) {
	f := openAt(t, t.TempDir(), 8<<20)
	content := noise(3*chunkBytes + 1)
	item := f.upload([]byte("another"), "", "")
	old := place{id: item.place.id + 1, parts: item.place.parts, chunk: chunkBytes}
	put := func(content []byte) {
		err := f.k.blobs.with(1, func(v *volume) error {
			return v.bolt.Update(func(tx *bbolt.Tx) error {
				for n := 0; n*chunkBytes < len(content); n++ {
					chunk := content[n*chunkBytes : min(len(content), (n+1)*chunkBytes)]
					if err := tx.Bucket(chunkBucket).Put(chunkKey(old.id, uint32(n)), chunk); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func() ([]byte, error) {
		f.k.blobs.proven = nil // as after a restart
		return io.ReadAll(&blobReader{blobs: f.k.blobs, place: old, size: int64(len(content)), sum: sha256.Sum256(content)})
	}
	put(content)
	if got, err := read(); err != nil || !bytes.Equal(got, content) {
		t.Errorf("an old content: %d bytes, %v", len(got), err)
	}
	damaged := bytes.Clone(content)
	damaged[len(damaged)-1] ^= 1
	put(damaged)
	if got, err := read(); !isDamage(err) || len(got) != 0 {
		t.Errorf("a damaged old content: %d bytes, %v", len(got), err)
	}
	if err := f.k.blobs.remove(t.Context(), old); err != nil {
		t.Error(err)
	}
}

// TestDamagedVolume: whatever is damaged in a file of contents, reading and writing come
// back, nothing is read that was not uploaded, and what can be uploaded can be read.
func TestDamagedVolume(t *testing.T) {
	whole := t.TempDir()
	f := openAt(t, whole, 8<<20)
	contents := map[string][]byte{}
	for i := range 12 {
		content := noise(5000 * (1 + i*i))
		content[0] = byte(i)
		contents[f.upload(content, "", "").ID] = content
	}
	name := filepath.Join(f.k.Folder, "00000001.db")
	if err := f.k.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	refused, read := 0, 0
	for seed := range 40 {
		random := rand.New(rand.NewPCG(uint64(seed), 3))
		damaged := bytes.Clone(data)
		at := random.IntN(len(data))
		switch seed % 4 {
		case 0:
			damaged[at] ^= 1 << random.IntN(8)
		case 1:
			clear(damaged[at&^4095 : at|4095])
		case 2:
			damaged[at&^4095+random.IntN(32)] ^= 1 << random.IntN(8)
		default:
			damaged = damaged[:at]
		}
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		k := &Keeper{Config: f.k.Config, items: f.k.items, refs: f.k.refs, usages: f.k.usages, pendings: f.k.pendings, thumbs: f.k.thumbs,
			previews: f.k.previews, uploading: map[blobID]matrix.UserID{}}
		v, err := openVolumes(k.Folder, k.VolumeBytes)
		if err != nil {
			t.Fatal(err)
		}
		k.blobs = &blobs{volumes: v}
		for id, content := range contents {
			item, err := f.item(id)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(k.Open(item))
			if err == nil && !bytes.Equal(got, content) {
				t.Errorf("%d: wrong bytes are given out", seed)
			}
			if err != nil {
				refused++
			} else {
				read++
			}
		}
		fresh := noise(2*chunkBytes + seed)
		item, err := k.Upload(t.Context(), alice, "", "", bytes.NewReader(fresh))
		if err != nil {
			t.Errorf("%d: upload: %v", seed, err)
		} else if got, err := io.ReadAll(k.Open(item)); err != nil || !bytes.Equal(got, fresh) {
			t.Errorf("%d: what was uploaded beside the damage: %v", seed, err)
		}
		if err := errors.Join(k.Delete(t.Context(), item.Server, item.ID), k.Close()); err != nil && !isDamage(err) {
			t.Errorf("%d: end: %v", seed, err)
		}
		if err := os.Remove(filepath.Join(k.Folder, "00000002.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d contents refused, %d read", refused, read)
}
