package rooms_test

import (
	"testing"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// wishes are whom bob ignores, and whether he wants no invitations.
type wishes struct {
	rooms.People
	ignored map[matrix.UserID]bool
	blocked bool
}

func (w *wishes) Ignored(kv.Reader, matrix.UserID) map[matrix.UserID]bool { return w.ignored }
func (w *wishes) InvitesBlocked(kv.Reader, matrix.UserID) bool            { return w.blocked }

func TestStaySince(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{})
	at := map[string]changes.Position{}
	step := func(name string, by matrix.UserID, membership string) {
		t.Helper()
		h.must(h.member(room, by, bob, membership))
		h.view(func(tx *kv.ReadTx) { at[name] = h.rooms.Latest(tx, room) })
	}
	for _, tt := range []struct {
		name       string // of the step that is made before looking
		by         matrix.UserID
		membership string
		since      string // the step that the client has heard of; empty: none
		before     string
		entered    bool
	}{
		{"invited", alice, "invite", "", "leave", false},
		{"in", bob, "join", "", "leave", true},
		{"in", "", "", "invited", "invite", true},
		{"in", "", "", "in", "join", false},
		{"gone", bob, "leave", "in", "join", false},
		{"gone", "", "", "invited", "invite", true},
		{"gone", "", "", "gone", "leave", false},
		{"asked", alice, "invite", "in", "join", false},
		{"back", bob, "join", "in", "join", true},
		{"back", "", "", "gone", "leave", true},
		{"back", "", "", "back", "join", false},
		{"banned", alice, "ban", "back", "join", false},
		{"banned", "", "", "in", "join", true},
	} {
		if tt.by != "" {
			step(tt.name, tt.by, tt.membership)
		}
		h.view(func(tx *kv.ReadTx) {
			m, _ := h.rooms.MembershipRow(tx, room, bob)
			before, entered := h.rooms.StaySince(tx, room, m, at[tt.since])
			if before != tt.before || entered != tt.entered {
				t.Errorf("%s, since %q: %q, %v; want %q, %v", tt.name, tt.since, before, entered, tt.before, tt.entered)
			}
		})
	}
}

func TestListener(t *testing.T) {
	h := newHouse(t)
	w := &wishes{}
	room := h.create(rooms.CreateArgs{})
	h.must(h.member(room, alice, bob, "invite"))
	h.must(h.member(room, alice, carol, "invite"))
	h.must(h.member(room, carol, carol, "join"))
	said, err := h.say(room, carol, "hello")
	h.must(err)
	h.rooms.People = w
	for _, tt := range []struct {
		why         string
		ignored     matrix.UserID
		blocked     bool
		says, state bool // what carol said, and her coming in, are told to alice
		invite      bool // bob is told of alice's invitation
	}{
		{"nobody ignored", "", false, true, true, true},
		{"who speaks is ignored, and tells no more than her coming", carol, false, false, true, true},
		{"who invites is ignored", alice, false, true, true, false},
		{"no invitations wanted", "", true, true, true, false},
	} {
		w.ignored, w.blocked = map[matrix.UserID]bool{tt.ignored: tt.ignored != ""}, tt.blocked
		h.view(func(tx *kv.ReadTx) {
			in, _ := h.rooms.MembershipRow(tx, room, alice)
			invited, _ := h.rooms.MembershipRow(tx, room, bob)
			came, _ := h.rooms.State(tx, room, "m.room.member", string(carol))
			hers, his := h.rooms.Listener(tx, alice), h.rooms.Listener(tx, bob)
			if got := hers.Wants(said, in); got != tt.says {
				t.Errorf("%s: what carol said: %v", tt.why, got)
			}
			if got := hers.Wants(came, in); got != tt.state {
				t.Errorf("%s: carol's coming: %v", tt.why, got)
			}
			if got := his.WantsInvite(room, invited); got != tt.invite {
				t.Errorf("%s: the invitation: %v", tt.why, got)
			}
			// The room is one whose history is shared: bob, invited, sees nothing before he joins.
			if his.Wants(said, invited) {
				t.Errorf("%s: bob hears what is said before he is in", tt.why)
			}
		})
	}
}
