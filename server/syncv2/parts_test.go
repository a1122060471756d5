package syncv2_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/syncv2"
)

func (h *house) accountData(user matrix.UserID, room matrix.RoomID, eventType, content string) {
	h.t.Helper()
	h.do(func(tx *kv.WriteTx) error {
		return h.accounts.StoreAccountData(tx, user, room, eventType, json.RawMessage(content))
	})
}

func TestLazyLoading(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob, carol)
	for i := range 10 {
		h.say(r, carol, fmt.Sprint(i))
	}
	lazy := `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":5}}}`
	membersOf := func(in room) (all []string) {
		for _, e := range in.State.Events {
			if e.Type == "m.room.member" {
				all = append(all, strings.TrimSuffix(*e.StateKey, ":house.local"))
			}
		}
		slices.Sort(all)
		return all
	}
	// alice is neither a sender nor oneself; a room without a name names her as a hero.
	a := h.sync(bob, "", filter(lazy))
	want(t, "first", membersOf(a.Rooms.Join[r]), []string{"@alice", "@bob", "@carol"})
	h.set(r, alice, "m.room.name", "", `{"name":"Porch"}`)
	b := h.sync(bob, "", filter(lazy))
	want(t, "first, with a name", membersOf(b.Rooms.Join[r]), []string{"@alice", "@bob", "@carol"})
	for range 5 {
		h.say(r, carol, "x")
	}
	b = h.sync(bob, "", filter(lazy))
	want(t, "first, with a name, alice silent", membersOf(b.Rooms.Join[r]), []string{"@bob", "@carol"})

	h.say(r, carol, "y")
	c := h.sync(bob, b.Next, filter(lazy))
	want(t, "a member that is known", membersOf(c.Rooms.Join[r]), nil)
	h.say(r, alice, "z")
	d := h.sync(bob, c.Next, filter(lazy))
	want(t, "a member that is not", membersOf(d.Rooms.Join[r]), []string{"@alice"})
	d = h.sync(bob, c.Next, filter(lazy))
	want(t, "again, since the first answer may be lost", membersOf(d.Rooms.Join[r]), []string{"@alice"})
	h.say(r, alice, "z")
	redundant := strings.Replace(lazy, `true}`, `true,"include_redundant_members":true}`, 1)
	e := h.sync(bob, d.Next, filter(redundant))
	want(t, "redundant ones wanted", membersOf(e.Rooms.Join[r]), []string{"@alice"})
	h.say(r, alice, "z")
	other := h.sync(bob, d.Next, filter(lazy), func(r *syncv2.Request) { r.Viewer.Device = "TABLET" })
	want(t, "another device", membersOf(other.Rooms.Join[r]), []string{"@alice"})

	// Who leaves in the gap is told, sender or not.
	h.member(r, carol, carol, "leave")
	for range 6 {
		h.say(r, alice, "z")
	}
	f := h.sync(bob, e.Next, filter(lazy))
	want(t, "in the gap", membersOf(f.Rooms.Join[r]), []string{"@carol"})
}

