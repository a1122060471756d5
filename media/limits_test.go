package media

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/media/thumb"
	"porchlight/server/matrix"
)

func (f *fixture) tryUpload(user matrix.UserID, content []byte) error {
	_, err := f.k.Upload(f.Context(), user, "", "", bytes.NewReader(content))
	return err
}

func TestQuotas(t *testing.T) {
	f := openWith(t, t.TempDir(), Config{MinFree: -1, UserQuota: 10 << 20, TotalQuota: 15 << 20, Contact: func(kv.Reader) string { return "matrix:u/owner:example.org" }})
	first := f.upload(different(1, 6<<20), "", "")
	if err := f.tryUpload(alice, different(2, 6<<20)); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("over the user's quota: %v", err)
	}
	if err := f.tryUpload(bob, different(3, 8<<20)); err != nil {
		t.Error(err)
	}
	var refused *matrix.Error
	if err := f.tryUpload(bob, different(4, 1<<20+1)); !errors.As(err, &refused) || refused.Code != "M_RESOURCE_LIMIT_EXCEEDED" || refused.Status != 403 {
		t.Errorf("over everybody's: %v", err)
	}
	if refused.Extra["admin_contact"] != "matrix:u/owner:example.org" {
		t.Errorf("%v", refused.Extra)
	}
	if n := f.contents(); n != 2 {
		t.Errorf("%d contents", n)
	}
	if err := f.k.Delete(t.Context(), house, first.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.tryUpload(alice, different(5, 6<<20)); err != nil {
		t.Errorf("after something was deleted: %v", err)
	}
	// What is there already counts all the same: it would, too, if the other were deleted.
	if err := f.tryUpload(alice, different(5, 6<<20)); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("the same again: %v", err)
	}
}

func TestTheDiskIsNotFilled(t *testing.T) {
	var free atomic.Int64
	free.Store(2000)
	f := openWith(t, t.TempDir(), Config{MinFree: 1000, Free: func(string) (int64, error) { return free.Load(), nil }})
	f.upload([]byte("there is room"), "", "")
	free.Store(999)
	if err := f.tryUpload(alice, []byte("no room")); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("%v", err)
	}
	made := f.mustCreate() // rows go through
	if err := f.uploadTo(made, "no room"); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("%v", err)
	}
	free.Store(2000)
	begun := false
	err := f.tryUpload(alice, nil)
	if err != nil {
		t.Error(err)
	}
	_, err = f.k.Upload(t.Context(), alice, "", "", readerFunc(func(p []byte) (int, error) {
		if begun {
			free.Store(10) // others fill it meanwhile
		}
		begun = true
		return len(p), nil
	}))
	if !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("amid an upload: %v", err)
	}
	if n := f.contents(); n != 1 { // what is empty has no chunks
		t.Errorf("%d contents", n)
	}
	free.Store(2000)
	_, err = f.k.Upload(t.Context(), alice, "", "", readerFunc(func([]byte) (int, error) { return 0, &readError{syscall.ENOSPC} }))
	if !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("the disk is full all of a sudden: %v", err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

func TestTooManyUploadsAtOnce(t *testing.T) {
	f := setUp(t)
	r, w := io.Pipe()
	var all []chan error
	for i := range maxUploading {
		user := alice
		if i >= maxUploadingOne {
			user = bob
		}
		if i == maxUploadingOne {
			if err := f.tryUpload(alice, []byte("one more")); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
				t.Errorf("more than one user may have: %v", err)
			}
		}
		begun, done := make(chan struct{}), make(chan error)
		first := true
		go func() {
			_, err := f.k.Upload(t.Context(), user, "", "", readerFunc(func(p []byte) (int, error) {
				if first {
					close(begun)
					first = false
				}
				return r.Read(p)
			}))
			done <- err
		}()
		<-begun
		all = append(all, done)
	}
	if err := f.tryUpload("@carol:example.org", []byte("one more")); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("%v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, done := range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := f.tryUpload(alice, []byte("one more")); err != nil {
		t.Error(err)
	}
}

