package clientapi_test

import (
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/servertest"
)

// act is the case of an operation on a room: "invite", "ban" and so on.
func act(name, who, op, body string, status int, errcode string) servertest.Case {
	c := servertest.Case{Name: name, Who: who, Method: "POST", Path: "v3/rooms/{room}/" + op, Body: body, Status: status, Errcode: errcode}
	if status == 200 {
		c.Changes = servertest.Any
	}
	return c
}

// memberIs is the case of alice reading a member event.
func memberIs(name, user, want string) servertest.Case {
	return servertest.Case{Name: name, Who: "alice", Method: "GET", Path: "v3/rooms/{room}/state/m.room.member/{@" + user + "}", Status: 200, Want: want}
}

func TestMembershipWithReasons(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"knock"}}],"room_alias_name":"hall"}`),
		{Name: "knock", Who: "bob", Method: "POST", Path: "v3/knock/{room}?via=elsewhere.test", Body: `{"reason":"hello?"}`, Status: 200, Want: `{"room_id":"{room}"}`, Changes: 1},
		memberIs("he knocks", "bob", `{"membership":"knock","reason":"hello?"}`),
		{Name: "knock again", Who: "bob", Method: "POST", Path: "v3/knock/%23hall:{server}", Body: `{}`, Status: 200, Want: `{"room_id":"{room}"}`, Changes: 1},
		{Name: "knock where nothing is", Who: "bob", Method: "POST", Path: "v3/knock/!none", Body: `{}`, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "knock on no alias", Who: "bob", Method: "POST", Path: "v3/knock/%23none:{server}", Body: `{}`, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "knock on neither", Who: "bob", Method: "POST", Path: "v3/knock/none", Body: `{}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		act("he does not see inside", "bob", "join", `{}`, 403, "M_FORBIDDEN"),
		act("take the knock back", "bob", "leave", `{"reason":"never mind"}`, 200, ""),
		memberIs("taken back", "bob", `{"membership":"leave","reason":"never mind"}`),
		{Name: "knock once more", Who: "bob", Method: "POST", Path: "v3/knock/{room}", Body: `{}`, Status: 200, Changes: 1},
		act("turn him away", "alice", "kick", `{"user_id":"{@bob}","reason":"not now"}`, 200, ""),
		memberIs("turned away", "bob", `{"membership":"leave","reason":"not now"}`),
		{Name: "knock a last time", Who: "bob", Method: "POST", Path: "v3/knock/{room}", Body: `{}`, Status: 200, Changes: 1},
		act("let him in", "alice", "invite", `{"user_id":"{@bob}","reason":"come in"}`, 200, ""),
		memberIs("invited", "bob", `{"membership":"invite","reason":"come in"}`),
		{Name: "knock when invited", Who: "bob", Method: "POST", Path: "v3/knock/{room}", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "join by alias", Who: "bob", Method: "POST", Path: "v3/join/%23hall:{server}", Body: `{"reason":"here I am"}`, Status: 200, Want: `{"room_id":"{room}"}`, Changes: 1},
		memberIs("joined", "bob", `{"membership":"join","reason":"here I am"}`),
		{Name: "knock when inside", Who: "bob", Method: "POST", Path: "v3/knock/{room}", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "join twice", Who: "bob", Method: "POST", Path: "v3/join/{room}", Body: `{}`, Status: 200},
		act("ban who was never there", "alice", "ban", `{"user_id":"{@carol}","reason":"known elsewhere"}`, 200, ""),
		memberIs("banned", "carol", `{"membership":"ban","reason":"known elsewhere"}`),
		{Name: "knock when banned", Who: "carol", Method: "POST", Path: "v3/knock/{room}", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		act("kick who is banned", "alice", "kick", `{"user_id":"{@carol}"}`, 403, "M_FORBIDDEN"),
		act("invite who is banned", "alice", "invite", `{"user_id":"{@carol}"}`, 403, "M_FORBIDDEN"),
		act("unban without power", "bob", "unban", `{"user_id":"{@carol}"}`, 403, "M_FORBIDDEN"),
		act("unban", "alice", "unban", `{"user_id":"{@carol}","reason":"a mistake"}`, 200, ""),
		memberIs("unbanned", "carol", `{"membership":"leave","reason":"a mistake"}`),
		act("forget while inside", "bob", "forget", `{}`, 400, "M_UNKNOWN"),
		act("leave", "bob", "leave", `{}`, 200, ""),
		{Name: "what was left can be read", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/messages?dir=b", Status: 200, Want: `{"chunk":[{},"…"]}`},
		act("forget", "bob", "forget", `{}`, 200, ""),
		act("forget again", "bob", "forget", `{}`, 200, ""),
		{Name: "what was forgotten cannot", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/messages?dir=b", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "rooms are not forgotten by themselves", Who: "bob", Method: "GET", Path: "v3/capabilities", Status: 200, Want: `{"capabilities":{"m.forget_forced_upon_leave":{"enabled":false}}}`},
		createRoom("old", "alice", `{"room_version":"6","preset":"public_chat"}`),
		{Name: "a version without knocking", Who: "bob", Method: "POST", Path: "v3/knock/{old}", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
	})
}

func TestInviteBy3PID(t *testing.T) {
	s := servertest.New(t)
	const full = `{"medium":"email","address":"a@b.test","id_server":"id.test","id_access_token":"x"}`
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{}`),
		act("no token", "", "invite", full, 401, "M_MISSING_TOKEN"),
		act("nobody named", "alice", "invite", `{}`, 400, "M_MISSING_PARAM"),
		act("half an address", "alice", "invite", `{"medium":"email","address":"a@b.test"}`, 400, "M_MISSING_PARAM"),
		act("medium of the wrong type", "alice", "invite", `{"medium":1}`, 400, "M_BAD_JSON"),
		act("from outside", "bob", "invite", full, 403, "M_FORBIDDEN"),
		act("no identity server is trusted", "alice", "invite", full, 400, "M_SERVER_NOT_TRUSTED"),
		{Name: "nor when a room is made", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"invite_3pid":[` + full + `]}`, Status: 400, Errcode: "M_SERVER_NOT_TRUSTED"},
	})
}

