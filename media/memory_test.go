//go:build linux && !race

package media

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"testing"
	"time"
)

// maxExtra is by how much an upload or download of 100 MB may raise the memory of the
// process, in bytes.
const maxExtra = 16 << 20

// resident is the memory of this process in bytes, mapped files included.
func resident(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(raw), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// watch passes bytes on and notes the most memory that there was meanwhile.
type watch struct {
	t    *testing.T
	n    int
	most int64
}

func (w *watch) look(n int) {
	if w.n += n; w.n >= 1<<20 {
		w.n = 0
		w.most = max(w.most, resident(w.t))
	}
}

// Write looks at the memory now and then.
func (w *watch) Write(p []byte) (int, error) { w.look(len(p)); return len(p), nil }

// endless is different bytes, made on the way.
type endless struct {
	*watch
	block []byte
	left  int
}

// Read makes some bytes.
func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), e.left, 32<<10)], e.block[e.left%1000:])
	e.left -= n
	e.look(n)
	return n, nil
}

func TestLargeContentNeedsLittleMemory(t *testing.T) {
	const size = 100 << 20
	f := openAt(t, t.TempDir(), size)
	f.upload([]byte("so that all is opened"), "", "")
	block := bytes.Repeat(noise(1000), 40)
	measure := func(what string, do func(w *watch)) {
		debug.FreeOSMemory()
		w := &watch{t: t}
		before, begun := resident(t), time.Now()
		do(w)
		extra := max(0, w.most-before)
		t.Logf("%s of %d MB: %.1f MB more memory, %.0f MB/s", what, size>>20, float64(extra)/(1<<20), size/(1<<20)/time.Since(begun).Seconds())
		if extra > maxExtra {
			t.Errorf("%s: %d bytes more memory, %d are allowed", what, extra, maxExtra)
		}
	}
	var item Item
	measure("upload", func(w *watch) {
		var err error
		if item, err = f.k.Upload(t.Context(), alice, "", "", &endless{w, block, size}); err != nil {
			t.Fatal(err)
		}
	})
	measure("download", func(w *watch) {
		if n, err := io.Copy(w, f.k.Open(item)); n != size || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	})
	measure("deletion", func(w *watch) {
		if err := f.k.Delete(t.Context(), house, item.ID); err != nil {
			t.Error(err)
		}
		w.look(1 << 20)
	})
}
