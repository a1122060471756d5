package kv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// TestShortenedUnderneath: a file that loses its end while it is open gives errors.
func TestShortenedUnderneath(t *testing.T) {
	for _, part := range []int64{2, 100, 1 << 40} {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			s := makeSample(t)
			db, tables, err := openSample(s.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(s.path, int64(len(s.data))/part); err != nil {
				t.Fatal(err)
			}
			if _, err := readSample(db, tables); !isDamage(err) {
				t.Errorf("read: %v", err)
			}
			_, err = db.Check(t.Context())
			if err != nil && !isDamage(err) {
				t.Errorf("check: %v", err)
			}
			err = db.Update(t.Context(), func(tx *WriteTx) error {
				for range tables.events.Scan(tx, All()) {
				}
				tables.ids.Put(tx, "$new", 1)
				return nil
			})
			if !isDamage(err) {
				t.Errorf("write: %v", err)
			}
			_ = db.Close() // comes back
		})
	}
}

// TestCheckBesideWriters: what is in order is found in order while others write, also when
// the file outgrows much.
func TestCheckBesideWriters(t *testing.T) {
	s := makeSample(t)
	db, tables, err := openSample(s.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				err := db.Update(context.WithoutCancel(ctx), func(tx *WriteTx) error {
					tables.events.Put(tx, sampleKey{fmt.Sprint("!w", w), n}, "text")
					tables.events.Delete(tx, sampleKey{fmt.Sprint("!w", w), n - min(n, 20)})
					return nil
				})
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	for range 20 {
		if problems, err := db.Check(t.Context()); err != nil || len(problems) > 0 {
			t.Errorf("check: %q, %v", problems, err)
		}
		if err := db.CheckPages(t.Context()); err != nil {
			t.Errorf("check of pages: %v", err)
		}
	}
	stop()
	writers.Wait()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestOnlyWhoMeetsDamageFails: of functions that would share a commit, and of deferred
// ones, those succeed that have nothing to do with the damaged page.
func TestOnlyWhoMeetsDamageFails(t *testing.T) {
	s := makeSample(t)
	db, tables, err := openSample(s.path)
	if err != nil {
		t.Fatal(err)
	}
	// A leaf of the room in the middle is lost while the file is open.
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	lost := sampleKey{}
	err = db.pinned(t.Context(), func(p *pageReader) error {
		w := &walker{pageReader: p, report: func(*DamagedError) {}}
		w.visit = func(bucket string, page uint64, rows []element) {
			if bucket == "main" && lost.Room == "" && slices.ContainsFunc(rows, func(e element) bool { return e.key[0] == Events.Tag }) && page > 10 {
				if err := tables.events.codec.decode(rows[0].key[1:], reflect.ValueOf(&lost).Elem()); err != nil || lost.Room != "!room1" {
					lost = sampleKey{}
					return
				}
				_, err = f.WriteAt(make([]byte, pageSize), int64(page)*pageSize)
			}
		}
		return errors.Join(err, w.walk(t.Context()))
	})
	if err = errors.Join(err, f.Close()); err != nil || lost.Room == "" {
		t.Fatal(lost, err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // the others gather behind this one
		err := db.Update(t.Context(), func(*WriteTx) error { close(begun); <-goOn; return nil })
		if err != nil {
			t.Errorf("the first: %v", err)
		}
	})
	<-begun
	var mu sync.Mutex
	results := map[int]error{}
	for i := range 6 {
		all.Go(func() {
			err := db.Update(t.Context(), func(tx *WriteTx) error {
				key := sampleKey{"!other", uint64(i)}
				if i == 3 {
					key = lost
				}
				tables.events.Put(tx, key, "new")
				return nil
			})
			mu.Lock()
			results[i] = err
			mu.Unlock()
		})
	}
	db.Defer("bad", func(tx *WriteTx) error { tables.events.Put(tx, lost, "deferred"); return nil })
	db.Defer("good", func(tx *WriteTx) error { tables.ids.Put(tx, "$deferred", 1); return nil })
	close(goOn)
	all.Wait()
	for i, err := range results {
		if i == 3 != isDamage(err) || i != 3 && err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	err = errors.Join(db.Flush(), db.View(t.Context(), func(tx *ReadTx) error {
		if !tables.ids.Has(tx, "$deferred") {
			t.Error("a deferred write was lost over another")
		}
		for i := range 6 {
			if i != 3 && !tables.events.Has(tx, sampleKey{"!other", uint64(i)}) {
				t.Errorf("the row of %d is not there", i)
			}
		}
		return nil
	}))
	if err = errors.Join(err, db.Close()); err != nil {
		t.Error(err)
	}
}

// replaced lets the database write into another file, such as a device, until back is called.
func replaced(t *testing.T, db *DB, path string) (back func()) {
	t.Helper()
	fd := int(db.file.Fd())
	kept, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Dup3(int(f.Fd()), fd, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(syscall.Dup3(kept, fd, syscall.O_CLOEXEC), syscall.Close(kept)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk: a commit for which there is no room is refused, and later ones succeed.
func TestFullDisk(t *testing.T) {
	s := makeSample(t)
	db, tables, err := openSample(s.path)
	if err != nil {
		t.Fatal(err)
	}
	put := func() error {
		return db.Update(t.Context(), func(tx *WriteTx) error { tables.ids.Put(tx, "$new", 1); return nil })
	}
	back := replaced(t, db, "/dev/full")
	if err := put(); !errors.Is(err, syscall.ENOSPC) || !DiskFull(err) {
		t.Errorf("a full disk: %v", err)
	}
	back()
	if err := errors.Join(put(), db.Unwritable()); err != nil {
		t.Errorf("after it: %v", err)
	}
	if problems, err := db.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("check: %q, %v", problems, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestFailedSync: after a sync that failed nothing is acknowledged any more, although the
// disk seems to work again. Reading goes on, and so do functions that write nothing.
func TestFailedSync(t *testing.T) {
	s := makeSample(t)
	db, tables, err := openSample(s.path)
	if err != nil {
		t.Fatal(err)
	}
	put := func() error {
		return db.Update(t.Context(), func(tx *WriteTx) error { tables.ids.Put(tx, "$new", 1); return nil })
	}
	back := replaced(t, db, "/dev/null") // takes writes, and no sync
	if err := put(); err == nil || db.Unwritable() == nil {
		t.Errorf("a failed sync: %v, %v", err, db.Unwritable())
	}
	back()
	select {
	case <-db.Refused():
	default:
		t.Error("nobody was told")
	}
	if _, is := errors.AsType[*UnwritableError](put()); !is {
		t.Error("a later commit was acknowledged")
	}
	rows, err := readSample(db, tables)
	if err != nil || len(rows) != len(s.rows) {
		t.Errorf("%d of %d rows are read: %v", len(rows), len(s.rows), err)
	}
	err = db.Update(t.Context(), func(tx *WriteTx) error {
		if tables.ids.Has(tx, "$new") {
			return errors.New("the refused row is there")
		}
		return nil
	})
	if err != nil {
		t.Errorf("a function that writes nothing: %v", err)
	}
	db.Defer("k", func(tx *WriteTx) error { tables.ids.Put(tx, "$deferred", 1); return nil })
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func TestCannotWrite(t *testing.T) {
	write := func(errno syscall.Errno) error { return &os.PathError{Op: "write", Path: "f", Err: errno} }
	for err, want := range map[error]bool{
		nil: false, syscall.EIO: true, syscall.EINVAL: true, syscall.ENOSPC: false, syscall.EDQUOT: false,
		write(syscall.EIO): true, write(syscall.EROFS): true, write(syscall.ENOSPC): false, write(syscall.EINTR): false,
		errors.New("file resize error: read-only file system"):      true,
		errors.New("file resize error: no space left on device"):    false,
		errors.New("file resize error: truncate f: file too large"): false,
		errors.New("file sync error: sync f: input/output error"):   true,
		errors.New("file sync error: sync f: invalid argument"):     true,
		errors.New("file sync error: sync f: disk quota exceeded"):  false,
		errors.New("tx closed"):                                     false,
	} {
		if got := CannotWrite(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if !errors.Is(withErrno(errors.New("file resize error: truncate f: no space left on device")), syscall.ENOSPC) {
		t.Error("the system's error is lost")
	}
}
