package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// salvageBytes is how much Salvage writes in one commit.
const salvageBytes = 1 << 20

// Salvaged is what Salvage has copied, and what not.
type Salvaged struct {
	Rows map[string]int // copied, by table
	Lost []string       // a sentence for each damaged row or page
	// Bad is how many rows were left out because they are not what was written, by table.
	Bad map[string]int
}

// Salvage copies every row of the database at src that can be read into a new one at dst,
// and says what is lost. Nobody may have src open for writing. The error says that nothing
// could be copied.
func Salvage(ctx context.Context, dst, src string) (s Salvaged, err error) {
	s = Salvaged{Rows: map[string]int{}, Bad: map[string]int{}}
	take := func(bucket string, key, value []byte) ([]byte, bool) {
		if d := checkRow(bucket, element{key: key, value: value}, nil); d != nil {
			s.bad(d)
			return nil, false
		}
		table, _ := describe(key)
		if err := checkSeal(key, value); err != nil {
			d := &DamagedError{File: src, Offset: -1, Err: err}
			d.Table, d.Key = describe(key)
			s.bad(d)
			return nil, false
		}
		s.Rows[table]++
		if _, sealed := unseal(key, value); !sealed {
			value = seal(key, bytes.Clone(value))
		}
		return value, true
	}
	err = SalvageFile(ctx, dst, src, bucketNames, take, func(d *DamagedError) { s.Lost = append(s.Lost, d.Error()) })
	return s, err
}

func (s *Salvaged) bad(d *DamagedError) {
	s.Bad[d.Table]++
	if len(s.Lost) < maxProblems {
		s.Lost = append(s.Lost, d.Error())
	}
}

// SalvageFile copies the rows of a file of bbolt's that can be read into a new file with
// these buckets. take says whether and as what a row is copied. The error says that nothing
// could be copied.
func SalvageFile(ctx context.Context, dst, src string, buckets []string,
	take func(bucket string, key, value []byte) ([]byte, bool), report func(*DamagedError)) (err error) {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !lockShared(f) {
		return fmt.Errorf("%s: %w", src, ErrInUse)
	}
	to, err := openBolt(dst, false, nil)
	if err != nil {
		return err
	}
	c := &copier{to: to, take: take, buckets: buckets}
	err = c.begin()
	if err == nil {
		err = c.all(ctx, f, src, report)
	}
	if c.tx != nil {
		err = errors.Join(err, c.tx.Commit())
	}
	return errors.Join(err, to.Sync(), to.Close())
}

// copier writes rows into a new file.
type copier struct {
	to      *bbolt.DB
	tx      *bbolt.Tx
	take    func(bucket string, key, value []byte) ([]byte, bool)
	buckets []string
	bytes   int
	failed  error // of writing
}

func (c *copier) begin() (err error) {
	if c.tx, err = c.to.Begin(true); err != nil {
		return err
	}
	for _, name := range c.buckets {
		if _, err := c.tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// put copies a row, unless it is there already.
func (c *copier) put(bucket string, key, value []byte) {
	if c.failed != nil || !slices.Contains(c.buckets, bucket) || len(key) == 0 {
		return
	}
	in := c.tx.Bucket([]byte(bucket))
	if in.Get(key) != nil {
		return
	}
	value, ok := c.take(bucket, key, value)
	if !ok {
		return
	}
	if c.failed = in.Put(key, bytes.Clone(value)); c.failed != nil {
		return
	}
	if c.bytes += len(key) + len(value); c.bytes >= salvageBytes {
		c.bytes = 0
		if c.failed = c.tx.Commit(); c.failed == nil {
			c.failed = c.begin()
		}
	}
}

// all copies what the tree leads to and then, where it does not lead to everything any
// more, what lies in pages that are neither known nor free.
func (c *copier) all(ctx context.Context, f *os.File, path string, report func(*DamagedError)) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	metas, errs := readMetas(f)
	m := meta{high: uint64(info.Size()) / pageSize, freelist: noFreelist}
	for i := range metas {
		if errs[i] != nil {
			report(&DamagedError{File: path, Offset: int64(i) * pageSize, Err: errs[i]})
		} else if metas[i].tx >= m.tx && metas[i].high > 2 && metas[i].high < maxFileOffset/pageSize {
			m = metas[i]
		}
	}
	w := &walker{pageReader: &pageReader{r: f, file: path, meta: m}, rows: true}
	w.report = report
	w.visit = func(bucket string, _ uint64, rows []element) {
		for _, row := range rows {
			if !row.bucket {
				c.put(bucket, row.key, row.value)
			}
		}
	}
	if err := w.walk(ctx); err != nil {
		return err
	}
	if len(w.lost) > 0 {
		c.orphans(ctx, w)
	}
	return errors.Join(c.failed, ctx.Err())
}

// orphans looks into each page that nothing leads to for rows of the ranges that are lost.
func (c *copier) orphans(ctx context.Context, w *walker) {
	free := map[uint64]bool{}
	if all, _, err := w.freePages(); err == nil { // else old pages may be among them
		for _, id := range all {
			free[id] = true
		}
	}
	var buf []byte
	for id := uint64(2); id < w.high && ctx.Err() == nil; id++ {
		if free[id] || w.marked(id) {
			continue
		}
		b, err := w.read(id, buf)
		buf = b
		if err != nil || order.Uint16(buf[8:]) != leafPage {
			continue
		}
		rows, _ := elements(buf, nil) // those before the damage
		for _, row := range rows {
			if row.bucket || len(row.key) == 0 {
				continue
			}
			for _, bucket := range c.buckets {
				if belongs(bucket, row.key, c.buckets) && w.inLost(bucket, row.key) {
					c.put(bucket, row.key, row.value)
				}
			}
		}
	}
}

// belongs says whether a row can be of a bucket: where there is but one, all are.
func belongs(bucket string, key []byte, all []string) bool {
	if len(all) == 1 {
		return true
	}
	space := spaceOf(key[0])
	return space != nil && string(space.Bucket.name()) == bucket
}

func (w *walker) inLost(bucket string, key []byte) bool {
	for _, l := range w.lost {
		if (l.bucket == bucket || l.bucket == "") && (l.lo == nil || bytes.Compare(key, l.lo) >= 0) && (l.hi == nil || bytes.Compare(key, l.hi) < 0) {
			return true
		}
	}
	return false
}
