package rooms_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/roomver"
)

const (
	alice = matrix.UserID("@alice:house.local")
	bob   = matrix.UserID("@bob:house.local")
	carol = matrix.UserID("@carol:house.local")
)

// people are the profiles of the users that exist.
type people map[matrix.UserID]string

func (p people) MemberProfile(_ kv.Reader, user matrix.UserID) (name, avatar string) {
	return p[user], ""
}

func (p people) UserExists(_ kv.Reader, user matrix.UserID) bool {
	_, ok := p[user]
	return ok
}

type house struct {
	t       *testing.T
	db      *kv.DB
	changes *changes.Keeper
	rooms   *rooms.Keeper
	people  people
}

func newHouse(t *testing.T) *house { return houseAt(t, filepath.Join(t.TempDir(), "db")) }

func houseAt(t *testing.T, path string) *house {
	db := kvtest.OpenAt(t, path)
	log, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, db: db, changes: log, people: people{alice: "Alice", bob: "Bob", carol: "Carol"}}
	h.rooms = rooms.New(rooms.Config{
		DB: db, Changes: log, Profiles: h.people, Server: "house.local", KeyID: "ed25519:t",
		Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)),
	})
	return h
}

// do runs fn in a transaction and returns its error.
func (h *house) do(fn func(tx *kv.WriteTx) error) error {
	h.t.Helper()
	return h.db.Update(h.t.Context(), fn)
}

func (h *house) create(a rooms.CreateArgs) matrix.RoomID {
	h.t.Helper()
	if a.Creator == "" {
		a.Creator = alice
	}
	var room matrix.RoomID
	err := h.do(func(tx *kv.WriteTx) (err error) { room, err = h.rooms.Create(tx, a); return err })
	if err != nil {
		h.t.Fatal(err)
	}
	return room
}

func (h *house) member(room matrix.RoomID, sender, target matrix.UserID, membership string) error {
	h.t.Helper()
	return h.do(func(tx *kv.WriteTx) error {
		_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: sender, Target: target, Membership: membership})
		return err
	})
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) say(room matrix.RoomID, sender matrix.UserID, body string) (*rooms.Event, error) {
	h.t.Helper()
	return h.send(rooms.SendArgs{Room: room, Sender: sender, Type: "m.room.message", Content: json.RawMessage(`{"msgtype":"m.text","body":"` + body + `"}`)})
}

func (h *house) send(a rooms.SendArgs) (*rooms.Event, error) {
	h.t.Helper()
	var e *rooms.Event
	err := h.do(func(tx *kv.WriteTx) (err error) { e, err = h.rooms.Send(tx, a); return err })
	return e, err
}