func TestFilters(t *testing.T) {
	h := newHouse(t)
	r, other := h.public(bob), h.public(bob)
	since := h.sync(bob, "").Next
	h.say(r, alice, "one")
	h.say(other, alice, "two")
	h.send(rooms.SendArgs{Room: r, Sender: bob, Type: "org.x.y", Content: []byte(`{"url":"mxc://x/y","deep":{"a.b":1,"c":2},"body":"three"}`)})
	h.accountData(bob, "", "org.x", `{}`)
	h.accountData(bob, r, "org.y", `{}`)
	rows := []struct{ filter, has, hasNot string }{
		{`{"room":{"rooms":["` + string(r) + `"]}}`, `"one"`, `"two"`},
		{`{"room":{"not_rooms":["` + string(r) + `"]}}`, `"two"`, `"one"`},
		{`{"room":{"rooms":[]}}`, `"org.x"`, `"body"`},
		{`{"room":{"timeline":{"rooms":["` + string(r) + `"]}}}`, `"one"`, `"two"`},
		{`{"room":{"timeline":{"types":["org.*.y"]}}}`, `"three"`, `"one"`},
		{`{"room":{"timeline":{"not_types":["*.x.*"]}}}`, `"one"`, `"three"`},
		{`{"room":{"timeline":{"senders":["@bob:house.local"]}}}`, `"three"`, `"one"`},
		{`{"room":{"timeline":{"not_senders":["@bob:house.local"]}}}`, `"two"`, `"three"`},
		{`{"room":{"timeline":{"contains_url":true}}}`, `"three"`, `"one"`},
		{`{"room":{"timeline":{"contains_url":false}}}`, `"one"`, `"three"`},
		{`{"room":{"account_data":{"types":[]}}}`, `"org.x"`, `"org.y"`},
		{`{"account_data":{"not_types":["*"]}}`, `"org.y"`, `"org.x"`},
		{`{"event_fields":["type","content.deep.a\\.b"]}`, `{"content":{"deep":{"a.b":1}},"type":"org.x.y"}`, `"sender"`},
		{`{"event_format":"federation"}`, `"signatures"`, `"unsigned":{"age"`},
	}
	for _, row := range rows {
		raw := h.sync(bob, since, filter(row.filter)).raw
		if !strings.Contains(raw, row.has) || strings.Contains(raw, row.hasNot) {
			t.Errorf("%s: want %s, not %s: %s", row.filter, row.has, row.hasNot, raw)
		}
	}
	var id string
	h.do(func(tx *kv.WriteTx) (err error) {
		id, err = h.accounts.StoreFilter(tx, bob, json.RawMessage(rows[0].filter))
		return err
	})
	if raw := h.sync(bob, since, filter(id)).raw; strings.Contains(raw, `"two"`) {
		t.Errorf("a stored filter: %s", raw)
	}
}

func TestBadRequests(t *testing.T) {
	h := newHouse(t)
	for name, row := range map[string]struct {
		req  syncv2.Request
		code string
	}{
		"token":       {syncv2.Request{Since: "nonsense"}, "M_INVALID_PARAM"},
		"number":      {syncv2.Request{Since: "s99999999999999999999"}, "M_INVALID_PARAM"},
		"filter":      {syncv2.Request{Filter: `{"room":7}`}, "M_BAD_JSON"},
		"broken":      {syncv2.Request{Filter: `{`}, "M_NOT_JSON"},
		"limit":       {syncv2.Request{Filter: `{"room":{"timeline":{"limit":-1}}}`}, "M_INVALID_PARAM"},
		"sender":      {syncv2.Request{Filter: `{"room":{"timeline":{"senders":["x"]}}}`}, "M_INVALID_PARAM"},
		"no filter":   {syncv2.Request{Filter: "17"}, "M_NOT_FOUND"},
		"no presence": {syncv2.Request{SetPresence: "asleep"}, "M_INVALID_PARAM"},
	} {
		row.req.Viewer = rooms.Viewer{User: bob, Device: "PHONE"}
		if _, err := h.view.Sync(h.ctx, row.req); !matrix.IsCode(err, row.code) {
			t.Errorf("%s: %v, want %s", name, err, row.code)
		}
	}
}

func TestIgnoredUsers(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob, carol)
	since := h.sync(bob, "").Next
	h.accountData(bob, "", "m.ignored_user_list", `{"ignored_users":{"@carol:house.local":{}}}`)
	h.say(r, carol, "spam")
	h.set(r, alice, "m.room.power_levels", "", `{"users":{"@carol:house.local":100}}`)
	h.set(r, carol, "m.room.topic", "", `{"topic":"carol's"}`)
	h.create(rooms.CreateArgs{Creator: carol, Invite: []matrix.UserID{bob}})
	for _, s := range []string{since, ""} {
		a := h.sync(bob, s)
		if strings.Contains(a.raw, "spam") || len(a.Rooms.Invite) > 0 || !strings.Contains(a.raw, "carol's") {
			t.Errorf("since %q: %s", s, a.raw)
		}
	}
}

