package clientapi_test

import (
	"testing"

	"porchlight/server/servertest"
)

// save is short for Case.Save with one variable.
func save(name, at string) map[string]string { return map[string]string{name: at} }

// createRoom is the case that makes a room and saves its ID.
func createRoom(name, who, body string) servertest.Case {
	return servertest.Case{
		Name: "make " + name, Who: who, Method: "POST", Path: "v3/createRoom", Body: body, Status: 200,
		Changes: servertest.Any, Save: save(name, "room_id"),
	}
}

// joinRoom is the case of somebody coming into a room.
func joinRoom(room, who string) servertest.Case {
	return servertest.Case{
		Name: who + " joins " + room, Who: who, Method: "POST", Path: "v3/rooms/{" + room + "}/join", Body: `{}`, Status: 200,
		Want: `{"room_id":"{` + room + `}"}`, Changes: 1,
	}
}

// setState is the case of somebody setting state of a room, with an empty key.
func setState(room, who, eventType, content string) servertest.Case {
	return servertest.Case{
		Name: who + " sets " + eventType + " of " + room, Who: who, Method: "PUT", Path: "v3/rooms/{" + room + "}/state/" + eventType,
		Body: content, Status: 200, Want: `{"event_id":"$*"}`, Changes: servertest.Any,
	}
}

func TestRoomVisibilityOnDirectory(t *testing.T) {
	s := servertest.New(t)
	const path = "v3/directory/list/room/{room}"
	put := func(name, who, body string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "PUT", Path: path, Body: body, Status: status, Errcode: errcode}
	}
	is := func(name, visibility string) servertest.Case {
		return servertest.Case{Name: name, Method: "GET", Path: path, Status: 200, Want: `{"visibility":"` + visibility + `"}`}
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat"}`),
		joinRoom("room", "bob"),
		is("private at first, also for strangers", "private"),
		put("no token", "", `{}`, 401, "M_MISSING_TOKEN"),
		{Name: "unknown token", Token: "x", Method: "PUT", Path: path, Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		put("who is not in the room", "carol", `{}`, 403, "M_FORBIDDEN"),
		put("who has no power", "bob", `{}`, 403, "M_FORBIDDEN"),
		put("bad visibility", "alice", `{"visibility":"hidden"}`, 400, "M_INVALID_PARAM"),
		put("visibility of the wrong type", "alice", `{"visibility":1}`, 400, "M_BAD_JSON"),
		put("no JSON", "alice", `{`, 400, "M_NOT_JSON"),
		put("public by default", "alice", `{}`, 200, ""),
		is("now public", "public"),
		put("public again", "alice", `{"visibility":"public"}`, 200, ""),
		put("private", "alice", `{"visibility":"private"}`, 200, ""),
		is("private again", "private"),
		put("the owner of the house may", "owner", `{"visibility":"public"}`, 200, ""),
		{Name: "unknown room", Method: "GET", Path: "v3/directory/list/room/!none", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "unknown room to set", Who: "alice", Method: "PUT", Path: "v3/directory/list/room/!none", Body: `{}`, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "no room ID", Method: "GET", Path: "v3/directory/list/room/none", Status: 400, Errcode: "M_INVALID_PARAM"},
	})
}

