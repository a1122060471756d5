package clientapi_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/servertest"
)

func TestWhois(t *testing.T) {
	s := servertest.New(t)
	s.User("alice#2")
	const path = "v3/admin/whois/{@alice}"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: path, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "unknown token", Token: "x", Method: "GET", Path: path, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "another user", Who: "bob", Method: "GET", Path: path, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "bad user ID", Who: "alice", Method: "GET", Path: "v3/admin/whois/alice", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "oneself", Who: "alice", Method: "GET", Path: path, Status: 200, Want: `{"user_id":"{@alice}","devices":{
			"ALICE":{"sessions":[{"connections":[{"ip":"192.0.2.1","last_seen":"*"}]}]},"ALICE#2":{"sessions":[{"connections":[]}]}}}`},
		{Name: "the owner", Who: "owner", Method: "GET", Path: path, Status: 200, Want: `{"user_id":"{@alice}"}`},
		{Name: "the owner, nobody", Who: "owner", Method: "GET", Path: "v3/admin/whois/@nobody:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
	})
}

// admin makes a user an administrator.
func admin(t *testing.T, s *servertest.Server, name string) {
	t.Helper()
	user := s.User(name).ID
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.SetAdmin(tx, user, true) })
}

// moderationCases are what suspending and locking have in common.
func moderationCases(path, word string) []servertest.Case {
	on, off := `{"`+word+`":true}`, `{"`+word+`":false}`
	return []servertest.Case{
		{Name: "look: no token", Method: "GET", Path: path + "{@alice}", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "look: no administrator", Who: "bob", Method: "GET", Path: path + "{@alice}", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "look: no administrator, nobody", Who: "bob", Method: "GET", Path: path + "@nobody:{server}", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "look: elsewhere", Who: "owner", Method: "GET", Path: path + "@alice:elsewhere.test", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "look: nobody", Who: "owner", Method: "GET", Path: path + "@nobody:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "look: another administrator", Who: "owner", Method: "GET", Path: path + "{@carol}", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "look", Who: "carol", Method: "GET", Path: path + "{@alice}", Status: 200, Want: off},
		{Name: "no token", Method: "PUT", Path: path + "{@alice}", Body: on, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "unknown token", Token: "x", Method: "PUT", Path: path + "{@alice}", Body: on, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "no administrator", Who: "bob", Method: "PUT", Path: path + "{@alice}", Body: on, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "nothing", Who: "owner", Method: "PUT", Path: path + "{@alice}", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "of the wrong type", Who: "owner", Method: "PUT", Path: path + "{@alice}", Body: `{"` + word + `":"yes"}`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "elsewhere", Who: "owner", Method: "PUT", Path: path + "@alice:elsewhere.test", Body: on, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "nobody", Who: "owner", Method: "PUT", Path: path + "@nobody:{server}", Body: on, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "oneself", Who: "owner", Method: "PUT", Path: path + "{@owner}", Body: on, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "the owner", Who: "carol", Method: "PUT", Path: path + "{@owner}", Body: on, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "right", Who: "carol", Method: "PUT", Path: path + "{@alice}", Body: on, Status: 200, Want: on, Changes: servertest.Any},
		{Name: "twice", Who: "carol", Method: "PUT", Path: path + "{@alice}", Body: on, Status: 200, Want: on},
		{Name: "look again", Who: "owner", Method: "GET", Path: path + "{@alice}", Status: 200, Want: on},
	}
}

func TestSuspend(t *testing.T) {
	s := servertest.New(t)
	admin(t, s, "carol")
	s.SetPassword("alice", password)
	s.Run(t, []servertest.Case{
		{Name: "a room", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "a room of bob's", Who: "bob", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"bobs": "room_id"}},
		{Name: "bob joins", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/join", Status: 200, Changes: servertest.Any},
		{Name: "own message", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"a"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"mine": "event_id"}},
		{Name: "second message", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/2", Body: `{"msgtype":"m.text","body":"b"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"mine2": "event_id"}},
		{Name: "bob's message", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"c"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"theirs": "event_id"}},
	})
	s.Run(t, moderationCases("v1/admin/suspend/", "suspended"))
	refused := func(name, method, path, body string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: method, Path: path, Body: body, Status: 403, Errcode: "M_USER_SUSPENDED"}
	}
	s.Run(t, []servertest.Case{
		refused("send", "PUT", "v3/rooms/{room}/send/m.room.message/3", `{"msgtype":"m.text","body":"d"}`),
		refused("state", "PUT", "v3/rooms/{room}/state/m.room.topic", `{"topic":"d"}`),
		refused("join", "POST", "v3/rooms/{bobs}/join", ``),
		refused("join by alias", "POST", "v3/join/{bobs}", ``),
		refused("knock", "POST", "v3/knock/{bobs}", ``),
		refused("invite", "POST", "v3/rooms/{room}/invite", `{"user_id":"{@carol}"}`),
		refused("kick", "POST", "v3/rooms/{room}/kick", `{"user_id":"{@bob}"}`),
		refused("ban", "POST", "v3/rooms/{room}/ban", `{"user_id":"{@bob}"}`),
		refused("show in the directory", "PUT", "v3/directory/list/room/{room}", `{"visibility":"public"}`),
		refused("upgrade", "POST", "v3/rooms/{room}/upgrade", `{"new_version":"12"}`),
		refused("alias", "PUT", "v3/directory/room/%23a:{server}", `{"room_id":"{room}"}`),
		refused("remove an address", "POST", "v3/account/3pid/delete", `{"medium":"email","address":"a@b.test"}`),
		refused("create", "POST", "v3/createRoom", `{}`),
		refused("display name", "PUT", "v3/profile/{@alice}/displayname", `{"displayname":"x"}`),
		refused("no display name", "DELETE", "v3/profile/{@alice}/displayname", ``),
		refused("upload", "POST", "/_matrix/media/v3/upload", `x`),
		refused("upload later", "POST", "/_matrix/media/v1/create", ``),
		refused("a status for others", "PUT", "v3/presence/{@alice}/status", `{"presence":"online","status_msg":"buy this"}`),
		refused("redact another's", "PUT", "v3/rooms/{room}/redact/{theirs}/4", `{}`),
		refused("redact another's by sending", "PUT", "v3/rooms/{room}/send/m.room.redaction/5", `{"redacts":"{theirs}"}`),
		{Name: "redact own", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/redact/{mine}/6", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "redact own by sending", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.redaction/7", Body: `{"redacts":"{mine2}"}`, Status: 200, Changes: servertest.Any},
		{Name: "sync", Who: "alice", Method: "GET", Path: "v3/sync", Status: 200},
		// What the standard wants to be left to them.
		{Name: "messages", Who: "alice", Method: "GET", Path: "v3/rooms/{room}/messages?dir=b", Status: 200},
		{Name: "presence", Who: "alice", Method: "PUT", Path: "v3/presence/{@alice}/status", Body: `{"presence":"online"}`, Status: 200, Changes: servertest.Any},
		{Name: "verify: messages to devices", Who: "alice", Method: "PUT", Path: "v3/sendToDevice/m.key.verification.request/1", Body: `{"messages":{"{@alice}":{"*":{}}}}`, Status: 200, Changes: servertest.Any},
		{Name: "verify: cross-signing", Who: "alice", Method: "POST", Path: "v3/keys/device_signing/upload", Body: crossKeys(t, s.User("alice").ID, "one"), Status: 200, Changes: servertest.Any},
		{Name: "verify: signatures", Who: "alice", Method: "POST", Path: "v3/keys/signatures/upload", Body: `{}`, Status: 200},
		{Name: "key backup", Who: "alice", Method: "POST", Path: "v3/room_keys/version", Body: `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"k"}}`, Status: 200},
		{Name: "populate it", Who: "alice", Method: "PUT", Path: "v3/room_keys/keys?version=1", Body: `{"rooms":{}}`, Status: 200},
		{Name: "keys", Who: "alice", Method: "POST", Path: "v3/keys/upload", Body: `{}`, Status: 200},
		{Name: "log in", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"alice","password":"` + password + `","device_id":"SECOND"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"second": "access_token"}},
		{Name: "delete a device", Who: "alice", Method: "DELETE", Path: "v3/devices/SECOND", Body: `{"auth":` + passwordAuth("alice", password, "") + `}`, Status: 200, Changes: servertest.Any},
		{Name: "leave", Who: "alice", Method: "POST", Path: "v3/rooms/{room}/leave", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "free again", Who: "carol", Method: "PUT", Path: "v1/admin/suspend/{@alice}", Body: `{"suspended":false}`, Status: 200, Want: `{"suspended":false}`, Changes: servertest.Any},
		{Name: "join again", Who: "alice", Method: "POST", Path: "v3/rooms/{bobs}/join", Status: 200, Changes: servertest.Any},
	})
}

