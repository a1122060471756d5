package push_test

import (
	"fmt"
	"testing"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/servertest"
)

// BenchmarkEvaluateFifty holds one message against the rules of 50 members, with all that is
// read from the database for it, and without the writing of the message.
func BenchmarkEvaluateFifty(b *testing.B) {
	s := servertest.New(b)
	var made struct {
		Room matrix.RoomID `json:"room_id"`
	}
	s.User("alice").Must("POST", "v3/createRoom", `{"preset":"public_chat"}`, &made)
	s.Set("room", string(made.Room))
	for i := range 49 {
		s.User(fmt.Sprintf("user%d", i)).Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	}
	s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"good morning"}`, nil)
	err := s.DB.Update(b.Context(), func(tx *kv.WriteTx) error {
		var last *rooms.Event
		for e := range s.Rooms.Backwards(tx, made.Room, changes.Position(s.Changes.Last(tx))) {
			last = e
			break
		}
		for b.Loop() {
			if err := s.Push.EventAppended(tx, last); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
