package e2ee

import (
	"slices"
	"testing"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

func TestDeviceListsFollowWhoComesAndGoes(t *testing.T) {
	f := setUp(t)
	const room, other, plain matrix.RoomID = "!r:example.org", "!o:example.org", "!p:example.org"
	expect := func(what string, viewer matrix.UserID, from changes.Position, changed, left []matrix.UserID) {
		t.Helper()
		f.view(func(r kv.Reader) {
			c, l := f.k.DeviceListChanges(r, viewer, from, f.c.Published())
			if !slices.Equal(c, changed) || !slices.Equal(l, left) {
				t.Errorf("%s: changed %v left %v, want %v %v", what, c, l, changed, left)
			}
		})
	}
	f.encrypt(room)
	f.encrypt(other)
	f.membership(plain, alice, "join")
	f.membership(plain, bob, "join")
	f.membership(room, alice, "join")
	p0 := f.c.Published()
	f.membership(room, bob, "join")
	expect("bob joins alice", alice, p0, []matrix.UserID{bob}, nil)
	expect("bob joins alice", bob, p0, []matrix.UserID{alice}, nil)
	p1 := f.c.Published()
	f.membership(room, bob, "join") // a new name
	expect("bob is renamed", alice, p1, nil, nil)
	f.membership(room, carol, "invite")
	expect("carol is invited", alice, p1, nil, nil)
	f.membership(other, bob, "join")
	f.membership(other, alice, "join")
	p2 := f.c.Published()
	f.membership(room, bob, "leave")
	expect("bob leaves one of two rooms", alice, p2, nil, nil)
	f.membership(other, alice, "leave")
	expect("they share none", alice, p2, nil, []matrix.UserID{bob})
	expect("they share none", bob, p2, nil, []matrix.UserID{alice})
	expect("nothing to do with it", carol, p2, nil, nil)
	p3 := f.c.Published()
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1")})
	expect("a stranger's keys", carol, p3, nil, nil)
	expect("those of somebody with whom a plain room is shared", alice, p3, []matrix.UserID{bob}, nil)
	expect("one's own keys", bob, p3, []matrix.UserID{bob}, nil)
	p4 := f.c.Published()
	f.encrypt(plain)
	expect("a room becomes encrypted", alice, p4, []matrix.UserID{bob}, nil)
	expect("which one is not in", carol, p4, nil, nil)
	f.membership(plain, alice, "leave")
	expect("and is left", alice, p4, nil, []matrix.UserID{bob})
	expect("for all since the beginning", alice, p0, nil, []matrix.UserID{bob})
}

// TestFarBehind: whoever is far behind is told at least what reading each change would tell.
func TestFarBehind(t *testing.T) {
	f := setUp(t)
	const room, plain matrix.RoomID = "!r:example.org", "!p:example.org"
	f.k.FarBehind = 3
	f.encrypt(room)
	f.membership(plain, alice, "join")
	f.membership(plain, carol, "join")
	for _, u := range []matrix.UserID{alice, bob, carol} {
		f.membership(room, u, "join")
	}
	from := f.c.Published()
	f.membership(room, carol, "leave")
	for range 3 {
		f.membership(plain, carol, "join")
	}
	look := func(viewer matrix.UserID, from changes.Position, changed, left []matrix.UserID) {
		t.Helper()
		f.view(func(r kv.Reader) {
			c, l := f.k.DeviceListChanges(r, viewer, from, f.c.Published())
			if !slices.Equal(c, changed) || !slices.Equal(l, left) {
				t.Errorf("%s: changed %v left %v, want %v %v", viewer, c, l, changed, left)
			}
		})
	}
	look(alice, from, []matrix.UserID{alice, bob}, []matrix.UserID{carol}) // only a plain room is left
	look(carol, from, []matrix.UserID{carol}, []matrix.UserID{alice, bob})
	look(carol, f.c.Published()-1, nil, nil)
	f.encrypt(plain)
	look(alice, from, []matrix.UserID{alice, bob, carol}, nil)
}

func (h *house) SharesRoom(r kv.Reader, a, b matrix.UserID) bool {
	for room := range h.stays {
		if h.Membership(r, room, a) == "join" && h.Membership(r, room, b) == "join" {
			return true
		}
	}
	return false
}
