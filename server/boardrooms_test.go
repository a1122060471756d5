package server

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/setup"
	"porchlight/voip/agent"
)

const (
	porchUser = matrix.UserID("@porch:house.test")
	ownerUser = matrix.UserID("@owner:house.test")
	bobUser   = matrix.UserID("@bob:house.test")
	mallory   = matrix.UserID("@mallory:house.test")
)

// household is a house with its people and a board that does not run.
func household(t *testing.T, now func() time.Time) *Server {
	t.Helper()
	s, err := New(t.Context(), Config{
		Data: t.TempDir(), ServerName: "house.test", Listen: []string{"127.0.0.1:0"}, Now: now,
		Hashing: accounts.HashCost{Memory: 8, Time: 1}, Board: BoardConfig{Off: true, User: "porch"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	write(t, s, func(tx *kv.WriteTx) error {
		for _, user := range []matrix.UserID{porchUser, ownerUser, bobUser, mallory} {
			if _, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: user.Localpart()}); err != nil {
				return err
			}
		}
		s.Config.Board.Off = false
		return s.MakeOwner(tx, ownerUser)
	})
	return s
}

// prepared is a way to prepare a room that the board and a victim are in.
type prepared struct {
	creator, victim           matrix.UserID
	version, rule, visibility string
	theirs, stranger, blemish string
}

func (p prepared) String() string {
	return fmt.Sprintf("by %s, version %s, %s, %s, %s %s, the stranger %s, %s",
		p.creator.Localpart(), p.version, p.rule, p.visibility, p.victim.Localpart(), p.theirs, p.stranger, p.blemish)
}

// good says whether the board may go on using a room.
func (p prepared) good() bool {
	return p.creator == porchUser && p.rule == "invite" && p.visibility == "shared" && (p.stranger == "never" || p.stranger == "left") && p.blemish == ""
}

func allPrepared() (all []prepared) {
	n := 0
	for _, victim := range []matrix.UserID{bobUser, ownerUser} {
		for _, creator := range []matrix.UserID{porchUser, victim, mallory} {
			for _, theirs := range []string{"join", "invite", "leave"} {
				if victim == ownerUser && theirs == "leave" || creator == victim && theirs == "invite" {
					continue
				}
				p := prepared{creator: creator, victim: victim, theirs: theirs}
				add := func(rule, visibility, stranger, blemish string) {
					n++
					p.version, p.rule, p.visibility, p.stranger, p.blemish = []string{"10", "12"}[n%2], rule, visibility, stranger, blemish
					if blemish == "without power" {
						p.version = "10" // in later ones creators cannot lose it
					}
					all = append(all, p)
				}
				for i, stranger := range []string{"never", "left", "join", "invite", "token"} {
					add("invite", "shared", stranger, "")
					add([]string{"public", "restricted"}[i%2], "shared", stranger, "")
				}
				add("invite", "world_readable", "left", "")
				add("knock", "shared", "knock", "")
				add("invite", "shared", "never", "encrypted")
				add("invite", "shared", "never", "replaced")
				add("invite", "shared", "never", "without power")
			}
		}
	}
	return all
}

// strangerKey signs the stranger's third-party invitations.
var strangerKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func keyOf(text string) *string { return &text }

// prepare makes the room.
func prepare(t *testing.T, s *Server, p prepared) (room matrix.RoomID) {
	t.Helper()
	write(t, s, func(tx *kv.WriteTx) (err error) {
		room, err = s.Rooms.Create(tx, rooms.CreateArgs{
			Creator: p.creator, Version: p.version, Preset: "private_chat", IsDirect: true,
			PowerLevels: json.RawMessage(`{"state_default":0,"events":{"m.room.power_levels":100}}`),
		})
		member := func(by, who matrix.UserID, membership string) {
			if err == nil {
				_, err = s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: by, Target: who, Membership: membership})
			}
		}
		state := func(by matrix.UserID, kind, key, content string) {
			if err == nil {
				_, err = s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: by, Type: kind, StateKey: keyOf(key), Content: json.RawMessage(content)})
			}
		}
		enter := func(who matrix.UserID) {
			if who != p.creator {
				member(p.creator, who, "invite")
				member(who, who, "join")
			}
		}
		enter(porchUser)
		switch p.stranger {
		case "left", "token", "join":
			enter(mallory)
		case "invite":
			if p.creator == mallory {
				enter(mallory)
				break
			}
			member(p.creator, mallory, "invite")
		}
		if p.victim != p.creator && p.theirs != "leave" {
			member(p.creator, p.victim, "invite")
		}
		if p.theirs == "join" && p.victim != p.creator {
			member(p.victim, p.victim, "join")
		}
		if p.stranger == "token" {
			public := matrix.EncodeBase64(strangerKey.Public().(ed25519.PublicKey))
			state(mallory, "m.room.third_party_invite", "t", `{"display_name":"m","key_validity_url":"https://x","public_key":"`+public+`"}`)
		}
		if p.visibility != "shared" {
			state(p.creator, "m.room.history_visibility", "", `{"history_visibility":"`+p.visibility+`"}`)
		}
		if p.rule != "invite" {
			state(p.creator, "m.room.join_rules", "", `{"join_rule":"`+p.rule+`","allow":[]}`)
		}
		switch p.blemish {
		case "encrypted":
			state(p.creator, "m.room.encryption", "", `{"algorithm":"m.megolm.v1.aes-sha2"}`)
		case "replaced":
			state(p.creator, "m.room.tombstone", "", `{"body":"gone","replacement_room":"!other"}`)
		case "without power":
			state(p.creator, "m.room.power_levels", "", `{"users":{},"ban":100,"events":{"m.room.power_levels":0}}`)
		}
		switch {
		case p.stranger == "knock" && p.creator != mallory:
			member(mallory, mallory, "knock")
		case (p.stranger == "left" || p.stranger == "token" || p.creator == mallory && p.stranger != "join"):
			member(mallory, mallory, "leave")
		}
		if p.theirs == "leave" && p.victim == p.creator {
			member(p.victim, p.victim, "leave")
		}
		return err
	})
	return room
}