func TestPublicRooms(t *testing.T) {
	s := servertest.New(t)
	const nobody = `{"chunk":[],"total_room_count_estimate":0,"next_batch":"!absent","prev_batch":"!absent"}`
	get := func(name, query string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Method: "GET", Path: "v3/publicRooms" + query, Status: status, Errcode: errcode, Want: want}
	}
	post := func(name, body string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "carol", Method: "POST", Path: "v3/publicRooms", Body: body, Status: status, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{
		get("nothing yet", "", 200, "", nobody),
		createRoom("large", "alice", `{"visibility":"public","name":"Large Hall","topic":"for many","room_alias_name":"hall","creation_content":{"type":"m.space"}}`),
		createRoom("middle", "alice", `{"visibility":"public","name":"Middle","preset":"private_chat","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"world_readable"}},{"type":"m.room.join_rules","content":{"join_rule":"knock"}},{"type":"m.room.avatar","content":{"url":"mxc://house.test/x"}},{"type":"m.room.topic","content":{"topic":"plain","m.topic":{"m.text":[{"body":"<b>rich</b>","mimetype":"text/html"}]}}}]}`),
		createRoom("small", "bob", `{"visibility":"public","name":"Small"}`),
		createRoom("hidden", "alice", `{"preset":"public_chat","name":"Hidden"}`),
		joinRoom("large", "bob"), joinRoom("large", "carol"),
		{Name: "invite", Who: "alice", Method: "POST", Path: "v3/rooms/{middle}/invite", Body: `{"user_id":"{@bob}"}`, Status: 200, Changes: 1},
		joinRoom("middle", "bob"),
		get("all, the largest first", "", 200, "", `{"total_room_count_estimate":3,"next_batch":"!absent","prev_batch":"!absent","chunk":[
			{"room_id":"{large}","name":"Large Hall","topic":"for many","canonical_alias":"#hall:{server}","num_joined_members":3,"world_readable":false,"guest_can_join":false,"join_rule":"public","room_type":"m.space","avatar_url":"!absent"},
			{"room_id":"{middle}","name":"Middle","topic":"!absent","num_joined_members":2,"world_readable":true,"guest_can_join":true,"join_rule":"knock","room_type":"!absent","avatar_url":"mxc://house.test/x","canonical_alias":"!absent"},
			{"room_id":"{small}"}]}`),
	})
	s.Run(t, []servertest.Case{
		{Name: "first page", Method: "GET", Path: "v3/publicRooms?limit=1", Status: 200, Want: `{"chunk":[{"room_id":"{large}"}],"prev_batch":"!absent"}`, Save: save("next", "next_batch")},
		{Name: "second page", Method: "GET", Path: "v3/publicRooms?limit=1&since={next}", Status: 200, Want: `{"chunk":[{"room_id":"{middle}"}]}`, Save: map[string]string{"next2": "next_batch", "prev": "prev_batch"}},
		get("back again", "?limit=1&since={prev}", 200, "", `{"chunk":[{"room_id":"{large}"}],"prev_batch":"!absent","next_batch":"*"}`),
		get("last page", "?limit=5&since={next2}", 200, "", `{"chunk":[{"room_id":"{small}"}],"next_batch":"!absent","prev_batch":"*"}`),
		get("own server", "?server={server}&limit=0", 200, "", `{"total_room_count_estimate":3}`),
		get("another server", "?server=elsewhere.test", 404, "M_NOT_FOUND", ""),
		get("no server name", "?server=_", 400, "M_INVALID_PARAM", ""),
		get("negative limit", "?limit=-1", 400, "M_INVALID_PARAM", ""),
		get("limit is no number", "?limit=x", 400, "M_INVALID_PARAM", ""),
		get("bad token", "?since=n1", 400, "M_INVALID_PARAM", ""),
		get("no token", "?since=x", 400, "M_INVALID_PARAM", ""),
	})
	s.Run(t, []servertest.Case{
		{Name: "no access token", Method: "POST", Path: "v3/publicRooms", Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "unknown access token", Token: "x", Method: "POST", Path: "v3/publicRooms", Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		post("no JSON", `{`, 400, "M_NOT_JSON", ""),
		post("limit of the wrong type", `{"limit":"x"}`, 400, "M_BAD_JSON", ""),
		post("everything", `{}`, 200, "", `{"total_room_count_estimate":3}`),
		post("by name, whatever the case", `{"filter":{"generic_search_term":"HALL"}}`, 200, "", `{"chunk":[{"room_id":"{large}"}],"total_room_count_estimate":1}`),
		post("by topic", `{"filter":{"generic_search_term":"many"}}`, 200, "", `{"chunk":[{"room_id":"{large}"}]}`),
		post("by nothing that is there", `{"filter":{"generic_search_term":"cellar"}}`, 200, "", nobody),
		post("only spaces", `{"filter":{"room_types":["m.space"]}}`, 200, "", `{"chunk":[{"room_id":"{large}"}]}`),
		post("only rooms without a type", `{"filter":{"room_types":[null]}}`, 200, "", `{"chunk":[{"room_id":"{middle}"},{"room_id":"{small}"}]}`),
		post("both", `{"filter":{"room_types":[null,"m.space"]}}`, 200, "", `{"total_room_count_estimate":3}`),
		post("bad types", `{"filter":{"room_types":[1]}}`, 400, "M_BAD_JSON", ""),
		post("another network", `{"third_party_instance_id":"irc"}`, 200, "", nobody),
		post("all networks", `{"include_all_networks":true}`, 200, "", `{"total_room_count_estimate":3}`),
		post("all networks and one", `{"include_all_networks":true,"third_party_instance_id":"irc"}`, 400, "M_INVALID_PARAM", ""),
		post("page", `{"limit":2}`, 200, "", `{"chunk":[{"room_id":"{large}"},{"room_id":"{middle}"}],"next_batch":"*"}`),
	})
}
