package media

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
)

const bob matrix.UserID = "@bob:example.org"

func (f *fixture) create(user matrix.UserID) (item Item, err error) {
	f.Helper()
	err = f.db.Update(f.Context(), func(tx *kv.WriteTx) (err error) {
		item, err = f.k.Create(tx, user)
		return err
	})
	return item, err
}

func (f *fixture) mustCreate() Item {
	f.Helper()
	item, err := f.create(alice)
	if err != nil {
		f.Fatal(err)
	}
	return item
}

func (f *fixture) uploadTo(i Item, content string) error {
	_, err := f.k.UploadTo(f.Context(), i.Server, i.ID, i.Uploader, "text/plain", "note.txt", strings.NewReader(content))
	return err
}

func (f *fixture) pendings() (n int) {
	kvtest.View(f, f.db, func(tx *kv.ReadTx) {
		for range f.k.pendings.Scan(tx, kv.All()) {
			n++
		}
	})
	return n
}

func TestContentThatComesLater(t *testing.T) {
	f := setUp(t)
	made := f.mustCreate()
	if got := time.Until(made.Expires); got < PendingLife-time.Minute || got > PendingLife {
		t.Errorf("expires in %v", got)
	}
	if _, err := f.item(made.ID); !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
		t.Errorf("before: %v", err)
	}
	for name, c := range map[string]struct {
		server matrix.ServerName
		id     string
		user   matrix.UserID
		code   string
	}{
		"unknown":   {house, "Nothing", alice, "M_NOT_FOUND"},
		"malformed": {house, "../x", alice, "M_NOT_FOUND"},
		"foreign":   {"elsewhere.org", made.ID, alice, "M_NOT_FOUND"},
		"others'":   {house, made.ID, bob, "M_FORBIDDEN"},
	} {
		if _, err := f.k.UploadTo(t.Context(), c.server, c.id, c.user, "", "", strings.NewReader("x")); !matrix.IsCode(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What fails can be tried again.
	if _, err := f.k.UploadTo(t.Context(), house, made.ID, alice, "", "", broken{strings.NewReader("x")}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken off: %v", err)
	}
	if _, err := f.k.UploadTo(t.Context(), house, made.ID, alice, "", "", bytes.NewReader(noise(1<<20+1))); !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("too large: %v", err)
	}
	if err := f.uploadTo(made, "here it is"); err != nil {
		t.Fatal(err)
	}
	item, err := f.item(made.ID)
	if err != nil || item.Name != "note.txt" || item.Pending || item.Uploader != alice {
		t.Errorf("%+v %v", item, err)
	}
	f.mustRead(item, []byte("here it is"))
	if err := f.uploadTo(made, "something else"); !matrix.IsCode(err, "M_CANNOT_OVERWRITE_MEDIA") {
		t.Errorf("again: %v", err)
	}
	if _, err := f.k.UploadTo(t.Context(), house, item.ID, bob, "", "", strings.NewReader("x")); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("somebody else's, again: %v", err)
	}
	normal := f.upload([]byte("a normal upload"), "", "")
	if err := f.uploadTo(normal, "x"); !matrix.IsCode(err, "M_CANNOT_OVERWRITE_MEDIA") {
		t.Errorf("over a normal one: %v", err)
	}
	if n := f.contents(); n != 2 {
		t.Errorf("%d contents", n)
	}
	if n := f.pendings(); n != 0 {
		t.Errorf("%d wait", n)
	}
}

func TestOfTwoUploadsOneWins(t *testing.T) {
	f := setUp(t)
	made := f.mustCreate()
	first, second := make(chan error), make(chan error)
	r, w := io.Pipe()
	go func() {
		_, err := f.k.UploadTo(t.Context(), house, made.ID, alice, "", "", r)
		first <- err
	}()
	if _, err := w.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	go func() { second <- f.uploadTo(made, "quick") }()
	if err := <-second; err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-first; !matrix.IsCode(err, "M_CANNOT_OVERWRITE_MEDIA") {
		t.Errorf("%v", err)
	}
	if n := f.contents(); n != 1 {
		t.Errorf("%d contents", n)
	}
}

