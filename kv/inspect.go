package kv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPause is how long inspect waits before it asks for the lock again.
const lockPause = 20 * time.Millisecond

// inspect looks at a file before it is mapped: whether it is as long as its first pages
// say, whether its list of free pages leaves alone what is in use, and whether nothing
// leads in a circle. For that it reads a hundredth of the file. It returns what it found
// that one can live with.
func inspect(path string) (found []*DamagedError, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !lockShared(f) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	return Inspect(f, path)
}

// Inspect is what Open does with a file of bbolt's before it maps it. The caller sees to
// it that nobody writes into the file meanwhile. The error is a *DamagedError when the
// file must not be mapped or written.
func Inspect(f *os.File, path string) (found []*DamagedError, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	metas, errs := readMetas(f)
	newest := -1
	for i := range metas {
		if errs[i] != nil {
			found = append(found, &DamagedError{File: path, Offset: int64(i) * pageSize, Err: errs[i]})
		} else if newest < 0 || metas[i].tx > metas[newest].tx {
			newest = i
		}
	}
	if newest < 0 {
		return nil, found[0]
	}
	w := &walker{pageReader: &pageReader{r: f, file: path, meta: metas[newest]}}
	if want := w.high * pageSize; w.high < 3 || w.high > maxFileOffset/pageSize || uint64(info.Size()) < want {
		return nil, &DamagedError{File: path, Offset: info.Size(), Err: fmt.Errorf("the file ends here, and should have %d bytes", want)}
	}
	w.report = func(d *DamagedError) { found = append(found, d) }
	if err := w.walkBranches(); err != nil {
		return nil, err
	}
	if w.dangerous != nil {
		return nil, w.dangerous
	}
	return found, nil
}

// lockShared waits as long as bbolt does for whoever writes into the file.
func lockShared(f *os.File) bool {
	for waited := time.Duration(0); ; waited += lockPause {
		if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
			return true
		}
		if waited >= lockTimeout {
			return false
		}
		time.Sleep(lockPause)
	}
}

func (w *walker) walkBranches() error { return w.walk(context.Background()) }
