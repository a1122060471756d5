package syncv2_test

import (
	"slices"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestFirstAndNext(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob)
	h.say(r, alice, "one")
	a := h.sync(bob, "")
	in := a.Rooms.Join[r]
	want(t, "timeline", bodies(in.Timeline.Events)[7:], []string{"one"})
	if in.Timeline.Limited || len(in.State.Events) != 0 || in.StateAfter != nil {
		t.Errorf("a short room fits whole: %s", a.raw)
	}
	if *in.Summary.Joined != 2 || *in.Summary.Invited != 0 || !slices.Equal(in.Summary.Heroes, []matrix.UserID{alice}) {
		t.Errorf("summary %+v", in.Summary)
	}
	if in.Unread == nil || a.OneTimeKeys == nil || a.UnusedFallback == nil {
		t.Errorf("required fields are missing: %s", a.raw)
	}
	if e := in.Timeline.Events[7]; e.Unsigned.Age == nil || e.RoomID != "" {
		t.Errorf("age is told and the room id not: %+v", e)
	}

	b := h.sync(bob, a.Next)
	if len(b.Rooms.Join) != 0 {
		t.Errorf("news from nowhere: %s", b.raw)
	}
	h.send(rooms.SendArgs{Room: r, Sender: bob, Type: "m.room.message", Content: []byte(`{"body":"two"}`), Device: "PHONE", TxnID: "t1"})
	c := h.sync(bob, b.Next)
	want(t, "news", bodies(c.Rooms.Join[r].Timeline.Events), []string{"two"})
	if c.Rooms.Join[r].Timeline.Events[0].Unsigned.TransactionID != "t1" {
		t.Errorf("the sending device is not told its transaction id: %s", c.raw)
	}
	place, _, _ := strings.Cut(b.Next, "_")
	d := h.sync(alice, place)
	if d.Rooms.Join[r].Timeline.Events[0].Unsigned.TransactionID != "" {
		t.Error("another one is told the transaction id")
	}
	if c.Rooms.Join[r].Summary.Joined != nil {
		t.Error("an unchanged summary is told again")
	}
	want(t, "the same since again", bodies(h.sync(bob, b.Next).Rooms.Join[r].Timeline.Events), []string{"two"})
}

func TestLimitedTimeline(t *testing.T) {
	h := newHouse(t)
	r := h.public(bob)
	since := h.sync(bob, "").Next
	h.set(r, alice, "m.room.topic", "", `{"topic":"a"}`)
	h.set(r, alice, "m.room.topic", "", `{"topic":"b"}`)
	h.say(r, alice, "one")
	h.set(r, alice, "m.room.topic", "", `{"topic":"c"}`)
	h.say(r, alice, "two")

	in := h.sync(bob, since, filter(`{"room":{"timeline":{"limit":2}}}`)).Rooms.Join[r]
	want(t, "timeline", bodies(in.Timeline.Events), []string{"m.room.topic|", "two"})
	want(t, "state", bodies(in.State.Events), []string{"m.room.topic|"})
	if !in.Timeline.Limited || in.State.Events[0].Content["topic"] != "b" {
		t.Errorf("the state before the timeline is that of the gap: %+v", in)
	}
	if e := in.Timeline.Events[0]; e.Unsigned.PrevContent["topic"] != "b" || e.Unsigned.ReplacesState != in.State.Events[0].ID {
		t.Errorf("what was replaced: %+v", e.Unsigned)
	}

	in = h.sync(bob, since, filter(`{"room":{"timeline":{"limit":2}}}`), stateAfter).Rooms.Join[r]
	if in.State != nil || in.StateAfter.Events[0].Content["topic"] != "c" {
		t.Errorf("the state after the timeline: %+v", in)
	}
	in = h.sync(bob, since, filter(`{"room":{"timeline":{"types":["m.room.message"]}}}`)).Rooms.Join[r]
	want(t, "filtered timeline", bodies(in.Timeline.Events), []string{"one", "two"})
	if in.Timeline.Limited || in.State.Events[0].Content["topic"] != "c" {
		t.Errorf("state that the timeline's filter hides is told beside it: %+v", in)
	}
	in = h.sync(bob, since, filter(`{"room":{"timeline":{"limit":0}}}`)).Rooms.Join[r]
	if !in.Timeline.Limited || len(in.Timeline.Events) != 0 || in.State.Events[0].Content["topic"] != "c" {
		t.Errorf("no timeline: %+v", in)
	}
	in = h.sync(bob, since, fullState, filter(`{"room":{"timeline":{"limit":1}}}`)).Rooms.Join[r]
	if len(in.State.Events) < 8 || len(in.Timeline.Events) != 1 {
		t.Errorf("full state: %+v", in)
	}
}