func TestToDevice(t *testing.T) {
	h := newHouse(t)
	since := h.sync(bob, "").Next
	send := func(n int) {
		h.do(func(tx *kv.WriteTx) error {
			for i := range n {
				err := h.e2ee.SendToDevice(tx, alice, fmt.Sprint("m.", i), map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{bob: {"PHONE": []byte(`{}`)}})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	send(150)
	a := h.sync(bob, since)
	again := h.sync(bob, since)
	if len(a.ToDevice.Events) != 100 || len(again.ToDevice.Events) != 100 || again.ToDevice.Events[0].Type != "m.0" {
		t.Fatalf("%d messages, then %d", len(a.ToDevice.Events), len(again.ToDevice.Events))
	}
	b := h.sync(bob, a.Next)
	if len(b.ToDevice.Events) != 50 || b.ToDevice.Events[0].Type != "m.100" {
		t.Fatalf("the rest: %d messages", len(b.ToDevice.Events))
	}
	if c := h.sync(bob, b.Next); len(c.ToDevice.Events) != 0 {
		t.Errorf("told twice: %s", c.raw)
	}
	if err := h.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if c := h.sync(bob, ""); len(c.ToDevice.Events) != 0 {
		t.Errorf("acknowledged messages are still there: %d", len(c.ToDevice.Events))
	}
	if c := h.sync(bob, "", func(r *syncv2.Request) { r.Viewer.Device = "TABLET" }); len(c.ToDevice.Events) != 0 {
		t.Errorf("another device's: %s", c.raw)
	}
}

const megolm = `{"algorithm":"m.megolm.v1.aes-sha2"}`

func TestDeviceLists(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob)
	plain := h.public(bob, carol)
	h.set(r, alice, "m.room.encryption", "", megolm)
	since := h.sync(bob, "").Next
	h.member(r, carol, carol, "join")
	a := h.sync(bob, since)
	if !slices.Equal(a.DeviceLists.Changed, []matrix.UserID{carol}) {
		t.Errorf("joined: %+v", a.DeviceLists)
	}
	h.do(func(tx *kv.WriteTx) error {
		_, err := h.accounts.Login(tx, accounts.NewLogin{User: carol, Device: "NEW"})
		return err
	})
	h.do(func(tx *kv.WriteTx) error { return h.accounts.DeleteDevice(tx, carol, "NEW") })
	h.member(r, carol, carol, "leave")
	b := h.sync(bob, a.Next)
	if !slices.Equal(b.DeviceLists.Left, []matrix.UserID{carol}) || len(b.DeviceLists.Changed) != 0 {
		t.Errorf("left: %+v", b.DeviceLists)
	}
	h.member(r, bob, bob, "leave")
	c := h.sync(bob, b.Next)
	if !slices.Equal(c.DeviceLists.Left, []matrix.UserID{alice}) {
		t.Errorf("left oneself: %+v", c.DeviceLists)
	}
	h.set(plain, alice, "m.room.encryption", "", megolm)
	d := h.sync(bob, c.Next, filter(`{"room":{"rooms":[]}}`))
	if !slices.Equal(d.DeviceLists.Changed, []matrix.UserID{alice, carol}) {
		t.Errorf("a room became encrypted of which the client wants to hear nothing: %+v", d.DeviceLists)
	}
}

func TestTypingReceiptsAndPresence(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob)
	e := h.say(r, alice, "x")
	view(h, func(tx *kv.ReadTx) error {
		if err := h.ephemeral.SetTyping(tx, r, alice, true, time.Minute); err != nil {
			return err
		}
		return h.ephemeral.SetReceipt(tx, r, alice, "m.read", e.ID, "")
	})
	if err := h.ephemeral.SetPresence(carol, "PHONE", "online", nil); err != nil { // shares no room
		t.Fatal(err)
	}
	a := h.sync(bob, "")
	in := a.Rooms.Join[r].Ephemeral.Events
	if len(in) != 2 || len(a.Presence.Events) != 0 {
		t.Fatalf("first: %s", a.raw)
	}
	if b := h.sync(bob, a.Next); len(b.Rooms.Join) != 0 {
		t.Errorf("told again: %s", b.raw)
	}
	h.ephemeral.StopTyping(r, alice)
	b := h.sync(bob, a.Next)
	if in := b.Rooms.Join[r].Ephemeral.Events; len(in) != 1 || len(in[0].Content["user_ids"].([]any)) != 0 {
		t.Errorf("stopped typing: %s", b.raw)
	}
	c := h.sync(bob, a.Next, filter(`{"room":{"ephemeral":{"not_types":["m.typing"]}}}`))
	if len(c.Rooms.Join) != 0 {
		t.Errorf("filtered: %s", c.raw)
	}
}

func TestTokensOutliveTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.db")
	var old, r = "", matrix.RoomID("")
	t.Run("before", func(t *testing.T) {
		h := open(t, kvtest.OpenAt(t, path))
		r = h.public(bob)
		e := h.say(r, alice, "one")
		view(h, func(tx *kv.ReadTx) error { return h.ephemeral.SetReceipt(tx, r, alice, "m.read", e.ID, "") })
		old = h.sync(bob, "").Next
		h.say(r, alice, "two")
	})
	h := open(t, kvtest.OpenAt(t, path))
	h.say(r, alice, "three")
	a := h.sync(bob, old)
	want(t, "after a restart", bodies(a.Rooms.Join[r].Timeline.Events), []string{"two", "three"})
	short, _, _ := strings.Cut(old, "_")
	a = h.sync(bob, short)
	want(t, "with only a position", bodies(a.Rooms.Join[r].Timeline.Events), []string{"two", "three"})
	// Of a file restored from an older copy, everything is told anew.
	a = h.sync(bob, "s99999_99999_x_7")
	if in := a.Rooms.Join[r]; len(in.Timeline.Events)+len(in.State.Events) < 8 {
		t.Errorf("a token from the future: %s", a.raw)
	}
}

func FuzzParseToken(f *testing.F) {
	v := syncv2.New(syncv2.Config{Seal: changes.NewSeal([]byte("secret"))})
	for _, s := range []string{"s1_2_abc_3", "s5", "", "s-1", "s1_2_3_4_5", "t7", "s1__x_", v.Seal.On(bob, "s9_9_x_1")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := v.ReadToken(t.Context(), bob, s)
		if err != nil {
			return
		}
		for _, written := range []string{token.String(), v.Seal.On(bob, token.String())} {
			again, err := v.ReadToken(t.Context(), bob, written)
			if err != nil || again.String() != token.String() {
				t.Errorf("%q is %+v, read back %+v, %v", s, token, again, err)
			}
		}
		if _, err := v.ReadToken(t.Context(), carol, v.Seal.On(bob, token.String())); err == nil {
			t.Errorf("%q: another user's token was taken", s)
		}
	})
}

