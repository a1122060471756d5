package clientapi_test

import (
	"testing"

	"porchlight/server/servertest"
)

func TestUpgradeRoom(t *testing.T) {
	s := servertest.New(t)
	upgrade := func(name, who, body string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "POST", Path: "v3/rooms/{old}/upgrade", Body: body, Status: status, Errcode: errcode}
	}
	is := func(room, who, eventType, want string) servertest.Case {
		return servertest.Case{Name: eventType + " of " + room, Who: who, Method: "GET", Path: "v3/rooms/{" + room + "}/state/" + eventType, Status: 200, Want: want}
	}
	s.Run(t, []servertest.Case{
		createRoom("old", "alice", `{"room_version":"9","preset":"public_chat","visibility":"public","name":"Hall","topic":"here","room_alias_name":"hall",
			"creation_content":{"type":"m.space","m.federate":false,"org.example":1},
			"power_level_content_override":{"users":{"{@alice}":"100","{@bob}":50},"org.example":"7"},
			"initial_state":[
				{"type":"m.room.server_acl","content":{"allow":["*"],"deny":["evil.test"]}},
				{"type":"m.room.encryption","content":{"algorithm":"m.megolm.v1.aes-sha2"}},
				{"type":"m.space.child","state_key":"!child:{server}","content":{"via":["{server}"]}},
				{"type":"m.space.child","state_key":"!gone:{server}","content":{}},
				{"type":"org.example.state","content":{"x":1}}]}`),
		joinRoom("old", "bob"), joinRoom("old", "carol"),
		{Name: "another alias", Who: "bob", Method: "PUT", Path: "v3/directory/room/%23den:{server}", Body: `{"room_id":"{old}"}`, Status: 200},
		{Name: "ban", Who: "alice", Method: "POST", Path: "v3/rooms/{old}/ban", Body: `{"user_id":"{@mallory}","reason":"noise"}`, Status: 200, Changes: 1},
		upgrade("no token", "", `{"new_version":"12"}`, 401, "M_MISSING_TOKEN"),
		{Name: "unknown token", Token: "x", Method: "POST", Path: "v3/rooms/{old}/upgrade", Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		upgrade("stranger", "dave", `{"new_version":"12"}`, 403, "M_FORBIDDEN"),
		upgrade("no power", "bob", `{"new_version":"12"}`, 403, "M_FORBIDDEN"),
		upgrade("no version", "alice", `{}`, 400, "M_MISSING_PARAM"),
		upgrade("version of the wrong type", "alice", `{"new_version":12}`, 400, "M_BAD_JSON"),
		upgrade("unknown version", "alice", `{"new_version":"99"}`, 400, "M_UNSUPPORTED_ROOM_VERSION"),
		upgrade("creators who are none", "alice", `{"new_version":"12","additional_creators":["carol"]}`, 400, "M_INVALID_PARAM"),
		{Name: "unknown room", Who: "alice", Method: "POST", Path: "v3/rooms/!none/upgrade", Body: `{"new_version":"12"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{
			Name: "to 12", Who: "alice", Method: "POST", Path: "v3/rooms/{old}/upgrade", Body: `{"new_version":"12","additional_creators":["{@carol}","{@alice}"]}`,
			Status: 200, Want: `{"replacement_room":"!*"}`, Changes: servertest.Any, Save: save("new", "replacement_room"),
		},
	})
	s.Run(t, []servertest.Case{
		is("new", "alice", "m.room.create", `{"room_version":"12","type":"m.space","m.federate":false,"creator":"!absent","org.example":"!absent","additional_creators":["{@carol}"],"predecessor":{"room_id":"{old}","event_id":"$*"}}`),
		is("new", "alice", "m.room.power_levels", `{"users":{"{@alice}":"!absent","{@carol}":"!absent","{@bob}":50},"org.example":7,"state_default":50,"events":{"m.room.tombstone":100}}`),
		is("new", "alice", "m.room.name", `{"name":"Hall"}`),
		is("new", "alice", "m.room.topic", `{"topic":"here"}`),
		is("new", "alice", "m.room.server_acl", `{"deny":["evil.test"]}`),
		is("new", "alice", "m.room.encryption", `{"algorithm":"m.megolm.v1.aes-sha2"}`),
		is("new", "alice", "m.room.join_rules", `{"join_rule":"public"}`),
		is("new", "alice", "m.room.guest_access", `{"guest_access":"forbidden"}`),
		is("new", "alice", "m.room.history_visibility", `{"history_visibility":"shared"}`),
		is("new", "alice", "m.space.child/!child:{server}", `{"via":["{server}"]}`),
		is("new", "alice", "m.room.canonical_alias", `{"alias":"#hall:{server}"}`),
		is("new", "alice", "m.room.member/{@mallory}", `{"membership":"ban","reason":"noise"}`),
		{Name: "custom state stays", Who: "alice", Method: "GET", Path: "v3/rooms/{new}/state/org.example.state", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "removed children stay", Who: "alice", Method: "GET", Path: "v3/rooms/{new}/state/m.space.child/!gone:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "members stay", Who: "alice", Method: "GET", Path: "v3/rooms/{new}/joined_members", Status: 200, Want: `{"joined":{"{@alice}":{},"{@bob}":"!absent","{@carol}":"!absent"}}`},
		{Name: "first alias", Method: "GET", Path: "v3/directory/room/%23hall:{server}", Status: 200, Want: `{"room_id":"{new}"}`},
		{Name: "second alias", Method: "GET", Path: "v3/directory/room/%23den:{server}", Status: 200, Want: `{"room_id":"{new}"}`},
		{Name: "its maker may still delete it", Who: "bob", Method: "DELETE", Path: "v3/directory/room/%23den:{server}", Status: 200},
		{Name: "new in the directory", Method: "GET", Path: "v3/directory/list/room/{new}", Status: 200, Want: `{"visibility":"public"}`},
		{Name: "old not in the directory", Method: "GET", Path: "v3/directory/list/room/{old}", Status: 200, Want: `{"visibility":"private"}`},
		is("old", "alice", "m.room.tombstone", `{"body":"*","replacement_room":"{new}"}`),
		is("old", "alice", "m.room.canonical_alias", `{"alias":"!absent"}`),
		is("old", "alice", "m.room.power_levels", `{"events_default":50,"invite":50,"org.example":"7"}`),
		{Name: "nobody talks in the old room", Who: "carol", Method: "PUT", Path: "v3/rooms/{old}/send/m.room.message/1", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "the banned stay out", Who: "mallory", Method: "POST", Path: "v3/rooms/{new}/join", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		joinRoom("new", "carol"),
		{Name: "an additional creator has power", Who: "carol", Method: "PUT", Path: "v3/rooms/{new}/state/m.room.tombstone", Body: `{"body":"x","replacement_room":"{old}"}`, Status: 200, Changes: 1},
	})
}

func TestUpgradeBetweenForms(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		createRoom("twelve", "alice", `{"room_version":"12","initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"knock_restricted","allow":[]}}]}`),
		{Name: "down to 6", Who: "alice", Method: "POST", Path: "v3/rooms/{twelve}/upgrade", Body: `{"new_version":"6","additional_creators":["nobody"]}`, Status: 200, Changes: servertest.Any, Save: save("six", "replacement_room")},
		{Name: "a creator becomes a number", Who: "alice", Method: "GET", Path: "v3/rooms/{six}/state/m.room.power_levels", Status: 200, Want: `{"users":{"{@alice}":150},"events":{"m.room.tombstone":150}}`},
		{Name: "a rule that version 6 does not know", Who: "alice", Method: "GET", Path: "v3/rooms/{six}/state/m.room.join_rules", Status: 200, Want: `{"join_rule":"invite"}`},
		{Name: "creators are not told of", Who: "alice", Method: "GET", Path: "v3/rooms/{six}/state/m.room.create", Status: 200, Want: `{"creator":"{@alice}","room_version":"6","additional_creators":"!absent"}`},
		createRoom("moderated", "alice", `{"room_version":"10","power_level_content_override":{"users":{"{@alice}":100,"{@bob}":50},"events":{"m.room.tombstone":50,"m.room.name":90,"m.room.power_levels":100}},"name":"Hall","invite":["{@bob}"]}`),
		joinRoom("moderated", "bob"),
		{Name: "by who may not set all that is copied", Who: "bob", Method: "POST", Path: "v3/rooms/{moderated}/upgrade", Body: `{"new_version":"11"}`, Status: 200, Changes: servertest.Any, Save: save("eleven", "replacement_room")},
		{Name: "the name came along", Who: "bob", Method: "GET", Path: "v3/rooms/{eleven}/state/m.room.name", Status: 200, Want: `{"name":"Hall"}`},
		{Name: "the power is as before", Who: "bob", Method: "GET", Path: "v3/rooms/{eleven}/state/m.room.power_levels", Status: 200, Want: `{"users":{"{@alice}":100,"{@bob}":50}}`},
		{Name: "power that bob may not change stays", Who: "bob", Method: "GET", Path: "v3/rooms/{moderated}/state/m.room.power_levels", Status: 200, Want: `{"events_default":0}`},
	})
}