func TestComingAndGoing(t *testing.T) {
	h := newHouse(t)
	r := h.create(rooms.CreateArgs{Preset: "private_chat", Name: "Porch", Invite: []matrix.UserID{bob}})
	h.say(r, alice, "before")
	a := h.sync(bob, "")
	inv, ok := a.Rooms.Invite[r]
	if !ok || len(a.Rooms.Join) != 0 || !strings.Contains(a.raw, `"m.room.create"`) {
		t.Fatalf("invited: %s", a.raw)
	}
	if got := bodies(inv.State.Events); !slices.Contains(got, "m.room.name|") || !slices.Contains(got, "m.room.member|"+string(bob)) || !slices.Contains(got, "m.room.member|"+string(alice)) {
		t.Errorf("invite state %v", got)
	}
	if again := h.sync(bob, a.Next); len(again.Rooms.Invite) != 0 {
		t.Errorf("the invitation is told twice: %s", again.raw)
	}

	h.member(r, bob, bob, "join")
	b := h.sync(bob, a.Next, filter(`{"room":{"timeline":{"limit":2}}}`))
	in := b.Rooms.Join[r]
	want(t, "after joining", bodies(in.Timeline.Events), []string{"before", "m.room.member|" + string(bob)})
	if !in.Timeline.Limited || !slices.Contains(bodies(in.State.Events), "m.room.create|") {
		t.Errorf("who joins is told the whole state: %s", b.raw)
	}
	for _, e := range in.State.Events {
		if e.StateKey != nil && *e.StateKey == string(bob) && e.Content["membership"] != "invite" {
			t.Errorf("the state stands in front of the timeline: %+v", e)
		}
	}

	h.member(r, bob, bob, "leave")
	h.set(r, alice, "m.room.topic", "", `{"topic":"secret"}`)
	h.say(r, alice, "after")
	c := h.sync(bob, b.Next)
	left := c.Rooms.Leave[r]
	want(t, "leaving", bodies(left.Timeline.Events), []string{"m.room.member|" + string(bob)})
	if strings.Contains(c.raw, "secret") || len(c.Rooms.Join) != 0 || len(left.State.Events) != 0 {
		t.Errorf("who left hears on: %s", c.raw)
	}
	if d := h.sync(bob, c.Next); len(d.Rooms.Leave) != 0 {
		t.Errorf("left twice: %s", d.raw)
	}
	if d := h.sync(bob, ""); len(d.Rooms.Leave) != 0 {
		t.Errorf("an old leaving is told though nobody asked: %s", d.raw)
	}
	d := h.sync(bob, "", filter(`{"room":{"include_leave":true,"timeline":{"limit":1}}}`))
	if left := d.Rooms.Leave[r]; len(left.Timeline.Events) != 1 || len(left.State.Events) < 7 || strings.Contains(d.raw, "secret") {
		t.Errorf("archived room: %s", d.raw)
	}

	// Back again: the time away is a gap.
	h.member(r, alice, bob, "invite")
	h.member(r, bob, bob, "join")
	e := h.sync(bob, b.Next, filter(`{"room":{"timeline":{"limit":1}}}`))
	if in := e.Rooms.Join[r]; !in.Timeline.Limited || !strings.Contains(e.raw, "secret") || len(in.State.Events) < 8 {
		t.Errorf("rejoined: %s", e.raw)
	}
	// Came and went between two looks, known before and not.
	h.member(r, bob, bob, "leave")
	for since, state := range map[string]bool{b.Next: true, e.Next: false} {
		f := h.sync(bob, since, filter(`{"room":{"timeline":{"limit":1}}}`))
		if got := len(f.Rooms.Leave[r].State.Events) > 5; got != state {
			t.Errorf("since %s: full state %v: %s", since, got, f.raw)
		}
	}
	// A rejected invitation shows nothing of the room.
	h.member(r, alice, carol, "invite")
	g := h.sync(carol, "")
	h.member(r, carol, carol, "leave")
	g = h.sync(carol, g.Next)
	if left := g.Rooms.Leave[r]; len(left.State.Events) != 0 || len(left.Timeline.Events) != 1 {
		t.Errorf("rejected: %s", g.raw)
	}
}
