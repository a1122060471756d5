package history_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	alice = matrix.UserID("@alice:house.local")
	bob   = matrix.UserID("@bob:house.local")
	carol = matrix.UserID("@carol:house.local")
)

type house struct {
	t       testing.TB
	db      *kv.DB
	rooms   *rooms.Keeper
	history *history.Keeper
}

// everybody exists and has no profile.
type everybody struct{}

func (everybody) MemberProfile(_ kv.Reader, user matrix.UserID) (name, avatar string) {
	return user.Localpart(), ""
}
func (everybody) UserExists(kv.Reader, matrix.UserID) bool { return true }

func newHouse(t testing.TB) *house {
	t.Helper()
	db := kvtest.Open(t)
	log, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	var ticks atomic.Int64
	k := rooms.New(rooms.Config{DB: db, Changes: log, Profiles: everybody{}, Server: "house.local", KeyID: "ed25519:t",
		Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)),
		Now: func() time.Time { return time.UnixMilli(1700000000000 + ticks.Add(1)) }})
	return &house{t: t, db: db, rooms: k, history: history.New(history.Config{Rooms: k, MaxPage: 50, ScanLimit: 200})}
}

func (h *house) create(visibility string) (room matrix.RoomID) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) (err error) {
		room, err = h.rooms.Create(tx, rooms.CreateArgs{Creator: alice, Preset: "public_chat", InitialState: []rooms.StateArgs{
			{Type: "m.room.history_visibility", Content: json.RawMessage(fmt.Sprintf(`{"history_visibility":%q}`, visibility))}}})
		return err
	})
	return room
}

func (h *house) member(room matrix.RoomID, sender, target matrix.UserID, membership string) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: sender, Target: target, Membership: membership})
		return err
	})
}

func (h *house) say(room matrix.RoomID, bodies ...string) (last *rooms.Event) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) (err error) {
		for _, body := range bodies {
			last, err = h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.message",
				Content: json.RawMessage(fmt.Sprintf(`{"body":%q}`, body))})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return last
}

// messages is a page; with an error, its errcode.
func (h *house) messages(user matrix.UserID, a history.PageArgs) (page history.Page, code string) {
	h.t.Helper()
	err := h.db.View(h.t.Context(), func(tx *kv.ReadTx) (err error) {
		page, err = h.history.Messages(tx, rooms.Viewer{User: user}, a)
		return err
	})
	return page, errcode(h.t, err)
}

func errcode(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := err.(*matrix.Error)
	if !ok {
		t.Fatal(err)
	}
	return e.Code
}

var onlyMessages = mustFilter(`{"types":["m.room.message"]}`)

func mustFilter(s string) history.RoomEventFilter {
	f, err := history.ParseRoomEventFilter(s)
	if err != nil {
		panic(err)
	}
	return f
}