func TestQuarantine(t *testing.T) {
	f := setUp(t)
	one, same, other := f.upload([]byte("bad"), "", ""), f.upload([]byte("bad"), "", ""), f.upload([]byte("good"), "", "")
	set := func(id string, hidden bool) (n int, err error) {
		err = f.db.Update(t.Context(), func(tx *kv.WriteTx) error {
			n, err = f.k.Quarantine(tx, house, id, hidden)
			return err
		})
		return n, err
	}
	if n, err := set(one.ID, true); n != 2 || err != nil {
		t.Errorf("%d items: %v", n, err)
	}
	for id, code := range map[string]string{one.ID: "M_NOT_FOUND", same.ID: "M_NOT_FOUND", other.ID: ""} {
		if _, err := f.item(id); code == "" && err != nil || code != "" && !matrix.IsCode(err, code) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := f.tryUpload(bob, []byte("bad")); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("uploaded again: %v", err)
	}
	if n, err := set(same.ID, false); n != 2 || err != nil {
		t.Errorf("%d items: %v", n, err)
	}
	if _, err := f.item(one.ID); err != nil {
		t.Error(err)
	}
	if _, err := set("Nothing", true); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("%v", err)
	}
	if _, err := set(f.mustCreate().ID, true); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("%v", err)
	}
}

// picture is a PNG that no other number has.
func picture(t testing.TB, n, width, height int) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range p.Pix {
		p.Pix[i] = 0xff
	}
	p.Set(n%width, 0, color.RGBA{byte(n), 0, 0, 0xff})
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestThumbnailsAreThrownAway(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := openWith(t, t.TempDir(), Config{MinFree: -1, Now: func() time.Time { return now }, Retention: Retention{ThumbnailAge: 10 * 24 * time.Hour}})
	thumbs := func() Usage {
		var u Usage
		kvtest.View(t, f.db, func(tx *kv.ReadTx) { u, _ = f.k.OwnUsage(tx) })
		return u
	}
	old, used := f.upload(picture(t, 1, 400, 300), "", ""), f.upload(picture(t, 2, 400, 300), "", "")
	draw := func(i Item, want thumb.Size) {
		t.Helper()
		if p, err := f.k.Thumbnail(t.Context(), i, want); err != nil {
			t.Error(err)
		} else if _, _, err := image.Decode(p.Content); err != nil {
			t.Error(err)
		}
	}
	draw(old, thumb.Size{Width: 32, Height: 32})
	draw(used, thumb.Size{Width: 32, Height: 32})
	now = now.Add(6 * 24 * time.Hour)
	draw(used, thumb.Size{Width: 32, Height: 32})
	if err := f.db.Flush(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(6 * 24 * time.Hour)
	if err := f.k.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := thumbs().Items; n != 1 {
		t.Errorf("%d thumbnails are left", n)
	}
	draw(old, thumb.Size{Width: 32, Height: 32}) // is made again
	f.k.Retention.ThumbnailBytes = 1
	if err := f.k.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u := thumbs(); u != (Usage{}) {
		t.Errorf("%+v are left", u)
	}
	// Not any number of sizes is kept.
	for n := range maxVariants + 5 {
		draw(old, thumb.Size{Width: 101 + 5*n, Height: 100, Crop: true})
	}
	if n := thumbs().Items; n != maxVariants {
		t.Errorf("%d sizes are kept", n)
	}
	if n := f.contents(); n != 2+maxVariants {
		t.Errorf("%d contents", n)
	}
}

func TestThumbnailsWaitTheirTurn(t *testing.T) {
	f := setUp(t)
	item := f.upload(picture(t, 1, 400, 300), "", "")
	for range cap(f.k.drawing.queue) {
		f.k.drawing.queue <- struct{}{}
	}
	if _, err := f.k.Thumbnail(t.Context(), item, thumb.Size{Width: 32, Height: 32}); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("%v", err)
	}
}

func TestABombCostsLittle(t *testing.T) {
	f := setUp(t)
	bomb := "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\xc3\x50\x00\x00\xc3\x50\x08\x06\x00\x00\x00\xa9\x5e\x33\x46"
	item := f.upload([]byte(bomb), "image/png", "")
	if _, err := f.k.Thumbnail(t.Context(), item, thumb.Size{Width: 32, Height: 32}); !matrix.IsCode(err, "M_TOO_LARGE") && !matrix.IsCode(err, "M_UNKNOWN") {
		t.Errorf("%v", err)
	}
	if strings.Contains(item.ID, "/") {
		t.Error(item.ID)
	}
}
