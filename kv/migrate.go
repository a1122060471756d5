package kv

import (
	"context"
	"fmt"
	"slices"
)

// Migration brings a file from the version before To up to To, in one commit.
type Migration struct {
	To      uint64
	Caption string
	Run     func(tx *WriteTx) error
}

// NewerError says that the file was written by a later release than this one.
type NewerError struct{ File, Program uint64 }

// Error tells what to do about it.
func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has format %d and this release knows up to %d: please install the newer release again",
		e.File, e.Program)
}

const versionKey = "format_version"

// firstVersion is the format of a file that no migration has touched.
const firstVersion = 1

// formats are the steps of this package's own: they come before those of Options.
//
// Format 2: values end with a checksum. Rows that were written before have none until they
// are written again; both are read. Positions of the change log may jump, where the database
// came back from an older copy.
var formats = []Migration{
	{To: 2, Caption: "rows get checksums from now on", Run: func(*WriteTx) error { return nil }},
}

// probeKey is a row that says nothing.
const probeKey = "probe"

// probe commits a row. That the disk refuses it is no error: see Unwritable.
func (db *DB) probe() error {
	err := db.Update(context.Background(), func(tx *WriteTx) error {
		n, _ := db.meta.Get(tx, probeKey)
		db.meta.Put(tx, probeKey, n+1)
		return nil
	})
	if db.Unwritable() != nil {
		return nil
	}
	return err
}

// migrate runs what is missing, each step in a commit of its own that also writes the
// new version: a power cut in between leaves a whole earlier version.
func (db *DB) migrate(all []Migration, readOnly bool) error {
	all = slices.Concat(formats, all)
	meta := NewTable[string, uint64](db, metaSpace)
	db.meta = meta
	ctx := context.Background()
	var have uint64
	err := db.View(ctx, func(tx *ReadTx) error {
		have, _ = meta.Get(tx, versionKey)
		return nil
	})
	if err != nil {
		return err
	}
	want := uint64(firstVersion)
	if len(all) > 0 {
		want = all[len(all)-1].To
	}
	fresh := have == 0
	switch {
	case have > want:
		return &NewerError{File: have, Program: want}
	case have == want:
		return nil
	case readOnly && have >= firstVersion && want == formats[len(formats)-1].To:
		return nil // this release reads the rows as they are
	case readOnly:
		return fmt.Errorf("the database has format %d: start the server once to bring it to %d", have, want)
	case fresh:
		return db.Update(ctx, func(tx *WriteTx) error {
			meta.Put(tx, versionKey, want)
			return nil
		})
	}
	for _, m := range all {
		if m.To <= have {
			continue
		}
		err := db.Update(ctx, func(tx *WriteTx) error {
			meta.Put(tx, versionKey, m.To)
			return m.Run(tx)
		})
		if err != nil {
			return fmt.Errorf("migration to format %d (%s): %w", m.To, m.Caption, err)
		}
		db.log.Info("the database was brought up to date", "format", m.To, "what", m.Caption)
	}
	return nil
}