func bodies(events []matrix.ClientEvent) []string {
	all := []string{}
	for _, e := range events {
		var c struct{ Body, Membership string }
		if err := json.Unmarshal(e.Content, &c); err != nil {
			panic(err)
		}
		all = append(all, c.Body+c.Membership)
	}
	return all
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPagesMeet(t *testing.T) {
	h := newHouse(t)
	room := h.create("shared")
	var said []string
	for i := range 25 {
		said = append(said, fmt.Sprint(i))
	}
	h.say(room, said...)
	for _, backwards := range []bool{true, false} {
		for _, limit := range []int{1, 7, 25, 50} {
			var all []string
			a := history.PageArgs{Room: room, Backwards: backwards, Limit: &limit, Filter: onlyMessages}
			for {
				page, code := h.messages(alice, a)
				if code != "" || a.From != "" && page.Start != a.From {
					t.Fatalf("%s, start %s after %s", code, page.Start, a.From)
				}
				if all = append(all, bodies(page.Chunk)...); page.End == "" {
					break
				}
				a.From = page.End
			}
			if backwards {
				slices.Reverse(all)
			}
			if !slices.Equal(all, said) {
				t.Errorf("backwards %v by %d: %v", backwards, limit, all)
			}
		}
	}
	// A page stands still while the room goes on, and ends at to.
	page, _ := h.messages(alice, history.PageArgs{Room: room, Backwards: true, Filter: onlyMessages})
	h.say(room, "later")
	next, _ := h.messages(alice, history.PageArgs{Room: room, Backwards: true, From: page.End, Filter: onlyMessages})
	if len(page.Chunk) != history.DefaultPage || bodies(next.Chunk)[0] != "14" {
		t.Errorf("%v, then %v", bodies(page.Chunk), bodies(next.Chunk))
	}
	back, _ := h.messages(alice, history.PageArgs{Room: room, From: next.End, To: page.End, Filter: onlyMessages})
	want(t, "between two tokens", bodies(back.Chunk), "5", "6", "7", "8", "9", "10", "11", "12", "13", "14")
	if back.End != "" {
		t.Errorf("there is nothing behind to: %s", back.End)
	}
	sync, _ := h.messages(alice, history.PageArgs{Room: room, From: "s" + next.End[1:] + "_4_boot_5", To: page.End, Filter: onlyMessages})
	want(t, "from a sync token", bodies(sync.Chunk), bodies(back.Chunk)...)
}

func TestPagesAreBounded(t *testing.T) {
	h := newHouse(t)
	room := h.create("shared")
	h.say(room, "needle")
	h.say(room, make([]string, 450)...)
	filter := onlyMessages
	filter.Senders = []matrix.UserID{bob}
	pages := 0
	for a := (history.PageArgs{Room: room, Backwards: true, Filter: filter}); ; {
		page, _ := h.messages(alice, a)
		if len(page.Chunk) > 0 {
			t.Fatal("bob said nothing")
		}
		if pages++; page.End == "" {
			break
		}
		a.From = page.End
	}
	if pages != 3 {
		t.Errorf("450 events at 200 a page were %d pages", pages)
	}
	many := 100000
	if page, _ := h.messages(alice, history.PageArgs{Room: room, Limit: &many}); len(page.Chunk) != 50 {
		t.Errorf("a page of %d events", len(page.Chunk))
	}
}

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	room := h.create("shared")
	h.member(room, alice, carol, "invite")
	negative := -1
	for name, row := range map[string]struct {
		user matrix.UserID
		args history.PageArgs
		code string
	}{
		"stranger":   {bob, history.PageArgs{Room: room}, "M_FORBIDDEN"},
		"invited":    {carol, history.PageArgs{Room: room}, "M_FORBIDDEN"},
		"no room":    {alice, history.PageArgs{Room: "!no"}, "M_FORBIDDEN"},
		"from":       {alice, history.PageArgs{Room: room, From: "x"}, "M_INVALID_PARAM"},
		"to":         {alice, history.PageArgs{Room: room, To: "t-1"}, "M_INVALID_PARAM"},
		"limit":      {alice, history.PageArgs{Room: room, Limit: &negative}, "M_INVALID_PARAM"},
		"everything": {alice, history.PageArgs{Room: room, Backwards: true, From: "t9223372036854775807"}, ""},
	} {
		if _, code := h.messages(row.user, row.args); code != row.code {
			t.Errorf("%s: %q, want %q", name, code, row.code)
		}
	}
}

// TestVisibility goes through a stay with each setting: what was said before the
// invitation, while invited, while in the room, and after leaving.
func TestVisibility(t *testing.T) {
	rows := map[string]struct{ in, left, never []string }{
		"joined":         {in: []string{"stay"}, left: []string{"stay"}},
		"invited":        {in: []string{"invited", "stay"}, left: []string{"invited", "stay"}},
		"shared":         {in: []string{"before", "invited", "stay"}, left: []string{"before", "invited", "stay"}},
		"world_readable": {in: []string{"before", "invited", "stay"}, left: []string{"before", "invited", "stay", "after"}, never: []string{"before", "invited", "stay", "after"}},
	}
	for visibility, row := range rows {
		t.Run(visibility, func(t *testing.T) {
			h := newHouse(t)
			room := h.create(visibility)
			see := func(user matrix.UserID) []string {
				page, _ := h.messages(user, history.PageArgs{Room: room, Filter: onlyMessages})
				return bodies(page.Chunk)
			}
			h.say(room, "before")
			h.member(room, alice, bob, "invite")
			h.say(room, "invited")
			h.member(room, bob, bob, "join")
			h.say(room, "stay")
			want(t, "in the room", see(bob), row.in...)
			h.member(room, bob, bob, "leave")
			after := h.say(room, "after")
			want(t, "after leaving", see(bob), row.left...)
			want(t, "never in it", see(carol), row.never...)
			kvtest.View(t, h.db, func(tx *kv.ReadTx) {
				_, err := h.history.Event(tx, rooms.Viewer{User: bob}, room, after.ID)
				_, contextErr := h.history.Context(tx, rooms.Viewer{User: bob}, room, after.ID, nil, history.RoomEventFilter{})
				code := "M_NOT_FOUND"
				if visibility == "world_readable" {
					code = ""
				}
				if errcode(t, err) != code || errcode(t, contextErr) != code {
					t.Errorf("the event itself: %v, %v", err, contextErr)
				}
			})
		})
	}
}

