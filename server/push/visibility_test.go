package push_test

import (
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// TestPushesOfWhoHasLeft: what a gateway or a mail is told after somebody has left, it is told
// as the room was until then, and of a forgotten room nothing.
func TestPushesOfWhoHasLeft(t *testing.T) {
	for _, visibility := range []string{"shared", "invited", "joined"} {
		t.Run(visibility, func(t *testing.T) {
			h := newHouse(t, servertest.New(t), "alice", "bob")
			alice, bob := h.User("alice"), h.User("bob")
			name := func(room, user string) {
				alice.Must("PUT", "v3/rooms/{room}/state/m.room.name", `{"name":"`+room+`"}`, nil)
				alice.Must("PUT", "v3/rooms/{room}/state/m.room.member/{@alice}", `{"membership":"join","displayname":"`+user+`"}`, nil)
			}
			alice.Must("PUT", "v3/rooms/{room}/state/m.room.history_visibility", `{"history_visibility":"`+visibility+`"}`, nil)
			name("Kitchen", "Ada")
			said := h.say("alice", "hello")
			told := func(says, not string) {
				t.Helper()
				kvtest.View(t, h.DB, func(tx *kv.ReadTx) {
					e, ok := h.Rooms.Event(tx, matrix.EventID(said))
					if !ok {
						t.Fatal("the message is gone")
					}
					payload, err := h.Push.Payload(tx, bob.ID, matrix.RoomID(h.room), changes.Position(e.Position))
					if err != nil || says == "" && payload != "" || says != "" && !strings.Contains(payload, "hello") {
						t.Errorf("a gateway is told %q, %v", payload, err)
					}
					letter := ""
					if says != "" {
						letter = h.Push.Letter(tx, bob.ID)
					}
					for i, word := range strings.Fields(says) {
						if !strings.Contains(payload, word) || i == 0 && !strings.Contains(letter, word) {
							t.Errorf("%q and %q do not say %q", payload, letter, word)
						}
					}
					for word := range strings.FieldsSeq(not) {
						if strings.Contains(payload+letter, word) {
							t.Errorf("%q and %q say %q", payload, letter, word)
						}
					}
				})
			}
			told("Kitchen Ada", "")
			bob.Must("POST", "v3/rooms/{room}/leave", `{}`, nil)
			name("Cellar", "Eve")
			told("Kitchen Ada", "Cellar Eve")
			bob.Must("POST", "v3/rooms/{room}/forget", `{}`, nil)
			told("", "Kitchen Cellar")
		})
	}
}
