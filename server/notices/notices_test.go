package notices_test

import (
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// roomsOf are the rooms that a user is asked into.
func roomsOf(t *testing.T, s *servertest.Server, user matrix.UserID) (asked []matrix.RoomID) {
	t.Helper()
	kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
		for room, m := range s.Rooms.Memberships(tx, user) {
			if m.State == "invite" {
				asked = append(asked, room)
			}
		}
	})
	return asked
}

func TestNoticesFindANameAndOneRoom(t *testing.T) {
	s := servertest.New(t)
	alice := s.User("alice").ID
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { // a person has taken the name
		_, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: "notices"})
		return err
	})
	for _, text := range []string{"one", "two"} {
		kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
			if sent, err := s.Notices.Send(tx, alice, "porchlight.test", text); err != nil || !sent {
				t.Errorf("sent %v, %v", sent, err)
			}
			return nil
		})
	}
	asked := roomsOf(t, s, alice)
	if len(asked) != 1 {
		t.Fatalf("asked into %v", asked)
	}
	kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
		if row, _ := s.Rooms.Room(tx, asked[0]); row.Creator != "@notices1:house.test" {
			t.Errorf("written by %s", row.Creator)
		}
	})
}

func TestNoticesEndWithTheAccount(t *testing.T) {
	s := servertest.New(t)
	alice := s.User("alice").ID
	send := func() (sent bool) {
		kvtest.Update(t, s.DB, func(tx *kv.WriteTx) (err error) {
			sent, err = s.Notices.Send(tx, alice, "porchlight.test", "hello")
			return err
		})
		return sent
	}
	if !send() {
		t.Error("nothing was sent")
	}
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.Deactivate(tx, alice, false) })
	if asked := roomsOf(t, s, alice); len(asked) != 0 {
		t.Errorf("still asked into %v", asked)
	}
	if send() {
		t.Error("somebody was written to who is not there any more")
	}
}
