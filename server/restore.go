package server

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"porchlight/kv"
	"porchlight/media"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
)

const (
	// restoreName is the folder, in the data folder, in which a restore puts a server
	// together. Nothing outside of it is touched before all of it is there.
	restoreName = ".restore"
	// movingName marks, in that folder, that its parts are being moved to their places.
	movingName = "moving"
	// maxManifest is how large a manifest may be in bytes: enough for 100,000 files.
	maxManifest = 16 << 20
	// tarBlock is the unit of a tar archive in bytes; two empty ones are its end.
	tarBlock = 512
)

// memberNames are what a backup holds beside its manifest. media.db is of the first releases.
var memberNames = regexp.MustCompile(`^(` + regexp.QuoteMeta(dbName) + `|media\.db|` + mediaName + `/[0-9]{8}\.db)$`)

// errCutShort says that the end of a backup is missing.
var errCutShort = errors.New("the backup is incomplete: its end is missing")

// Restore fills an empty data folder from a backup, and begins another incarnation of the
// server that it is of. It refuses a folder that holds a server already. When it fails or is
// killed, nothing is left that a server would start on, and it can be repeated.
func Restore(data string, r io.Reader) (err error) {
	if there, err := Exists(data); err != nil {
		return err
	} else if there {
		return fmt.Errorf("%s holds a server already: restore into an empty folder", data)
	}
	made := false
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		made = true
	}
	if err := clearRestore(data); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if there, _ := Exists(data); there {
			return // all is in its place, but may not last through a power cut
		}
		err = errors.Join(sayDiskFull(err, data), clearRestore(data))
		if made {
			_ = os.Remove(data) // it may hold something of somebody else's by now
		}
	}()
	tmp := filepath.Join(data, restoreName)
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	if err := unpack(tmp, r); err != nil {
		return err
	}
	if err := beginRestored(filepath.Join(tmp, dbName)); err != nil {
		return fmt.Errorf("the database of the backup: %w", err)
	}
	return moveRestored(data, tmp)
}

func sayDiskFull(err error, data string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("there is not enough space in %s for this backup, so nothing was restored: %w", data, err)
	}
	return err
}

// clearRestore removes what an earlier restore left that failed or was killed.
func clearRestore(data string) error {
	tmp, contents := filepath.Join(data, restoreName), filepath.Join(data, mediaName)
	_, err := os.Stat(filepath.Join(tmp, movingName))
	if err == nil { // the contents outside are of that restore
		err = errors.Join(os.RemoveAll(contents), removeIfThere(filepath.Join(data, oldMediaName)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	switch entries, err := os.ReadDir(contents); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s holds media, of a server whose database is not there: move that folder away, or restore into another one", contents)
	}
	return nil
}

// unpacked is what was read of a backup.
type unpacked struct {
	root    *os.Root
	files   []manifestFile
	claimed *manifest // nil: a backup of an earlier release
}

// unpack writes the files of a backup into a folder and sees that all are there.
func unpack(folder string, r io.Reader) (err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := &unpacked{root: root}
	whole, err := u.read(r)
	if err != nil {
		return err
	}
	if err := u.check(whole); err != nil {
		return err
	}
	if u.claimed == nil {
		if err := u.volumes(folder); err != nil {
			return err
		}
	}
	return syncFolder(folder)
}

// read unpacks the members. whole says that the archive's own end was there.
func (u *unpacked) read(r io.Reader) (whole bool, err error) {
	in := &countingReader{r: r}
	archive := tar.NewReader(in)
	for expected := int64(0); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return in.n-expected >= 2*tarBlock, nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return false, errCutShort
		}
		if err != nil {
			return false, fmt.Errorf("that is not a backup: %w", err)
		}
		if u.claimed != nil {
			return false, errors.New("the backup goes on behind its end")
		}
		expected = in.n + (h.Size+tarBlock-1)/tarBlock*tarBlock
		if err := u.member(h, archive); errors.Is(err, io.ErrUnexpectedEOF) {
			return false, errCutShort
		} else if err != nil {
			return false, err
		}
	}
}