func (h *house) view(fn func(tx *kv.ReadTx)) {
	h.t.Helper()
	kvtest.View(h.t, h.db, fn)
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if !matrix.IsCode(err, code) {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestEveryVersionMakesAWorkingRoom(t *testing.T) {
	for _, v := range roomver.All() {
		t.Run(v.ID, func(t *testing.T) {
			h := newHouse(t)
			room := h.create(rooms.CreateArgs{
				Version: v.ID, Preset: "trusted_private_chat", Name: "Hall", Topic: "by the door",
				AliasLocalpart: "hall", Invite: []matrix.UserID{bob}, IsDirect: true,
			})
			if hashed := !strings.Contains(string(room), ":"); hashed != v.RoomIDIsHash {
				t.Errorf("room ID %s", room)
			}
			h.must(h.member(room, bob, bob, "join"))
			// All invitees have the power of the creator.
			if _, err := h.send(rooms.SendArgs{Room: room, Sender: bob, Type: "m.room.name", StateKey: new(string), Content: json.RawMessage(`{"name":"Porch"}`)}); err != nil {
				t.Error(err)
			}
			e, err := h.say(room, bob, "hello")
			h.must(err)
			redaction, err := h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.redaction", Content: json.RawMessage(`{}`), Redacts: e.ID})
			h.must(err)
			h.view(func(tx *kv.ReadTx) {
				var types []string
				for e := range h.rooms.Forwards(tx, room, 0) {
					types = append(types, strings.TrimPrefix(e.Type, "m.room."))
				}
				want := "create member power_levels canonical_alias join_rules history_visibility guest_access name topic member member name message redaction"
				if got := strings.Join(types, " "); got != want {
					t.Errorf("timeline:\n%s\nwant\n%s", got, want)
				}
				gone, _ := h.rooms.Event(tx, e.ID)
				if string(gone.Content) != "{}" || gone.RedactedBy != redaction.ID {
					t.Errorf("after redaction: %s by %s", gone.Content, gone.RedactedBy)
				}
				shown := h.rooms.ClientEvent(tx, gone, rooms.Viewer{User: alice})
				if because := shown.Unsigned.RedactedBecause; because == nil || because.EventID != redaction.ID || because.Redacts != e.ID {
					t.Errorf("redacted_because: %+v", because)
				}
				name, _ := h.rooms.State(tx, room, "m.room.name", "")
				shown = h.rooms.ClientEvent(tx, name, rooms.Viewer{User: alice})
				if string(shown.Unsigned.PrevContent) != `{"name":"Hall"}` || shown.Unsigned.ReplacesState == "" {
					t.Errorf("unsigned of the new name: %+v", shown.Unsigned)
				}
				if got, ok := h.rooms.Resolve(tx, "#hall:house.local"); !ok || got != room {
					t.Errorf("the alias leads to %s", got)
				}
			})
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	h := newHouse(t)
	h.create(rooms.CreateArgs{AliasLocalpart: "taken"})
	tests := []struct {
		name string
		args rooms.CreateArgs
		code string
	}{
		{"unknown version", rooms.CreateArgs{Version: "99"}, "M_UNSUPPORTED_ROOM_VERSION"},
		{"taken alias", rooms.CreateArgs{AliasLocalpart: "taken"}, "M_ROOM_IN_USE"},
		{"bad preset", rooms.CreateArgs{Preset: "x"}, "M_INVALID_PARAM"},
		{"stranger invited", rooms.CreateArgs{Invite: []matrix.UserID{"@nobody:house.local"}}, "M_NOT_FOUND"},
		{"other server invited", rooms.CreateArgs{Invite: []matrix.UserID{"@x:elsewhere"}}, "M_FORBIDDEN"},
		{"power to do nothing", rooms.CreateArgs{Version: "11", Name: "x", PowerLevels: json.RawMessage(`{"users":{},"events":{"m.room.name":101}}`)}, "M_INVALID_ROOM_STATE"},
		{"creator listed in v12", rooms.CreateArgs{PowerLevels: json.RawMessage(`{"users":{"@alice:house.local":100}}`)}, "M_INVALID_ROOM_STATE"},
		{"bad creation content", rooms.CreateArgs{CreationContent: json.RawMessage(`[]`)}, "M_BAD_JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.args.Creator = alice
			before := h.changes.Published()
			err := h.do(func(tx *kv.WriteTx) error { _, err := h.rooms.Create(tx, tt.args); return err })
			wantCode(t, err, tt.code)
			if after := h.changes.Published(); after != before {
				t.Errorf("%d changes were written", after-before)
			}
		})
	}
}

func TestMembershipTransitions(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{})
	state := func(user matrix.UserID) (s string) {
		h.view(func(tx *kv.ReadTx) { s = h.rooms.Membership(tx, room, user) })
		return s
	}
	kick := func(sender, target matrix.UserID) error {
		return h.do(func(tx *kv.WriteTx) error {
			_, err := h.rooms.Kick(tx, rooms.MemberArgs{Room: room, Sender: sender, Target: target})
			return err
		})
	}
	unban := func(sender, target matrix.UserID) error {
		return h.do(func(tx *kv.WriteTx) error {
			_, err := h.rooms.Unban(tx, rooms.MemberArgs{Room: room, Sender: sender, Target: target})
			return err
		})
	}
	forget := func(user matrix.UserID) error {
		return h.do(func(tx *kv.WriteTx) error { return h.rooms.Forget(tx, room, user) })
	}
	steps := []struct {
		name string
		err  error
		code string // empty: allowed
		who  matrix.UserID
		want string
	}{
		{"join without invitation", h.member(room, bob, bob, "join"), "M_FORBIDDEN", bob, "leave"},
		{"leave without being there", h.member(room, bob, bob, "leave"), "M_FORBIDDEN", bob, "leave"},
		{"kick who is not there", kick(alice, bob), "M_FORBIDDEN", bob, "leave"},
		{"invite", h.member(room, alice, bob, "invite"), "", bob, "invite"},
		{"join", h.member(room, bob, bob, "join"), "", bob, "join"},
		{"join again", h.member(room, bob, bob, "join"), "", bob, "join"},
		{"invite who is there", h.member(room, alice, bob, "invite"), "M_FORBIDDEN", bob, "join"},
		{"kick without power", kick(bob, alice), "M_FORBIDDEN", alice, "join"},
		{"forget while there", forget(bob), "M_UNKNOWN", bob, "join"},
		{"kick", kick(alice, bob), "", bob, "leave"},
		{"forget", forget(bob), "", bob, "leave"},
		{"ban", h.member(room, alice, bob, "ban"), "", bob, "ban"},
		{"join while banned", h.member(room, bob, bob, "join"), "M_FORBIDDEN", bob, "ban"},
		{"invite while banned", h.member(room, alice, bob, "invite"), "M_FORBIDDEN", bob, "ban"},
		{"unban without power", unban(bob, bob), "M_FORBIDDEN", bob, "ban"},
		{"unban", unban(alice, bob), "", bob, "leave"},
		{"unban again", unban(alice, bob), "M_BAD_STATE", bob, "leave"},
		{"knock on a closed room", h.member(room, bob, bob, "knock"), "M_FORBIDDEN", bob, "leave"},
	}
	for _, s := range steps {
		if s.code == "" && s.err != nil || s.code != "" && !matrix.IsCode(s.err, s.code) {
			t.Errorf("%s: got %v, want %q", s.name, s.err, s.code)
		}
	}
	if got := state(bob); got != "leave" {
		t.Errorf("bob is %q at the end", got)
	}
}

// TestLookalikeKeysDecideNothing: Go's decoder takes other spellings for the same key,
// which would let a knock count as joining.
func TestLookalikeKeysDecideNothing(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{InitialState: []rooms.StateArgs{{Type: "m.room.join_rules", Content: json.RawMessage(`{"join_rule":"knock"}`)}}})
	key := string(bob)
	_, err := h.send(rooms.SendArgs{
		Room: room, Sender: bob, Type: "m.room.member", StateKey: &key,
		Content: json.RawMessage(`{"membership":"knock","member\u017fhip":"join","Membership":"join"}`),
	})
	h.must(err)
	h.view(func(tx *kv.ReadTx) {
		if got := h.rooms.Membership(tx, room, bob); got != "knock" {
			t.Errorf("bob is %q", got)
		}
	})
}

func TestRestrictedJoin(t *testing.T) {
	h := newHouse(t)
	hall := h.create(rooms.CreateArgs{Invite: []matrix.UserID{bob}})
	h.must(h.member(hall, bob, bob, "join"))
	room := h.create(rooms.CreateArgs{InitialState: []rooms.StateArgs{{
		Type:    "m.room.join_rules",
		Content: json.RawMessage(`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"` + string(hall) + `"}]}`),
	}}})
	h.must(h.member(room, bob, bob, "join"))
	wantCode(t, h.member(room, carol, carol, "join"), "M_FORBIDDEN")
	h.view(func(tx *kv.ReadTx) {
		e, _ := h.rooms.State(tx, room, "m.room.member", string(bob))
		if !bytes.Contains(e.Content, []byte(`"join_authorised_via_users_server":"@alice:house.local"`)) {
			t.Errorf("content %s", e.Content)
		}
	})
}

func TestRedactionNeedsPowerOrOwnership(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Invite: []matrix.UserID{bob}})
	h.must(h.member(room, bob, bob, "join"))
	hers, err := h.say(room, alice, "hers")
	h.must(err)
	his, err := h.say(room, bob, "his")
	h.must(err)
	redact := func(who matrix.UserID, what matrix.EventID) error {
		_, err := h.send(rooms.SendArgs{Room: room, Sender: who, Type: "m.room.redaction", Content: json.RawMessage(`{}`), Redacts: what})
		return err
	}
	wantCode(t, redact(bob, hers.ID), "M_FORBIDDEN")
	wantCode(t, redact(bob, "$nothing"), "M_NOT_FOUND")
	wantCode(t, redact(carol, his.ID), "M_NOT_FOUND")
	h.must(redact(bob, his.ID))
	h.must(redact(alice, his.ID)) // once more changes nothing and is no error
	// A redacted membership still says who is in the room.
	h.view(func(tx *kv.ReadTx) {
		e, _ := h.rooms.State(tx, room, "m.room.member", string(bob))
		his = e
	})
	h.must(redact(alice, his.ID))
	h.view(func(tx *kv.ReadTx) {
		if got := h.rooms.Membership(tx, room, bob); got != "join" {
			t.Errorf("bob is %q", got)
		}
	})
}

