package rooms_test

import (
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/server/rooms"
)

// TestCheckHoldsEventsToTheirHashes: a text that was changed underneath is found.
func TestCheckHoldsEventsToTheirHashes(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Creator: alice})
	e, err := h.say(room, alice, "quite original")
	h.must(err)
	change := func(from, to string) {
		h.must(h.do(func(tx *kv.WriteTx) error { h.rooms.Change(tx, e.ID, from, to); return nil }))
	}
	change("quite original", "quite different")
	problems, err := h.db.Check(t.Context())
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], string(e.ID)) {
		t.Errorf("%q, %v", problems, err)
	}
	change("quite different", "quite original")
}

// TestMend: indexes that were lost are made again.
func TestMend(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Creator: alice})
	e, err := h.say(room, alice, "a message")
	h.must(err)
	gone, err := h.say(room, alice, "a message that is lost")
	h.must(err)
	h.must(h.do(func(tx *kv.WriteTx) error {
		h.rooms.Lose(tx, e.ID, room, "m.room.member", string(alice))
		h.rooms.LoseEvent(tx, gone.ID)
		return nil
	}))
	if problems, err := h.db.Check(t.Context()); err != nil || len(problems) == 0 {
		t.Fatalf("the check finds nothing: %v", err)
	}
	n, err := h.rooms.Mend(t.Context())
	if err != nil || n == 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	if problems, err := h.db.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("after it: %q, %v", problems, err)
	}
	if _, err := h.say(room, alice, "another"); err != nil {
		t.Errorf("the room does not go on: %v", err)
	}
	if n, err := h.rooms.Mend(t.Context()); n != 0 || err != nil {
		t.Errorf("the second time %d rows, %v", n, err)
	}
}
