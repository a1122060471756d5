package server

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"porchlight/kv"
)

// backupPrefix begins the names of copies of the database that a backup makes and removes.
const backupPrefix = ".backup-"

// manifestName is the last member of a backup.
const manifestName = "porchlight.manifest"

// manifestFormat is the version of the layout of backups.
const manifestFormat = 1

// manifest says what a backup holds. It is written last: a backup that has it is whole.
type manifest struct {
	Format int            `json:"format"`
	Files  []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // in hexadecimal digits
}

// backupWriter writes the members of a backup and notes what they were.
type backupWriter struct {
	s       *Server
	archive *tar.Writer
	wrote   manifest
}

// file writes a member of which the size is known.
func (b *backupWriter) file(name string, size int64, write func(io.Writer) error) error {
	header := &tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: b.s.Config.Now()}
	if err := b.archive.WriteHeader(header); err != nil {
		return err
	}
	sum := sha256.New()
	if err := write(io.MultiWriter(b.archive, sum)); err != nil {
		return err
	}
	b.wrote.Files = append(b.wrote.Files, manifestFile{name, size, digits(sum)})
	return nil
}

func digits(sum hash.Hash) string { return hex.EncodeToString(sum.Sum(nil)) }

// Backup writes everything the house keeps as a tar archive, while it goes on. The rows
// come first and the media after them, of which none are removed meanwhile: what is added
// in that time is too much rather than too little. A manifest comes last.
func (s *Server) Backup(ctx context.Context, w io.Writer) (err error) {
	release := s.Media.Hold()
	defer func() { err = errors.Join(err, release()) }()
	b := &backupWriter{s: s, archive: tar.NewWriter(w), wrote: manifest{Format: manifestFormat}}
	if err := b.rows(ctx); err != nil {
		return err
	}
	err = s.Media.Backup(ctx, func(name string, size int64, write func(io.Writer) error) error {
		return b.file(mediaName+"/"+name, size, write)
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(b.wrote)
	if err != nil {
		return err
	}
	err = b.file(manifestName, int64(len(raw)), func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
	return errors.Join(err, b.archive.Close())
}

// rows copies the database to a file of its own first: its size has to be known, and a slow
// reader must not keep pages of the running house from being used again.
func (b *backupWriter) rows(ctx context.Context) error {
	tmp, err := os.CreateTemp(b.s.Config.Data, backupPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	size, err := b.s.DB.Backup(ctx, tmp)
	if err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return b.file(dbName, size, func(w io.Writer) error {
		_, err := io.Copy(w, tmp)
		return err
	})
}

// compactSuffix ends the name of the copy that Compact makes and renames.
const compactSuffix = ".compact"

// Compact rewrites the database of a house that is not running without the space that
// deleted rows left behind. It returns the sizes in bytes.
func Compact(data string) (before, after int64, err error) {
	path := filepath.Join(data, dbName)
	tmp := path + compactSuffix
	if err := removeIfThere(tmp); err != nil {
		return 0, 0, err
	}
	old, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	if err := kv.Compact(tmp, path); err != nil {
		return 0, 0, errors.Join(err, removeIfThere(tmp))
	}
	now, err := os.Stat(tmp)
	if err != nil {
		return 0, 0, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return 0, 0, errors.Join(err, removeIfThere(tmp))
	}
	return old.Size(), now.Size(), syncFolder(data)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder makes what happened to names in a folder last through a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeLeftovers deletes what backup, compact and restore leave behind when the process is
// killed. Whoever calls it holds the database's lock, so none of them is under way.
func removeLeftovers(data string) error {
	names, err := filepath.Glob(filepath.Join(data, backupPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for leftovers of backups in %s: %w", data, err)
	}
	db := filepath.Join(data, dbName)
	var errs []error
	for _, name := range append(names, db+compactSuffix, db+".new") {
		errs = append(errs, removeIfThere(name))
	}
	return errors.Join(append(errs, os.RemoveAll(filepath.Join(data, restoreName)))...)
}
