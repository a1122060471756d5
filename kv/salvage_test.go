package kv

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestSalvage: whatever is damaged, what is salvaged is what was written, passes the check
// of pages and rows, and what is missing is told.
func TestSalvage(t *testing.T) {
	s := makeSample(t)
	const rounds = 60
	all, kept, whole := 0, 0, 0
	for seed := range rounds {
		random := rand.New(rand.NewPCG(uint64(seed), 4))
		folder := t.TempDir()
		path, into := filepath.Join(folder, "damaged.db"), filepath.Join(folder, "salvaged.db")
		what, _ := s.damaged(t, random, path)
		result, err := Salvage(t.Context(), into, path)
		if err != nil {
			t.Errorf("%d, %s: %v", seed, what, err)
			continue
		}
		db, tables, err := openSample(into)
		if err != nil {
			t.Errorf("%d, %s: open what was salvaged: %v", seed, what, err)
			continue
		}
		rows, err := readSample(db, tables)
		if err != nil {
			t.Errorf("%d, %s: read what was salvaged: %v", seed, what, err)
		}
		for k, v := range rows {
			if was, there := s.rows[k]; there && was != v {
				t.Errorf("%d, %s: %s was %.30q and is %.30q", seed, what, k, was, v)
			}
		}
		missing := 0
		for k := range s.rows {
			if _, there := rows[k]; !there {
				missing++
			}
		}
		if missing > 0 && len(result.Lost) == 0 {
			t.Errorf("%d, %s: %d rows are missing, and nothing is said", seed, what, missing)
		}
		if missing == 0 {
			whole++
		}
		all, kept = all+len(s.rows), kept+len(s.rows)-missing
		if problems, err := db.Check(t.Context()); err != nil || len(problems) > 0 {
			t.Errorf("%d, %s: check of what was salvaged: %q, %v", seed, what, problems, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of %d files whole, %d of %d rows kept", whole, rounds, kept, all)
}