func TestPendingIDsAreBoundedAndExpire(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := openWith(t, t.TempDir(), Config{MinFree: -1, Now: func() time.Time { return now }})
	early := f.mustCreate()
	now = now.Add(time.Hour)
	for range MaxPending - 1 {
		f.mustCreate()
	}
	_, err := f.create(alice)
	var refused *matrix.Error
	if !errors.As(err, &refused) || refused.Code != "M_LIMIT_EXCEEDED" || refused.Retry != PendingLife-time.Hour {
		t.Errorf("one more: %+v", refused)
	}
	if _, err := f.create(bob); err != nil {
		t.Errorf("somebody else's: %v", err)
	}
	now = early.Expires
	if _, err := f.item(early.ID); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("expired: %v", err)
	}
	if _, err := f.k.Await(t.Context(), house, early.ID, time.Minute); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("waiting for an expired one: %v", err)
	}
	if err := f.uploadTo(early, "late"); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("upload to an expired one: %v", err)
	}
	again := f.mustCreate() // the expired one counts no more, and is gone
	if n := f.pendings(); n != MaxPending+1 {
		t.Errorf("%d wait", n)
	}
	// An upload that began in time may end later.
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := f.k.UploadTo(t.Context(), house, again.ID, alice, "", "", r)
		done <- err
	}()
	if _, err := w.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	now = again.Expires.Add(time.Second)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("late: %v", err)
	}
	if err := f.k.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.pendings(); n != 0 {
		t.Errorf("%d wait after all have expired", n)
	}
	if _, err := f.item(again.ID); err != nil {
		t.Error(err)
	}
}

// await asks for an item in the background.
func (f *fixture) await(ctx context.Context, i Item, wait time.Duration) chan error {
	answer := make(chan error, 1)
	go func() {
		_, err := f.k.Await(ctx, i.Server, i.ID, wait)
		answer <- err
	}()
	return answer
}

func TestDownloadsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		f := openWith(t, t.TempDir(), Config{MinFree: -1, Closing: closing})
		begun := time.Now()
		took := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(begun).Truncate(time.Second); got != want {
				t.Errorf("%s took %v, want %v", what, got, want)
			}
			begun = time.Now()
		}
		made := f.mustCreate()
		if err := <-f.await(t.Context(), made, 5*time.Second); !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
			t.Errorf("%v", err)
		}
		took("the wait", 5*time.Second)
		if err := <-f.await(t.Context(), made, time.Hour); !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
			t.Errorf("%v", err)
		}
		took("a long wait", MaxWait)
		if err := <-f.await(t.Context(), made, -time.Hour); !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
			t.Errorf("%v", err)
		}
		took("no wait", 0)

		waiting := []chan error{f.await(t.Context(), made, time.Minute), f.await(t.Context(), made, time.Minute)}
		synctest.Wait()
		time.Sleep(3 * time.Second)
		if err := f.uploadTo(made, "at last"); err != nil {
			t.Fatal(err)
		}
		for _, answer := range waiting {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
		took("the upload", 3*time.Second)
		if err := <-f.await(t.Context(), made, time.Minute); err != nil {
			t.Error(err)
		}
		took("what is there", 0)

		other := f.mustCreate()
		ctx, cancel := context.WithCancel(t.Context())
		gone, stays := f.await(ctx, other, time.Minute), f.await(t.Context(), other, time.Minute)
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the client has gone: %v", err)
		}
		close(closing)
		if err := <-stays; !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
			t.Errorf("the house stops: %v", err)
		}
		took("stopping", 0)
		if n := len(f.k.waiting.all); n != 0 {
			t.Errorf("%d wait still", n)
		}
	})
}

func TestWaitingEndsWithTheID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openWith(t, t.TempDir(), Config{MinFree: -1})
		made := f.mustCreate()
		time.Sleep(time.Until(made.Expires) - 10*time.Second)
		begun := time.Now()
		if err := <-f.await(t.Context(), made, 30*time.Second); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("%v", err)
		}
		if got := time.Since(begun); got != 10*time.Second {
			t.Errorf("after %v", got)
		}
	})
}

func TestWaitingGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openWith(t, t.TempDir(), Config{MinFree: -1})
		made := f.mustCreate()
		var all []chan error
		for range maxWaiting {
			all = append(all, f.await(t.Context(), made, 30*time.Second))
			synctest.Wait()
		}
		begun := time.Now()
		late := f.await(t.Context(), made, 30*time.Second)
		if err := <-all[0]; !matrix.IsCode(err, "M_NOT_YET_UPLOADED") {
			t.Errorf("the first: %v", err)
		}
		if time.Since(begun) != 0 {
			t.Error("the first did not give way")
		}
		if err := f.uploadTo(made, "x"); err != nil {
			t.Fatal(err)
		}
		for _, answer := range append(slices.Clone(all[1:]), late) {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
	})
}
