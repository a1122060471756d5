package clientapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"porchlight/server/servertest"
)

// slid is an answer of sliding sync, in its stable form or the unstable one.
type slid struct {
	Pos   string
	Lists map[string]struct{ Count int }
	Rooms map[string]struct {
		Initial    bool
		Expanded   bool `json:"expanded_timeline"`
		Unstable   bool `json:"unstable_expanded_timeline"`
		Membership string
		Lists      []string
		Name       json.RawMessage
		Heroes     []struct{ Displayname string }
		DM         *bool       `json:"is_dm"`
		State      []slidEvent `json:"required_state"`
		Timeline   []slidEvent
		PrevBatch  string `json:"prev_batch"`
		Limited    bool
		Live       int         `json:"num_live"`
		Joined     int         `json:"joined_count"`
		Bump       int         `json:"bump_stamp"`
		Stripped   []slidEvent `json:"stripped_state"`
		Invite     []slidEvent `json:"invite_state"`
	}
	Extensions map[string]json.RawMessage
}

type slidEvent struct {
	Type     string
	StateKey *string `json:"state_key"`
	Sender   string
	Content  struct{ Body, Membership, Name string }
}

// bodies are the texts of messages.
func bodies(events []slidEvent) string {
	var all []string
	for _, e := range events {
		if e.StateKey == nil {
			all = append(all, e.Content.Body)
		}
	}
	return strings.Join(all, " ")
}

