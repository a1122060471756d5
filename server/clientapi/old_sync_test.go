package clientapi_test

import (
	"testing"

	"porchlight/server/servertest"
)

// say is the case of somebody saying something, whose event ID is saved under its text.
func say(room, who, text string) servertest.Case {
	return servertest.Case{
		Name: who + " says " + text, Who: who, Method: "PUT", Path: "v3/rooms/{" + room + "}/send/m.room.message/" + text,
		Body: `{"msgtype":"m.text","body":"` + text + `"}`, Status: 200, Want: `{"event_id":"$*"}`, Changes: 1, Save: save(text, "event_id"),
	}
}

func TestOldSync(t *testing.T) {
	s := servertest.New(t)
	get := func(name, who, path string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v3/" + path, Status: status, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat","visibility":"public"}`),
		joinRoom("room", "bob"),
		createRoom("asked", "alice", `{"invite":["{@bob}"]}`),
		createRoom("left", "alice", `{"preset":"public_chat"}`),
		joinRoom("left", "bob"),
		say("left", "alice", "before"),
		{Name: "leave", Who: "bob", Method: "POST", Path: "v3/rooms/{left}/leave", Body: `{}`, Status: 200, Changes: 1},
		say("left", "alice", "after"),
		say("room", "alice", "one"), say("room", "alice", "two"),
		{Name: "account data", Who: "bob", Method: "PUT", Path: "v3/user/{@bob}/account_data/org.example", Body: `{"x":1}`, Status: 200, Changes: 1},
		{Name: "account data of the room", Who: "bob", Method: "PUT", Path: "v3/user/{@bob}/rooms/{room}/account_data/org.example", Body: `{"y":1}`, Status: 200, Changes: 1},

		get("initialSync without token", "", "initialSync", 401, "M_MISSING_TOKEN", ""),
		{Name: "initialSync with unknown token", Token: "x", Method: "GET", Path: "v3/initialSync", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		get("negative limit", "bob", "initialSync?limit=-1", 400, "M_INVALID_PARAM", ""),
		get("archived is no flag", "bob", "initialSync?archived=yes", 400, "M_INVALID_PARAM", ""),
		get("nothing", "carol", "initialSync", 200, "", `{"rooms":[],"end":"t*","presence":[]}`),
		get("events without token", "", "events", 401, "M_MISSING_TOKEN", ""),
		{Name: "events with unknown token", Token: "x", Method: "GET", Path: "v3/events", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		get("events from nowhere", "bob", "events?from=x", 400, "M_INVALID_PARAM", ""),
		get("events of no room", "bob", "events?room_id=x", 400, "M_INVALID_PARAM", ""),
		get("events of a room that is not there", "bob", "events?room_id=!none", 403, "M_FORBIDDEN", ""),
		get("events from now on", "bob", "events", 200, "", `{"chunk":[],"start":"t*","end":"t*"}`),
		get("one event without token", "", "events/{one}", 401, "M_MISSING_TOKEN", ""),
		get("one event", "bob", "events/{one}", 200, "", `{"event_id":"{one}","room_id":"{room}","content":{"body":"one"}}`),
		get("one event that carol cannot see", "carol", "events/{one}", 404, "M_NOT_FOUND", ""),
		get("one event that is not there", "bob", "events/$none", 404, "M_NOT_FOUND", ""),
		get("one event that is none", "bob", "events/none", 400, "M_INVALID_PARAM", ""),
		get("after leaving", "bob", "events/{after}", 404, "M_NOT_FOUND", ""),

		get("room without token", "", "rooms/{room}/initialSync", 401, "M_MISSING_TOKEN", ""),
		get("room from outside", "carol", "rooms/{room}/initialSync", 403, "M_FORBIDDEN", ""),
		get("room that is not there", "carol", "rooms/!none/initialSync", 403, "M_FORBIDDEN", ""),
		get("no room", "carol", "rooms/none/initialSync", 400, "M_INVALID_PARAM", ""),
		get("room when invited", "bob", "rooms/{asked}/initialSync", 403, "M_FORBIDDEN", ""),
		get("room when left", "bob", "rooms/{left}/initialSync?limit=1", 200, "", `{"membership":"leave","messages":{"chunk":[{"type":"m.room.member","content":{"membership":"leave"}}]}}`),
		get("room", "bob", "rooms/{room}/initialSync?limit=2", 200, "", `{"room_id":"{room}","membership":"join","visibility":"public",
			"messages":{"start":"t*","end":"t*","chunk":[{"event_id":"{one}"},{"event_id":"{two}"}]},"state":[{},"…"],"account_data":[{"type":"org.example","content":{"y":1}}]}`),
	})
	s.Run(t, []servertest.Case{
		{Name: "initialSync", Who: "bob", Method: "GET", Path: "v3/initialSync?limit=1", Status: 200, Want: `{"rooms":[{},{}],"account_data":[{"type":"org.example","content":{"x":1}},"…"]}`, Save: save("end", "end")},
		get("archived too", "bob", "initialSync?archived=true", 200, "", `{"rooms":[{},{},{}]}`),
		say("room", "alice", "three"),
		get("a message", "bob", "events?from={end}", 200, "", `{"start":"{end}","chunk":[{"event_id":"{three}","room_id":"{room}"}]}`),
		{Name: "invite", Who: "alice", Method: "POST", Path: "v3/rooms/{room}/invite", Body: `{"user_id":"{@carol}"}`, Status: 200, Changes: 1},
		get("an invitation", "carol", "events?from={end}", 200, "", `{"chunk":[{"type":"m.room.member","state_key":"{@carol}"}]}`),
		{Name: "ignore", Who: "bob", Method: "PUT", Path: "v3/user/{@bob}/account_data/m.ignored_user_list", Body: `{"ignored_users":{"{@alice}":{}}}`, Status: 200, Changes: 1},
		get("the ignored are not heard, but for state", "bob", "events?from={end}", 200, "", `{"chunk":[{"type":"m.room.member"}]}`),
		get("nor are their invitations", "bob", "initialSync", 200, "", `{"rooms":[{"membership":"join"}]}`),
	})
}

func TestPeek(t *testing.T) {
	s := servertest.New(t)
	get := func(name, path string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "GET", Path: "v3/" + path, Status: status, Errcode: errcode, Want: want}
	}
	visibility := func(v string) servertest.Case {
		return setState("room", "alice", "m.room.history_visibility", `{"history_visibility":"`+v+`"}`)
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{}`),
		say("room", "alice", "secret"),
		get("a closed room", "rooms/{room}/initialSync", 403, "M_FORBIDDEN", ""),
		visibility("world_readable"),
		say("room", "alice", "open"),
		{Name: "a room that anybody may read", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/initialSync?limit=5", Status: 200,
			Want: `{"membership":"!absent","messages":{"chunk":[{"type":"m.room.history_visibility"},{"event_id":"{open}"}]}}`, Save: save("end", "messages.end")},
		get("nothing new", "events?room_id={room}&from={end}", 200, "", `{"chunk":[]}`),
		say("room", "alice", "news"),
		get("news", "events?room_id={room}&from={end}", 200, "", `{"chunk":[{"event_id":"{news}"}]}`),
		get("not without asking for the room", "events?from={end}", 200, "", `{"chunk":[]}`),
		visibility("shared"),
		say("room", "alice", "hidden"),
		get("closed again", "events?room_id={room}&from={end}", 403, "M_FORBIDDEN", ""),
		visibility("world_readable"),
		get("what was said in between stays hidden", "events?room_id={room}&from={end}", 200, "",
			`{"chunk":[{"event_id":"{news}"},{"type":"m.room.history_visibility"},{"type":"m.room.history_visibility"}]}`),
	})
}
