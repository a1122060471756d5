package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sort"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Reader is what rows can be read through: a *ReadTx or a *WriteTx. It is valid
// only inside the function that received it, and for one goroutine at a time.
type Reader interface {
	get(b bucket, key []byte) []byte
	cursor(b bucket, lo, hi []byte, reverse bool) rowCursor
	fail(err error)
	failed() bool
	store() *DB
}

// rowCursor walks rows in key order, or backwards; next returns nil at the end.
// Key and value are valid until the following call.
type rowCursor interface {
	next() (key, value []byte)
}

// ReadTx is a view of the file as of one commit.
type ReadTx struct {
	db   *DB
	bolt *bbolt.Tx
	err  error
	done bool
}

// WriteTx reads and writes. What it writes is kept beside the file until its
// function returns nil, and then goes to disk with the shared commit.
type WriteTx struct {
	db      *DB
	bolt    *bbolt.Tx
	writes  map[string]write // by bucket byte and key
	sorted  []string         // keys of writes, in order
	effects []func()
	bytes   int
	err     error
	done    bool
}

// write is a new value, or a deletion where value is nil.
type write struct{ value []byte }

var errTxOver = errors.New("a transaction was used after its end")

// View runs fn over the rows as of the last commit. It returns fn's error, or the
// error of a row that could not be read, which is a *DamagedError.
func (db *DB) View(ctx context.Context, fn func(*ReadTx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := db.begin(false)
	if err != nil {
		return err
	}
	r := &ReadTx{db: db, bolt: tx}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r.done = true
		if rollback := tx.Rollback(); rollback != nil {
			db.log.Error("a read transaction did not end", "error", rollback)
		}
		if isDamage(r.err) { // fn may have stumbled over what it could not read
			if recover() != nil {
				err = r.err
			}
		}
	}()
	err = fn(r)
	if r.err != nil {
		return r.err
	}
	return err
}

// begin begins a transaction of bbolt's. A panic in there leaves bbolt's locks taken, so
// nobody may come after it.
func (db *DB) begin(write bool) (tx *bbolt.Tx, err error) {
	if lost := db.lost.Load(); lost != nil {
		return nil, *lost
	}
	err = Guard(db.bolt, db.path, func() (err error) {
		tx, err = db.bolt.Begin(write)
		return err
	})
	if isDamage(err) {
		db.lost.Store(&err)
		db.Refuse(err)
	}
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return nil, ErrClosed
	}
	return tx, err
}

func isDamage(err error) bool {
	_, is := errors.AsType[*DamagedError](err)
	return is
}

// lookUp finds a row in the file. The value lies in the mapping.
func (db *DB) lookUp(r Reader, tx *bbolt.Tx, b bucket, key []byte) (raw []byte) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer db.caught(r, key)
	in := tx.Bucket(b.name())
	if in == nil {
		r.fail(&DamagedError{File: db.path, Offset: -1, Err: fmt.Errorf("the bucket %s is missing", b.name())})
		return nil
	}
	return in.Get(key)
}

// caught, deferred around what reads the file, fails the transaction for a panic over it.
// The key is the one that was looked for.
func (db *DB) caught(r Reader, key []byte) {
	p := recover()
	if p == nil {
		return
	}
	d := damageOf(db.bolt, db.path, p)
	d.Table, d.Key = describe(key)
	r.fail(d)
}

func (tx *ReadTx) store() *DB  { return tx.db }
func (tx *WriteTx) store() *DB { return tx.db }

// AfterCommit registers a function that runs once the rows are on disk: in commit
// order, before Update returns, and not at all if the transaction fails. It must be
// short and must not call back into kv.
func (tx *WriteTx) AfterCommit(effect func()) { tx.effects = append(tx.effects, effect) }

func (tx *ReadTx) get(b bucket, key []byte) []byte {
	if tx.done {
		tx.fail(errTxOver)
		return nil
	}
	return tx.db.lookUp(tx, tx.bolt, b, key)
}

func (tx *ReadTx) cursor(b bucket, lo, hi []byte, reverse bool) rowCursor {
	if tx.done {
		tx.fail(errTxOver)
		return emptyCursor{}
	}
	return newBoltCursor(tx, tx.bolt, b, lo, hi, reverse)
}

func (tx *ReadTx) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

func (tx *ReadTx) failed() bool { return tx.err != nil }

func (tx *WriteTx) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

func (tx *WriteTx) failed() bool { return tx.err != nil }

func (tx *WriteTx) get(b bucket, key []byte) []byte {
	if tx.done {
		tx.fail(errTxOver)
		return nil
	}
	if w, ok := tx.writes[b.key(key)]; ok {
		return w.value
	}
	return tx.db.lookUp(tx, tx.bolt, b, key)
}

// put records a write; value nil deletes.
func (tx *WriteTx) put(b bucket, key, value []byte) {
	if tx.done {
		tx.fail(errTxOver)
		return
	}
	if len(key) > bbolt.MaxKeySize || len(value) > bbolt.MaxValueSize {
		tx.fail(fmt.Errorf("a row of %d + %d bytes is too large", len(key), len(value)))
		return
	}
	if tx.writes == nil {
		tx.writes = map[string]write{}
	}
	k := b.key(key)
	if _, there := tx.writes[k]; !there {
		i := sort.SearchStrings(tx.sorted, k)
		tx.sorted = slices.Insert(tx.sorted, i, k)
	}
	tx.writes[k] = write{value}
	tx.bytes += len(k) + len(value)
}

// apply moves the writes into the shared bbolt transaction.
func (tx *WriteTx) apply(into *bbolt.Tx) error {
	var key []byte
	err := Guard(tx.db.bolt, tx.db.path, func() error {
		for _, k := range tx.sorted {
			b := bucket(k[0])
			key = []byte(k[1:])
			in := into.Bucket(b.name())
			if in == nil {
				return &DamagedError{File: tx.db.path, Offset: -1, Err: fmt.Errorf("the bucket %s is missing", b.name())}
			}
			var err error
			if w := tx.writes[k]; w.value == nil {
				err = in.Delete(key)
			} else {
				err = in.Put(key, w.value)
			}
			if err != nil {
				return fmt.Errorf("write a row of %d bytes: %w", len(tx.writes[k].value), err)
			}
		}
		return nil
	})
	if d, ok := errors.AsType[*DamagedError](err); ok && d.Table == "" {
		d.Table, d.Key = describe(key)
	}
	return err
}

func (tx *WriteTx) cursor(b bucket, lo, hi []byte, reverse bool) rowCursor {
	if tx.done {
		tx.fail(errTxOver)
		return emptyCursor{}
	}
	file := newBoltCursor(tx, tx.bolt, b, lo, hi, reverse)
	// The overlay's part of the range is copied, so that the caller may write while
	// it scans: it sees the rows as they were when the scan began.
	from := sort.SearchStrings(tx.sorted, b.key(lo))
	to := sort.SearchStrings(tx.sorted, b.key(hi))
	if from == to {
		return file
	}
	own := make([]ownRow, 0, to-from)
	for _, k := range tx.sorted[from:to] {
		own = append(own, ownRow{[]byte(k[1:]), tx.writes[k].value})
	}
	if reverse {
		slices.Reverse(own)
	}
	return &mergedCursor{file: file, own: own, reverse: reverse}
}

type emptyCursor struct{}

func (emptyCursor) next() (key, value []byte) { return nil, nil }

// boltCursor walks lo ≤ key < hi of one bucket.
type boltCursor struct {
	r       Reader
	c       *bbolt.Cursor // nil: its bucket cannot be read
	lo, hi  []byte
	reverse bool
	begun   bool
}

func newBoltCursor(r Reader, tx *bbolt.Tx, b bucket, lo, hi []byte, reverse bool) *boltCursor {
	c := &boltCursor{r: r, lo: lo, hi: hi, reverse: reverse}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer r.store().caught(r, lo)
	in := tx.Bucket(b.name())
	if in == nil {
		r.fail(&DamagedError{File: r.store().path, Offset: -1, Err: fmt.Errorf("the bucket %s is missing", b.name())})
		return c
	}
	c.c = in.Cursor()
	return c
}

func (c *boltCursor) next() (key, value []byte) {
	if c.c == nil || c.r.failed() {
		return nil, nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer c.r.store().caught(c.r, c.lo)
	k, v := c.step()
	if k == nil || bytes.Compare(k, c.lo) < 0 || bytes.Compare(k, c.hi) >= 0 {
		return nil, nil
	}
	return k, v
}

func (c *boltCursor) step() (key, value []byte) {
	switch {
	case !c.begun && !c.reverse:
		key, value = c.c.Seek(c.lo)
	case !c.begun:
		if key, _ = c.c.Seek(c.hi); key == nil {
			key, value = c.c.Last()
		} else {
			key, value = c.c.Prev()
		}
	case c.reverse:
		key, value = c.c.Prev()
	default:
		key, value = c.c.Next()
	}
	c.begun = true
	return key, value
}

type ownRow struct{ key, value []byte }

// mergedCursor lays a transaction's own writes over the file's rows.
type mergedCursor struct {
	file           *boltCursor
	own            []ownRow
	reverse        bool
	fileK, fileV   []byte
	loaded, ranOut bool
}

func (c *mergedCursor) next() (key, value []byte) {
	for {
		if !c.loaded && !c.ranOut {
			c.fileK, c.fileV = c.file.next()
			c.loaded, c.ranOut = c.fileK != nil, c.fileK == nil
		}
		if len(c.own) == 0 {
			if !c.loaded {
				return nil, nil
			}
			c.loaded = false
			return c.fileK, c.fileV
		}
		order := 1
		if c.loaded {
			order = bytes.Compare(c.fileK, c.own[0].key)
			if c.reverse {
				order = -order
			}
		}
		if order < 0 {
			c.loaded = false
			return c.fileK, c.fileV
		}
		if order == 0 {
			c.loaded = false // overwritten or deleted by this transaction
		}
		row := c.own[0]
		c.own = c.own[1:]
		if row.value != nil {
			return row.key, row.value
		}
	}
}

// Fail ends a transaction with an error found in a stored row outside of kv, such as JSON
// that does not parse: View or Update return it, and nothing is written.
func (db *DB) Fail(r Reader, what string, err error) { r.fail(fmt.Errorf("%s: %w", what, err)) }