func TestVisibility(t *testing.T) {
	for _, tt := range []struct {
		visibility string
		// what bob sees of what was said: before his invitation, between it and his
		// joining, while there, after leaving; and what carol, a stranger, sees.
		bob   [4]bool
		carol bool
	}{
		{"shared", [4]bool{true, true, true, false}, false},
		{"invited", [4]bool{false, true, true, false}, false},
		{"joined", [4]bool{false, false, true, false}, false},
		{"world_readable", [4]bool{true, true, true, true}, true},
	} {
		t.Run(tt.visibility, func(t *testing.T) {
			h := newHouse(t)
			room := h.create(rooms.CreateArgs{InitialState: []rooms.StateArgs{{
				Type: "m.room.history_visibility", Content: json.RawMessage(`{"history_visibility":"` + tt.visibility + `"}`),
			}}})
			var said [4]*rooms.Event
			say := func(i int) {
				t.Helper()
				e, err := h.say(room, alice, "x")
				h.must(err)
				said[i] = e
			}
			say(0)
			h.must(h.member(room, alice, bob, "invite"))
			say(1)
			h.must(h.member(room, bob, bob, "join"))
			say(2)
			h.must(h.member(room, bob, bob, "leave"))
			say(3)
			h.view(func(tx *kv.ReadTx) {
				for i, e := range said {
					if got := h.rooms.Visible(tx, bob, e); got != tt.bob[i] {
						t.Errorf("bob, %d: %v", i, got)
					}
					if got := h.rooms.Visible(tx, carol, e); got != tt.carol {
						t.Errorf("carol, %d: %v", i, got)
					}
					if !h.rooms.Visible(tx, alice, e) {
						t.Errorf("alice, %d: unseen", i)
					}
				}
			})
		})
	}
}