// TestSuspendedSpeakWithTheHouse: in the room of their notices, and nowhere else.
func TestSuspendedSpeakWithTheHouse(t *testing.T) {
	s := servertest.New(t)
	s.User("owner")
	suspend := func(suspended string) servertest.Case {
		return servertest.Case{Name: suspended, Who: "owner", Method: "PUT", Path: "v1/admin/suspend/{@alice}", Body: `{"suspended":` + suspended + `}`, Status: 200, Changes: servertest.Any}
	}
	talk := func(name, who, txn string, status int, code string) servertest.Case {
		c := servertest.Case{Name: name, Who: who, Method: "PUT", Path: "v3/rooms/{notices}/send/m.room.message/" + txn, Body: `{"msgtype":"m.text","body":"It was not me."}`, Status: status, Errcode: code}
		if code == "" {
			c.Changes, c.Save = servertest.Any, map[string]string{"said" + txn: "event_id"}
		}
		return c
	}
	s.Run(t, []servertest.Case{
		{Name: "a room of bob's", Who: "bob", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"bobs": "room_id"}},
		suspend("true"),
	})
	notices := func(who string) (asked string) {
		kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
			for room, m := range s.Rooms.Memberships(tx, s.User(who).ID) {
				if m.State == "invite" {
					asked = string(room)
				}
			}
		})
		return asked
	}
	s.Set("notices", notices("alice"))
	if notices("alice") == "" || notices("owner") != notices("alice") {
		t.Errorf("alice is asked into %q and the owner into %q", notices("alice"), notices("owner"))
	}
	refused := func(name, method, path, body string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: method, Path: path, Body: body, Status: 403, Errcode: "M_USER_SUSPENDED"}
	}
	s.Run(t, []servertest.Case{
		talk("before joining", "alice", "0", 403, "M_FORBIDDEN"),
		refused("join another room", "POST", "v3/rooms/{bobs}/join", ``),
		refused("join a room that is not there", "POST", "v3/join/%23nothing:{server}", ``),
		{Name: "join", Who: "alice", Method: "POST", Path: "v3/join/{notices}", Status: 200, Changes: servertest.Any},
		{Name: "leave", Who: "alice", Method: "POST", Path: "v3/rooms/{notices}/leave", Status: 200, Changes: servertest.Any},
		{Name: "the other way without an invitation", Who: "alice", Method: "POST", Path: "v3/rooms/{notices}/join", Status: 403, Errcode: "M_FORBIDDEN"},
		suspend("false"), // asks her in again
		suspend("true"),
		{Name: "the other way", Who: "alice", Method: "POST", Path: "v3/rooms/{notices}/join", Status: 200, Changes: servertest.Any},
		talk("speak", "alice", "1", 200, ""),
		{Name: "the owner comes", Who: "owner", Method: "POST", Path: "v3/join/{notices}", Status: 200, Changes: servertest.Any},
		{Name: "and reads", Who: "owner", Method: "GET", Path: "v3/rooms/{notices}/event/{said1}", Status: 200, Want: `{"sender":"{@alice}","content":{"body":"It was not me."}}`},
		talk("and answers", "owner", "2", 200, ""),
		refused("redact the answer", "PUT", "v3/rooms/{notices}/redact/{said2}/3", `{}`),
		refused("change the room", "PUT", "v3/rooms/{notices}/state/m.room.topic", `{"topic":"x"}`),
		refused("ask others in", "POST", "v3/rooms/{notices}/invite", `{"user_id":"{@bob}"}`),
		{Name: "redact their own", Who: "alice", Method: "PUT", Path: "v3/rooms/{notices}/redact/{said1}/4", Body: `{}`, Status: 200, Changes: servertest.Any},
		suspend("false"),
		talk("no more to be said", "alice", "5", 403, "M_FORBIDDEN"),
		{Name: "but elsewhere", Who: "alice", Method: "POST", Path: "v3/rooms/{bobs}/join", Status: 200, Changes: servertest.Any},
	})
}

