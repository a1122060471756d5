package media

import (
	"fmt"
	"io"
	"os"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
)

// TestAStoreOfMoreThanAProcessCanMap has eight files of the full size, 4 GiB together, most
// of it holes: more than a 32-bit process has addresses. .ci/large runs it on one.
func TestAStoreOfMoreThanAProcessCanMap(t *testing.T) {
	const files = 8
	folder := t.TempDir()
	var items []Item
	t.Run("fill", func(t *testing.T) {
		f := setUpSmall(t, folder)
		for i := 0; len(f.files()) < files; i++ {
			items = append(items, f.upload(different(i, 1<<20), "", ""))
		}
		for _, n := range f.files() {
			if err := os.Truncate(f.k.blobs.path(n), DefaultVolumeBytes-volumeGrowth); err != nil {
				t.Fatal(err)
			}
		}
	})
	f := openAt(t, folder, 8<<20)
	total, err := f.k.Bytes()
	if err != nil || total < 3<<30 {
		t.Errorf("the files have %d bytes: %v", total, err)
	}
	for i, item := range items {
		f.mustRead(item, different(i, 1<<20))
		if n := f.k.blobs.open; n > maxMapped() {
			t.Errorf("%d files are mapped", n)
		}
	}
	f.upload(different(1000, 5<<20), "", "")
	for _, item := range items[:len(items)/2] {
		if err := f.k.Delete(t.Context(), house, item.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.files()); n >= files {
		t.Errorf("%d files are left", n)
	}
	// Several at once, from files that are not all mapped.
	errs := make(chan error)
	left := items[len(items)/2:]
	for i, item := range left {
		go func() {
			n, err := io.Copy(io.Discard, f.k.Open(item))
			if err == nil && n != item.Size {
				err = fmt.Errorf("item %d: %d bytes", i, n)
			}
			errs <- err
		}()
	}
	for range left {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	kvtest.View(t, f.db, func(tx *kv.ReadTx) {
		if u := f.k.UsageOf(tx, alice); u.Items != int64(len(left)+1) {
			t.Errorf("%+v", u)
		}
	})
}
