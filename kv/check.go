package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// tableCheck says what is wrong with a stored row of one table.
type tableCheck func(key, value []byte) error

// keeperCheck is a keeper's own invariants.
type keeperCheck struct {
	name string
	fn   func(r Reader, report func(format string, args ...any))
}

// fileCheck is a keeper's check of files of its own.
type fileCheck struct {
	name string
	fn   func(ctx context.Context, report func(format string, args ...any)) error
}

// AddCheck adds the invariants of a keeper to Check. Report one sentence for each
// thing that is wrong.
func (db *DB) AddCheck(name string, fn func(r Reader, report func(format string, args ...any))) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.checks = append(db.checks, keeperCheck{name, fn})
}

// AddFileCheck adds a check that Check runs after all others and outside of any
// transaction: for what lies in files beside the database. Report one sentence for each
// thing that is wrong; the error is ctx's.
func (db *DB) AddFileCheck(name string, fn func(ctx context.Context, report func(format string, args ...any)) error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.fileChecks = append(db.fileChecks, fileCheck{name, fn})
}

// maxProblems is how many problems Check names. Beyond them it counts.
const maxProblems = 1000

// problems collects sentences.
type problems struct {
	all  []string
	more int
}

func (p *problems) add(format string, args ...any) {
	if len(p.all) >= maxProblems {
		p.more++
		return
	}
	p.all = append(p.all, fmt.Sprintf(format, args...))
}

// Check reads the whole file as of now, beside writers and without holding them up, and
// returns what is wrong with it, a sentence each: pages that cannot be read or make no
// sense, rows that do not decode or belong to no table that was opened, and the keepers'
// invariants. It goes on after damage. The error says that the check itself could not be
// done.
func (db *DB) Check(ctx context.Context) ([]string, error) {
	db.mu.Lock()
	checks, fileChecks := slices.Clone(db.checks), slices.Clone(db.fileChecks)
	tables := maps.Clone(db.tables)
	db.mu.Unlock()

	var p problems
	for _, d := range db.found {
		if d.Offset >= 0 && d.Offset < 2*pageSize { // the others are found again
			p.add("when it was opened: %v", d)
		}
	}
	err := db.checkPages(ctx, tables, p.add)
	if isDamage(err) {
		p.add("%v", err)
		err = nil
	}
	for _, c := range checks {
		if err == nil {
			err = db.checkKeeper(ctx, c, p.add)
		}
	}
	for _, c := range fileChecks {
		if err == nil {
			err = c.fn(ctx, func(format string, args ...any) { p.add(c.name+": "+format, args...) })
		}
	}
	if p.more > 0 {
		p.all = append(p.all, fmt.Sprintf("and %d more", p.more))
	}
	return p.all, err
}

// checkPages reads all pages and rows.
func (db *DB) checkPages(ctx context.Context, tables map[byte]tableCheck, add func(string, ...any)) (err error) {
	return db.pinned(ctx, func(p *pageReader) error {
		found := map[string]bool{}
		w := &walker{pageReader: p, rows: true, report: func(d *DamagedError) { add("%v", d) }}
		w.visit = func(bucket string, page uint64, rows []element) {
			found[bucket] = true
			for _, row := range rows {
				if d := checkRow(bucket, row, tables); d != nil {
					d.File, d.Offset = p.file, int64(page)*pageSize
					add("%v", d)
				}
			}
		}
		if err := w.walk(ctx); err != nil {
			return err
		}
		for _, name := range bucketNames {
			if !found[name] {
				add("%s: bucket %s is missing, or nothing of it can be read", p.file, name)
			}
		}
		return nil
	})
}

// pinned runs fn over the pages as of now, which stay as they are meanwhile.
func (db *DB) pinned(ctx context.Context, fn func(*pageReader) error) (err error) {
	return pinned(ctx, db.path, func() (*bbolt.Tx, error) { return db.begin(false) }, fn)
}

func pinned(ctx context.Context, path string, begin func() (*bbolt.Tx, error), fn func(*pageReader) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		tx, err := begin()
		if err != nil {
			return err
		}
		p, ok := readerOf(f, path, tx)
		if ok {
			return errors.Join(fn(p), tx.Rollback())
		}
		// Two commits have come meanwhile and have overwritten the page that begins this
		// state, or neither page makes sense.
		_, errs := readMetas(f)
		if err := tx.Rollback(); err != nil {
			return err
		}
		if errs[0] != nil && errs[1] != nil {
			return &DamagedError{File: path, Offset: 0, Err: errs[0]}
		}
	}
}

