package accounts_test

import (
	"fmt"
	"testing"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// TestErasingIsBounded: one transaction deletes no more of somebody who has more; the rest goes
// afterwards, also after a restart, and nothing of others goes with it.
func TestErasingIsBounded(t *testing.T) {
	for _, n := range []int{10, 200, 201, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			h := open(t)
			alice, bob := h.user("alice"), h.user("bob")
			refused(t, h.update(func(tx *kv.WriteTx) error {
				for i := range n {
					for _, user := range []matrix.UserID{alice, bob} {
						if err := h.SetAccountData(tx, user, matrix.RoomID(fmt.Sprintf("!%d:house.test", i)), "m.x", []byte(`{}`)); err != nil {
							return err
						}
					}
				}
				return nil
			}), "")
			left := func(want int) {
				t.Helper()
				h.view(func(tx *kv.ReadTx) {
					if a, b := h.Left(tx, alice), h.Left(tx, bob); a != want || b != n {
						t.Errorf("%d and %d rows are left, want %d and %d", a, b, want, n)
					}
				})
			}
			refused(t, h.update(func(tx *kv.WriteTx) error { return h.Deactivate(tx, alice, true) }), "")
			left(max(0, n-200))
			refused(t, h.EraseRest(t.Context()), "")
			left(0)
			refused(t, h.EraseRest(t.Context()), "")
		})
	}
}
