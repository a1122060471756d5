package changes_test

import (
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Another incarnation begins behind every position that was given out, and those who wait
// hear of it.
func TestRestart(t *testing.T) {
	db := kvtest.Open(t)
	k, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	starts := map[changes.Position]bool{}
	last := changes.Position(0)
	for _, ahead := range []changes.Position{0, 1 << 50, 3} {
		news := k.Wait()
		var first, next changes.Position
		kvtest.Update(t, db, func(tx *kv.WriteTx) error {
			k.Append(tx, changes.Change{Kind: changes.Event, Room: "!r"})
			first = k.Restart(tx, ahead)
			next = k.Append(tx, changes.Change{Kind: changes.Event, Room: "!r"})
			return nil
		})
		<-news
		if first <= max(last, ahead)+1<<31 || next != first+1 || k.Published() != next || next >= 1<<53 {
			t.Errorf("behind %d and %d, the incarnation begins at %d, its next position is %d", last, ahead, first, next)
		}
		kvtest.View(t, db, func(tx *kv.ReadTx) {
			if got := k.First(tx); got != first {
				t.Errorf("the incarnation begins at %d, want %d", got, first)
			}
		})
		starts[first], last = true, next
	}
	if len(starts) != 3 {
		t.Errorf("incarnations begin at %v", starts)
	}
}

// Two servers that are restored from one copy do not give out the same positions.
func TestRestartsOfOneCopyDiffer(t *testing.T) {
	starts := map[changes.Position]int{}
	for range 8 {
		db := kvtest.Open(t)
		k, err := changes.New(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		kvtest.Update(t, db, func(tx *kv.WriteTx) error {
			starts[k.Restart(tx, 0)]++
			return nil
		})
	}
	if len(starts) < 2 {
		t.Errorf("eight incarnations begin at %v", starts)
	}
}

func TestSeal(t *testing.T) {
	seal := changes.NewSeal([]byte("secret"))
	sealed := seal.On("@a:h", "s1_2")
	for _, test := range []struct {
		name   string
		seal   changes.Seal
		user   string
		sealed string
		ok     bool
	}{
		{"right", seal, "@a:h", sealed, true},
		{"another user", seal, "@b:h", sealed, false},
		{"another place", seal, "@a:h", "s9" + sealed[2:], false},
		{"another server", changes.NewSeal([]byte("other")), "@a:h", sealed, false},
		{"a letter less", seal, "@a:h", sealed[:len(sealed)-1], false},
		{"none", seal, "@a:h", "s1_2", false},
		{"nothing", seal, "@a:h", "", false},
	} {
		if _, ok := test.seal.Cut(matrix.UserID(test.user), test.sealed); ok != test.ok {
			t.Errorf("%s: %v", test.name, ok)
		}
	}
	if len(sealed) > len("s1_2")+10 {
		t.Errorf("a seal makes %q of %q", sealed, "s1_2")
	}
}