// CheckFile reads all pages of another file of bbolt's, which is open as b, beside writers,
// and goes on after damage. visit gets the rows, whose bytes it may not keep; it may be nil.
// The error says that the check could not be done.
func CheckFile(ctx context.Context, b *bbolt.DB, path string, visit func(key, value []byte), report func(*DamagedError)) error {
	begin := func() (tx *bbolt.Tx, err error) {
		err = Guard(b, path, func() (err error) {
			tx, err = b.Begin(false)
			return err
		})
		return tx, err
	}
	return pinned(ctx, path, begin, func(p *pageReader) error {
		w := &walker{pageReader: p, report: report}
		w.visit = func(_ string, _ uint64, rows []element) {
			for _, row := range rows {
				if visit != nil {
					visit(row.key, row.value)
				}
			}
		}
		return w.walk(ctx)
	})
}

// checkRow says what is wrong with a row.
func checkRow(bucket string, row element, tables map[byte]tableCheck) *DamagedError {
	table, key := describe(row.key)
	bad := func(err error) *DamagedError { return &DamagedError{Table: table, Key: key, Err: err} }
	switch {
	case len(row.key) == 0:
		return bad(fmt.Errorf("bucket %s has an empty key", bucket))
	case row.bucket:
		return bad(errors.New("it claims to be a bucket"))
	}
	space, check := spaceOf(row.key[0]), tables[row.key[0]]
	switch {
	case space == nil:
		return bad(fmt.Errorf("bucket %s: no table has the tag %d", bucket, row.key[0]))
	case string(space.Bucket.name()) != bucket:
		return bad(fmt.Errorf("the row lies in bucket %s", bucket))
	case check == nil: // its keeper is not open: the page check has to do
		return nil
	}
	if err := check(row.key, row.value); err != nil {
		return bad(err)
	}
	return nil
}

// checkKeeper holds the rows to a keeper's invariants. What it says of rows after it could
// not read some is left out: it would take them for missing.
func (db *DB) checkKeeper(ctx context.Context, c keeperCheck, add func(string, ...any)) error {
	var said problems
	err := db.View(ctx, func(tx *ReadTx) error {
		c.fn(tx, said.add)
		return nil
	})
	switch {
	case isDamage(err):
		add("%s: could not be checked: %v", c.name, err)
		return nil
	case err != nil && ctx.Err() == nil:
		add("%s: %v", c.name, err)
		err = nil
	}
	for _, s := range said.all {
		add("%s: %s", c.name, s)
	}
	if said.more > 0 {
		add("%s: and %d more", c.name, said.more)
	}
	return err
}

// Backup writes a copy of the file as of now, while the house goes on. It returns the
// number of bytes written.
func (db *DB) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	if err := db.Flush(); err != nil {
		return 0, err
	}
	if err := db.CheckPages(ctx); err != nil {
		return 0, err
	}
	err = db.View(ctx, func(tx *ReadTx) error {
		n, err = tx.bolt.WriteTo(w)
		return err
	})
	return n, err
}

// CheckPages reads all pages and rows and returns a *DamagedError for the first that cannot
// be read, makes no sense or has a wrong checksum.
func (db *DB) CheckPages(ctx context.Context) error {
	var first *DamagedError
	err := db.pinned(ctx, func(p *pageReader) error {
		w := &walker{pageReader: p, rows: true}
		w.report = func(d *DamagedError) {
			if first == nil {
				first = d
			}
		}
		w.visit = func(_ string, page uint64, rows []element) {
			for _, row := range rows {
				if err := checkSeal(row.key, row.value); err != nil {
					d := p.damaged(page, err)
					d.Table, d.Key = describe(row.key)
					w.report(d)
				}
			}
		}
		return w.walk(ctx)
	})
	if err == nil && first != nil {
		return first
	}
	return err
}

// Compact writes the rows of the file at src, which nobody may have open, into a new
// file at dst, without the space that deleted rows left behind.
func Compact(dst, src string) error {
	found, err := inspect(src)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return found[0]
	}
	from, err := openBolt(src, true, nil)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openBolt(dst, false, nil)
	if err != nil {
		return err
	}
	const rowsPerCommit = 1 << 20 // bytes; bounds the memory that the copy needs
	err = Guard(from, src, func() error { return bbolt.Compact(to, from, rowsPerCommit) })
	if err != nil {
		_ = to.Close()
		return err
	}
	if err := to.Sync(); err != nil {
		_ = to.Close()
		return err
	}
	return to.Close()
}
