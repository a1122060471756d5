package media

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/media/thumb"
	"porchlight/server/matrix"
)

const (
	house matrix.ServerName = "example.org"
	alice matrix.UserID     = "@alice:example.org"
)

type fixture struct {
	*testing.T
	db *kv.DB
	k  *Keeper
}

func setUp(t *testing.T) *fixture { return openAt(t, t.TempDir(), 1<<20) }

func openAt(t *testing.T, folder string, limit int64) *fixture {
	t.Helper()
	return openWith(t, folder, Config{MaxUpload: limit, MinFree: -1})
}

func openWith(t *testing.T, folder string, c Config) *fixture {
	t.Helper()
	var k *Keeper
	t.Cleanup(func() { // after the database's check, which reads the contents
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	db := kvtest.OpenAt(t, filepath.Join(folder, "porchlight.db"))
	c.DB, c.Server = db, house
	c.Folder, c.OldFile = filepath.Join(folder, "media"), filepath.Join(folder, "media.db")
	var err error
	if k, err = New(c); err != nil {
		t.Fatal(err)
	}
	return &fixture{t, db, k}
}

func (f *fixture) upload(content []byte, contentType, name string) Item {
	f.Helper()
	item, err := f.k.Upload(f.Context(), alice, contentType, name, bytes.NewReader(content))
	if err != nil {
		f.Fatal(err)
	}
	return item
}

func (f *fixture) item(id string) (item Item, err error) {
	f.Helper()
	kvtest.View(f, f.db, func(tx *kv.ReadTx) { item, err = f.k.Item(tx, house, id) })
	return item, err
}

func (f *fixture) contents() int {
	f.Helper()
	all, err := f.k.blobs.sizes(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return len(all)
}

// noise is content that is the same in each run.
func noise(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b)
	return b
}

func TestWhatGoesInComesOut(t *testing.T) {
	f := openAt(t, t.TempDir(), 8<<20)
	for _, n := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, firstChunks * chunkBytes, firstChunks*chunkBytes + 1, batchChunks * chunkBytes, batchChunks*chunkBytes*2 + 7} {
		content := noise(n)
		id := f.upload(content, "text/plain", "noise.txt").ID
		item, err := f.item(id)
		if err != nil || item.Size != int64(n) || item.Type != "text/plain" || item.Name != "noise.txt" || item.Uploader != alice {
			t.Fatalf("%+v %v", item, err)
		}
		got, err := io.ReadAll(f.k.Open(item))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes became %d: %v", n, len(got), err)
		}
		if n < 10 {
			continue
		}
		r := f.k.Open(item)
		if _, err := r.Seek(-5, io.SeekEnd); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[n-5:]) {
			t.Errorf("the end of %d bytes: %x %v", n, got, err)
		}
	}
}

func TestTheSameContentIsKeptOnce(t *testing.T) {
	f := setUp(t)
	content := noise(1000)
	var ids []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			item, err := f.k.Upload(t.Context(), alice, "", "", bytes.NewReader(content))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			ids = append(ids, item.ID)
			mu.Unlock()
		})
	}
	wg.Wait()
	if n := f.contents(); n != 1 {
		t.Fatalf("%d contents", n)
	}
	for i, id := range ids {
		item, err := f.item(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f.k.Open(item)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("item %d: %v", i, err)
		}
		if err := f.k.Delete(t.Context(), house, id); err != nil {
			t.Fatal(err)
		}
		if err := f.k.Delete(t.Context(), house, id); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("deleted twice: %v", err)
		}
	}
	if n := f.contents(); n != 0 {
		t.Errorf("%d contents are left", n)
	}
}

