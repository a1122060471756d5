package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"porchlight/kv"
	"porchlight/media"
	"porchlight/server/setup"
)

const (
	// partial ends the name of the folder that Salvage works in until all is done.
	partial = ".partial"
	// maxLostLines is how many losses of one kind Salvage names. Beyond them it counts.
	maxLostLines = 200
)

// Salvage copies everything that can be read from the data folder of a server that is not
// running into a new folder, and returns lines that say what was lost. Indexes are made
// anew where rows are missing, and clients are told as after a restore. The folder into has
// to be empty or missing; it is there only when all is done.
func Salvage(ctx context.Context, data, into string) (lines []string, err error) {
	there, err := Exists(data)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, &NoServerError{data}
	}
	work := filepath.Clean(into) + partial
	if err := makeEmpty(into, work); err != nil {
		return nil, err
	}
	database := filepath.Join(work, dbName)
	rows, err := kv.Salvage(ctx, database, filepath.Join(data, dbName))
	if err != nil {
		return nil, fmt.Errorf("salvage the database: %w", err)
	}
	lines = append(lines, describeRows(rows)...)
	lost, err := media.Salvage(ctx, filepath.Join(work, mediaName), filepath.Join(data, mediaName))
	lines = append(lines, atMost(lost)...)
	if err != nil {
		return lines, err
	}
	mended, err := mend(ctx, work)
	lines = append(lines, mended...)
	if err != nil {
		return lines, err
	}
	if err := beginRestored(database); err != nil {
		return lines, err
	}
	return append(lines, "salvaged into "+into), errors.Join(os.Rename(work, into), syncParent(into))
}

// makeEmpty makes the folder to work in, and refuses a target that holds something.
func makeEmpty(into, work string) error {
	entries, err := os.ReadDir(into)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: salvage into a new folder", into)
	}
	if err := os.RemoveAll(work); err != nil { // of an attempt that was ended
		return err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	if err := os.Remove(into); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// describeRows are lines about what was copied and what was not.
func describeRows(s kv.Salvaged) (lines []string) {
	total := 0
	for _, table := range slices.Sorted(maps.Keys(s.Rows)) {
		total += s.Rows[table]
	}
	lines = append(lines, fmt.Sprintf("copied %d rows of %d tables", total, len(s.Rows)))
	for _, table := range slices.Sorted(maps.Keys(s.Bad)) {
		lines = append(lines, fmt.Sprintf("table %s: %d rows copied, %d damaged rows left out", table, s.Rows[table], s.Bad[table]))
	}
	return append(lines, atMost(s.Lost)...)
}

// atMost are lines about losses, not too many.
func atMost(lost []string) (lines []string) {
	for _, l := range lost[:min(len(lost), maxLostLines)] {
		lines = append(lines, "lost: "+l)
	}
	if more := len(lost) - maxLostLines; more > 0 {
		lines = append(lines, fmt.Sprintf("lost: and %d more", more))
	}
	return lines
}

// mend makes the indexes in a salvaged folder anew and checks it.
func mend(ctx context.Context, data string) (lines []string, err error) {
	s, err := openData(ctx, Config{Data: data})
	if _, none := errors.AsType[*NoServerError](err); none || errors.Is(err, setup.ErrNoServerName) {
		return nil, errors.New("the server's name and keys are among what was lost: without them nothing can be saved")
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	changed, err := s.Rooms.Mend(ctx)
	if err != nil {
		return nil, fmt.Errorf("mend the rooms: %w", err)
	}
	if changed > 0 {
		lines = append(lines, fmt.Sprintf("made %d rows of the rooms' indexes again", changed))
	}
	lost, err := s.Media.Mend(ctx)
	lines = append(lines, atMost(lost)...)
	if err != nil {
		return lines, fmt.Errorf("mend the media: %w", err)
	}
	problems, err := s.DB.Check(ctx)
	for _, p := range problems {
		lines = append(lines, "check: "+p)
	}
	return lines, err
}

// syncParent makes the rename of a folder last through a power cut.
func syncParent(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
