package clientapi_test

import (
	"testing"

	"porchlight/server/servertest"
)

// theRoom is one of alice's that bob is in and carol is invited to, with three messages
// {one}, {two} and {three}. dave has nothing to do with it.
func theRoom(t *testing.T) *servertest.Server {
	t.Helper()
	s := servertest.New(t)
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		s.User(name)
	}
	say := func(name string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/" + name,
			Body: `{"msgtype":"m.text","body":"` + name + `"}`, Status: 200, Changes: 1, Save: map[string]string{name: "event_id"}}
	}
	s.Run(t, []servertest.Case{
		{Name: "create", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat","topic":"Steps"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "join", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/join", Status: 200, Changes: 1},
		say("one"), say("two"), say("three"),
		{Name: "invite", Who: "alice", Method: "POST", Path: "v3/rooms/{room}/invite", Body: `{"user_id":"{@carol}"}`, Status: 200, Changes: 1},
	})
	return s
}

func TestMessages(t *testing.T) {
	s := theRoom(t)
	const path = "v3/rooms/{room}/messages"
	const filter = "&filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%7D"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: path + "?dir=b", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "outside", Who: "dave", Method: "GET", Path: path + "?dir=b", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "invited", Who: "carol", Method: "GET", Path: path + "?dir=b", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "no such room", Who: "bob", Method: "GET", Path: "v3/rooms/!nowhere/messages?dir=b", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "no room", Who: "bob", Method: "GET", Path: "v3/rooms/nowhere/messages?dir=b", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "no direction", Who: "bob", Method: "GET", Path: path, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "wrong direction", Who: "bob", Method: "GET", Path: path + "?dir=up", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "wrong limit", Who: "bob", Method: "GET", Path: path + "?dir=b&limit=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "wrong from", Who: "bob", Method: "GET", Path: path + "?dir=b&from=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "wrong filter", Who: "bob", Method: "GET", Path: path + "?dir=b&filter=%5B%5D", Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "back", Who: "bob", Method: "GET", Path: path + "?dir=b&limit=2" + filter, Status: 200, Save: map[string]string{"end": "end"},
			Want: `{"start":"*","chunk":[{"event_id":"{three}","room_id":"{room}","content":{"body":"three"}},{"event_id":"{two}"}]}`},
		{Name: "further back", Who: "bob", Method: "GET", Path: path + "?dir=b&from={end}" + filter, Status: 200,
			Want: `{"start":"{end}","end":"!absent","chunk":[{"event_id":"{one}"}]}`},
		{Name: "forth again", Who: "bob", Method: "GET", Path: path + "?dir=f&from={end}" + filter, Status: 200,
			Want: `{"end":"!absent","chunk":[{"event_id":"{two}"},{"event_id":"{three}"}]}`},
		{Name: "from the beginning", Who: "bob", Method: "GET", Path: path + "?dir=f&limit=1", Status: 200, Want: `{"start":"t0","chunk":[{"type":"m.room.create"}]}`},
	})
}

func TestEventAndContext(t *testing.T) {
	s := theRoom(t)
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: "v3/rooms/{room}/event/{two}", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "event", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/event/{two}", Status: 200, Want: `{"event_id":"{two}","room_id":"{room}","sender":"{@alice}","unsigned":{"age":"*","transaction_id":"!absent"}}`},
		{Name: "to its sender", Who: "alice", Method: "GET", Path: "v3/rooms/{room}/event/{two}", Status: 200, Want: `{"unsigned":{"transaction_id":"two"}}`},
		{Name: "event outside", Who: "dave", Method: "GET", Path: "v3/rooms/{room}/event/{two}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "no such event", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/event/$no", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "no event", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/event/no", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "in another room", Who: "bob", Method: "GET", Path: "v3/rooms/!other/event/{two}", Status: 404, Errcode: "M_NOT_FOUND"},

		{Name: "context without token", Method: "GET", Path: "v3/rooms/{room}/context/{two}", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "context", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/context/{two}?limit=2", Status: 200,
			Want: `{"start":"*","end":"*","events_before":[{"event_id":"{one}"}],"event":{"event_id":"{two}"},"events_after":[{"event_id":"{three}"}],"state":["…"]}`},
		{Name: "context outside", Who: "dave", Method: "GET", Path: "v3/rooms/{room}/context/{two}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "context of the wrong limit", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/context/{two}?limit=-1", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "context of a broken filter", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/context/{two}?filter=%7B", Status: 400, Errcode: "M_NOT_JSON"},
	})
}

