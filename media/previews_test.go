package media

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/media/preview"
	"porchlight/server/matrix"
)

// web is what a Fetcher finds.
type web struct {
	pages    atomic.Int64 // fetched
	picture  []byte
	notThere bool
	wait     chan struct{}
}

func (w *web) Fetch(ctx context.Context, url string) (preview.Page, error) {
	w.pages.Add(1)
	if w.wait != nil {
		select {
		case <-w.wait:
		case <-ctx.Done():
			return preview.Page{}, fmt.Errorf("%w: %w", preview.ErrPage, ctx.Err())
		}
	}
	if w.notThere {
		return preview.Page{}, fmt.Errorf("%w: connection refused by 192.168.1.7", preview.ErrPage)
	}
	return preview.Page{Properties: map[string]string{"og:title": "Title of " + url}, Picture: url + "/p.png"}, nil
}

func (w *web) Picture(context.Context, string) (io.ReadCloser, string, string, error) {
	return io.NopCloser(bytes.NewReader(w.picture)), "image/png", "p.png", nil
}

func (f *fixture) preview(url string) (said map[string]any, err error) {
	f.Helper()
	raw, err := f.k.Preview(f.Context(), url)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		f.Fatal(err)
	}
	return said, nil
}

func TestPreviewsAreKept(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := &web{picture: picture(t, 1, 30, 20)}
	f := openWith(t, t.TempDir(), Config{MinFree: -1, Previews: w, Now: func() time.Time { return now }})
	const url = "https://example.com/a"
	said, err := f.preview(url)
	if err != nil || said["og:title"] != "Title of "+url || said["og:image:width"] != 30.0 || said["og:image:height"] != 20.0 ||
		said["og:image:type"] != "image/png" || said["matrix:image:size"] != float64(len(w.picture)) {
		t.Errorf("%v %v", said, err)
	}
	image := said["og:image"]
	id := fmt.Sprint(image)[len("mxc://")+len(house)+1:]
	item, err := f.item(id)
	if err != nil || item.Uploader != "" || item.Open {
		t.Errorf("%+v %v", item, err)
	}
	if _, err := f.preview(url + "#part"); err != nil || w.pages.Load() != 1 {
		t.Errorf("fetched %d times: %v", w.pages.Load(), err)
	}
	now = now.Add(previewFresh)
	if said, err = f.preview(url); err != nil || w.pages.Load() != 2 || said["og:image"] != image {
		t.Errorf("fetched %d times: %v %v", w.pages.Load(), said, err)
	}
	if n := f.contents(); n != 1 {
		t.Errorf("%d contents", n)
	}
	// Its picture is deleted: the page is asked again.
	if err := f.k.Delete(t.Context(), house, id); err != nil {
		t.Fatal(err)
	}
	if said, err = f.preview(url); err != nil || w.pages.Load() != 3 || said["og:image"] == image {
		t.Errorf("fetched %d times: %v %v", w.pages.Load(), said, err)
	}
	now = now.Add(8 * 24 * time.Hour)
	if err := f.k.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	kvtest.View(t, f.db, func(tx *kv.ReadTx) {
		for range f.k.previews.Scan(tx, kv.All()) {
			t.Error("an old preview is still there")
		}
	})
	if n := f.contents(); n != 0 {
		t.Errorf("%d contents", n)
	}
}

func TestPicturesThatAreNone(t *testing.T) {
	for name, content := range map[string][]byte{"page": []byte("<html><script>"), "empty": nil, "bomb": []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")} {
		f := openWith(t, t.TempDir(), Config{MinFree: -1, Previews: &web{picture: content}})
		said, err := f.preview("https://example.com/")
		if err != nil || said["og:image"] != nil || said["og:title"] == nil {
			t.Errorf("%s: %v %v", name, said, err)
		}
		if n := f.contents(); n != 0 {
			t.Errorf("%s: %d contents", name, n)
		}
	}
}

func TestPreviewsThatThereAreNot(t *testing.T) {
	f := setUp(t)
	if _, err := f.preview("https://example.com/"); !matrix.IsCode(err, "M_UNRECOGNIZED") {
		t.Errorf("switched off: %v", err)
	}
	f.k.Previews = &web{notThere: true}
	_, err := f.preview("https://example.com/")
	if !matrix.IsCode(err, "M_UNKNOWN") || bytes.Contains([]byte(err.Error()), []byte("192.168")) {
		t.Errorf("unreachable: %v", err)
	}
	for _, url := range []string{"", "example.com", "file:///etc/passwd", "https://user:secret@example.com/"} {
		if _, err := f.preview(url); !matrix.IsCode(err, "M_INVALID_PARAM") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestPagesAreFetchedOnceAndAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{picture: picture(t, 1, 3, 3), wait: make(chan struct{})}
		f := openWith(t, t.TempDir(), Config{MinFree: -1, Previews: w})
		ask := func(url string) chan error {
			answer := make(chan error, 1)
			go func() {
				_, err := f.preview(url)
				answer <- err
			}()
			synctest.Wait()
			return answer
		}
		var all []chan error
		for i := range maxFetching {
			all = append(all, ask(fmt.Sprint("https://example.com/", i)), ask(fmt.Sprint("https://example.com/", i)))
		}
		if err := <-ask("https://example.com/more"); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
			t.Errorf("one more: %v", err)
		}
		close(w.wait)
		for _, answer := range all {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
		if n := w.pages.Load(); n != maxFetching {
			t.Errorf("%d pages were fetched", n)
		}
		// A page that never ends.
		w.wait = make(chan struct{})
		begun := time.Now()
		if err := <-ask("https://example.com/slow"); !matrix.IsCode(err, "M_UNKNOWN") {
			t.Errorf("%v", err)
		}
		if got := time.Since(begun); got != preview.Timeout {
			t.Errorf("it took %v", got)
		}
	})
}