// broken ends with an error after some bytes, as a connection does.
type broken struct{ r io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestRefusedUploadsLeaveNothing(t *testing.T) {
	f := setUp(t)
	for name, c := range map[string]struct {
		size              int
		contentType, file string
		code              string
	}{
		"too large":    {1<<20 + 1, "", "", "M_TOO_LARGE"},
		"type":         {1, "text / plain", "", "M_INVALID_PARAM"},
		"long name":    {1, "", strings.Repeat("x", MaxNameBytes+1), "M_INVALID_PARAM"},
		"name no text": {1, "", "\xff", "M_INVALID_PARAM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.k.Upload(t.Context(), alice, c.contentType, c.file, bytes.NewReader(noise(c.size)))
			if !matrix.IsCode(err, c.code) {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
	if _, err := f.k.Upload(t.Context(), alice, "", "", broken{bytes.NewReader(noise(batchChunks*chunkBytes - 9))}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken connection: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.k.Upload(ctx, alice, "", "", bytes.NewReader(noise(9))); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled upload: %v", err)
	}
	if n := f.contents(); n != 0 {
		t.Errorf("%d contents are left", n)
	}
	f.upload(noise(1<<20), "", "") // as much as is allowed
}

func TestACrashLeavesNoHalfUpload(t *testing.T) {
	folder := t.TempDir()
	var kept Item
	t.Run("before", func(t *testing.T) {
		f := openAt(t, folder, 8<<20)
		kept = f.upload(noise(chunkBytes+1), "", "")
		// As a crash between the content and its item leaves it, and one amid the content.
		for _, n := range []int{10, chunkBytes * 9} {
			if _, err := f.k.keep(t.Context(), alice, bytes.NewReader(noise(n))); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("after", func(t *testing.T) {
		f := openAt(t, folder, 8<<20)
		busy, err := f.k.keep(t.Context(), alice, strings.NewReader("busy")) // an upload that is under way stays
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.k.Repair(t.Context()); n != 2 || err != nil {
			t.Errorf("removed %d: %v", n, err)
		}
		if n := f.contents(); n != 2 {
			t.Errorf("%d contents", n)
		}
		item, err := f.item(kept.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f.k.Open(item)); err != nil || len(got) != chunkBytes+1 {
			t.Errorf("%d bytes: %v", len(got), err)
		}
		if err := f.k.settle(busy, 0, io.EOF); err != io.EOF && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if n := f.contents(); n != 1 {
			t.Errorf("%d contents after the upload failed", n)
		}
	})
}

func TestMediaIDs(t *testing.T) {
	f := setUp(t)
	for _, id := range []string{"", "..", "a/b", "a%2Fb", strings.Repeat("a", 300), "nope", "ä"} {
		if _, err := f.item(id); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestHeadersOfContent(t *testing.T) {
	for _, c := range []struct{ contentType, name, wantType, want string }{
		{"image/png", "cat.png", "image/png", "inline; filename=cat.png"},
		{"image/svg+xml", "evil.svg", "image/svg+xml", "attachment; filename=evil.svg"},
		{"text/html; charset=utf-8", "", "text/html; charset=utf-8", "attachment"},
		{"TEXT/Plain; charset=utf-8", "a b.txt", "TEXT/Plain; charset=utf-8", `inline; filename="a b.txt"`},
		{"nonsense", "x", defaultType, "attachment; filename=x"},
		{"", "", defaultType, "attachment"},
		{"image/png", "Kätzchen\"\r\n.png", "image/png", "inline; filename*=utf-8''K%C3%A4tzchen%22%0D%0A.png"},
	} {
		h := Headers(c.contentType, c.name)
		if h["Content-Type"] != c.wantType || h["Content-Disposition"] != c.want {
			t.Errorf("%q %q: %q %q", c.contentType, c.name, h["Content-Type"], h["Content-Disposition"])
		}
		if h["X-Content-Type-Options"] != "nosniff" || !strings.HasPrefix(h["Content-Security-Policy"], "sandbox;") || h["Cross-Origin-Resource-Policy"] != "cross-origin" {
			t.Errorf("%v", h)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("image/png", "cat.png")
	f.Add("text/html;a=b", "\"\\\r\nSet-Cookie: x")
	f.Add("a/b; c=\"", "\u202e\x00\xff")
	f.Fuzz(func(t *testing.T, contentType, name string) {
		for key, value := range Headers(contentType, name) {
			if strings.ContainsAny(value, "\r\n\x00") {
				t.Errorf("%s: %q", key, value)
			}
			if key == "Content-Disposition" && name != "" && !strings.Contains(value, "filename") {
				t.Errorf("%q is lost: %q", name, value)
			}
			if key == "Content-Disposition" && strings.HasPrefix(value, "inline") && strings.Contains(contentType, "html") {
				t.Errorf("%q is inline", contentType)
			}
		}
	})
}

func TestThumbnailOfAnItem(t *testing.T) {
	f := setUp(t)
	var b bytes.Buffer
	picture := image.NewRGBA(image.Rect(0, 0, 400, 200))
	for i := range picture.Pix {
		picture.Pix[i] = 0xff
	}
	picture.Set(3, 3, color.Black)
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	item := f.upload(b.Bytes(), "image/png", "")
	small, err := f.k.Thumbnail(t.Context(), item, thumb.Size{Width: 40, Height: 40})
	if err != nil || small.Type != "image/jpeg" {
		t.Fatalf("%+v %v", small, err)
	}
	config, _, err := image.DecodeConfig(small.Content)
	if err != nil || config.Width != 192 || config.Height != 96 {
		t.Errorf("%+v %v", config, err)
	}
	if p, err := f.k.Thumbnail(t.Context(), item, thumb.Size{Width: 500, Height: 500}); p.SHA256 != item.SHA256 || p.Type != "image/png" || err != nil {
		t.Errorf("larger than it is: %+v %v", p, err)
	}
	if _, err := f.k.Thumbnail(t.Context(), item, thumb.Size{Width: -1, Height: 5}); !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Errorf("negative: %v", err)
	}
	text := f.upload([]byte("no picture"), "image/png", "")
	if _, err := f.k.Thumbnail(t.Context(), text, thumb.Size{Width: 5, Height: 5}); !matrix.IsCode(err, "M_UNKNOWN") {
		t.Errorf("no picture: %v", err)
	}
	// It is kept, once, and goes with the picture.
	again, err := f.k.Thumbnail(t.Context(), item, thumb.Size{Width: 96, Height: 90})
	if err != nil || again.SHA256 != small.SHA256 {
		t.Errorf("again: %v", err)
	}
	if n := f.contents(); n != 3 {
		t.Errorf("%d contents", n)
	}
	if err := f.k.Delete(t.Context(), house, item.ID); err != nil {
		t.Fatal(err)
	}
	if n := f.contents(); n != 1 {
		t.Errorf("%d contents are left", n)
	}
}