// member unpacks one member; the root keeps it inside the folder.
func (u *unpacked) member(h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("that is not a backup: %q in it is no file", h.Name)
	}
	if h.Name == manifestName {
		raw, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
		if err != nil {
			return err
		}
		u.claimed = &manifest{}
		if err := json.Unmarshal(raw, u.claimed); err != nil || len(raw) > maxManifest {
			return fmt.Errorf("the backup is damaged: its manifest cannot be read: %w", err)
		}
		return nil
	}
	if !memberNames.MatchString(h.Name) {
		return fmt.Errorf("that is not a backup, or one of a later release: it holds %q", h.Name)
	}
	if dir := filepath.Dir(h.Name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := u.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	u.files = append(u.files, manifestFile{h.Name, n, digits(sum)})
	return errors.Join(err, f.Sync(), f.Close())
}

// check compares what was unpacked with the manifest.
func (u *unpacked) check(whole bool) error {
	if len(u.files) == 0 || u.files[0].Name != dbName {
		return errors.New("that is not a backup: the database is not in it")
	}
	if u.claimed == nil {
		if !whole {
			return errCutShort
		}
		return nil
	}
	if u.claimed.Format > manifestFormat {
		return fmt.Errorf("the backup has format %d and this release knows up to %d: please install the release that wrote it",
			u.claimed.Format, manifestFormat)
	}
	have := map[string]manifestFile{}
	for _, f := range u.files {
		have[f.Name] = f
	}
	for _, f := range u.claimed.Files {
		switch got, there := have[f.Name]; {
		case !there:
			return fmt.Errorf("the backup is damaged: %s is not in it", f.Name)
		case got != f:
			return fmt.Errorf("the backup is damaged: %s is not as it was when the backup was made", f.Name)
		}
		delete(have, f.Name)
	}
	for name := range have {
		return fmt.Errorf("the backup is damaged: its manifest does not name %s", name)
	}
	return nil
}

// volumes sees that a backup without a manifest has all files of contents that its database
// names.
func (u *unpacked) volumes(folder string) (err error) {
	db, err := kv.Open(kv.Options{Path: filepath.Join(folder, dbName)})
	if err != nil {
		return fmt.Errorf("the database of the backup: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	have := map[string]bool{}
	for _, f := range u.files {
		have[filepath.Base(f.Name)] = true
	}
	names, err := media.Volumes(context.Background(), db)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !have[name] && !(name == media.OldVolume && have[oldMediaName]) {
			return fmt.Errorf("%w: %s/%s, which holds media, is not in it", errCutShort, mediaName, name)
		}
	}
	return nil
}

// beginRestored begins another incarnation in a database that was just unpacked.
func beginRestored(path string) (err error) {
	db, err := kv.Open(kv.Options{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx := context.Background()
	log, err := changes.New(ctx, db)
	if err != nil {
		return err
	}
	return beginIncarnation(ctx, db, log, e2ee.New(e2ee.Config{DB: db, Changes: log}), 0)
}

// moveRestored moves the parts to their places, the database last: with it, there is a
// server.
func moveRestored(data, tmp string) error {
	mark, err := os.OpenFile(filepath.Join(tmp, movingName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(mark.Sync(), mark.Close(), syncFolder(tmp), syncFolder(data)); err != nil {
		return err
	}
	contents := filepath.Join(data, mediaName)
	for _, name := range []string{mediaName, oldMediaName} {
		from := filepath.Join(tmp, name)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if name == mediaName {
			if err := errors.Join(syncFolder(from), removeIfThere(contents)); err != nil { // it may be there, and empty
				return err
			}
		}
		if err := os.Rename(from, filepath.Join(data, name)); err != nil {
			return err
		}
	}
	if err := syncFolder(data); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(tmp, dbName), filepath.Join(data, dbName)); err != nil {
		return err
	}
	if err := errors.Join(syncFolder(data), syncFolder(filepath.Dir(filepath.Clean(data)))); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// unfinishedRestore refuses a folder in which a restore was killed: an empty server there
// would be taken for the restored one.
func unfinishedRestore(data string) error {
	there, err := Exists(data)
	if err != nil || there {
		return err
	}
	tmp := filepath.Join(data, restoreName)
	switch _, err := os.Stat(tmp); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("a restore into %s was not finished: run it again, or remove %s to begin with an empty server", data, tmp)
}

// countingReader counts what was read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read reads on.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
