package media

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// TestSalvageAndMend: of damaged files of contents, what is whole comes over, and uploads
// whose content is lost are removed and named.
func TestSalvageAndMend(t *testing.T) {
	f := openAt(t, t.TempDir(), 8<<20)
	kept := f.upload(noise(3*chunkBytes), "", "")
	lost := f.upload([]byte("this one will be damaged"), "text/plain", "")
	again := f.upload([]byte("this one will be damaged"), "", "") // the same content
	spoil(t, f.k.Folder, []byte("will be damaged"))
	if err := f.k.blobs.close(); err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(t.TempDir(), "media")
	said, err := Salvage(t.Context(), into, f.k.Folder)
	if err != nil || len(said) > 0 {
		t.Errorf("salvage: %q, %v", said, err) // no page is damaged
	}
	v, err := openVolumes(into, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	f.k.blobs = &blobs{volumes: v}
	said, err = f.k.Mend(t.Context())
	if err != nil || len(said) != 2 || !strings.Contains(strings.Join(said, " "), lost.ID) || !strings.Contains(strings.Join(said, " "), again.ID) {
		t.Errorf("mend: %q, %v", said, err)
	}
	if p := f.problems(); len(p) > 0 {
		t.Errorf("check: %q", p)
	}
	item, err := f.item(kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if n, err := got.ReadFrom(f.k.Open(item)); err != nil || n != kept.Size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if said, err := f.k.Mend(t.Context()); err != nil || len(said) > 0 {
		t.Errorf("the second time: %q, %v", said, err)
	}
}