// states are the types and keys of state events, in order.
func states(events []slidEvent) string {
	var all []string
	for _, e := range events {
		all = append(all, strings.TrimSuffix(e.Type+" "+*e.StateKey, " "))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// slide asks the stable form, with a pos unless that is empty.
func slide(u *servertest.User, pos, rest string) slid {
	var out slid
	body := "{" + rest
	if pos != "" {
		body += fmt.Sprintf(`,"pos":%q`, pos)
	}
	u.Must("POST", "v4/sync", body+"}", &out)
	return out
}

func newRoom(u *servertest.User, body string) string {
	var room struct {
		ID string `json:"room_id"`
	}
	u.Must("POST", "v3/createRoom", body, &room)
	return room.ID
}

func tell(u *servertest.User, room, text string) {
	u.Must("PUT", "v3/rooms/"+room+"/send/m.room.message/"+text, `{"msgtype":"m.text","body":"`+text+`"}`, nil)
}

func TestSlidingSyncLists(t *testing.T) {
	h := servertest.New(t)
	alice := h.User("alice")
	h.User("bob")
	var all []string
	for i := range 4 {
		all = append(all, newRoom(alice, fmt.Sprintf(`{"name":"Room %d","preset":"public_chat"}`, i)))
	}
	const first = `"lists":{"a":{"range":[0,1],"timeline_limit":1,"required_state":{"include":[{"type":"m.room.create"}]}}}`
	s := slide(alice, "", first)
	if got := slices.Sorted(maps.Keys(s.Rooms)); s.Lists["a"].Count != 4 || !slices.Equal(got, slices.Sorted(slices.Values(all[2:]))) {
		t.Fatalf("the two newest of four: %+v", s)
	}
	r := s.Rooms[all[3]]
	if !r.Initial || string(r.Name) != `"Room 3"` || r.Joined != 1 || states(r.State) != "m.room.create" || len(r.Timeline) != 1 || !r.Limited || r.Live != 0 || r.Membership != "join" || !slices.Equal(r.Lists, []string{"a"}) {
		t.Errorf("first: %+v", r)
	}
	// The same again, since the answer may have got lost.
	if again := slide(alice, "", first); len(again.Rooms) != 2 {
		t.Errorf("a new connection: %+v", again)
	} else {
		s = again
	}
	if s = slide(alice, s.Pos, first); len(s.Rooms) != 0 {
		t.Errorf("nothing is new: %+v", s.Rooms)
	}
	s = slide(alice, s.Pos, strings.Replace(first, "[0,1]", "[0,9]", 1))
	if got := slices.Sorted(maps.Keys(s.Rooms)); !slices.Equal(got, slices.Sorted(slices.Values(all[:2]))) {
		t.Errorf("the rooms that the range grew by: %v", got)
	}
	// A room far down comes up with what happens in it, and everything since is live.
	s = slide(alice, s.Pos, first)
	tell(alice, all[0], "one")
	tell(alice, all[0], "two")
	s = slide(alice, s.Pos, strings.Replace(first, `"timeline_limit":1`, `"timeline_limit":5`, 1))
	r = s.Rooms[all[0]]
	if r.Initial || bodies(r.Timeline) != "one two" && !r.Expanded || r.Live != 2 || r.Bump == 0 {
		t.Errorf("news: %+v", r)
	}
	if !r.Expanded || len(r.Timeline) != 5 {
		t.Errorf("more events were asked for than before: %+v", r)
	}
	// What the answer carried is told again as long as the client asks with the pos before.
	before := s.Pos
	tell(alice, all[1], "three")
	lost := slide(alice, before, first)
	if again := slide(alice, before, first); bodies(lost.Rooms[all[1]].Timeline) != "three" || bodies(again.Rooms[all[1]].Timeline) != "three" {
		t.Errorf("lost %+v, again %+v", lost.Rooms, again.Rooms)
	}
	h.Set("pos", lost.Pos)
	h.Run(t, []servertest.Case{
		{Name: "an answer that was given anew", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"pos":"{pos}"}`, Status: 400, Errcode: "M_UNKNOWN_POS"},
		{Name: "somebody else's pos", Who: "bob", Method: "POST", Path: "v4/sync", Body: `{"pos":"{pos}"}`, Status: 400, Errcode: "M_UNKNOWN_POS"},
		{Name: "another connection's pos", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"pos":"{pos}","conn_id":"other"}`, Status: 400, Errcode: "M_UNKNOWN_POS"},
		{Name: "as a place in a room", Who: "alice", Method: "GET", Path: "v3/rooms/" + all[1] + "/messages?dir=b&from={pos}&limit=1", Status: 200, Want: `{"chunk":[{"content":{"body":"three"}}]}`},
		{Name: "no token", Method: "POST", Path: "v4/sync", Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "unknown token", Token: "x", Method: "POST", Path: "v4/sync", Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "no JSON", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{`, Status: 400, Errcode: "M_NOT_JSON"},
		{Name: "wrong type", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":[]}`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "no timeline_limit", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":{"a":{}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "a range backwards", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":{"a":{"timeline_limit":1,"range":[2,1]}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "half a range", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":{"a":{"timeline_limit":1,"range":[2]}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "a list without a good name", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":{"a b":{"timeline_limit":1}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "state of no form", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":{"a":{"timeline_limit":1,"required_state":[["x"]]}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "no such presence", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"set_presence":"asleep"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "bad since", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"extensions":{"to_device":{"enabled":true,"since":"x"}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "a room that is none of one's business", Who: "bob", Method: "POST", Path: "v4/sync", Body: `{"room_subscriptions":{"` + all[0] + `":{"timeline_limit":1},"!none:{server}":{"timeline_limit":1},"x":{"timeline_limit":1}}}`, Status: 200, Want: `{"rooms":{}}`},
		{Name: "101 lists", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"lists":{` + strings.Join(many(101, `"l%d":{"timeline_limit":1}`), ",") + `}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "101 subscriptions", Who: "alice", Method: "POST", Path: "v4/sync", Body: `{"room_subscriptions":{` + strings.Join(many(101, `"!r%d:a":{"timeline_limit":1}`), ",") + `}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
	})
}

func many(n int, pattern string) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(pattern, i))
	}
	return all
}

func TestSlidingSyncFilters(t *testing.T) {
	h := servertest.New(t)
	alice, bob := h.User("alice"), h.User("bob")
	names := map[string]string{}
	make := func(name, body string) string {
		id := newRoom(alice, body)
		names[id] = name
		return id
	}
	plain := make("plain", `{"name":"plain"}`)
	secret := make("secret", `{"name":"secret","initial_state":[{"type":"m.room.encryption","state_key":"","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}`)
	space := make("space", `{"name":"space","creation_content":{"type":"m.space"}}`)
	direct := make("direct", `{"is_direct":true,"invite":["{@bob}"]}`)
	invited := newRoom(bob, `{"name":"bob's","invite":["{@alice}"]}`)
	names[invited] = "invited"
	alice.Must("PUT", "v3/rooms/"+space+"/state/m.space.child/"+plain, `{"via":["{server}"]}`, nil)
	alice.Must("PUT", "v3/rooms/"+space+"/state/m.space.child/"+secret, `{}`, nil)
	alice.Must("PUT", "v3/user/{@alice}/account_data/m.direct", `{"{@bob}":["`+direct+`"]}`, nil)
	alice.Must("PUT", "v3/user/{@alice}/rooms/"+plain+"/tags/m.favourite", `{}`, nil)
	for _, c := range []struct{ filter, want string }{
		{`{}`, "direct invited plain secret space"},
		{`{"is_dm":true}`, "direct"},
		{`{"is_dm":false}`, "invited plain secret space"},
		{`{"is_encrypted":true}`, "secret"},
		{`{"is_encrypted":false}`, "direct invited plain space"},
		{`{"is_invited":true}`, "invited"},
		{`{"is_invited":false}`, "direct plain secret space"},
		{`{"room_types":["m.space"]}`, "space"},
		{`{"room_types":[null]}`, "direct invited plain secret"},
		{`{"room_types":[null,"m.space"],"not_room_types":["m.space"]}`, "direct invited plain secret"},
		{`{"spaces":["` + space + `"]}`, "plain"},
		{`{"spaces":["!none:a"]}`, ""},
		{`{"spaces":[]}`, ""},
		{`{"tags":["m.favourite","x"]}`, "plain"},
		{`{"not_tags":["m.favourite"]}`, "direct invited secret space"},
		{`{"tags":["m.favourite"],"not_tags":["m.favourite"]}`, ""},
	} {
		s := slide(alice, "", `"lists":{"a":{"timeline_limit":0,"filters":`+c.filter+`}}`)
		var got []string
		for id := range s.Rooms {
			got = append(got, names[id])
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want || s.Lists["a"].Count != len(got) {
			t.Errorf("%s: %v, count %d, want %s", c.filter, got, s.Lists["a"].Count, c.want)
		}
	}
	r := slide(alice, "", `"lists":{"a":{"timeline_limit":1}}`).Rooms
	if got := r[invited]; got.Membership != "invite" || got.Timeline != nil || !strings.Contains(states(got.Stripped), "m.room.name") {
		t.Errorf("an invitation: %+v", got)
	}
	if got := r[direct]; got.DM == nil || !*got.DM || len(got.Heroes) != 1 || got.Name != nil {
		t.Errorf("a direct room: %+v", got)
	}
}

func TestSlidingSyncState(t *testing.T) {
	h := servertest.New(t)
	alice, bob, carol := h.User("alice"), h.User("bob"), h.User("carol")
	room := newRoom(alice, `{"name":"Hall","preset":"public_chat","room_version":"11"}`)
	for _, u := range []*servertest.User{bob, carol} {
		u.Must("POST", "v3/join/"+room, `{}`, nil)
	}
	subscribe := func(state string, timeline int) string {
		return fmt.Sprintf(`"room_subscriptions":{"%s":{"timeline_limit":%d,"required_state":%s}}`, room, timeline, state)
	}
	const lazy = `{"include":[{}],"exclude":[{"type":"m.room.create"}],"lazy_members":true}`
	tell(bob, room, "one")
	s := slide(alice, "", subscribe(lazy, 1))
	r := s.Rooms[room]
	if got := states(r.State); got != "m.room.guest_access, m.room.history_visibility, m.room.join_rules, m.room.member @bob:house.test, m.room.name, m.room.power_levels" {
		t.Errorf("members come lazily: %s", got)
	}
	if bodies(r.Timeline) != "one" || !r.Limited || r.PrevBatch == "" || r.Lists != nil {
		t.Errorf("timeline: %+v", r)
	}
	tell(bob, room, "two")
	alice.Must("PUT", "v3/rooms/"+room+"/state/m.room.topic", `{"topic":"x"}`, nil)
	s = slide(alice, s.Pos, subscribe(lazy, 5))
	if r = s.Rooms[room]; states(r.State) != "m.room.member @alice:house.test, m.room.member @carol:house.test, m.room.topic" || !r.Expanded {
		t.Errorf("who is known is not told again: %s, %+v", states(r.State), r)
	}
	// Members that come and go are told, as long as there is no gap.
	carol.Must("POST", "v3/rooms/"+room+"/leave", `{}`, nil)
	alice.Must("PUT", "v3/rooms/"+room+"/state/m.room.name", `{}`, nil)
	s = slide(alice, s.Pos, subscribe(lazy, 5))
	if r = s.Rooms[room]; states(r.State) != "m.room.member @carol:house.test, m.room.name" || string(r.Name) != "null" || r.Joined != 2 || len(r.Heroes) != 1 {
		t.Errorf("a member left and the name went: %s, %+v", states(r.State), r)
	}
	// Who asks for more state gets what was not asked for before, and at once.
	s = slide(alice, s.Pos, subscribe(`{"include":[{},{"type":"m.room.member","state_key":"{@alice}"}],"lazy_members":true}`, 5))
	if r = s.Rooms[room]; states(r.State) != "m.room.create, m.room.member @alice:house.test" || r.Initial {
		t.Errorf("more state: %s", states(r.State))
	}
	// Combined with a list that wants everything, everything comes.
	both := subscribe(lazy, 5) + `,"lists":{"a":{"timeline_limit":1,"required_state":{"include":[{"type":"m.room.member"}]}}}`
	s = slide(alice, s.Pos, both)
	if r = s.Rooms[room]; !strings.Contains(states(r.State), "m.room.member @bob") || !slices.Equal(r.Lists, []string{"a"}) {
		t.Errorf("combined: %s, %+v", states(r.State), r)
	}
	// Who is thrown out learns it, and no more.
	out := slide(bob, "", `"lists":{"a":{"timeline_limit":5,"required_state":{"include":[{"type":"m.room.member","state_key":"{@bob}"}]}}}`)
	alice.Must("POST", "v3/rooms/"+room+"/kick", `{"user_id":"{@bob}","reason":"noise"}`, nil)
	tell(alice, room, "behind-the-back")
	out = slide(bob, out.Pos, `"lists":{"a":{"timeline_limit":5,"required_state":{"include":[{"type":"m.room.member","state_key":"{@bob}"}]}}}`)
	if r = out.Rooms[room]; r.Membership != "leave" || states(r.State) != "m.room.member @bob:house.test" || len(r.Timeline) != 1 || r.Timeline[0].Content.Membership != "leave" {
		t.Errorf("kicked: %+v", r)
	}
	if again := slide(bob, "", `"lists":{"a":{"timeline_limit":5}}`); strings.Contains(bodies(again.Rooms[room].Timeline), "behind") || again.Lists["a"].Count != 1 {
		t.Errorf("kicked, and begun anew: %+v", again)
	}
	// Who left by choice knows it already.
	if again := slide(carol, "", `"lists":{"a":{"timeline_limit":5}}`); again.Lists["a"].Count != 0 {
		t.Errorf("left: %+v", again)
	}
}

func TestSlidingSyncExtensions(t *testing.T) {
	h := servertest.New(t)
	alice, bob := h.User("alice"), h.User("bob")
	room := newRoom(alice, `{"preset":"public_chat"}`)
	bob.Must("POST", "v3/join/"+room, `{}`, nil)
	alice.Must("PUT", "v3/user/{@alice}/account_data/org.example", `{"x":1}`, nil)
	alice.Must("PUT", "v3/user/{@alice}/rooms/"+room+"/account_data/org.example", `{"y":1}`, nil)
	send := func(n string) {
		bob.Must("PUT", "v3/sendToDevice/org.example/"+n, `{"messages":{"{@alice}":{"*":{"n":"`+n+`"}}}}`, nil)
	}
	send("1")
	const lists = `"lists":{"a":{"timeline_limit":1}},"extensions":{"to_device":{"enabled":true%s},"e2ee":{"enabled":true},"account_data":{"enabled":true},"receipts":{"enabled":true},"typing":{"enabled":true}}`
	ask := func(pos, since string) slid { return slide(alice, pos, fmt.Sprintf(lists, since)) }
	want := func(s slid, extension, want string) {
		t.Helper()
		servertest.Match(t, s.Extensions[extension], strings.ReplaceAll(want, "ROOM", room))
	}
	s := ask("", "")
	want(s, "account_data", `{"global":[{"type":"org.example","content":{"x":1}},{"type":"m.push_rules"}],"rooms":{"ROOM":[{"type":"org.example","content":{"y":1}}]}}`)
	want(s, "to_device", `{"events":[{"type":"org.example","sender":"@bob:house.test","content":{"n":"1"}}]}`)
	want(s, "e2ee", `{"device_one_time_keys_count":{},"device_unused_fallback_key_types":[]}`)
	var device struct {
		Next string `json:"next_batch"`
	}
	if err := json.Unmarshal(s.Extensions["to_device"], &device); err != nil {
		t.Fatal(err)
	}
	since := `,"since":"` + device.Next + `"`
	var sent struct {
		ID string `json:"event_id"`
	}
	bob.Must("PUT", "v3/rooms/"+room+"/send/m.room.message/1", `{"msgtype":"m.text","body":"x"}`, &sent)
	bob.Must("POST", "v3/rooms/"+room+"/receipt/m.read/"+sent.ID, `{}`, nil)
	bob.Must("PUT", "v3/rooms/"+room+"/typing/{@bob}", `{"typing":true,"timeout":30000}`, nil)
	alice.Must("PUT", "v3/user/{@alice}/rooms/"+room+"/tags/m.favourite", `{}`, nil)
	bob.Must("POST", "v3/keys/upload", `{"fallback_keys":{}}`, nil)
	send("2")
	before := s
	s = ask(s.Pos, since)
	want(s, "to_device", `{"events":[{"content":{"n":"2"}}]}`)
	want(s, "account_data", `{"rooms":{"ROOM":[{"type":"m.tag","content":{"tags":{"m.favourite":{}}}}]}}`)
	want(s, "receipts", `{"rooms":{"ROOM":{"type":"m.receipt","content":{"`+sent.ID+`":{"m.read":{"@bob:house.test":{"ts":"*"}}}}}}}`)
	want(s, "typing", `{"rooms":{"ROOM":{"type":"m.typing","content":{"user_ids":["@bob:house.test"]}}}}`)
	// Asked again with the pos before, all of it comes again: the answer may have got lost.
	s = ask(before.Pos, since)
	want(s, "to_device", `{"events":[{"content":{"n":"2"}}]}`)
	want(s, "typing", `{"rooms":{"ROOM":{"content":{"user_ids":["@bob:house.test"]}}}}`)
	want(s, "account_data", `{"rooms":{"ROOM":[{"type":"m.tag"}]}}`)
	if again := ask(s.Pos, since); len(again.Rooms) != 0 || string(again.Extensions["typing"]) != `{"rooms":{}}` || string(again.Extensions["account_data"]) != `{}` {
		t.Errorf("nothing is new: %+v", again)
	}
	// What changes while the client looks elsewhere is told when it looks again.
	s = slide(alice, "", fmt.Sprintf(lists, since))
	aside := strings.Replace(fmt.Sprintf(lists, since), `"timeline_limit":1`, `"timeline_limit":1,"filters":{"is_encrypted":true}`, 1)
	s = slide(alice, s.Pos, aside)
	alice.Must("DELETE", "v3/user/{@alice}/rooms/"+room+"/tags/m.favourite", ``, nil)
	s = slide(alice, s.Pos, aside)
	if string(s.Extensions["account_data"]) != `{}` {
		t.Errorf("told of a room that was not asked for: %s", s.Extensions["account_data"])
	}
	s = ask(s.Pos, since)
	want(s, "account_data", `{"rooms":{"ROOM":[{"type":"m.tag","content":{"tags":{}}},{"type":"org.example"}]}}`)
}

// The form that clients know from before the proposal was accepted.
func TestUnstableSlidingSync(t *testing.T) {
	h := servertest.New(t)
	alice, bob := h.User("alice"), h.User("bob")
	room := newRoom(alice, `{"name":"Hall"}`)
	invited := newRoom(bob, `{"invite":["{@alice}"]}`)
	const path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
	const body = `{"conn_id":"room-list","txn_id":"t1","lists":{"all_rooms":{"ranges":[[0,19]],"timeline_limit":1,"required_state":[["m.room.name",""],["m.room.member","$LAZY"],["m.room.member","$ME"]],"filters":{"not_room_types":["m.space"]}}}}`
	var s slid
	alice.Must("POST", path, body, &s)
	if r := s.Rooms[room]; states(r.State) != "m.room.member @alice:house.test, m.room.name" || r.Lists != nil || r.Membership != "" {
		t.Errorf("%+v", r)
	}
	if r := s.Rooms[invited]; len(r.Invite) == 0 || r.Stripped != nil {
		t.Errorf("an invitation: %+v", r)
	}
	tell(alice, room, "one")
	tell(alice, room, "two")
	alice.Must("POST", path+"?pos="+s.Pos, strings.Replace(body, `"timeline_limit":1`, `"timeline_limit":5`, 1), &s)
	if r := s.Rooms[room]; !r.Unstable || r.Expanded || len(r.Timeline) != 5 || r.Live != 2 {
		t.Errorf("%+v", r)
	}
	h.Run(t, []servertest.Case{
		{Name: "the transaction comes back", Who: "alice", Method: "POST", Path: path, Body: body, Status: 200, Want: `{"txn_id":"t1"}`},
		{Name: "unknown pos", Who: "alice", Method: "POST", Path: path + "?pos=s1_1_x", Body: body, Status: 400, Errcode: "M_UNKNOWN_POS"},
		{Name: "bad presence", Who: "alice", Method: "POST", Path: path + "?set_presence=x", Body: `{}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "announced", Method: "GET", Path: "versions", Status: 200, Want: `{"unstable_features":{"org.matrix.simplified_msc3575":true}}`},
	})
}

// Who waits is woken by news, answered empty when the time is over, and ended by another
// request on the same connection.
func TestSlidingSyncWaits(t *testing.T) {
	h := servertest.New(t)
	alice := h.User("alice")
	room := newRoom(alice, `{}`)
	const lists = `"lists":{"a":{"timeline_limit":5}},"timeout":30000`
	s := slide(alice, "", lists)
	answers := make(chan slid, 1)
	go func() { answers <- slide(alice, s.Pos, lists) }()
	tell(alice, room, "news")
	if got := <-answers; bodies(got.Rooms[room].Timeline) != "news" {
		t.Errorf("woken by news: %+v", got)
	} else {
		s = got
	}
	refused := make(chan *servertest.Response, 1)
	go func() { refused <- alice.Do("POST", "v4/sync", `{`+lists+`,"pos":"`+s.Pos+`"}`) }()
	for {
		// As long as the first one does not wait yet, it may also end this one.
		next := alice.Do("POST", "v4/sync", `{"lists":{"a":{"timeline_limit":5}},"pos":"`+s.Pos+`"}`)
		if next.Status != http.StatusOK && next.Errcode() != "M_UNKNOWN_POS" {
			t.Fatalf("%d %s", next.Status, next.Body)
		}
		select {
		case r := <-refused:
			if r.Errcode() != "M_UNKNOWN_POS" {
				t.Errorf("overtaken: %d %s", r.Status, r.Body)
			}
			return
		default:
		}
	}
}

// TestSlidingSyncTellsOfForgottenRooms: that a room is over is told to who had it, though it
// has been forgotten at once; then it is away, whatever others do.
func TestSlidingSyncTellsOfForgottenRooms(t *testing.T) {
	s := servertest.New(t)
	alice, bob := s.User("alice"), s.User("bob")
	room := newRoom(alice, `{"preset":"public_chat"}`)
	bob.Must("POST", "v3/rooms/"+room+"/join", `{}`, nil)
	const all = `"lists":{"all":{"range":[0,9],"timeline_limit":1,"required_state":{"include":[{"type":"m.room.member","state_key":"$ME"}]}}}`
	out := slide(bob, "", all)
	if out.Rooms[room].Membership != "join" {
		t.Fatalf("%+v", out.Rooms)
	}
	bob.Must("POST", "v3/rooms/"+room+"/leave", `{}`, nil)
	bob.Must("POST", "v3/rooms/"+room+"/forget", `{}`, nil)
	out = slide(bob, out.Pos, all)
	if r := out.Rooms[room]; r.Membership != "leave" || states(r.State) != "m.room.member @bob:house.test" || r.State[0].Content.Membership != "leave" {
		t.Errorf("left: %+v", out.Rooms)
	}
	for _, what := range []string{"ban", "unban"} {
		alice.Must("POST", "v3/rooms/"+room+"/"+what, `{"user_id":"@bob:house.test"}`, nil)
		if out = slide(bob, out.Pos, all); len(out.Rooms) != 0 || out.Lists["all"].Count != 0 {
			t.Errorf("%s: %+v", what, out)
		}
	}
	if anew := slide(bob, "", `"conn_id":"another",`+all); len(anew.Rooms) != 0 || anew.Lists["all"].Count != 0 {
		t.Errorf("another client: %+v", anew)
	}
	alice.Must("POST", "v3/rooms/"+room+"/invite", `{"user_id":"@bob:house.test"}`, nil)
	if out = slide(bob, out.Pos, all); out.Rooms[room].Membership != "invite" {
		t.Errorf("asked in: %+v", out.Rooms)
	}
}