func TestStateAtAnyPosition(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Name: "one"})
	var at []changes.Position
	for _, name := range []string{"two", "three"} {
		e, err := h.say(room, alice, "between")
		h.must(err)
		at = append(at, e.Position)
		_, err = h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.name", StateKey: new(string), Content: json.RawMessage(`{"name":"` + name + `"}`)})
		h.must(err)
	}
	h.view(func(tx *kv.ReadTx) {
		for i, want := range []string{"one", "two"} {
			e, ok := h.rooms.StateAt(tx, room, at[i], "m.room.name", "")
			if !ok || string(e.Content) != `{"name":"`+want+`"}` {
				t.Errorf("at %d: %s", at[i], e.Content)
			}
			n := 0
			for e := range h.rooms.StateSetAt(tx, room, at[i]) {
				if e.Type == "m.room.name" && string(e.Content) != `{"name":"`+want+`"}` {
					t.Errorf("set at %d: %s", at[i], e.Content)
				}
				n++
			}
			if n != 7 {
				t.Errorf("%d state events at %d, want 7", n, at[i])
			}
		}
		var changed []string
		for e := range h.rooms.StateBetween(tx, room, at[0], h.changes.Published()) {
			changed = append(changed, string(e.Content))
		}
		if !slices.Equal(changed, []string{`{"name":"three"}`}) {
			t.Errorf("changed: %q", changed)
		}
	})
}

