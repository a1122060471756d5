package kv_test

import (
	"cmp"
	"testing"

	"porchlight/kv"
)

type fuzzKey struct {
	A    string
	N    uint64
	B    string
	I    int64
	Flag bool
}

// checkKeyOrder writes keys, reads them back, and holds the order of their bytes against
// the order of their parts.
func checkKeyOrder(t *testing.T, x, y fuzzKey) {
	t.Helper()
	rawX, backX, err := kv.RoundTripKey(x)
	if err != nil || backX != x {
		t.Fatalf("%+v came back as %+v (%v)", x, backX, err)
	}
	rawY, _, err := kv.RoundTripKey(y)
	if err != nil {
		t.Fatal(err)
	}
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	want := cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.N, y.N), cmp.Compare(x.B, y.B),
		cmp.Compare(x.I, y.I), cmp.Compare(flag(x.Flag), flag(y.Flag)))
	if got := cmp.Compare(string(rawX), string(rawY)); got != want {
		t.Errorf("%+v and %+v: bytes compare %d, parts %d", x, y, got, want)
	}
}

func FuzzReadKey(f *testing.F) {
	f.Add([]byte("a\x00\x01"))
	f.Add([]byte{0, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 'b', 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := kv.ReadKey[fuzzKey](raw)
		if err != nil {
			return
		}
		if again, _, err := kv.RoundTripKey(k); err != nil || string(again) != string(raw) {
			t.Errorf("%x is read as %+v, which is written as %x (%v)", raw, k, again, err)
		}
	})
}