func TestStateAndMembers(t *testing.T) {
	s := theRoom(t)
	s.Run(t, []servertest.Case{
		{Name: "state without token", Method: "GET", Path: "v3/rooms/{room}/state", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "state", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state", Status: 200, Want: `[{"type":"m.room.create","state_key":""},"…"]`},
		{Name: "state outside", Who: "dave", Method: "GET", Path: "v3/rooms/{room}/state", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "state while invited", Who: "carol", Method: "GET", Path: "v3/rooms/{room}/state", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "content", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state/m.room.topic/", Status: 200, Want: `{"topic":"Steps","event_id":"!absent"}`},
		{Name: "content without a slash", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state/m.room.topic", Status: 200, Want: `{"topic":"Steps"}`},
		{Name: "event", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state/m.room.topic?format=event", Status: 200, Want: `{"content":{"topic":"Steps"},"event_id":"*","sender":"{@alice}"}`},
		{Name: "by key", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state/m.room.member/{@carol}", Status: 200, Want: `{"membership":"invite"}`},
		{Name: "no such format", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state/m.room.topic?format=xml", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "no such state", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/state/m.room.avatar/", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "one state outside", Who: "dave", Method: "GET", Path: "v3/rooms/{room}/state/m.room.topic/", Status: 403, Errcode: "M_FORBIDDEN"},

		{Name: "members without token", Method: "GET", Path: "v3/rooms/{room}/members", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "members", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/members", Status: 200, Want: `{"chunk":[{"state_key":"{@alice}"},{"state_key":"{@bob}"},{"state_key":"{@carol}"}]}`},
		{Name: "members of a kind", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/members?not_membership=join", Status: 200, Want: `{"chunk":[{"state_key":"{@carol}"}]}`},
		{Name: "members of no kind", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/members?membership=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "members at the beginning", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/members?at=t0", Status: 200, Want: `{"chunk":[]}`},
		{Name: "members at nothing", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/members?at=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "members outside", Who: "dave", Method: "GET", Path: "v3/rooms/{room}/members", Status: 403, Errcode: "M_FORBIDDEN"},

		{Name: "joined members without token", Method: "GET", Path: "v3/rooms/{room}/joined_members", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "joined members", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/joined_members", Status: 200, Want: `{"joined":{"{@alice}":{"display_name":"{@alice}","avatar_url":"!absent"},"{@bob}":{},"{@carol}":"!absent"}}`},
		{Name: "joined members outside", Who: "carol", Method: "GET", Path: "v3/rooms/{room}/joined_members", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "a name", Who: "alice", Method: "PUT", Path: "v3/profile/{@alice}/displayname", Body: `{"displayname":"Alice"}`, Status: 200, Changes: servertest.Any},
		{Name: "joined members with and without a name", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/joined_members", Status: 200, Want: `{"joined":{"{@alice}":{"display_name":"Alice"},"{@bob}":{"display_name":"{@bob}"}}}`},

		{Name: "joined rooms without token", Method: "GET", Path: "v3/joined_rooms", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "joined rooms", Who: "bob", Method: "GET", Path: "v3/joined_rooms", Status: 200, Want: `{"joined_rooms":["{room}"]}`},
		{Name: "no joined rooms", Who: "carol", Method: "GET", Path: "v3/joined_rooms", Status: 200, Want: `{"joined_rooms":[]}`},
	})
}

func TestSync(t *testing.T) {
	s := theRoom(t)
	const lazy = "filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%2C%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: "v3/sync", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "wrong since", Who: "bob", Method: "GET", Path: "v3/sync?since=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "wrong filter", Who: "bob", Method: "GET", Path: "v3/sync?filter=%7B%7D%7D", Status: 400, Errcode: "M_NOT_JSON"},
		{Name: "unknown filter", Who: "bob", Method: "GET", Path: "v3/sync?filter=77", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "wrong time-out", Who: "bob", Method: "GET", Path: "v3/sync?timeout=soon", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "wrong presence", Who: "bob", Method: "GET", Path: "v3/sync?set_presence=asleep", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "first", Who: "bob", Method: "GET", Path: "v3/sync?set_presence=offline&" + lazy, Status: 200, Save: map[string]string{"since": "next_batch"},
			Want: `{"rooms":{"join":{"{room}":{"timeline":{"limited":true,"prev_batch":"*","events":[{"type":"m.room.member","state_key":"{@carol}"}]},
				"summary":{"m.joined_member_count":2,"m.invited_member_count":1,"m.heroes":["{@alice}","{@carol}"]}}}}}`},
		{Name: "nothing new", Who: "bob", Method: "GET", Path: "v3/sync?set_presence=offline&since={since}&timeout=10", Status: 200,
			Want: `{"rooms":{"join":{},"invite":{},"leave":{}},"device_unused_fallback_key_types":[]}`},
		{Name: "in full", Who: "bob", Method: "GET", Path: "v3/sync?set_presence=offline&since={since}&full_state=true&use_state_after=true", Status: 200,
			Want: `{"rooms":{"join":{"{room}":{"state":"!absent","state_after":{"events":[{"type":"m.room.create"},"…"]},"timeline":{"events":[],"limited":false}}}}}`},
		{Name: "invited", Who: "carol", Method: "GET", Path: "r0/sync?set_presence=offline", Status: 200,
			Want: `{"rooms":{"join":{},"invite":{"{room}":{"invite_state":{"events":[{"type":"m.room.create"},"…"]}}}}}`},
	})
}