func TestProfileReachesTheRooms(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{})
	h.people[alice] = "Alice of the House"
	h.must(h.do(func(tx *kv.WriteTx) error { return h.rooms.ProfileChanged(tx, alice) }))
	h.view(func(tx *kv.ReadTx) {
		e, _ := h.rooms.State(tx, room, "m.room.member", string(alice))
		if string(e.Content) != `{"displayname":"Alice of the House","membership":"join"}` {
			t.Errorf("content %s", e.Content)
		}
	})
}

func TestSendRefuses(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{})
	big := `{"body":"` + strings.Repeat("x", matrix.MaxEventBytes) + `"}`
	tests := []struct {
		name string
		args rooms.SendArgs
		code string
	}{
		{"stranger", rooms.SendArgs{Sender: bob, Type: "m.room.message", Content: json.RawMessage(`{}`)}, "M_FORBIDDEN"},
		{"no such room", rooms.SendArgs{Room: "!none", Sender: alice, Type: "m.room.message", Content: json.RawMessage(`{}`)}, "M_FORBIDDEN"},
		{"too large", rooms.SendArgs{Sender: alice, Type: "m.room.message", Content: json.RawMessage(big)}, "M_TOO_LARGE"},
		{"long type", rooms.SendArgs{Sender: alice, Type: strings.Repeat("t", 256), Content: json.RawMessage(`{}`)}, ""},
		{"no object", rooms.SendArgs{Sender: alice, Type: "m.room.message", Content: json.RawMessage(`[]`)}, "M_BAD_JSON"},
		{"float", rooms.SendArgs{Sender: alice, Type: "m.room.message", Content: json.RawMessage(`{"x":1.5}`)}, "M_BAD_JSON"},
		{"mentions", rooms.SendArgs{Sender: alice, Type: "m.room.message", Content: json.RawMessage(`{"m.mentions":{"user_ids":"@a:b"}}`)}, "M_INVALID_PARAM"},
		{"mentions null", rooms.SendArgs{Sender: alice, Type: "m.room.message", Content: json.RawMessage(`{"m.mentions":7}`)}, "M_INVALID_PARAM"},
		{"another create", rooms.SendArgs{Sender: alice, Type: "m.room.create", StateKey: new(string), Content: json.RawMessage(`{"room_version":"12"}`)}, "M_FORBIDDEN"},
		{"state for another user", rooms.SendArgs{Sender: alice, Type: "x", StateKey: ptr("@bob:house.local"), Content: json.RawMessage(`{}`)}, "M_FORBIDDEN"},
		{"alias of nothing", rooms.SendArgs{Sender: alice, Type: "m.room.canonical_alias", StateKey: new(string), Content: json.RawMessage(`{"alias":"#x:house.local"}`)}, "M_BAD_ALIAS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.args.Room == "" {
				tt.args.Room = room
			}
			before := h.changes.Published()
			_, err := h.send(tt.args)
			var refused *matrix.Error
			if !errors.As(err, &refused) || tt.code != "" && refused.Code != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
			if after := h.changes.Published(); after != before {
				t.Errorf("%d changes were written", after-before)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }
