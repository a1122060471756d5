package kv

import (
	"bytes"
	"fmt"
	"iter"
	"reflect"
	"runtime/debug"

	"github.com/fxamacker/cbor/v2"
)

// Table is the rows of one keyspace: keys of type K, values of type V.
//
// K is a string, uint64, int64, uint32, bool or [32]byte kind, or a struct of such
// fields; rows are ordered by the fields in turn. V is any type that CBOR can carry;
// for structs, each field has an integer key (`cbor:"1,keyasint,omitempty"`) that is
// never used again for anything else, so that old files stay readable.
//
// A row that cannot be decoded fails the transaction: reads then find nothing, and
// View or Update return the error. So callers have one thing to check, not two.
type Table[K, V any] struct {
	space *Keyspace
	codec keyCodec
}

// NewTable opens the keyspace as a table. It panics when the types do not fit the
// ledger or the keyspace is opened twice: both are mistakes in the program.
func NewTable[K, V any](db *DB, space *Keyspace) *Table[K, V] {
	codec, err := newKeyCodec(reflect.TypeFor[K]())
	if err != nil {
		panic(fmt.Sprintf("kv: table %s: %v", space.Name, err))
	}
	if len(codec.parts) != len(space.Key) {
		panic(fmt.Sprintf("kv: table %s: the ledger has %d key parts, %s has %d",
			space.Name, len(space.Key), codec.typ, len(codec.parts)))
	}
	for i, p := range codec.parts {
		if space.Key[i].Kind != p {
			panic(fmt.Sprintf("kv: table %s: key part %q is %s in the ledger and %s in %s",
				space.Name, space.Key[i].Name, space.Key[i].Kind, p, codec.typ))
		}
	}
	t := &Table[K, V]{space: space, codec: codec}
	db.mu.Lock()
	defer db.mu.Unlock()
	if _, twice := db.tables[space.Tag]; twice {
		panic(fmt.Sprintf("kv: table %s is opened twice", space.Name))
	}
	db.tables[space.Tag] = t.checkRow
	return t
}

func (t *Table[K, V]) key(k K) []byte {
	dst := make([]byte, 1, 64)
	dst[0] = t.space.Tag
	return t.codec.encode(dst, reflect.ValueOf(k))
}

// Get returns the row, and whether there is one.
func (t *Table[K, V]) Get(r Reader, k K) (V, bool) {
	var v V
	key := t.key(k)
	raw := r.get(t.space.Bucket, key)
	if raw == nil || r.failed() {
		return v, false
	}
	if err := readRow(func() error { return decodeRow(key, raw, &v) }); err != nil {
		r.fail(t.damaged(r, key, err))
		var none V
		return none, false
	}
	return v, true
}

// Has says whether there is such a row, without decoding it.
func (t *Table[K, V]) Has(r Reader, k K) bool {
	return r.get(t.space.Bucket, t.key(k)) != nil && !r.failed()
}

// Put writes the row, in place of the one that may be there.
func (t *Table[K, V]) Put(tx *WriteTx, k K, v V) {
	raw, err := encMode.Marshal(v)
	if err != nil {
		tx.fail(fmt.Errorf("table %s, key %v: %w", t.space.Name, k, err))
		return
	}
	key := t.key(k)
	tx.put(t.space.Bucket, key, seal(key, raw))
}

// Delete removes the row, if there is one.
func (t *Table[K, V]) Delete(tx *WriteTx, k K) {
	if key := t.key(k); tx.get(t.space.Bucket, key) != nil {
		tx.put(t.space.Bucket, key, nil)
	}
}

// Scan yields the rows of a range in key order. In a write transaction, it yields the
// rows as they were when the scan began; deleting them on the way is allowed.
func (t *Table[K, V]) Scan(r Reader, rg Range) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for key, raw := range t.raw(r, rg) {
			var k K
			var v V
			err := readRow(func() error {
				if err := t.codec.decode(key[1:], reflect.ValueOf(&k).Elem()); err != nil {
					return err
				}
				return decodeRow(key, raw, &v)
			})
			if err != nil {
				r.fail(t.damaged(r, key, err))
				return
			}
			if !yield(k, v) {
				return
			}
		}
	}
}

// Keys yields the keys of a range in order, without decoding the values.
func (t *Table[K, V]) Keys(r Reader, rg Range) iter.Seq[K] {
	return func(yield func(K) bool) {
		for key := range t.raw(r, rg) {
			var k K
			err := readRow(func() error { return t.codec.decode(key[1:], reflect.ValueOf(&k).Elem()) })
			if err != nil {
				r.fail(t.damaged(r, key, err))
				return
			}
			if !yield(k) {
				return
			}
		}
	}
}

func (t *Table[K, V]) raw(r Reader, rg Range) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		lo, hi, err := rg.bounds(t.space.Tag, t.codec)
		if err != nil {
			r.fail(fmt.Errorf("table %s: %w", t.space.Name, err))
			return
		}
		if bytes.Compare(lo, hi) >= 0 {
			return
		}
		c := r.cursor(t.space.Bucket, lo, hi, rg.reverse)
		for !r.failed() {
			key, raw := c.next()
			if key == nil || !yield(key, raw) {
				return
			}
		}
	}
}

// readRow runs fn, which reads a row out of the mapping.
func readRow(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = errUnreadable
		default:
			panic(r)
		}
	}()
	return fn()
}

// damaged is the error for a row that could not be read. The key may lie in the mapping.
func (t *Table[K, V]) damaged(r Reader, key []byte, err error) error {
	d := &DamagedError{File: r.store().path, Offset: -1, Table: t.space.Name, Err: err}
	if failed := readRow(func() error { _, d.Key = describe(key); return nil }); failed != nil {
		d.Key = ""
	}
	return d
}

// checkRow says what is wrong with a stored row.
func (t *Table[K, V]) checkRow(key, raw []byte) error {
	var k K
	var v V
	if err := t.codec.decode(key[1:], reflect.ValueOf(&k).Elem()); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if again := t.key(k); !bytes.Equal(again, key) {
		return fmt.Errorf("key %v is not written as it should be", k)
	}
	if err := decodeRow(key, raw, &v); err != nil {
		return fmt.Errorf("key %v: %w", k, err)
	}
	return nil
}

var encMode = must(cbor.EncOptions{}.EncMode())

var decMode = must(cbor.DecOptions{}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // fixed options: cannot happen
	}
	return v
}