func TestKnocking(t *testing.T) {
	h := newHouse(t)
	r := h.create(rooms.CreateArgs{Preset: "private_chat", Name: "Porch", InitialState: []rooms.StateArgs{
		{Type: "m.room.join_rules", Content: json.RawMessage(`{"join_rule":"knock"}`)}}})
	since := h.sync(bob, "").Next
	h.member(r, bob, bob, "knock")
	a := h.sync(bob, since)
	got := bodies(a.Rooms.Knock[r].State.Events)
	if !slices.Contains(got, "m.room.create|") || !slices.Contains(got, "m.room.member|"+string(bob)) {
		t.Errorf("knocked: %s", a.raw)
	}
	h.member(r, alice, bob, "leave")
	b := h.sync(bob, a.Next)
	if left, ok := b.Rooms.Leave[r]; !ok || len(left.State.Events) != 0 {
		t.Errorf("refused: %s", b.raw)
	}
	place, _, _ := strings.Cut(since, "_")
	for _, in := range h.sync(alice, place).Rooms.Join {
		if *in.Summary.Joined != 1 || *in.Summary.Invited != 0 {
			t.Errorf("summary: %+v", in.Summary)
		}
	}
}

// TestErasedInTheFormatOfFederation: those who come later are not served the signed event.
func TestErasedInTheFormatOfFederation(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob, carol)
	h.say(r, carol, "secret")
	h.member(r, carol, carol, "leave")
	h.do(func(tx *kv.WriteTx) error { return h.accounts.Deactivate(tx, carol, true) })
	dave := h.user("dave")
	h.member(r, dave, dave, "join")
	for user, sees := range map[matrix.UserID]bool{bob: true, dave: false} {
		for _, format := range []string{"federation", "client"} {
			a := h.sync(user, "", filter(`{"event_format":"`+format+`","room":{"timeline":{"limit":100}}}`))
			if strings.Contains(a.raw, "secret") != sees {
				t.Errorf("%s, format %s: %s", user, format, a.raw)
			}
		}
	}
}
