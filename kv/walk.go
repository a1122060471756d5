package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// walker goes through all pages of a file, on after damage.
type walker struct {
	*pageReader
	used   []uint64 // a bit for each page that was met
	report func(*DamagedError)
	// visit gets the rows of each leaf; nil: leaves are not read, only what leads to them.
	visit func(bucket string, page uint64, rows []element)
	// rows says that keys begin with a table's tag.
	rows bool
	// dangerous is set if writing into the file would overwrite what is in use, or if bbolt
	// could walk in a circle.
	dangerous *DamagedError

	ctx  context.Context
	leaf []byte    // the buffer of leaves
	all  []element // of a leaf

	onLeaf bool // the page read last was a leaf

	lost []lostRange // rows that damaged pages held
}

// lostRange is lo ≤ key < hi of a bucket; nil bounds nothing.
type lostRange struct {
	bucket string
	lo, hi []byte
}

func (w *walker) mark(id uint64) (again bool) {
	bit := uint64(1) << (id % 64)
	again = w.used[id/64]&bit != 0
	w.used[id/64] |= bit
	return again
}

func (w *walker) marked(id uint64) bool { return w.used[id/64]&(1<<(id%64)) != 0 }

// danger reports damage that nothing may be written over.
func (w *walker) danger(d *DamagedError) {
	if w.dangerous == nil {
		w.dangerous = d
	}
	w.report(d)
}

// walk goes through the buckets and the list of free pages. The error is ctx's.
func (w *walker) walk(ctx context.Context) error {
	w.ctx = ctx
	w.used = make([]uint64, w.high/64+1)
	w.mark(0)
	w.mark(1)
	free, run, err := w.freePages()
	if err != nil {
		d := w.damaged(w.freelist, err)
		d.Table = "(free pages)"
		w.danger(d)
	}
	for i := range run {
		w.mark(w.freelist + i)
	}
	w.tree("", w.root, nil, nil, 0)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	freed := make(map[uint64]bool, len(free))
	for _, id := range free {
		freed[id] = true
		if w.marked(id) {
			w.danger(w.damaged(id, errors.New("it is in use and in the list of free pages")))
		}
	}
	if err != nil || w.visit == nil { // not all that is in use is known
		return nil
	}
	missing, first := 0, uint64(0)
	for id := range w.high {
		if !w.marked(id) && !freed[id] {
			if missing++; missing == 1 {
				first = id
			}
		}
	}
	if missing > 0 {
		w.report(w.damaged(first, fmt.Errorf("nothing leads to it and it is not free; there are %d such pages", missing)))
	}
	return nil
}

// tree goes through the pages below id, whose keys are at least lo and less than hi.
func (w *walker) tree(bucket string, id uint64, lo, hi []byte, depth int) {
	if w.ctx.Err() != nil {
		return
	}
	lost := func(err error) { w.report(w.lostRows(bucket, w.damaged(id, err), lo, hi)) }
	if id < 2 || id >= w.high {
		lost(fmt.Errorf("there is no such page, they end at %d", w.high))
		return
	}
	if depth > maxDepth {
		w.danger(w.lostRows(bucket, w.damaged(id, errors.New("it leads in a circle")), lo, hi))
		return
	}
	if w.mark(id) {
		w.danger(w.lostRows(bucket, w.damaged(id, errors.New("it is used twice")), lo, hi))
		return
	}
	buf, err := w.read(id, w.leaf)
	w.leaf = buf
	if err != nil {
		lost(err)
		return
	}
	for i := uint64(1); i < uint64(len(buf))/pageSize; i++ {
		if w.mark(id + i) {
			w.danger(w.lostRows(bucket, w.damaged(id+i, errors.New("it is used twice")), lo, hi))
		}
	}
	w.page(bucket, id, buf, lo, hi, depth)
}

// page goes through the entries of a page.
func (w *walker) page(bucket string, id uint64, buf []byte, lo, hi []byte, depth int) {
	isBranch := order.Uint16(buf[8:]) == branchPage
	if isBranch || bucket == "" {
		w.leaf = nil // what is below needs a buffer of its own
	}
	into := w.all
	if isBranch || bucket == "" {
		into = nil
	}
	all, err := elements(buf, into)
	if !isBranch && bucket != "" {
		w.all = all
	}
	if err == nil {
		err = within(all, lo, hi)
	}
	if err != nil {
		from := lo
		if len(all) > 0 {
			from = all[len(all)-1].key
		}
		w.report(w.lostRows(bucket, w.damaged(id, err), from, hi))
	}
	switch {
	case isBranch:
		for i, e := range all {
			if w.visit == nil && i > 0 && w.onLeaf { // all of them are at one height
				w.leadsTo(bucket, id, e)
				continue
			}
			next := hi
			if i+1 < len(all) {
				next = all[i+1].key
			}
			w.tree(bucket, e.child, e.key, next, depth+1)
		}
		w.onLeaf = false
	case bucket == "":
		for _, e := range all {
			w.bucket(id, e)
		}
	case w.visit != nil:
		w.visit(bucket, id, all)
	default:
		w.onLeaf = true
	}
}

// leadsTo notes that a leaf is in use, unread.
func (w *walker) leadsTo(bucket string, page uint64, e element) {
	if e.child < 2 || e.child >= w.high {
		w.report(w.lostRows(bucket, w.damaged(page, fmt.Errorf("it leads to page %d, and they end at %d", e.child, w.high)), e.key, nil))
	} else if w.mark(e.child) {
		w.danger(w.lostRows(bucket, w.damaged(e.child, errors.New("it is used twice")), e.key, nil))
	}
}

// bucket goes through a bucket of the root, which may lie inside the root's page.
func (w *walker) bucket(page uint64, e element) {
	if !e.bucket || len(e.value) < bucketHead {
		w.report(w.damaged(page, fmt.Errorf("%q is no bucket", e.key)))
		return
	}
	if root := order.Uint64(e.value); root != 0 {
		w.tree(string(e.key), root, nil, nil, 1)
		return
	}
	inline := e.value[bucketHead:]
	if len(inline) < pageHead {
		w.report(w.damaged(page, fmt.Errorf("the bucket %q ends early", e.key)))
		return
	}
	w.page(string(e.key), page, inline, nil, nil, 1)
}

// within says whether keys are at least lo and less than hi; nil bounds nothing.
func within(all []element, lo, hi []byte) error {
	if len(all) == 0 {
		return nil
	}
	if lo != nil && string(all[0].key) < string(lo) || hi != nil && string(all[len(all)-1].key) >= string(hi) {
		return errors.New("its rows belong elsewhere")
	}
	return nil
}

// lostRows says which rows are lost with a page.
func (w *walker) lostRows(bucket string, d *DamagedError, lo, hi []byte) *DamagedError {
	w.lost = append(w.lost, lostRange{bucket, bytes.Clone(lo), bytes.Clone(hi)})
	if !w.rows || bucket == "" {
		return d
	}
	if table, from := describe(lo); table != "" {
		d.Table, d.Key = table, "from "+from
	}
	if table, to := describe(hi); table != "" {
		if d.Table == "" {
			d.Table = "up to " + table
		}
		if table == d.Table {
			d.Key += " up to " + to
		}
	}
	return d
}
