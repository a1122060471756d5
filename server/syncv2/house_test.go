package syncv2_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/setup"
	"porchlight/server/syncv2"
)

const (
	alice = matrix.UserID("@alice:house.local")
	bob   = matrix.UserID("@bob:house.local")
	carol = matrix.UserID("@carol:house.local")
)

// house is a server without doors.
type house struct {
	t         testing.TB
	ctx       context.Context
	db        *kv.DB
	changes   *changes.Keeper
	accounts  *accounts.Keeper
	rooms     *rooms.Keeper
	ephemeral *ephemeral.Keeper
	e2ee      *e2ee.Keeper
	closing   chan struct{}
	ticks     atomic.Int64
	view      *syncv2.View
}

// people are the users that the rooms ask about: all there are.
type people struct{ *accounts.Keeper }

func (p people) MemberProfile(r kv.Reader, user matrix.UserID) (name, avatar string) {
	row, _ := p.User(r, user)
	return row.DisplayName, ""
}

func (p people) UserExists(r kv.Reader, user matrix.UserID) bool { return p.Exists(r, user) }

func (p people) DeviceIDs(r kv.Reader, user matrix.UserID) (all []matrix.DeviceID) {
	for id := range p.Devices(r, user) {
		all = append(all, id)
	}
	return all
}

func (p people) DeviceName(r kv.Reader, user matrix.UserID, device matrix.DeviceID) (string, bool) {
	row, ok := p.Device(r, user, device)
	return row.Name, ok
}

// tick is a clock on which no two looks show the same millisecond.
func (h *house) tick() time.Time {
	return time.Now().Add(time.Duration(h.ticks.Add(1)) * time.Millisecond)
}

func newHouse(t testing.TB) *house {
	return open(t, kvtest.Open(t))
}

// open makes a house over a database.
func open(t testing.TB, db *kv.DB) *house {
	t.Helper()
	h := &house{t: t, ctx: context.Background(), db: db, closing: make(chan struct{})}
	home, err := setup.New(h.ctx, setup.Config{DB: db, ServerName: "house.local"})
	if err != nil {
		t.Fatal(err)
	}
	if h.changes, err = changes.New(h.ctx, db); err != nil {
		t.Fatal(err)
	}
	h.accounts = accounts.New(accounts.Config{DB: db, Setup: home, Changes: h.changes})
	h.rooms = rooms.New(rooms.Config{
		DB: db, Changes: h.changes, Profiles: people{h.accounts}, People: h.accounts, Server: "house.local",
		Now:   h.tick, // two rooms of one creator and one millisecond would be the same
		KeyID: "ed25519:t", Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)),
	})
	h.ephemeral = ephemeral.New(ephemeral.Config{DB: db, Changes: h.changes, Rooms: h.rooms})
	h.e2ee = e2ee.New(e2ee.Config{DB: db, Changes: h.changes, Accounts: people{h.accounts}, Rooms: h.rooms, Server: "house.local"})
	h.view = h.viewWith(syncv2.Config{})
	for _, user := range []matrix.UserID{alice, bob, carol} {
		h.user(user.Localpart())
	}
	return h
}

// user makes a user, if there is none of that name, with two devices.
func (h *house) user(name string) (user matrix.UserID) {
	h.t.Helper()
	user = matrix.NewUserID(name, "house.local")
	h.do(func(tx *kv.WriteTx) error {
		if h.accounts.Exists(tx, user) {
			return nil
		}
		if _, err := h.accounts.Create(tx, accounts.NewUser{Localpart: name}); err != nil {
			return err
		}
		for _, device := range []matrix.DeviceID{"PHONE", "TABLET"} {
			if _, err := h.accounts.Login(tx, accounts.NewLogin{User: user, Device: device}); err != nil {
				return err
			}
		}
		return nil
	})
	return user
}

// viewWith makes a view of this house with other limits.
func (h *house) viewWith(c syncv2.Config) *syncv2.View {
	c.DB, c.Changes, c.Rooms, c.History = h.db, h.changes, h.rooms, history.New(history.Config{Rooms: h.rooms})
	c.Ephemeral, c.Accounts, c.Crypto, c.Closing = h.ephemeral, h.accounts, h.e2ee, h.closing
	return syncv2.New(c)
}

func (h *house) do(fn func(tx *kv.WriteTx) error) {
	h.t.Helper()
	if err := h.db.Update(h.ctx, fn); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) create(a rooms.CreateArgs) (room matrix.RoomID) {
	h.t.Helper()
	if a.Creator == "" {
		a.Creator = alice
	}
	h.do(func(tx *kv.WriteTx) (err error) {
		room, err = h.rooms.Create(tx, a)
		return err
	})
	return room
}

