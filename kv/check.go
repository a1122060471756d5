package kv

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// tableCheck says what is wrong with a stored row of one table.
type tableCheck func(key, value []byte) error

// keeperCheck is a keeper's own invariants.
type keeperCheck struct {
	name string
	fn   func(r Reader, report func(format string, args ...any))
}

// AddCheck adds the invariants of a keeper to Check. Report one sentence for each
// thing that is wrong.
func (db *DB) AddCheck(name string, fn func(r Reader, report func(format string, args ...any))) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.checks = append(db.checks, keeperCheck{name, fn})
}

// Check reads the whole file and returns what is wrong with it, a sentence each: bbolt's
// own check of its pages, rows that do not decode or belong to no table that was opened,
// and the keepers' invariants. The error says that the check itself could not be done.
func (db *DB) Check(ctx context.Context) (problems []string, err error) {
	db.mu.Lock()
	checks := append([]keeperCheck(nil), db.checks...)
	tables := make(map[byte]tableCheck, len(db.tables))
	for tag, t := range db.tables {
		tables[tag] = t
	}
	db.mu.Unlock()

	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	err = db.View(ctx, func(tx *ReadTx) error {
		for e := range tx.bolt.Check() {
			add("pages: %v", e)
		}
		for _, name := range bucketNames {
			if err := checkRows(ctx, tx.bolt.Bucket([]byte(name)), name, tables, add); err != nil {
				return err
			}
		}
		for _, c := range checks {
			c.fn(tx, func(format string, args ...any) { add(c.name+": "+format, args...) })
			if tx.err != nil {
				add("%s: %v", c.name, tx.err)
				tx.err = nil
			}
		}
		return nil
	})
	return problems, err
}

func checkRows(ctx context.Context, b *bbolt.Bucket, name string, tables map[byte]tableCheck, add func(string, ...any)) error {
	if b == nil {
		add("bucket %s is missing", name)
		return nil
	}
	ledger := map[byte]*Keyspace{}
	for _, s := range Ledger() {
		ledger[s.Tag] = s
	}
	return b.ForEach(func(key, value []byte) error {
		if len(key) == 0 {
			add("bucket %s has an empty key", name)
			return ctx.Err()
		}
		space := ledger[key[0]]
		switch check := tables[key[0]]; {
		case space == nil:
			add("bucket %s: no table has the tag %d", name, key[0])
		case string(space.Bucket.name()) != name:
			add("table %s: a row lies in bucket %s", space.Name, name)
		case check == nil: // its keeper is not open: the page check has to do
		default:
			if err := check(key, value); err != nil {
				add("table %s: %v", space.Name, err)
			}
		}
		return ctx.Err()
	})
}

// Backup writes a copy of the file as of now, while the house goes on. It returns the
// number of bytes written.
func (db *DB) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	if err := db.Flush(); err != nil {
		return 0, err
	}
	err = db.View(ctx, func(tx *ReadTx) error {
		n, err = tx.bolt.WriteTo(w)
		return err
	})
	return n, err
}

// Compact writes the rows of the file at src, which nobody may have open, into a new
// file at dst, without the space that deleted rows left behind.
func Compact(dst, src string) error {
	from, err := openBolt(src, true)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openBolt(dst, false)
	if err != nil {
		return err
	}
	const rowsPerCommit = 1 << 20 // bytes; bounds the memory that the copy needs
	if err := bbolt.Compact(to, from, rowsPerCommit); err != nil {
		_ = to.Close()
		return err
	}
	if err := to.Sync(); err != nil {
		_ = to.Close()
		return err
	}
	return to.Close()
}
