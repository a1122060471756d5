package server

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
)

// Backup writes everything the house keeps as a tar archive, while it goes on. The rows
// come first and the media after them, of which none are removed meanwhile: what is added
// in that time is too much rather than too little.
func (s *Server) Backup(ctx context.Context, w io.Writer) (err error) {
	release := s.Media.Hold()
	defer func() { err = errors.Join(err, release()) }()
	archive := tar.NewWriter(w)
	err = s.backupRows(ctx, archive)
	if err == nil {
		err = s.Media.Backup(ctx, func(name string, size int64, write func(io.Writer) error) error {
			if err := archive.WriteHeader(s.tarHeader(mediaName+"/"+name, size)); err != nil {
				return err
			}
			return write(archive)
		})
	}
	return errors.Join(err, archive.Close())
}

func (s *Server) tarHeader(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: s.Config.Now()}
}

// backupRows copies the database to a file of its own first: its size has to be known, and
// a slow reader must not keep pages of the running house from being used again.
func (s *Server) backupRows(ctx context.Context, archive *tar.Writer) error {
	tmp, err := os.CreateTemp(s.Config.Data, ".backup-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	size, err := s.DB.Backup(ctx, tmp)
	if err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := archive.WriteHeader(s.tarHeader(dbName, size)); err != nil {
		return err
	}
	_, err = io.Copy(archive, tmp)
	return err
}

// Restore fills an empty data folder from a backup. It refuses a folder that holds a
// house already.
func Restore(data string, r io.Reader) (err error) {
	if _, err := os.Stat(filepath.Join(data, dbName)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds a house already: restore into an empty folder", data)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	archive := tar.NewReader(r)
	found := false
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("that is no backup of a house: %w", err)
		}
		found = found || h.Name == dbName
		if err := restoreFile(root, h.Name, archive); err != nil {
			return err
		}
	}
	if !found {
		return errors.New("that is no backup of a house: the database is not in it")
	}
	return beginRestored(filepath.Join(data, dbName))
}

// beginRestored begins another incarnation in a database that was just restored.
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

// restoreFile writes one file of a backup; the root keeps it inside the data folder.
func restoreFile(root *os.Root, name string, r io.Reader) error {
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// Compact rewrites the database of a house that is not running without the space that
// deleted rows left behind. It returns the sizes in bytes.
func Compact(data string) (before, after int64, err error) {
	path := filepath.Join(data, dbName)
	tmp := path + ".compact"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, err
	}
	old, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	if err := kv.Compact(tmp, path); err != nil {
		return 0, 0, errors.Join(err, os.Remove(tmp))
	}
	now, err := os.Stat(tmp)
	if err != nil {
		return 0, 0, err
	}
	return old.Size(), now.Size(), os.Rename(tmp, path)
}
