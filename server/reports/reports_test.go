package reports_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
	"porchlight/server/reports"
)

// told keeps what a witness is told.
type told []uint64

func (w *told) Reported(_ *kv.WriteTx, number uint64, _ reports.Report) error {
	*w = append(*w, number)
	return nil
}

func TestOldestGoFirst(t *testing.T) {
	db := kvtest.Open(t)
	var heard told
	k := reports.New(reports.Config{DB: db, MaxReports: 3, Witness: &heard, Now: func() time.Time { return time.UnixMilli(7) }})
	for range 5 {
		kvtest.Update(t, db, func(tx *kv.WriteTx) error {
			_, err := k.Add(tx, reports.Report{By: "@alice:house.local", Reason: "x"})
			return err
		})
	}
	kvtest.Update(t, db, func(tx *kv.WriteTx) error { return k.Remove(tx, 4) })
	err := db.Update(t.Context(), func(tx *kv.WriteTx) error { return k.Remove(tx, 4) })
	if !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("removed twice: %v", err)
	}
	err = db.Update(t.Context(), func(tx *kv.WriteTx) error {
		_, err := k.Add(tx, reports.Report{Reason: strings.Repeat("x", reports.MaxReasonBytes+1)})
		return err
	})
	if !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Errorf("a long reason: %v", err)
	}
	kvtest.View(t, db, func(tx *kv.ReadTx) {
		var left []uint64
		for number, r := range k.All(tx) {
			left = append(left, number)
			if r.TS != 7 {
				t.Errorf("report %d at %d", number, r.TS)
			}
		}
		if !slices.Equal(left, []uint64{3, 5}) {
			t.Errorf("left are %v", left)
		}
	})
	if !slices.Equal(heard, told{1, 2, 3, 4, 5}) {
		t.Errorf("told of %v", heard)
	}
}