func TestInviteBlocking(t *testing.T) {
	s := servertest.New(t)
	permission := func(name, content string) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "PUT", Path: "v3/user/{@bob}/account_data/m.invite_permission_config", Body: content, Status: 200, Changes: 1}
	}
	put := servertest.Case{Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/state/m.room.member/{@bob}", Body: `{"membership":"invite"}`}
	with := func(c servertest.Case, name string, status int, errcode string, changes int) servertest.Case {
		c.Name, c.Status, c.Errcode, c.Changes = name, status, errcode, changes
		return c
	}
	s.Run(t, []servertest.Case{
		createRoom("earlier", "alice", `{"invite":["{@bob}"]}`),
		createRoom("room", "alice", `{}`),
		permission("block", `{"default_action":"block"}`),
		act("invite", "alice", "invite", `{"user_id":"{@bob}"}`, 403, "M_INVITE_BLOCKED"),
		with(put, "invite by state", 403, "M_INVITE_BLOCKED", 0),
		{Name: "with a new room", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"invite":["{@bob}"]}`, Status: 403, Errcode: "M_INVITE_BLOCKED"},
		{Name: "with a new room's state", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"initial_state":[{"type":"m.room.member","state_key":"{@bob}","content":{"membership":"invite"}}]}`, Status: 403, Errcode: "M_INVITE_BLOCKED"},
		{Name: "earlier ones are not shown", Who: "bob", Method: "GET", Path: "v3/sync", Status: 200, Want: `{"rooms":{"invite":{"{earlier}":"!absent"}}}`},
		{Name: "but stand in the room", Who: "alice", Method: "GET", Path: "v3/rooms/{earlier}/state/m.room.member/{@bob}", Status: 200, Want: `{"membership":"invite"}`},
		{Name: "blocked all the same when knocking", Who: "bob", Method: "PUT", Path: "v3/user/{@bob}/account_data/org.example", Body: `{}`, Status: 200, Changes: 1},
		permission("something unknown", `{"default_action":"allow","Default_action":"block"}`),
		{Name: "shown again", Who: "bob", Method: "GET", Path: "v3/sync", Status: 200, Want: `{"rooms":{"invite":{"{earlier}":{}}}}`},
		with(put, "may be invited again", 200, "", 1),
	})
}

