package clientapi_test

import (
	"sync/atomic"
	"testing"
	"time"

	"porchlight/server"
	"porchlight/server/servertest"
)

// child is the case of alice putting a room into a space.
func child(space, room, content string) servertest.Case {
	return servertest.Case{
		Name: room + " into " + space, Who: "alice", Method: "PUT", Path: "v3/rooms/{" + space + "}/state/m.space.child/{" + room + "}",
		Body: content, Status: 200, Changes: 1,
	}
}

func TestSpaceHierarchy(t *testing.T) {
	var clock atomic.Int64 // children without an order follow by time, so no two may have the same
	clock.Store(time.Now().UnixMilli())
	s := servertest.New(t, func(c *server.Config) { c.Now = func() time.Time { return time.UnixMilli(clock.Add(1)) } })
	const path = "v1/rooms/{space}/hierarchy"
	walk := func(name, who, query string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: path + query, Status: status, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{
		createRoom("space", "alice", `{"preset":"public_chat","name":"Space","creation_content":{"type":"m.space"}}`),
		createRoom("inner", "alice", `{"preset":"public_chat","name":"Inner","creation_content":{"type":"m.space"}}`),
		createRoom("open", "alice", `{"preset":"public_chat","name":"Open"}`),
		createRoom("closed", "alice", `{"name":"Closed","initial_state":[{"type":"m.room.encryption","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}`),
		createRoom("knock", "alice", `{"name":"Knock","initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"knock"}}]}`),
		createRoom("seen", "alice", `{"name":"Seen","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"world_readable"}}]}`),
		createRoom("members", "alice", `{"name":"Members","initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"{space}"},{"type":"org.example"}]}}]}`),
		createRoom("plain", "alice", `{"preset":"public_chat"}`),
		child("plain", "open", `{"via":["{server}"]}`),
		child("space", "inner", `{"via":["{server}"],"order":"b","suggested":true}`),
		child("inner", "open", `{"via":["{server}"],"suggested":true}`),
		child("inner", "space", `{"via":["{server}"]}`), // in a circle
		child("space", "closed", `{"via":["{server}"]}`),
		child("space", "knock", `{"via":["{server}"],"order":"a"}`),
		child("space", "seen", `{"via":["{server}"],"order":"\u0001"}`),
		child("space", "members", `{"via":["{server}"],"order":7,"suggested":1}`),
		child("space", "plain", `{}`), // taken out
		{Name: "a room that nobody knows", Who: "alice", Method: "PUT", Path: "v3/rooms/{space}/state/m.space.child/!none:{server}", Body: `{"via":["{server}"]}`, Status: 200, Changes: 1},
		{Name: "no room at all", Who: "alice", Method: "PUT", Path: "v3/rooms/{space}/state/m.space.child/none", Body: `{"via":["{server}"]}`, Status: 200, Changes: 1},

		walk("no token", "", "", 401, "M_MISSING_TOKEN", ""),
		{Name: "unknown token", Token: "x", Method: "GET", Path: path, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		walk("limit of nothing", "alice", "?limit=0", 400, "M_INVALID_PARAM", ""),
		walk("negative depth", "alice", "?max_depth=-1", 400, "M_INVALID_PARAM", ""),
		walk("suggested_only is no flag", "alice", "?suggested_only=1", 400, "M_INVALID_PARAM", ""),
		walk("unknown token of a page", "alice", "?from=x", 400, "M_INVALID_PARAM", ""),
		walk("made-up token of a page", "alice", "?from=h1_32_ax", 400, "M_INVALID_PARAM", ""),
		{Name: "unknown room", Who: "alice", Method: "GET", Path: "v1/rooms/!none/hierarchy", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "a room that bob may not know", Who: "bob", Method: "GET", Path: "v1/rooms/{closed}/hierarchy", Status: 403, Errcode: "M_FORBIDDEN"},

		walk("alice sees all, in order", "alice", "", 200, "", `{"next_batch":"!absent","rooms":[
			{"room_id":"{space}","room_type":"m.space","name":"Space","num_joined_members":1,"room_version":"12","children_state":[
				{"state_key":"{knock}","type":"m.space.child","sender":"{@alice}","content":{"order":"a"},"origin_server_ts":"*","event_id":"!absent"},
				{"state_key":"{inner}"},{"state_key":"{closed}"},{"state_key":"{seen}"},{"state_key":"{members}"},{"state_key":"!none:{server}"}]},
			{"room_id":"{knock}","join_rule":"knock","children_state":[]},
			{"room_id":"{inner}","children_state":[{"state_key":"{open}"},{"state_key":"{space}"}]},
			{"room_id":"{open}"},
			{"room_id":"{closed}","encryption":"m.megolm.v1.aes-sha2"},
			{"room_id":"{seen}","world_readable":true},
			{"room_id":"{members}","join_rule":"restricted","allowed_room_ids":["{space}"]}]}`),
		walk("bob sees what he may come into", "bob", "", 200, "", `{"rooms":[{"room_id":"{space}"},{"room_id":"{knock}"},{"room_id":"{inner}"},{"room_id":"{open}"},{"room_id":"{seen}"}]}`),
		joinRoom("space", "bob"),
		walk("as a member he may come into one more", "bob", "", 200, "", `{"rooms":[{"room_id":"{space}"},{"room_id":"{knock}"},{"room_id":"{inner}"},{"room_id":"{open}"},{"room_id":"{seen}"},{"room_id":"{members}"}]}`),
		{Name: "invite", Who: "alice", Method: "POST", Path: "v3/rooms/{closed}/invite", Body: `{"user_id":"{@bob}"}`, Status: 200, Changes: 1},
		walk("and invited into another", "bob", "", 200, "", `{"rooms":[{},{},{},{},{"room_id":"{closed}"},{},{}]}`),
		walk("only what is suggested", "alice", "?suggested_only=true", 200, "", `{"rooms":[{"room_id":"{space}","children_state":[{"state_key":"{inner}"}]},{"room_id":"{inner}","children_state":[{"state_key":"{open}"}]},{"room_id":"{open}"}]}`),
		walk("no deeper than the space", "alice", "?max_depth=0", 200, "", `{"rooms":[{"room_id":"{space}","children_state":[{},"…"]}]}`),
		walk("one deep", "alice", "?max_depth=1", 200, "", `{"rooms":[{"room_id":"{space}"},{"room_id":"{knock}"},{"room_id":"{inner}"},{"room_id":"{closed}"},{"room_id":"{seen}"},{"room_id":"{members}"}]}`),
		{Name: "first page", Who: "alice", Method: "GET", Path: path + "?limit=3", Status: 200, Want: `{"rooms":[{},{},{"room_id":"{inner}"}]}`, Save: save("from", "next_batch")},
		walk("second page", "alice", "?limit=4&from={from}", 200, "", `{"rooms":[{"room_id":"{open}"},{},{},{"room_id":"{members}"}],"next_batch":"!absent"}`),
		walk("another depth", "alice", "?limit=3&max_depth=1&from={from}", 400, "M_INVALID_PARAM", ""),
		walk("another kind", "alice", "?limit=3&suggested_only=true&from={from}", 400, "M_INVALID_PARAM", ""),
		{Name: "a room that is no space has no children", Who: "alice", Method: "GET", Path: "v1/rooms/{plain}/hierarchy", Status: 200, Want: `{"rooms":[{"room_id":"{plain}","children_state":[]}]}`},
		{Name: "ban", Who: "alice", Method: "POST", Path: "v3/rooms/{space}/ban", Body: `{"user_id":"{@bob}"}`, Status: 200, Changes: 1},
		walk("the banned see nothing", "bob", "", 403, "M_FORBIDDEN", ""),
	})
}

func TestRoomSummary(t *testing.T) {
	s := servertest.New(t)
	summary := func(name, who, room string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v1/room_summary/" + room, Status: status, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{
		createRoom("open", "alice", `{"preset":"public_chat","room_alias_name":"open","name":"Open","topic":"hear, hear"}`),
		createRoom("closed", "alice", `{"name":"Closed","room_alias_name":"closed"}`),
		createRoom("members", "alice", `{"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"knock_restricted","allow":[{"type":"m.room_membership","room_id":"{open}"}]}}]}`),
		createRoom("restricted", "alice", `{"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"{open}"}]}}]}`),
		{Name: "unknown token", Token: "x", Method: "GET", Path: "v1/room_summary/{open}", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		summary("stranger to the house", "", "{open}?via=elsewhere.test&via=else", 200, "", `{"room_id":"{open}","name":"Open","topic":"hear, hear","join_rule":"public","membership":"!absent","room_version":"12","num_joined_members":1,"canonical_alias":"#open:{server}"}`),
		summary("by alias", "bob", "%23open:{server}", 200, "", `{"room_id":"{open}","membership":"leave"}`),
		summary("member", "alice", "{open}", 200, "", `{"membership":"join"}`),
		summary("older path", "alice", "../../unstable/im.nheko.summary/summary/{open}", 404, "M_UNRECOGNIZED", ""),
		{Name: "path of the proposal", Who: "alice", Method: "GET", Path: "unstable/im.nheko.summary/summary/{open}", Status: 200, Want: `{"membership":"join"}`},
		summary("closed, by who is outside", "bob", "{closed}", 404, "M_NOT_FOUND", `{"error":"Room not found."}`),
		summary("closed, by alias", "bob", "%23closed:{server}", 404, "M_NOT_FOUND", `{"error":"Room not found."}`),
		summary("closed, by a stranger", "", "{closed}", 404, "M_NOT_FOUND", ""),
		summary("closed, by a member", "alice", "{closed}", 200, "", `{"name":"Closed","membership":"join"}`),
		summary("nothing there", "bob", "!none", 404, "M_NOT_FOUND", `{"error":"Room not found."}`),
		summary("no such alias", "bob", "%23none:{server}", 404, "M_NOT_FOUND", `{"error":"Room not found."}`),
		summary("no ID", "bob", "none", 400, "M_INVALID_PARAM", ""),
		summary("one may knock", "", "{members}", 200, "", `{"join_rule":"knock_restricted","allowed_room_ids":["{open}"]}`),
		summary("restricted, by a stranger", "", "{restricted}", 404, "M_NOT_FOUND", ""),
		summary("restricted, by who is not a member of the other", "bob", "{restricted}", 404, "M_NOT_FOUND", ""),
		joinRoom("open", "bob"),
		summary("restricted, by a member of the other", "bob", "{restricted}", 200, "", `{"join_rule":"restricted"}`),
		{Name: "invite", Who: "alice", Method: "POST", Path: "v3/rooms/{closed}/invite", Body: `{"user_id":"{@bob}"}`, Status: 200, Changes: 1},
		summary("closed, by who is invited", "bob", "{closed}", 200, "", `{"membership":"invite"}`),
	})
}

func TestMutualRooms(t *testing.T) {
	s := servertest.New(t)
	mutual := func(name, who, query string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v1/mutual_rooms" + query, Status: status, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{
		createRoom("first", "alice", `{"preset":"public_chat"}`), createRoom("second", "alice", `{"preset":"public_chat"}`), createRoom("third", "alice", `{"invite":["{@bob}"]}`),
		joinRoom("first", "bob"),
		mutual("no token", "", "?user_id={@bob}", 401, "M_MISSING_TOKEN", ""),
		{Name: "unknown token", Token: "x", Method: "GET", Path: "v1/mutual_rooms?user_id={@bob}", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		mutual("nobody named", "alice", "", 400, "M_MISSING_PARAM", ""),
		mutual("oneself", "alice", "?user_id={@alice}", 400, "M_INVALID_PARAM", ""),
		mutual("no user ID", "alice", "?user_id=bob", 400, "M_INVALID_PARAM", ""),
		mutual("a historical user ID", "alice", "?user_id=%40Bob:{server}", 400, "M_INVALID_PARAM", ""),
		mutual("bad page", "alice", "?user_id={@bob}&from=x", 400, "M_INVALID_PARAM", ""),
		mutual("somebody who is not there", "alice", "?user_id=@nobody:{server}", 200, "", `{"joined":[],"count":0,"next_batch":"!absent"}`),
		mutual("somebody from elsewhere", "alice", "?user_id=@bob:elsewhere.test", 200, "", `{"joined":[],"count":0}`),
		mutual("one in common", "alice", "?user_id={@bob}", 200, "", `{"joined":["{first}"],"count":1,"next_batch":"!absent"}`),
		mutual("seen from the other", "bob", "?user_id={@alice}", 200, "", `{"joined":["{first}"],"count":1}`),
		mutual("behind the last", "alice", "?user_id={@bob}&from=m{first}", 200, "", `{"joined":[],"count":1}`),
		joinRoom("third", "bob"),
		mutual("two in common", "alice", "?user_id={@bob}", 200, "", `{"joined":["!*","!*"],"count":2}`),
	})
}

func TestThirdPartyLookup(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{createRoom("room", "alice", `{"room_alias_name":"hall"}`)})
	look := func(path string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: path, Who: "alice", Method: "GET", Path: "v3/thirdparty/" + path, Status: status, Errcode: errcode, Want: want}
	}
	for _, path := range []string{"protocols", "protocol/irc", "location/irc", "user/irc", "location?alias=%23hall:{server}", "user?userid={@alice}"} {
		s.Run(t, []servertest.Case{
			{Name: path + " without token", Method: "GET", Path: "v3/thirdparty/" + path, Status: 401, Errcode: "M_MISSING_TOKEN"},
			{Name: path + " with unknown token", Token: "x", Method: "GET", Path: "v3/thirdparty/" + path, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		})
	}
	s.Run(t, []servertest.Case{
		look("protocols", 200, "", `{"irc":"!absent"}`),
		look("protocol/irc", 404, "M_NOT_FOUND", ""),
		look("location/irc?channel=x", 404, "M_NOT_FOUND", ""),
		look("user/irc?nickname=x", 404, "M_NOT_FOUND", ""),
		look("location", 400, "M_MISSING_PARAM", ""),
		look("location?alias=hall", 400, "M_INVALID_PARAM", ""),
		look("location?alias=%23none:{server}", 404, "M_NOT_FOUND", ""),
		look("location?alias=%23hall:{server}", 200, "", `[]`),
		look("user", 400, "M_MISSING_PARAM", ""),
		look("user?userid=x", 400, "M_INVALID_PARAM", ""),
		look("user?userid=@nobody:{server}", 404, "M_NOT_FOUND", ""),
		look("user?userid={@alice}", 200, "", `[]`),
	})
}
