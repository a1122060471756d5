package rooms_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// setState sends a state event with a text of n bytes in it.
func (h *house) setState(room matrix.RoomID, eventType, key string, n int) (*rooms.Event, error) {
	h.t.Helper()
	content := json.RawMessage(fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", n)))
	return h.send(rooms.SendArgs{Room: room, Sender: alice, Type: eventType, StateKey: &key, Content: content})
}

// checked fails the test for every room whose state is counted wrongly.
func (h *house) checked() {
	h.t.Helper()
	h.view(func(tx *kv.ReadTx) { h.rooms.CheckSizes(tx, h.t.Errorf) })
}

func (h *house) stateSize(room matrix.RoomID) (size int64, known bool) {
	h.t.Helper()
	h.view(func(tx *kv.ReadTx) { size, known = h.rooms.StateSize(tx, room) })
	return size, known
}

// fullRoom is a room whose state has as much as it may.
func fullRoom(t *testing.T, h *house) matrix.RoomID {
	t.Helper()
	room := h.create(rooms.CreateArgs{Preset: "public_chat"})
	before, known := h.stateSize(room)
	if !known || before == 0 {
		t.Fatalf("a new room has %d bytes of state (known %v)", before, known)
	}
	_, err := h.setState(room, "m.x", "1", 1000)
	h.must(err)
	after, _ := h.stateSize(room)
	h.rooms.MaxState = after
	return room
}

func TestStateOfARoomIsBounded(t *testing.T) {
	h := newHouse(t)
	room := fullRoom(t, h)
	if _, err := h.setState(room, "m.x", "2", 0); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("more than there is room for: %v", err)
	}
	if _, err := h.setState(room, "m.x", "1", 1100); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("a larger one in its place: %v", err)
	}
	wantCode(t, h.member(room, bob, bob, "join"), "M_RESOURCE_LIMIT_EXCEEDED")
	_, err := h.say(room, alice, "messages are no state")
	h.must(err)
	_, err = h.setState(room, "m.x", "1", 900) // less than before
	h.must(err)
	h.rooms.MaxState, _ = h.stateSize(room)
	h.rooms.MaxState += 150
	_, err = h.setState(room, "m.x", "1", 1000) // below the bound
	h.must(err)
	_, err = h.setState(room, "m.x", "1", 1100)
	wantCode(t, err, "M_RESOURCE_LIMIT_EXCEEDED")
	h.rooms.MaxState = -1
	_, err = h.setState(room, "m.x", "1", 5000)
	h.must(err)
}

// TestWhatAFullRoomStillTakes sees that those who run a room do not lose it.
func TestWhatAFullRoomStillTakes(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Preset: "public_chat"})
	h.must(h.member(room, bob, bob, "join"))
	big, err := h.setState(room, "m.x", "1", 5000)
	h.must(err)
	h.rooms.MaxState = 100
	empty := ""
	_, err = h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.join_rules", StateKey: &empty, Content: json.RawMessage(`{"join_rule":"invite","why":"because of what came"}`)})
	h.must(err)
	h.must(h.member(room, alice, bob, "ban"))
	h.must(h.member(room, alice, bob, "leave"))
	before, _ := h.stateSize(room)
	_, err = h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.redaction", Redacts: big.ID, Content: json.RawMessage(`{}`)})
	h.must(err)
	if after, _ := h.stateSize(room); after > before-5000 {
		t.Errorf("removing 5,000 bytes leaves %d of %d", after, before)
	}
	h.must(h.member(room, alice, alice, "leave"))
	h.checked()
}

// TestStateThatIsOlderThanTheBound has more than the bound at the upgrade: it stays, can be
// read and removed, and takes no more.
func TestStateThatIsOlderThanTheBound(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Preset: "public_chat"})
	for i := range 20 {
		_, err := h.setState(room, "m.x", fmt.Sprint(i), 1000)
		h.must(err)
	}
	size, _ := h.stateSize(room)
	h.must(h.do(func(tx *kv.WriteTx) error { h.rooms.ForgetStateSize(tx, room); return nil }))
	h.rooms.MaxState = 20_000
	if _, known := h.stateSize(room); known {
		t.Fatal("the size is known although nobody has counted it")
	}
	_, err := h.setState(room, "m.x", "0", 1001) // not counted yet
	h.must(err)
	h.must(h.rooms.CountState(t.Context(), room))
	if got, known := h.stateSize(room); !known || got < size+1 || got > size+20 {
		t.Errorf("counted %d (known %v), want %d and a few digits", got, known, size+1)
	}
	_, err = h.setState(room, "m.x", "more", 0)
	wantCode(t, err, "M_RESOURCE_LIMIT_EXCEEDED")
	n := 0
	h.view(func(tx *kv.ReadTx) {
		for i := range 20 {
			if e, ok := h.rooms.State(tx, room, "m.x", fmt.Sprint(i)); ok && len(e.Content) > 1000 {
				n++
			}
		}
	})
	if n != 20 {
		t.Errorf("%d of 20 events can be read", n)
	}
	for i := range 20 {
		_, err := h.setState(room, "m.x", fmt.Sprint(i), 0)
		h.must(err)
	}
	_, err = h.setState(room, "m.x", "more", 0)
	h.must(err)
	h.checked()
}

// TestAFullRoomKeepsNobodyFromANewName changes a name that a full room has no room for.
func TestAFullRoomKeepsNobodyFromANewName(t *testing.T) {
	h := newHouse(t)
	room := fullRoom(t, h)
	other := matrix.RoomID("")
	size := h.rooms.MaxState
	h.rooms.MaxState = -1
	other = h.create(rooms.CreateArgs{})
	h.rooms.MaxState = size
	h.people[alice] = "Alice, who has a much longer name from now on " + strings.Repeat("x", 100)
	h.must(h.do(func(tx *kv.WriteTx) error { return h.rooms.ProfileChanged(tx, alice) }))
	h.view(func(tx *kv.ReadTx) {
		e, _ := h.rooms.State(tx, other, "m.room.member", string(alice))
		if !strings.Contains(string(e.Content), "much longer") {
			t.Errorf("the other room says %s", e.Content)
		}
		if e, ok := h.rooms.State(tx, room, "m.room.member", string(alice)); !ok || strings.Contains(string(e.Content), "much longer") {
			t.Errorf("the full room says %s", e.Content)
		}
	})
}
