package changes_test

import (
	"errors"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
)

func TestPositionsFollowCommits(t *testing.T) {
	db := kvtest.Open(t)
	k, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	news := k.Wait()
	var a, b changes.Position
	kvtest.Update(t, db, func(tx *kv.WriteTx) error {
		a = k.Append(tx, changes.Change{Kind: changes.Event, Room: "!r"})
		b = k.Append(tx, changes.Change{Kind: changes.Profile, User: "@u:h"})
		if k.Published() != 0 {
			t.Error("published before the commit")
		}
		return nil
	})
	select {
	case <-news:
	default:
		t.Error("nobody was woken")
	}
	if a != 1 || b != 2 || k.Published() != 2 {
		t.Errorf("positions %d, %d, published %d", a, b, k.Published())
	}
	undo := errors.New("undo")
	err = db.Update(t.Context(), func(tx *kv.WriteTx) error {
		k.Append(tx, changes.Change{Kind: changes.Profile, User: "@u:h"})
		return undo
	})
	if !errors.Is(err, undo) || k.Published() != 2 {
		t.Errorf("a failed transaction published: %v, %d", err, k.Published())
	}
	kvtest.View(t, db, func(tx *kv.ReadTx) {
		n := 0
		for pos, c := range k.Since(tx, 1) {
			if pos != 2 || c.Kind != changes.Profile {
				t.Errorf("%d: %+v", pos, c)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%d changes since 1, want 1", n)
		}
	})
}