func TestRestrictedJoinByState(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		createRoom("hall", "alice", `{"preset":"public_chat"}`),
		createRoom("room", "alice", `{"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"{hall}","Room_id":"x"}]}}]}`),
		{Name: "naming one's own authoriser", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/state/m.room.member/{@bob}", Body: `{"membership":"join","join_authorised_via_users_server":"{@alice}"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		act("by the operation", "bob", "join", `{}`, 403, "M_FORBIDDEN"),
		joinRoom("hall", "bob"),
		{Name: "as a member of the other room", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/state/m.room.member/{@bob}", Body: `{"membership":"join","displayname":"Bob"}`, Status: 200, Changes: 1},
		memberIs("the server named the authoriser", "bob", `{"membership":"join","displayname":"Bob","join_authorised_via_users_server":"{@alice}"}`),
		{Name: "leave the other room", Who: "bob", Method: "POST", Path: "v3/rooms/{hall}/leave", Body: `{}`, Status: 200, Changes: 1},
		{Name: "another name", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/state/m.room.member/{@bob}", Body: `{"membership":"join","displayname":"Robert"}`, Status: 200, Changes: 1},
		memberIs("still in, by the same authoriser", "bob", `{"membership":"join","displayname":"Robert","join_authorised_via_users_server":"{@alice}"}`),
		act("leave", "bob", "leave", `{}`, 200, ""),
		act("and not back", "bob", "join", `{}`, 403, "M_FORBIDDEN"),
	})
}

func TestGuestsInRooms(t *testing.T) {
	s := servertest.New(t)
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
		_, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: "visitor", Guest: true})
		return err
	})
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat"}`),
		act("not let in", "visitor", "join", `{}`, 403, "M_GUEST_ACCESS_FORBIDDEN"),
		{Name: "nor by state", Who: "visitor", Method: "PUT", Path: "v3/rooms/{room}/state/m.room.member/{@visitor}", Body: `{"membership":"join"}`, Status: 403, Errcode: "M_GUEST_ACCESS_FORBIDDEN"},
		act("nor if invited", "alice", "invite", `{"user_id":"{@visitor}"}`, 200, ""),
		act("invited", "visitor", "join", `{}`, 403, "M_GUEST_ACCESS_FORBIDDEN"),
		setState("room", "alice", "m.room.guest_access", `{"Guest_access":"can_join"}`),
		act("look-alikes do not count", "visitor", "join", `{}`, 403, "M_GUEST_ACCESS_FORBIDDEN"),
		setState("room", "alice", "m.room.guest_access", `{"guest_access":"can_join"}`),
		joinRoom("room", "visitor"), joinRoom("room", "bob"),
		say("room", "visitor", "hello"),
		{Name: "guests make no rooms", Who: "visitor", Method: "POST", Path: "v3/createRoom", Body: `{}`, Status: 403, Errcode: "M_GUEST_ACCESS_FORBIDDEN"},
		setState("room", "alice", "m.room.guest_access", `{"guest_access":"forbidden"}`),
		memberIs("guests go", "visitor", `{"membership":"leave"}`),
		memberIs("others stay", "bob", `{"membership":"join"}`),
	})
}

func TestDeactivationLeavesRooms(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat"}`), joinRoom("room", "bob"),
		createRoom("asked", "alice", `{"invite":["{@bob}"]}`),
	})
	bob := s.User("bob").ID
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.Deactivate(tx, bob, true) })
	s.Run(t, []servertest.Case{
		memberIs("left", "bob", `{"membership":"leave"}`),
		{Name: "turned down", Who: "alice", Method: "GET", Path: "v3/rooms/{asked}/state/m.room.member/{@bob}", Status: 200, Want: `{"membership":"leave"}`},
		act("cannot be invited", "alice", "invite", `{"user_id":"{@bob}"}`, 404, "M_NOT_FOUND"),
	})
}