// errUndo takes a transaction back.
var errUndo = errors.New("undo")

// intrudes says whether the stranger gets to see what the board sends to a room, whatever the
// stranger tries after that.
func intrudes(t *testing.T, s *Server, room matrix.RoomID) (seen bool) {
	t.Helper()
	err := s.DB.Update(t.Context(), func(tx *kv.WriteTx) error {
		e, err := s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: porchUser, Type: "m.room.message", Content: json.RawMessage(`{"msgtype":"m.image","body":"x"}`)})
		if err != nil {
			return err
		}
		seen = s.Rooms.Visible(tx, mallory, e)
		signed, err := matrix.SignJSON([]byte(`{"mxid":"`+string(mallory)+`","token":"t"}`), "x", "ed25519:0", strangerKey)
		if err != nil {
			return err
		}
		for _, try := range []rooms.MemberArgs{
			{Membership: "join"}, {Membership: "knock"}, {Membership: "invite", ThirdParty: json.RawMessage(`{"display_name":"m","signed":` + string(signed) + `}`)},
			{Membership: "join"},
		} {
			try.Room, try.Sender, try.Target = room, mallory, mallory
			refused := (*matrix.Error)(nil)
			if _, err := s.Rooms.SetMembership(tx, try); err != nil && !errors.As(err, &refused) {
				return err
			}
		}
		seen = seen || s.Rooms.Visible(tx, mallory, e)
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	return seen
}

