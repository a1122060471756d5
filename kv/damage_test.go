package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a database with branches, rows of several pages and free pages.
type sample struct {
	path string
	data []byte
	rows map[string]string // by table and key
	used []extent
}

// extent is a part of the file that says something.
type extent struct {
	at, size int64
	page     uint64
}

type sampleKey struct {
	Room     string
	Position uint64
}

type sampleTables struct {
	events *Table[sampleKey, string]
	ids    *Table[string, uint64]
}

func openSample(path string) (*DB, sampleTables, error) {
	db, err := Open(Options{Path: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, sampleTables{}, err
	}
	return db, sampleTables{NewTable[sampleKey, string](db, Events), NewTable[string, uint64](db, EventIDs)}, nil
}

func makeSample(t *testing.T) *sample {
	t.Helper()
	s := &sample{path: filepath.Join(t.TempDir(), "sample.db"), rows: map[string]string{}}
	db, tables, err := openSample(s.path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for commit := range 40 {
		err := db.Update(t.Context(), func(tx *WriteTx) error {
			for i := range 50 {
				n := uint64(commit*50 + i)
				text := fmt.Sprintf("event %d %x", n, random.Uint64())
				if n%100 == 7 { // several pages
					text += string(bytes.Repeat([]byte{'x'}, 15_000))
				}
				tables.events.Put(tx, sampleKey{fmt.Sprint("!room", n%3), n}, text)
				tables.ids.Put(tx, fmt.Sprintf("$%016x", random.Uint64()), n)
				if n%10 == 9 {
					tables.events.Delete(tx, sampleKey{fmt.Sprint("!room", (n-5)%3), n - 5})
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.rows, err = readSample(db, tables); err != nil {
		t.Fatal(err)
	}
	if problems, err := db.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Fatalf("check before the damage: %q, %v", problems, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s.data, err = os.ReadFile(s.path); err != nil {
		t.Fatal(err)
	}
	s.used = usedExtents(t, s.data)
	return s
}

func readSample(db *DB, tables sampleTables) (map[string]string, error) {
	rows := map[string]string{}
	err := db.View(context.Background(), func(tx *ReadTx) error {
		for k, v := range tables.events.Scan(tx, All()) {
			rows[fmt.Sprint("events", k)] = v
		}
		for k, v := range tables.ids.Scan(tx, All()) {
			rows[fmt.Sprint("ids", k)] = fmt.Sprint(v)
		}
		return nil
	})
	return rows, err
}

// usedExtents are the parts of the file's pages that say something.
func usedExtents(t *testing.T, data []byte) (all []extent) {
	t.Helper()
	r := bytes.NewReader(data)
	metas, errs := readMetas(r)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	newest := metas[0]
	if metas[1].tx > newest.tx {
		newest = metas[1]
	}
	p := &pageReader{r: r, meta: newest}
	for i := range uint64(2) {
		if metas[i] == newest { // the other has no say
			all = append(all, extent{int64(i)*pageSize + pageHead, metaSize, i})
		}
	}
	free, _, err := p.freePages()
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, extent{int64(p.freelist) * pageSize, int64(pageHead + 8*len(free)), p.freelist})
	var walk func(id uint64)
	walk = func(id uint64) {
		buf, err := p.read(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := elements(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		size := pageHead
		for _, row := range rows {
			size += elementHead + len(row.key) + len(row.value)
			switch {
			case row.child != 0:
				walk(row.child)
			case row.bucket && order.Uint64(row.value) != 0:
				walk(order.Uint64(row.value))
			}
		}
		all = append(all, extent{int64(id) * pageSize, int64(size), id})
	}
	walk(p.root)
	return all
}

// damaged writes a damaged copy and says what was done.
func (s *sample) damaged(t *testing.T, random *rand.Rand, path string) (what string, used bool) {
	t.Helper()
	data := bytes.Clone(s.data)
	e := s.used[random.IntN(len(s.used))]
	at := e.at + random.Int64N(e.size)
	switch random.IntN(6) {
	case 0, 1, 2:
		bit := byte(1) << random.IntN(8)
		data[at] ^= bit
		what = fmt.Sprintf("bit %#x of byte %d of page %d", bit, at-int64(e.page)*pageSize, e.page)
	case 3:
		at = at / pageSize * pageSize
		clear(data[at : at+pageSize])
		what = fmt.Sprintf("page %d zeroed", at/pageSize)
	case 4:
		at = at / 512 * 512
		for i := range data[at : at+512] {
			data[at+int64(i)] = byte(random.Uint32())
		}
		what = fmt.Sprintf("sector at byte %d of page %d", at%pageSize, at/pageSize)
	default:
		data = data[:at]
		what = fmt.Sprintf("cut to %d of %d bytes", at, len(s.data))
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.used {
		if e.at+e.size > int64(len(data)) || !bytes.Equal(data[e.at:e.at+e.size], s.data[e.at:e.at+e.size]) {
			return what, true
		}
	}
	return what, false
}

// TestDamage: whatever is damaged, nothing panics or hangs, no row reads as anything but
// what was written, and the check finds it.
func TestDamage(t *testing.T) {
	s := makeSample(t)
	const rounds = 80
	refused, failed, fine := 0, 0, 0
	for seed := range rounds {
		random := rand.New(rand.NewPCG(uint64(seed), 2))
		path := filepath.Join(t.TempDir(), "damaged.db")
		what, used := s.damaged(t, random, path)
		db, tables, err := openSample(path)
		if err != nil {
			refused++
			if !isDamage(err) {
				t.Errorf("%d, %s: open: %v", seed, what, err)
			}
			continue
		}
		problems, err := db.Check(t.Context())
		if err != nil || used && len(problems) == 0 {
			t.Errorf("%d, %s: check: %q, %v", seed, what, problems, err)
		}
		rows, err := readSample(db, tables)
		if err != nil {
			failed++
		} else {
			fine++
		}
		for k, v := range rows {
			if s.rows[k] != v && len(problems) == 0 {
				t.Errorf("%d, %s: %s reads %.40q", seed, what, k, v)
			}
		}
		if _, err := db.Backup(t.Context(), io.Discard); err == nil && used && !begins(problems) {
			t.Errorf("%d, %s: a backup of what is damaged was made", seed, what)
		}
		for range 5 { // some fail
			_ = db.Update(t.Context(), func(tx *WriteTx) error {
				n := random.Uint64N(2000)
				tables.events.Put(tx, sampleKey{fmt.Sprint("!room", n%3), n}, "new")
				tables.events.Delete(tx, sampleKey{fmt.Sprint("!room", n%3), n + 3})
				return nil
			})
		}
		_ = db.Close() // it may say what it could not write
	}
	t.Logf("%d not opened, %d with rows that could not be read, %d with none", refused, failed, fine)
}

// begins says whether the only problem is one of the pages that begin the file: the other
// of them is in force then, and all of its rows are there.
func begins(problems []string) bool {
	return len(problems) == 1 && strings.Contains(problems[0], "when it was opened")
}
