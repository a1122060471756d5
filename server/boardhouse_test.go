package server

import (
	"slices"
	"testing"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/rooms"
)

// TestFirstRead: what comes between the start of the house and the board's first look is
// not lost, and what was there before is not done again.
func TestFirstRead(t *testing.T) {
	s, err := New(t.Context(), Config{
		Data: t.TempDir(), ServerName: "house.test", Listen: []string{"127.0.0.1:0"},
		Hashing: accounts.HashCost{Memory: 8, Time: 1}, Board: BoardConfig{Off: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	self := s.BoardUser()
	do := func(fn func(tx *kv.WriteTx) error) {
		t.Helper()
		if err := s.DB.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	do(func(tx *kv.WriteTx) error {
		room, err := s.Rooms.Create(tx, rooms.CreateArgs{Creator: self, Preset: "public_chat"})
		if err != nil {
			return err
		}
		for _, kind := range []string{"org.example.before", "m.call.invite"} {
			if _, err := s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: self, Type: kind, Content: []byte(`{}`)}); err != nil {
				return err
			}
		}
		return nil
	})
	h := &boardHouse{s: s, start: s.Changes.Published()}
	do(func(tx *kv.WriteTx) error {
		room := s.Rooms.JoinedRooms(tx, self)[0]
		_, err := s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: self, Type: "org.example.since", Content: []byte(`{}`)})
		return err
	})
	events, err := h.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Type)
	}
	if want := []string{"m.call.invite", "org.example.since"}; !slices.Equal(kinds, want) {
		t.Errorf("the board hears %q, want %q", kinds, want)
	}
}