// TestPreparedRooms: a room that the board made and still controls goes on, also one that a
// former release recorded in another way; instead of every other one there is a new room, which
// says so once. No stranger sees what the board sends, whatever was prepared.
func TestPreparedRooms(t *testing.T) {
	s := household(t, nil)
	h := &boardHouse{s: s}
	kept, replaced, open := 0, 0, 0
	for _, p := range allPrepared() {
		room := prepare(t, s, p)
		if intrudes(t, s, room) {
			open++
		}
		write(t, s, func(tx *kv.WriteTx) error { // as a former release has left it
			setup.Unset(s.Setup, tx, boardRoomOf(p.victim))
			setup.Unset(s.Setup, tx, boardRoom)
			if err := s.Accounts.SetAccountData(tx, porchUser, "", "m.direct", json.RawMessage(`{}`)); err != nil {
				return err
			}
			if p.victim == ownerUser {
				return setup.Set(s.Setup, tx, boardRoom, room)
			}
			return s.markDirect(tx, porchUser, p.victim, room)
		})
		got, err := h.DirectRoom(t.Context(), p.victim)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if intrudes(t, s, got) {
			t.Errorf("%s: the stranger sees what the board sends", p)
		}
		if (got == room) != p.good() {
			t.Errorf("%s: the room goes on: %t", p, got == room)
		}
		for range 2 {
			if again, err := h.DirectRoom(t.Context(), p.victim); again != got || err != nil {
				t.Errorf("%s: the next time it is %s, not %s, %v", p, again, got, err)
			}
		}
		greetings := 0
		if err := s.DB.View(t.Context(), func(tx *kv.ReadTx) error {
			for e := range s.Rooms.Forwards(tx, got, 0) {
				if strings.Contains(string(e.Content), "From now on") {
					greetings++
				}
			}
			if in := s.Rooms.Membership(tx, got, p.victim); in != "join" && in != "invite" {
				t.Errorf("%s: the person is not asked in: %s", p, in)
			}
			if p.victim == ownerUser {
				if control, err := h.ControlRoom(t.Context()); control != got || err != nil {
					t.Errorf("%s: the control room is %s, %v, not %s", p, control, err, got)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got == room {
			kept++
		} else if replaced++; greetings != 1 {
			t.Errorf("%s: told %d times", p, greetings)
		}
	}
	if kept < 6 || replaced < 100 || open < 50 {
		t.Errorf("%d rooms went on, %d were replaced, the stranger sees into %d of those prepared", kept, replaced, open)
	}
	t.Logf("%d rooms went on, %d were replaced; the stranger saw into %d of those prepared", kept, replaced, open)
}

// TestFloodOfCalls: somebody who may not call the board calls it thousands of times. The answers
// that are written to the disk stay few, and the owner's command behind all that is answered.
func TestFloodOfCalls(t *testing.T) {
	const flood = 3000
	s := household(t, nil)
	room := prepare(t, s, prepared{creator: mallory, victim: bobUser, version: "10", rule: "invite", visibility: "shared", stranger: "join"})
	h := &boardHouse{s: s, start: s.Changes.Published()}
	settings := agent.NewStore(nil, agent.DefaultSettings(time.Minute), slog.New(slog.DiscardHandler))
	a := agent.New(agent.Config{House: h, Bridge: noMedia{}, Self: porchUser, Settings: settings, Log: slog.New(slog.DiscardHandler)})
	send := func(tx *kv.WriteTx, in matrix.RoomID, by matrix.UserID, kind, content string) error {
		_, err := s.Rooms.Send(tx, rooms.SendArgs{Room: in, Sender: by, Type: kind, Content: json.RawMessage(content)})
		return err
	}
	for n := 0; n < flood; {
		write(t, s, func(tx *kv.WriteTx) error {
			for range 500 {
				n++
				if err := send(tx, room, mallory, "m.call.invite", fmt.Sprintf(`{"call_id":"f%d","party_id":"p","version":"1","lifetime":60000,"invitee":%q,
					"offer":{"type":"offer","sdp":"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}}`, n, porchUser)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	control, err := h.ControlRoom(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, func(tx *kv.WriteTx) error {
		return send(tx, control, ownerUser, "m.room.message", `{"msgtype":"m.text","body":"status"}`)
	})
	before := s.DB.Stats().Updates
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	answered := func() (yes bool) {
		if err := s.DB.View(t.Context(), func(tx *kv.ReadTx) error {
			for e := range s.Rooms.Backwards(tx, control, s.Changes.Last(tx)) {
				yes = yes || e.Sender == porchUser && strings.Contains(string(e.Content), "calling")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	for news := s.Changes.Wait(); !answered(); news = s.Changes.Wait() {
		<-news
	}
	if err := a.Ring(t.Context(), agent.RingRequest{}); err != nil { // behind all of them
		t.Error(err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	commits := s.DB.Stats().Updates - before
	t.Logf("%d calls: %d commits", flood, commits)
	if commits > 12 {
		t.Errorf("%d commits for a flood of %d calls", commits, flood)
	}
}

// TestHandOver: the server is given to another account, which makes settings in a room of its own
// from then on, and the former owner's account can be closed.
func TestHandOver(t *testing.T) {
	s := household(t, nil)
	h := &boardHouse{s: s}
	bobs, err := h.DirectRoom(t.Context(), bobUser)
	if err != nil {
		t.Fatal(err)
	}
	former, err := h.ControlRoom(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ do, name, want string }{
		{"user owner", "nobody", "no account"},
		{"user owner", "porch", "cannot be the owner"},
		{"user owner", "owner", "the owner already"},
		{"user deactivate", "owner", "M_FORBIDDEN"},
		{"user owner", "bob", "@bob:house.test is the owner now"},
		{"identity", "", "owner: @bob:house.test"},
	} {
		lines, err := s.Do(t.Context(), Order{Do: tt.do, User: tt.name})
		if got := fmt.Sprint(lines, err); !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %s", tt.do, tt.name, got)
		}
	}
	control, err := h.ControlRoom(t.Context())
	if err != nil || control == "" || control == former || control == bobs {
		t.Errorf("the control room is %q, %v", control, err)
	}
	for user, want := range map[matrix.UserID]matrix.RoomID{bobUser: control, ownerUser: former} {
		if room, err := h.DirectRoom(t.Context(), user); room != want || err != nil {
			t.Errorf("%s: %q, %v, not %q", user, room, err, want)
		}
	}
	if err := s.DB.View(t.Context(), func(tx *kv.ReadTx) error {
		row, _ := s.Accounts.User(tx, bobUser)
		before, _ := s.Accounts.User(tx, ownerUser)
		if !row.Admin || before.Admin || s.Rooms.Membership(tx, control, bobUser) != "join" {
			t.Errorf("%+v, %+v", row, before)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(t.Context(), Order{Do: "user deactivate", User: "owner"}); err != nil {
		t.Error(err)
	}
}