func TestContext(t *testing.T) {
	h := newHouse(t)
	room := h.create("shared")
	h.member(room, bob, bob, "join")
	h.say(room, "1", "2", "3")
	e := h.say(room, "4")
	h.say(room, "5", "6", "7")
	read := func(limit int, filter string) (c history.Context) {
		t.Helper()
		kvtest.View(t, h.db, func(tx *kv.ReadTx) {
			var err error
			if c, err = h.history.Context(tx, rooms.Viewer{User: bob}, room, e.ID, &limit, mustFilter(filter)); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	c := read(4, "")
	want(t, "before", bodies(c.Before), "3", "2")
	want(t, "after", bodies(c.After), "5", "6")
	if bodies([]matrix.ClientEvent{c.Event})[0] != "4" || len(c.State) < 7 {
		t.Errorf("%+v", c)
	}
	on, _ := h.messages(bob, history.PageArgs{Room: room, From: c.End})
	want(t, "onwards", bodies(on.Chunk), "7")
	back, _ := h.messages(bob, history.PageArgs{Room: room, From: c.Start, Backwards: true})
	want(t, "back", bodies(back.Chunk)[:2], "1", "join")
	if c = read(0, ""); len(c.Before)+len(c.After) != 0 {
		t.Errorf("limit 0: %+v", c)
	}
	c = read(2, `{"lazy_load_members":true}`)
	members := 0
	for _, e := range c.State {
		if e.Type == "m.room.member" {
			members++
		}
	}
	if members != 1 {
		t.Errorf("%d members for one sender", members)
	}
	page, _ := h.messages(bob, history.PageArgs{Room: room, From: c.Start, Filter: mustFilter(`{"lazy_load_members":true}`)})
	want(t, "lazily loaded members", bodies(page.State), "join")
}

func TestStateAndMembers(t *testing.T) {
	h := newHouse(t)
	room := h.create("shared")
	h.member(room, bob, bob, "join")
	before := h.say(room, "x")
	h.member(room, alice, carol, "invite")
	h.member(room, bob, bob, "leave")
	h.member(room, alice, bob, "ban")
	topic := ""
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.topic", StateKey: &topic, Content: json.RawMessage(`{"topic":"t"}`)})
		return err
	})
	kvtest.View(t, h.db, func(tx *kv.ReadTx) {
		members := func(user matrix.UserID, at, is, not string) []string {
			t.Helper()
			chunk, err := h.history.Members(tx, rooms.Viewer{User: user}, room, at, is, not)
			if err != nil {
				t.Error(err)
			}
			return bodies(chunk)
		}
		want(t, "now", members(alice, "", "", ""), "join", "ban", "invite")
		want(t, "when bob left", members(bob, "", "", ""), "join", "leave", "invite")
		want(t, "at a token", members(alice, history.Token(before.Position), "", ""), "join", "join")
		want(t, "one kind", members(alice, "", "invite", ""), "invite")
		want(t, "all but one", members(alice, "", "", "ban"), "join", "invite")
		want(t, "either", members(alice, "", "ban", "invite"), "join", "ban")

		a, errA := h.history.State(tx, rooms.Viewer{User: alice}, room)
		b, errB := h.history.State(tx, rooms.Viewer{User: bob}, room)
		_, errC := h.history.State(tx, rooms.Viewer{User: carol}, room)
		if errA != nil || errB != nil || len(a) != len(b)+1 || errcode(t, errC) != "M_FORBIDDEN" {
			t.Errorf("%d and %d state events; %v %v %v", len(a), len(b), errA, errB, errC)
		}
		if _, err := h.history.StateEvent(tx, rooms.Viewer{User: bob}, room, "m.room.topic", ""); errcode(t, err) != "M_NOT_FOUND" {
			t.Errorf("a later topic: %v", err)
		}
		if e, err := h.history.StateEvent(tx, rooms.Viewer{User: alice}, room, "m.room.topic", ""); err != nil || e.Unsigned.Membership != "join" {
			t.Errorf("%+v, %v", e, err)
		}
		joined, err := h.history.JoinedMembers(tx, rooms.Viewer{User: alice}, room)
		if err != nil || len(joined) != 1 || joined[alice].DisplayName != "alice" {
			t.Errorf("%v, %v", joined, err)
		}
		if _, err := h.history.JoinedMembers(tx, rooms.Viewer{User: bob}, room); errcode(t, err) != "M_FORBIDDEN" {
			t.Errorf("a former member: %v", err)
		}
		if _, err := h.history.Members(tx, rooms.Viewer{User: alice}, room, "", "sleeping", ""); errcode(t, err) != "M_INVALID_PARAM" {
			t.Errorf("no membership: %v", err)
		}
	})
}
