package syncv2_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/syncv2"
)

// client is what a client knows that has applied some answers.
type client struct {
	joined, left map[matrix.RoomID]stateMap
	invited      map[matrix.RoomID]bool
	members      map[matrix.RoomID]string // joined and invited, counted by the summary
}

type stateMap map[string]matrix.EventID

func newClient() client {
	return client{map[matrix.RoomID]stateMap{}, map[matrix.RoomID]stateMap{}, map[matrix.RoomID]bool{}, map[matrix.RoomID]string{}}
}

func (c client) copy() client {
	n := newClient()
	for room, s := range c.joined {
		n.joined[room] = maps.Clone(s)
	}
	for room, s := range c.left {
		n.left[room] = maps.Clone(s)
	}
	maps.Copy(n.invited, c.invited)
	maps.Copy(n.members, c.members)
	return n
}

// apply does what the standard asks of a client.
func (c client) apply(a answer) {
	for id, in := range a.Rooms.Join {
		if c.joined[id] == nil { // it threw away what it had of a room it was not in
			c.joined[id] = stateMap{}
		}
		c.joined[id].apply(in)
		delete(c.left, id)
		delete(c.invited, id)
		if in.Summary.Joined != nil {
			c.members[id] = fmt.Sprint(*in.Summary.Joined, *in.Summary.Invited)
		}
	}
	for id := range a.Rooms.Invite {
		c.invited[id] = true
		delete(c.joined, id)
		delete(c.left, id)
		delete(c.members, id)
	}
	for id, in := range a.Rooms.Leave {
		s := c.joined[id]
		if s == nil {
			s = stateMap{}
		}
		s.apply(in)
		c.left[id] = s
		delete(c.joined, id)
		delete(c.invited, id)
		delete(c.members, id)
	}
}

func (s stateMap) apply(in room) {
	lists := [][]event{}
	if in.StateAfter != nil {
		lists = append(lists, in.StateAfter.Events)
	} else {
		lists = append(lists, in.State.Events, in.Timeline.Events)
	}
	for _, list := range lists {
		for _, e := range list {
			if e.StateKey != nil {
				s[e.Type+"|"+*e.StateKey] = e.ID
			}
		}
	}
}

func (s stateMap) String() string {
	text := ""
	for _, key := range slices.Sorted(maps.Keys(s)) {
		text += fmt.Sprintf("  %s %s\n", key, s[key])
	}
	return text
}

