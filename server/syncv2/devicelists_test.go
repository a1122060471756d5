package syncv2_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/syncv2"
)

// TestDeviceListsFromAnySince: whoever follows device_lists since any token knows the newest
// keys of all with whom an encrypted room is shared, follows nobody from before, and is told
// nothing of strangers.
func TestDeviceListsFromAnySince(t *testing.T) {
	h := newHouse(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		bob, carol, dave := h.user(fmt.Sprint("bob", run)), h.user(fmt.Sprint("carol", run)), h.user(fmt.Sprint("dave", run))
		others := []matrix.UserID{alice, carol, dave}
		all := []matrix.RoomID{h.public(bob), h.public(carol)}
		far := rapid.SampledFrom([]changes.Position{1, 5, 10_000}).Draw(rt, "far behind")
		versions := map[matrix.UserID]int{}
		known := map[string]map[matrix.UserID]int{} // token → users followed and their newest keys known
		h.e2ee.FarBehind = far
		h.view = h.viewWith(syncv2.Config{FarBehind: far})
		step := func(tx *kv.WriteTx) error {
			room := rapid.SampledFrom(all).Draw(rt, "room")
			who := rapid.SampledFrom([]matrix.UserID{bob, carol, dave}).Draw(rt, "who")
			switch n := rapid.IntRange(0, 9).Draw(rt, "what"); n {
			case 0:
				key := ""
				_, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.encryption", StateKey: &key, Content: []byte(megolm)})
				return err
			case 1, 2, 3:
				user := rapid.SampledFrom(others).Draw(rt, "whose keys")
				versions[user]++
				h.changes.Append(tx, changes.Change{Kind: changes.DeviceList, User: user})
				return nil
			case 4, 5, 6, 7:
				_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: who, Target: who, Membership: "join"})
				return err
			default:
				_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: who, Target: who, Membership: "leave"})
				return err
			}
		}
		for range rapid.IntRange(3, 8).Draw(rt, "looks") {
			h.do(func(tx *kv.WriteTx) error {
				for range rapid.IntRange(1, 6).Draw(rt, "steps") {
					_ = step(tx) // which the rules of the room may forbid
				}
				return nil
			})
			want, plain := map[matrix.UserID]int{}, map[matrix.UserID]bool{}
			view(h, func(tx *kv.ReadTx) error {
				for _, user := range others {
					if h.rooms.SharesEncryptedRoom(tx, bob, user) {
						want[user] = versions[user]
					} else if h.rooms.SharesRoom(tx, bob, user) {
						plain[user] = true // whose keys may be told, too
					}
				}
				return nil
			})
			since, follows := "", want // a first sync tells who is in which room
			tokens := slices.Sorted(maps.Keys(known))
			if len(tokens) > 0 {
				since = rapid.SampledFrom(append(tokens, "")).Draw(rt, "since")
			}
			a := h.sync(bob, since)
			if since != "" {
				follows = maps.Clone(known[since])
				for _, user := range a.DeviceLists.Changed {
					if user != bob && !plain[user] {
						follows[user] = versions[user]
					}
				}
				for _, user := range a.DeviceLists.Left {
					delete(follows, user)
				}
			}
			if !maps.Equal(follows, want) {
				rt.Fatalf("since %q: follows %v, want %v: %s", since, follows, want, a.raw)
			}
			known[a.Next] = follows
		}
	})
}
