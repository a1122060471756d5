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
)

// Backup writes everything the house keeps as a tar archive, while it goes on. The rows
// come first and the media after them: what is added meanwhile is too much rather than
// too little.
func (s *Server) Backup(ctx context.Context, w io.Writer) error {
	archive := tar.NewWriter(w)
	add := func(name string, write func(io.Writer) error) error {
		// The size has to be known first, and a snapshot of a running database knows
		// its own only once it is taken.
		tmp, err := os.CreateTemp(s.Config.Data, ".backup-*")
		if err != nil {
			return err
		}
		defer os.Remove(tmp.Name())
		defer tmp.Close()
		if err := write(tmp); err != nil {
			return err
		}
		size, err := tmp.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if _, err := tmp.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: s.Config.Now()}); err != nil {
			return err
		}
		_, err = io.Copy(archive, tmp)
		return err
	}
	err := add(dbName, func(w io.Writer) error { _, err := s.DB.Backup(ctx, w); return err })
	if err == nil {
		err = add(mediaName, func(w io.Writer) error { _, err := s.Media.Backup(w); return err })
	}
	return errors.Join(err, archive.Close())
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
	return nil
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