// TestAnySinceLeadsToTheSameState: whoever applies the answers since any token ends with
// the state that a fresh client is told.
func TestAnySinceLeadsToTheSameState(t *testing.T) {
	h := newHouse(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++ // with new people, who are in no rooms yet
		bob, carol := h.user(fmt.Sprint("bob", run)), h.user(fmt.Sprint("carol", run))
		all := []matrix.RoomID{h.public(bob), h.create(rooms.CreateArgs{Preset: "private_chat", Invite: []matrix.UserID{bob}})}
		known := map[string]client{} // what a client knew when it had a token
		brief := h.viewWith(syncv2.Config{
			ScanLimit: rapid.SampledFrom([]int{1, 3, 2000}).Draw(rt, "scan limit"),
			FarBehind: rapid.SampledFrom([]changes.Position{1, 10, 10_000}).Draw(rt, "far behind"),
		})
		thorough := h.view
		step := func(tx *kv.WriteTx) error {
			room := rapid.SampledFrom(all).Draw(rt, "room")
			who := rapid.SampledFrom([]matrix.UserID{alice, alice, bob, carol}).Draw(rt, "who")
			target := rapid.SampledFrom([]matrix.UserID{bob, bob, carol}).Draw(rt, "target")
			switch n := rapid.IntRange(0, 9).Draw(rt, "what"); n {
			case 0, 1, 2:
				_, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: who, Type: "m.room.message", Content: []byte(`{"body":"x"}`)})
				return err
			case 3, 4:
				key := ""
				content := fmt.Sprintf(`{"topic":"%d"}`, h.ticks.Load())
				_, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: rapid.SampledFrom([]string{"m.room.topic", "org.x"}).Draw(rt, "type"), StateKey: &key, Content: []byte(content)})
				return err
			case 5, 6:
				_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: target, Target: target, Membership: "join"})
				return err
			case 7:
				_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: target, Target: target, Membership: "leave"})
				return err
			default:
				to := rapid.SampledFrom([]string{"invite", "invite", "leave", "ban"}).Draw(rt, "to")
				_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: alice, Target: target, Membership: to})
				return err
			}
		}
		for range rapid.IntRange(4, 10).Draw(rt, "looks") {
			h.do(func(tx *kv.WriteTx) error {
				for range rapid.IntRange(1, 10).Draw(rt, "steps") {
					_ = step(tx) // which the rules of the room may forbid
				}
				return nil
			})
			c, since := newClient(), ""
			if tokens := slices.Sorted(maps.Keys(known)); len(tokens) > 0 && rapid.Bool().Draw(rt, "incremental") {
				since = rapid.SampledFrom(tokens).Draw(rt, "since")
				c = known[since].copy()
			}
			f := rapid.SampledFrom([]string{
				`{"room":{"timeline":{"types":["m.room.message"]}}}`, `{"room":{"timeline":{"limit":1}}}`,
				`{"room":{"timeline":{"limit":2,"not_types":["m.room.topic"]}}}`, `{"room":{"timeline":{"limit":3}}}`,
				`{"room":{"timeline":{"types":[]}}}`, ""}).Draw(rt, "filter")
			edits := []func(*syncv2.Request){filter(f)}
			if rapid.Bool().Draw(rt, "after") {
				edits = append(edits, stateAfter)
			}
			h.view = brief
			a := h.sync(bob, since, edits...)
			h.view = thorough
			c.apply(a)
			known[a.Next] = c
			fresh := newClient()
			fresh.apply(h.sync(bob, "", filter(`{"room":{"timeline":{"limit":250}}}`)))
			compare(rt, fmt.Sprintf("since %q filter %s: %s", since, f, a.raw), c, fresh)
			h.compareLeft(rt, bob, c)
		}
	})
}

func compare(rt *rapid.T, how string, got, want client) {
	if fmt.Sprint(got.invited) != fmt.Sprint(want.invited) {
		rt.Fatalf("%s\ninvited to %v, want %v", how, got.invited, want.invited)
	}
	if fmt.Sprint(got.members) != fmt.Sprint(want.members) {
		rt.Fatalf("%s\nsummaries %v, want %v", how, got.members, want.members)
	}
	if len(got.joined) != len(want.joined) {
		rt.Fatalf("%s\njoined %v, want %v", how, got.joined, want.joined)
	}
	for room, s := range want.joined {
		if !maps.Equal(got.joined[room], s) {
			rt.Fatalf("%s\n%s has\n%vwant\n%v", how, room, got.joined[room], s)
		}
	}
}

// compareLeft holds the state of the rooms left against what may be read of them.
func (h *house) compareLeft(rt *rapid.T, bob matrix.UserID, c client) {
	keeper := history.New(history.Config{Rooms: h.rooms})
	view(h, func(tx *kv.ReadTx) error {
		for room, got := range c.left {
			state, err := keeper.State(tx, rooms.Viewer{User: bob}, room)
			if err != nil {
				continue // never was in it
			}
			want := stateMap{}
			for _, e := range state {
				want[e.Type+"|"+*e.StateKey] = e.EventID
			}
			got = maps.Clone(got)
			delete(got, "m.room.member|"+string(bob)) // a ban after the leaving is told, too
			delete(want, "m.room.member|"+string(bob))
			if len(got) > 0 && !maps.Equal(got, want) {
				rt.Fatalf("left %s with\n%vwant\n%v", room, got, want)
			}
		}
		return nil
	})
}
