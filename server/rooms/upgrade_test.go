package rooms_test

import (
	"encoding/json"
	"slices"
	"testing"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/roomver"
)

// TestUpgradeBetweenVersions: whatever the forms of the two versions are, the new room works
// and the old one leads to it. The last two versions differ most from the others, so each
// pair has one of them.
func TestUpgradeBetweenVersions(t *testing.T) {
	for _, from := range roomver.All() {
		for _, to := range roomver.All() {
			if last := []string{"11", "12"}; !slices.Contains(last, from.ID) && !slices.Contains(last, to.ID) {
				continue
			}
			t.Run(from.ID+" to "+to.ID, func(t *testing.T) {
				h := newHouse(t)
				old := h.create(rooms.CreateArgs{
					Version: from.ID, Preset: "public_chat", Name: "Hall", AliasLocalpart: "hall", Invite: []matrix.UserID{bob},
					CreationContent: json.RawMessage(`{"x":"` + to.ID + `"}`), // the hash of the other room of this millisecond is another
				})
				h.must(h.member(old, bob, bob, "join"))
				var room matrix.RoomID
				h.must(h.do(func(tx *kv.WriteTx) (err error) {
					room, err = h.rooms.Upgrade(tx, rooms.UpgradeArgs{Room: old, User: alice, Version: to.ID, AdditionalCreators: []string{string(bob)}})
					return err
				}))
				h.must(h.member(room, bob, bob, "join"))
				_, err := h.say(room, bob, "here we are")
				h.must(err)
				_, err = h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.power_levels", StateKey: new(string), Content: json.RawMessage(`{}`)})
				h.must(err)
				_, err = h.say(old, bob, "and here")
				wantCode(t, err, "M_FORBIDDEN")
				h.view(func(tx *kv.ReadTx) {
					if row, _ := h.rooms.Room(tx, room); row.Version != to.ID {
						t.Errorf("version %s", row.Version)
					}
					if got, ok := h.rooms.Resolve(tx, "#hall:house.local"); !ok || got != room {
						t.Errorf("the alias leads to %s", got)
					}
					if got, ok := h.rooms.Replaced(tx, room, bob); !ok || got != old {
						t.Errorf("it replaces %q", got)
					}
				})
			})
		}
	}
}

// TestUpgradeOfOddLevels: what older versions take for power levels becomes whole numbers,
// or stays behind.
func TestUpgradeOfOddLevels(t *testing.T) {
	h := newHouse(t)
	old := h.create(rooms.CreateArgs{
		Version:     "9",
		PowerLevels: json.RawMessage(`{"users":{"@alice:house.local":" 100 ","@bob:house.local":"50"},"ban":"60","events":{"m.room.name":"+70","m.room.topic":7},"notifications":{"room":"20"}}`),
	})
	var room matrix.RoomID
	h.must(h.do(func(tx *kv.WriteTx) (err error) {
		room, err = h.rooms.Upgrade(tx, rooms.UpgradeArgs{Room: old, User: alice, Version: "11"})
		return err
	}))
	h.view(func(tx *kv.ReadTx) {
		e, _ := h.rooms.State(tx, room, "m.room.power_levels", "")
		want := `{"ban":60,"events":{"m.room.name":70,"m.room.topic":7},"events_default":0,"invite":0,"kick":50,"notifications":{"room":20},"redact":50,"state_default":50,"users":{"@alice:house.local":100,"@bob:house.local":50},"users_default":0}`
		if string(e.Content) != want {
			t.Errorf("levels %s\nwant   %s", e.Content, want)
		}
	})
}