// public makes a room of alice's that the others are in.
func (h *house) public(others ...matrix.UserID) matrix.RoomID {
	h.t.Helper()
	room := h.create(rooms.CreateArgs{Preset: "public_chat"})
	for _, user := range others {
		h.member(room, user, user, "join")
	}
	return room
}

func (h *house) member(room matrix.RoomID, sender, target matrix.UserID, membership string) *rooms.Event {
	h.t.Helper()
	var e *rooms.Event
	h.do(func(tx *kv.WriteTx) (err error) {
		e, err = h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: sender, Target: target, Membership: membership})
		return err
	})
	return e
}

func (h *house) say(room matrix.RoomID, sender matrix.UserID, body string) *rooms.Event {
	h.t.Helper()
	return h.send(rooms.SendArgs{Room: room, Sender: sender, Type: "m.room.message",
		Content: json.RawMessage(fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, body))})
}

func (h *house) set(room matrix.RoomID, sender matrix.UserID, eventType, key, content string) *rooms.Event {
	h.t.Helper()
	return h.send(rooms.SendArgs{Room: room, Sender: sender, Type: eventType, StateKey: &key, Content: json.RawMessage(content)})
}

func (h *house) send(a rooms.SendArgs) *rooms.Event {
	h.t.Helper()
	var e *rooms.Event
	h.do(func(tx *kv.WriteTx) (err error) {
		e, err = h.rooms.Send(tx, a)
		return err
	})
	return e
}

// answer is an answer of /sync as a client reads it.
type answer struct {
	Next  string `json:"next_batch"`
	Rooms struct {
		Join   map[matrix.RoomID]room
		Leave  map[matrix.RoomID]room
		Invite map[matrix.RoomID]struct {
			State list `json:"invite_state"`
		}
		Knock map[matrix.RoomID]struct {
			State list `json:"knock_state"`
		}
	}
	Presence    list
	AccountData list `json:"account_data"`
	ToDevice    list `json:"to_device"`
	DeviceLists struct {
		Changed, Left []matrix.UserID
	} `json:"device_lists"`
	OneTimeKeys    map[string]int `json:"device_one_time_keys_count"`
	UnusedFallback []string       `json:"device_unused_fallback_key_types"`

	raw string
}

type list struct{ Events []event }

type event struct {
	Type     string
	StateKey *string `json:"state_key"`
	Sender   matrix.UserID
	ID       matrix.EventID `json:"event_id"`
	RoomID   string         `json:"room_id"`
	Content  map[string]any
	Unsigned struct {
		Age           *int64
		TransactionID string         `json:"transaction_id"`
		PrevContent   map[string]any `json:"prev_content"`
		ReplacesState matrix.EventID `json:"replaces_state"`
	}
}

type room struct {
	Summary struct {
		Heroes  []matrix.UserID `json:"m.heroes"`
		Joined  *int            `json:"m.joined_member_count"`
		Invited *int            `json:"m.invited_member_count"`
	}
	State      *list
	StateAfter *list `json:"state_after"`
	Timeline   struct {
		list
		Limited   bool
		PrevBatch string `json:"prev_batch"`
	}
	Ephemeral   list
	AccountData list `json:"account_data"`
	Unread      *struct {
		Notifications int `json:"notification_count"`
		Highlights    int `json:"highlight_count"`
	} `json:"unread_notifications"`
}

// sync asks for a user on the device PHONE, unless req says otherwise.
func (h *house) sync(user matrix.UserID, since string, edit ...func(*syncv2.Request)) answer {
	h.t.Helper()
	req := syncv2.Request{Viewer: rooms.Viewer{User: user, Device: "PHONE"}, Since: since, SetPresence: "offline"}
	for _, fn := range edit {
		fn(&req)
	}
	res, err := h.view.Sync(h.ctx, req)
	if err != nil {
		h.t.Fatal(err)
	}
	raw, err := json.Marshal(res)
	if err != nil {
		h.t.Fatal(err)
	}
	a := answer{raw: string(raw)}
	if err := json.Unmarshal(raw, &a); err != nil {
		h.t.Fatalf("%v in %s", err, raw)
	}
	return a
}

func filter(f string) func(*syncv2.Request) {
	return func(r *syncv2.Request) { r.Filter = f }
}

func stateAfter(r *syncv2.Request) { r.UseStateAfter = true }

func fullState(r *syncv2.Request) { r.FullState = true }

// bodies are the messages of a list, in order; for state events type and key.
func bodies(events []event) []string {
	all := []string{}
	for _, e := range events {
		if body, ok := e.Content["body"].(string); ok {
			all = append(all, body)
		} else if e.StateKey != nil {
			all = append(all, e.Type+"|"+*e.StateKey)
		} else {
			all = append(all, e.Type)
		}
	}
	return all
}