func TestLock(t *testing.T) {
	s := servertest.New(t)
	admin(t, s, "carol")
	s.SetPassword("alice", password)
	s.Run(t, moderationCases("v1/admin/lock/", "locked"))
	locked := func(name, who, method, path, body string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: method, Path: path, Body: body, Status: 401, Errcode: "M_USER_LOCKED", Want: `{"soft_logout":true}`}
	}
	s.Run(t, []servertest.Case{
		locked("sync", "alice", "GET", "v3/sync", ``),
		locked("whoami", "alice", "GET", "v3/account/whoami", ``),
		locked("log in", "", "POST", "v3/login", `{"type":"m.login.password","user":"alice","password":"`+password+`"}`),
		locked("another password without a session", "", "POST", "v3/account/password", `{"new_password":"battery staple","auth":`+passwordAuth("alice", password, "")+`}`),
		locked("close the account without a session", "", "POST", "v3/account/deactivate", `{"auth":`+passwordAuth("alice", password, "")+`}`),
		{Name: "the wrong password", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"alice","password":"wrong"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "unlock", Who: "owner", Method: "PUT", Path: "v1/admin/lock/{@alice}", Body: `{"locked":false}`, Status: 200, Want: `{"locked":false}`},
		{Name: "the token is good again", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 200},
		{Name: "lock", Who: "owner", Method: "PUT", Path: "v1/admin/lock/{@alice}", Body: `{"locked":true}`, Status: 200, Want: `{"locked":true}`},
		{Name: "log out", Who: "alice", Method: "POST", Path: "v3/logout", Status: 200, Changes: 1},
	})
}