func TestStateContent(t *testing.T) {
	s := servertest.New(t)
	put := func(name, eventType, content string, status int, errcode string) servertest.Case {
		c := servertest.Case{Name: name, Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/state/" + eventType, Body: content, Status: status, Errcode: errcode}
		if status == 200 {
			c.Changes = 1
		}
		return c
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"room_alias_name":"hall","power_level_content_override":{"events":{"m.room.name":0}}}`),
		{Name: "an override keeps upgrades above other state", Who: "alice", Method: "GET", Path: "v3/rooms/{room}/state/m.room.power_levels", Status: 200, Want: `{"events":{"m.room.name":0,"m.room.tombstone":150}}`},
		put("server ACL", "m.room.server_acl", `{"allow":["*"],"deny":["evil.test"],"allow_ip_literals":"maybe"}`, 200, ""),
		put("server ACL, allow is no list", "m.room.server_acl", `{"allow":"*"}`, 400, "M_INVALID_PARAM"),
		put("server ACL, deny of no texts", "m.room.server_acl", `{"deny":[1]}`, 400, "M_INVALID_PARAM"),
		put("server ACL of other names", "m.room.server_acl", `{"Allow":1}`, 200, ""),
		put("canonical alias", "m.room.canonical_alias", `{"alias":"#hall:{server}"}`, 200, ""),
		put("canonical alias that leads nowhere", "m.room.canonical_alias", `{"alias":"#none:{server}"}`, 400, "M_BAD_ALIAS"),
		put("alternative that leads nowhere", "m.room.canonical_alias", `{"alt_aliases":["#none:{server}"]}`, 400, "M_BAD_ALIAS"),
		put("canonical alias that is none", "m.room.canonical_alias", `{"alias":"hall"}`, 400, "M_INVALID_PARAM"),
		put("canonical alias of the wrong type", "m.room.canonical_alias", `{"alias":1}`, 400, "M_INVALID_PARAM"),
		put("look-alike of an alias", "m.room.canonical_alias", `{"Alias":"#none:{server}"}`, 200, ""),
		put("no canonical alias", "m.room.canonical_alias", `{"alias":null}`, 200, ""),
		put("mentions of other names", "org.example", `{"m.mentions":{"User_ids":1}}`, 200, ""),
		put("mentions of the wrong type", "org.example", `{"m.mentions":{"user_ids":[1]}}`, 400, "M_INVALID_PARAM"),
		put("member that is no user", "m.room.member/nobody", `{"membership":"invite"}`, 400, "M_INVALID_PARAM"),
		put("member without membership", "m.room.member/{@alice}", `{"Membership":"join"}`, 403, "M_FORBIDDEN"),
	})
}

func TestRedactionIsFoundInBothPlaces(t *testing.T) {
	for _, version := range []string{"10", "11", "12"} {
		s := servertest.New(t)
		s.Run(t, []servertest.Case{
			createRoom("room", "alice", `{"room_version":"`+version+`"}`),
			say("room", "alice", "one"), say("room", "alice", "two"),
			{Name: "redact", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/redact/{one}/r1", Body: `{"reason":"typo"}`, Status: 200, Changes: 1, Save: save("first", "event_id")},
			{Name: "redact by sending", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.redaction/r2", Body: `{"redacts":"{two}"}`, Status: 200, Changes: 1, Save: save("second", "event_id")},
			{Name: "first in version " + version, Who: "alice", Method: "GET", Path: "v3/rooms/{room}/event/{first}", Status: 200, Want: `{"redacts":"{one}","content":{"redacts":"{one}","reason":"typo"}}`},
			{Name: "second in version " + version, Who: "alice", Method: "GET", Path: "v3/rooms/{room}/event/{second}", Status: 200, Want: `{"redacts":"{two}","content":{"redacts":"{two}"}}`},
			{Name: "redacted", Who: "alice", Method: "GET", Path: "v3/rooms/{room}/event/{two}", Status: 200, Want: `{"content":{"body":"!absent"},"unsigned":{"redacted_because":{"event_id":"{second}"}}}`},
			{Name: "redact nothing", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.redaction/r3", Body: `{"Redacts":"{two}"}`, Status: 404, Errcode: "M_NOT_FOUND"},
		})
	}
}

func TestUpgradeTakesSettingsAlong(t *testing.T) {
	s := servertest.New(t)
	set := func(name, path, body string) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "PUT", Path: "v3/" + path, Body: body, Status: 200, Changes: 1}
	}
	is := func(name, who, path, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v3/" + path, Status: 200, Want: want}
	}
	s.Run(t, []servertest.Case{
		createRoom("old", "alice", `{"preset":"public_chat"}`), joinRoom("old", "bob"),
		set("tag", "user/{@bob}/rooms/{old}/tags/m.favourite", `{"order":0.5}`),
		set("direct", "user/{@bob}/account_data/m.direct", `{"{@alice}":["{old}"]}`),
		set("silence", "pushrules/global/room/{old}", `{"actions":[]}`),
		set("mute", "pushrules/global/override/{old}", `{"actions":[],"conditions":[{"kind":"event_match","key":"room_id","pattern":"{old}"}]}`),
		{Name: "tag of who upgrades", Who: "alice", Method: "PUT", Path: "v3/user/{@alice}/rooms/{old}/tags/u.work", Body: `{}`, Status: 200, Changes: 1},
		{Name: "upgrade", Who: "alice", Method: "POST", Path: "v3/rooms/{old}/upgrade", Body: `{"new_version":"11"}`, Status: 200, Changes: servertest.Any, Save: save("new", "replacement_room")},
		is("who upgrades has it at once", "alice", "user/{@alice}/rooms/{new}/tags", `{"tags":{"u.work":{}}}`),
		is("bob not yet", "bob", "user/{@bob}/rooms/{new}/tags", `{"tags":{"m.favourite":"!absent"}}`),
		{Name: "join", Who: "bob", Method: "POST", Path: "v3/rooms/{new}/join", Body: `{}`, Status: 200, Changes: servertest.Any},
		is("the tag", "bob", "user/{@bob}/rooms/{new}/tags", `{"tags":{"m.favourite":{"order":0.5}}}`),
		is("the direct chat", "bob", "user/{@bob}/account_data/m.direct", `{"{@alice}":["{old}","{new}"]}`),
		is("the silence", "bob", "pushrules/global/room/{new}", `{"actions":[],"rule_id":"{new}"}`),
		is("the mute", "bob", "pushrules/global/override/{new}", `{"conditions":[{"pattern":"{new}"}]}`),
		createRoom("false", "alice", `{"preset":"public_chat","creation_content":{"predecessor":{"room_id":"{old}"}}}`),
		joinRoom("false", "bob"),
		is("nothing for who only says to replace it", "bob", "user/{@bob}/rooms/{false}/tags", `{"tags":{"m.favourite":"!absent"}}`),
	})
}

// TestForgottenRoomsStayAway: until the user comes back, is asked in, or knocks, whatever
// others do meanwhile (spec: client-server API, leaving rooms).
func TestForgottenRoomsStayAway(t *testing.T) {
	s := servertest.New(t)
	sync := func(name, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "GET", Path: "v3/sync?since={since}", Status: 200, Want: `{"rooms":` + want + `}`, Save: save("since", "next_batch")}
	}
	by := func(name, what string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "POST", Path: "v3/rooms/{room}/" + what, Body: `{"user_id":"{@bob}"}`, Status: 200, Changes: 1}
	}
	away := `{"join":{"{room}":"!absent"},"invite":{"{room}":"!absent"},"leave":{"{room}":"!absent"}}`
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat"}`),
		joinRoom("room", "bob"),
		{Name: "first", Who: "bob", Method: "GET", Path: "v3/sync", Status: 200, Save: save("since", "next_batch")},
		act("leave", "bob", "leave", `{}`, 200, ""),
		act("forget", "bob", "forget", `{}`, 200, ""),
		sync("that bob has left is told to who knew of the room", `{"leave":{"{room}":{}}}`),
		by("banned", "ban"),
		sync("nothing of the ban", away),
		{Name: "nor is there a history again", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/messages?dir=b", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "nor with the rooms that were left", Who: "bob", Method: "GET", Path: `v3/sync?filter={"room":{"include_leave":true}}`, Status: 200, Want: `{"rooms":` + away + `}`},
		by("no longer banned", "unban"),
		sync("nothing of that", away),
		by("asked in", "invite"),
		sync("now the room is back", `{"invite":{"{room}":{}}}`),
		act("join", "bob", "join", `{}`, 200, ""),
		{Name: "with its history", Who: "bob", Method: "GET", Path: "v3/rooms/{room}/messages?dir=b", Status: 200},
	})
}
