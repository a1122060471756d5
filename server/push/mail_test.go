package push_test

import (
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/servertest"
)

func TestLetterTellsWhereNotWhat(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	h.User("alice").Must("PUT", "v3/rooms/{room}/state/m.room.name", `{"name":"Kitchen\r\nBcc: all"}`, nil)
	letter := func() (text string) {
		kvtest.View(t, h.DB, func(tx *kv.ReadTx) { text = h.Push.Letter(tx, h.User("bob").ID) })
		return text
	}
	if got := letter(); got != "" {
		t.Errorf("%q though nothing is unread", got)
	}
	h.say("alice", "a secret")
	last := h.say("alice", "another")
	if got := letter(); !strings.Contains(got, "  2 in Kitchen Bcc: all\n") || strings.Contains(got, "secret") || strings.Contains(got, "\r") {
		t.Errorf("%q", got)
	}
	h.read("bob", "m.read", last, "")
	if got := letter(); got != "" {
		t.Errorf("%q though all was read", got)
	}
}

// TestLockedAreToldNothing: whoever reads what a pusher is told need not be the user.
func TestLockedAreToldNothing(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	h.say("alice", "a secret")
	bob := h.User("bob").ID
	for _, locked := range []bool{false, true, false} {
		kvtest.Update(t, h.DB, func(tx *kv.WriteTx) error { return h.Accounts.SetLocked(tx, bob, locked) })
		kvtest.View(t, h.DB, func(tx *kv.ReadTx) {
			if h.Push.Tells(tx, bob) == locked {
				t.Errorf("locked %v: told %v", locked, !locked)
			}
		})
	}
}