func TestCapabilities(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: "v3/capabilities", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "with a password", Who: "alice", Method: "GET", Path: "v3/capabilities", Status: 200, Want: `{"capabilities":{
			"m.change_password":{"enabled":true},"m.get_login_token":{"enabled":true},"org.matrix.msc3882.get_login_token":{"enabled":true},
			"m.profile_fields":{"enabled":true},"m.set_displayname":{"enabled":true},"m.set_avatar_url":{"enabled":true},
			"m.3pid_changes":{"enabled":false},"m.forget_forced_upon_leave":{"enabled":false},
			"m.room_versions":{"default":"12","available":{"1":"stable","12":"stable"}},"m.account_moderation":"!absent"}}`},
		{Name: "without", Who: "bob", Method: "GET", Path: "v3/capabilities", Status: 200, Want: `{"capabilities":{
			"m.change_password":{"enabled":false},"m.get_login_token":{"enabled":false}}}`},
		{Name: "the owner", Who: "owner", Method: "GET", Path: "v3/capabilities", Status: 200, Want: `{"capabilities":{"m.account_moderation":{"suspend":true,"lock":true}}}`},
		{Name: "versions", Method: "GET", Path: "versions", Status: 200, Want: `{"versions":["r0.5.0","…"],"unstable_features":{"org.matrix.msc3882":true}}`},
	})
}

// TestWhoisTellsTheClient: the User-Agent of the last request, however strange.
func TestWhoisTellsTheClient(t *testing.T) {
	s := servertest.New(t)
	for _, row := range []struct{ sent, shown string }{
		{"Element/1.11 (X11; Linux)", "Element/1.11 (X11; Linux)"},
		{strings.Repeat("é", 200), strings.Repeat("é", 128)},
		{"\xff\xfebroken", "broken"},
	} {
		t.Run(row.shown[:6], func(t *testing.T) {
			user := s.User(fmt.Sprintf("u%d", len(row.sent)))
			r := httptest.NewRequest("GET", "/_matrix/client/v3/account/whoami", nil)
			r.Header.Set("Authorization", "Bearer "+user.Token)
			r.Header.Set("User-Agent", row.sent)
			s.Serve(t, r)
			if err := s.DB.Flush(); err != nil {
				t.Fatal(err)
			}
			got := s.User("owner").Do("GET", "v3/admin/whois/"+string(user.ID), "")
			servertest.Match(t, got.Body, fmt.Sprintf(`{"devices":{%q:{"sessions":[{"connections":[{"user_agent":%q}]}]}}}`, user.Device, row.shown))
		})
	}
}
