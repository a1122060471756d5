package clientapi_test

import (
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/servertest"
)

func TestDevices(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	s.User("alice#2")
	s.User("alice#3")
	s.User("bob#2")
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: "v3/devices", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "list", Who: "alice", Method: "GET", Path: "v3/devices", Status: 200, Want: `{"devices":[{"device_id":"ALICE"},{"device_id":"ALICE#2"},{"device_id":"ALICE#3"}]}`},
		{Name: "one", Who: "alice", Method: "GET", Path: "v3/devices/ALICE%232", Status: 200, Want: `{"device_id":"ALICE#2","display_name":"!absent"}`},
		{Name: "another user's", Who: "alice", Method: "GET", Path: "v3/devices/BOB%232", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "rename", Who: "alice", Method: "PUT", Path: "v3/devices/ALICE%232", Body: `{"display_name":"tablet"}`, Status: 200, Want: `{}`, Changes: 1},
		{Name: "rename to the same", Who: "alice", Method: "PUT", Path: "v3/devices/ALICE%232", Body: `{}`, Status: 200, Want: `{}`},
		{Name: "renamed", Who: "alice", Method: "GET", Path: "v3/devices/ALICE%232", Status: 200, Want: `{"display_name":"tablet"}`},
		{Name: "rename another user's", Who: "alice", Method: "PUT", Path: "v3/devices/BOB%232", Body: `{"display_name":"x"}`, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "rename to a number", Who: "alice", Method: "PUT", Path: "v3/devices/ALICE%232", Body: `{"display_name":1}`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "delete without token", Method: "DELETE", Path: "v3/devices/ALICE%232", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "delete asks", Who: "alice", Method: "DELETE", Path: "v3/devices/ALICE%232", Status: 401, Want: `{"flows":[{"stages":["m.login.password"]}],"session":"*"}`, Save: map[string]string{"session": "session"}},
		{Name: "another one than was asked for", Who: "alice", Method: "DELETE", Path: "v3/devices/ALICE%233", Body: `{"auth":` + passwordAuth("alice", password, "{session}") + `}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "another user's session", Who: "bob#2", Method: "DELETE", Path: "v3/devices/ALICE%232", Body: `{"auth":` + passwordAuth("alice", password, "{session}") + `}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "delete", Who: "alice", Method: "DELETE", Path: "v3/devices/ALICE%232", Body: `{"auth":` + passwordAuth("{@alice}", password, "{session}") + `}`, Status: 200, Want: `{}`, Changes: servertest.Any},
		{Name: "its token", Who: "alice#2", Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "delete several: none named", Who: "alice", Method: "POST", Path: "v3/delete_devices", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "delete several asks", Who: "alice", Method: "POST", Path: "v3/delete_devices", Body: `{"devices":["ALICE#3","GONE"]}`, Status: 401, Save: map[string]string{"session": "session"}},
		{Name: "delete several", Who: "alice", Method: "POST", Path: "v3/delete_devices", Body: `{"devices":["ALICE#3","GONE"],"auth":` + passwordAuth("alice", password, "{session}") + `}`, Status: 200, Changes: servertest.Any},
		{Name: "what is left", Who: "alice", Method: "GET", Path: "v3/devices", Status: 200, Want: `{"devices":[{"device_id":"ALICE"}]}`},
	})
}

func TestChangePassword(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	s.User("alice#2")
	const path = "v3/account/password"
	const wanted = `"new_password":"battery staple"`
	s.Run(t, []servertest.Case{
		{Name: "weak", Who: "alice", Method: "POST", Path: path, Body: `{"new_password":"x"}`, Status: 400, Errcode: "M_WEAK_PASSWORD"},
		{Name: "nothing", Who: "alice", Method: "POST", Path: path, Body: `{"auth":{"type":"m.login.password"}}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "bad token", Token: "x", Method: "POST", Path: path, Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "asks", Who: "alice", Method: "POST", Path: path, Body: `{` + wanted + `,"logout_devices":false}`, Status: 401, Want: `{"flows":[{"stages":["m.login.password"]}]}`, Save: map[string]string{"session": "session"}},
		{Name: "another password than was asked for", Who: "alice", Method: "POST", Path: path, Body: `{"new_password":"of a thief","logout_devices":false,"auth":` + passwordAuth("alice", password, "{session}") + `}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "change, keep devices", Who: "alice", Method: "POST", Path: path, Body: `{` + wanted + `,"logout_devices":false,"auth":` + passwordAuth("alice", password, "{session}") + `}`, Status: 200, Want: `{}`, Changes: servertest.Any},
		{Name: "the other device stays", Who: "alice#2", Method: "GET", Path: "v3/account/whoami", Status: 200},
		{Name: "the old password", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"alice","password":"` + password + `"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "change, log out the others", Who: "alice", Method: "POST", Path: path, Body: `{"new_password":"third password","auth":` + passwordAuth("alice", "battery staple", "") + `}`, Status: 200, Changes: servertest.Any},
		{Name: "the other device is out", Who: "alice#2", Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "this one stays", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 200},
		{Name: "logged out, by the password", Method: "POST", Path: path, Body: `{"new_password":"fourth password","auth":` + passwordAuth("alice", "third password", "") + `}`, Status: 200, Changes: servertest.Any},
		{Name: "all devices are out", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
	})
}

func TestDeactivateAccount(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	s.SetPassword("owner", password)
	const path = "v3/account/deactivate"
	s.Run(t, []servertest.Case{
		{Name: "asks", Who: "alice", Method: "POST", Path: path, Body: `{}`, Status: 401, Want: `{"flows":[{"stages":["m.login.password"]}]}`},
		{Name: "wrong password", Who: "alice", Method: "POST", Path: path, Body: `{"auth":` + passwordAuth("alice", "wrong", "") + `}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "the owner", Who: "owner", Method: "POST", Path: path, Body: `{"auth":` + passwordAuth("owner", password, "") + `}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "right", Who: "alice", Method: "POST", Path: path, Body: `{"auth":` + passwordAuth("alice", password, "") + `}`, Status: 200, Want: `{"id_server_unbind_result":"success"}`, Changes: servertest.Any},
		{Name: "the token", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "the password", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"alice","password":"` + password + `"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "the name", Method: "POST", Path: "v3/register", Body: `{"username":"alice"}`, Status: 400, Errcode: "M_USER_IN_USE"},
	})
}

func TestProfile(t *testing.T) {
	s := servertest.New(t)
	const alice = "v3/profile/{@alice}"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "PUT", Path: alice + "/displayname", Body: `{"displayname":"A"}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "another user's", Who: "bob", Method: "PUT", Path: alice + "/displayname", Body: `{"displayname":"A"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "bad user ID", Method: "GET", Path: "v3/profile/alice", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "nobody", Method: "GET", Path: "v3/profile/@nobody:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "empty", Method: "GET", Path: alice, Status: 200, Want: `{}`},
		{Name: "no field", Method: "GET", Path: alice + "/displayname", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "set", Who: "alice", Method: "PUT", Path: alice + "/displayname", Body: `{"displayname":"Älice"}`, Status: 200, Want: `{}`, Changes: 1},
		{Name: "set to the same", Who: "alice", Method: "PUT", Path: alice + "/displayname", Body: `{"displayname":"Älice"}`, Status: 200, Want: `{}`},
		{Name: "body is no JSON", Who: "alice", Method: "PUT", Path: alice + "/displayname", Body: ``, Status: 400, Errcode: "M_NOT_JSON"},
		{Name: "field missing", Who: "alice", Method: "PUT", Path: alice + "/displayname", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "not a string", Who: "alice", Method: "PUT", Path: alice + "/displayname", Body: `{"displayname":1}`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "avatar", Who: "alice", Method: "PUT", Path: alice + "/avatar_url", Body: `{"avatar_url":"mxc://h/a"}`, Status: 200, Changes: 1},
		{Name: "avatar elsewhere", Who: "alice", Method: "PUT", Path: alice + "/avatar_url", Body: `{"avatar_url":"http://h/a"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "own field", Who: "alice", Method: "PUT", Path: alice + "/org.example.job", Body: `{"org.example.job":["cook"]}`, Status: 200, Changes: 1},
		{Name: "bad field", Who: "alice", Method: "PUT", Path: alice + "/job", Body: `{"job":1}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "name of the field too long", Who: "alice", Method: "PUT", Path: alice + "/org." + strings.Repeat("x", 255), Body: `{}`, Status: 400, Errcode: "M_KEY_TOO_LARGE"},
		{Name: "too large", Who: "alice", Method: "PUT", Path: alice + "/org.example.big", Body: `{"org.example.big":"` + strings.Repeat("x", 65_600) + `"}`, Status: 400, Errcode: "M_PROFILE_TOO_LARGE"},
		{Name: "all", Method: "GET", Path: alice, Status: 200, Want: `{"displayname":"Älice","avatar_url":"mxc://h/a","org.example.job":["cook"]}`},
		{Name: "one", Who: "bob", Method: "GET", Path: alice + "/org.example.job", Status: 200, Want: `{"org.example.job":["cook"]}`},
		{Name: "delete another user's", Who: "bob", Method: "DELETE", Path: alice + "/displayname", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "delete", Who: "alice", Method: "DELETE", Path: alice + "/displayname", Status: 200, Want: `{}`, Changes: 1},
		{Name: "delete again", Who: "alice", Method: "DELETE", Path: alice + "/displayname", Status: 200, Want: `{}`},
		{Name: "deleted", Method: "GET", Path: alice, Status: 200, Want: `{"displayname":"!absent"}`},
	})
}

func TestLockedAndSuspended(t *testing.T) {
	s := servertest.New(t)
	alice := s.User("alice").ID
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.SetSuspended(tx, alice, true) })
	s.Run(t, []servertest.Case{
		{Name: "suspended: profile", Who: "alice", Method: "PUT", Path: "v3/profile/{@alice}/displayname", Body: `{"displayname":"A"}`, Status: 403, Errcode: "M_USER_SUSPENDED"},
		{Name: "suspended: read", Who: "alice", Method: "GET", Path: "v3/devices", Status: 200},
	})
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.SetLocked(tx, alice, true) })
	s.Run(t, []servertest.Case{
		{Name: "locked: read", Who: "alice", Method: "GET", Path: "v3/devices", Status: 401, Errcode: "M_USER_LOCKED", Want: `{"soft_logout":true}`},
		{Name: "locked: logout", Who: "alice", Method: "POST", Path: "v3/logout", Body: `{}`, Status: 200, Changes: 1},
	})
}

func TestAccountDataAndTags(t *testing.T) {
	s := servertest.New(t)
	const mine, room = "v3/user/{@alice}/account_data/org.example.x", "v3/user/{@alice}/rooms/!r:{server}"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "GET", Path: mine, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "another user's", Who: "bob", Method: "GET", Path: mine, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "set another user's", Who: "bob", Method: "PUT", Path: mine, Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "none", Who: "alice", Method: "GET", Path: mine, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "no object", Who: "alice", Method: "PUT", Path: mine, Body: `[]`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "no JSON", Who: "alice", Method: "PUT", Path: mine, Body: ``, Status: 400, Errcode: "M_NOT_JSON"},
		{Name: "set", Who: "alice", Method: "PUT", Path: mine, Body: `{"a":1}`, Status: 200, Want: `{}`, Changes: 1},
		{Name: "set to the same", Who: "alice", Method: "PUT", Path: mine, Body: `{ "a":1}`, Status: 200, Want: `{}`},
		{Name: "get", Who: "alice", Method: "GET", Path: mine, Status: 200, Want: `{"a":1}`},
		{Name: "too large", Who: "alice", Method: "PUT", Path: mine, Body: `{"a":"` + strings.Repeat("x", 66_000) + `"}`, Status: 413, Errcode: "M_TOO_LARGE"},
		{Name: "far too large", Who: "alice", Method: "PUT", Path: mine, Body: `{"a":"` + strings.Repeat("x", 140_000) + `"}`, Status: 413, Errcode: "M_TOO_LARGE"},
		{Name: "fully read", Who: "alice", Method: "PUT", Path: "v3/user/{@alice}/account_data/m.fully_read", Body: `{}`, Status: 405, Errcode: "M_BAD_JSON"},
		{Name: "push rules of a room", Who: "alice", Method: "PUT", Path: room + "/account_data/m.push_rules", Body: `{}`, Status: 405, Errcode: "M_BAD_JSON"},
		{Name: "set in a room", Who: "alice", Method: "PUT", Path: room + "/account_data/org.example.x", Body: `{"b":1}`, Status: 200, Changes: 1},
		{Name: "set in no room", Who: "alice", Method: "PUT", Path: "v3/user/{@alice}/rooms/r/account_data/x", Body: `{}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "get in a room", Who: "alice", Method: "GET", Path: room + "/account_data/org.example.x", Status: 200, Want: `{"b":1,"a":"!absent"}`},
		{Name: "get another user's in a room", Who: "bob", Method: "GET", Path: room + "/account_data/org.example.x", Status: 403, Errcode: "M_FORBIDDEN"},

		{Name: "no tags", Who: "alice", Method: "GET", Path: room + "/tags", Status: 200, Want: `{"tags":{}}`},
		{Name: "another user's tags", Who: "bob", Method: "GET", Path: room + "/tags", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "tag without token", Method: "PUT", Path: room + "/tags/u.work", Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "tag", Who: "alice", Method: "PUT", Path: room + "/tags/u.work", Body: `{"order":0.5}`, Status: 200, Want: `{}`, Changes: 1},
		{Name: "tag with a slash", Who: "alice", Method: "PUT", Path: room + "/tags/u.a%2Fb", Body: `{}`, Status: 200, Want: `{}`, Changes: 1},
		{Name: "bad order", Who: "alice", Method: "PUT", Path: room + "/tags/u.work", Body: `{"order":5}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "tags", Who: "alice", Method: "GET", Path: room + "/tags", Status: 200, Want: `{"tags":{"u.work":{"order":0.5},"u.a/b":{}}}`},
		{Name: "m.tag", Who: "alice", Method: "GET", Path: room + "/account_data/m.tag", Status: 200, Want: `{"tags":{"u.work":{"order":0.5}}}`},
		{Name: "take it off", Who: "alice", Method: "DELETE", Path: room + "/tags/u.work", Status: 200, Want: `{}`, Changes: 1},
		{Name: "take it off again", Who: "alice", Method: "DELETE", Path: room + "/tags/u.work", Status: 200, Want: `{}`},
	})
}

func TestFilterAndCapabilities(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	const path = "v3/user/{@alice}/filter"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "POST", Path: path, Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "another user's", Who: "bob", Method: "POST", Path: path, Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "wrong type", Who: "alice", Method: "POST", Path: path, Body: `{"room":[]}`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "wrong room", Who: "alice", Method: "POST", Path: path, Body: `{"room":{"rooms":["x"]}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "too large", Who: "alice", Method: "POST", Path: path, Body: `{"x":"` + strings.Repeat("x", 20_000) + `"}`, Status: 413, Errcode: "M_TOO_LARGE"},
		{Name: "store", Who: "alice", Method: "POST", Path: path, Body: `{"room":{"timeline":{"limit":5}}}`, Status: 200, Want: `{"filter_id":"*"}`, Save: map[string]string{"filter": "filter_id"}},
		{Name: "store again", Who: "alice", Method: "POST", Path: path, Body: `{"room":{"timeline":{"limit":5}}}`, Status: 200, Want: `{"filter_id":"{filter}"}`},
		{Name: "get", Who: "alice", Method: "GET", Path: path + "/{filter}", Status: 200, Want: `{"room":{"timeline":{"limit":5}}}`},
		{Name: "get none", Who: "alice", Method: "GET", Path: path + "/x", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "get another user's", Who: "bob", Method: "GET", Path: path + "/{filter}", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "capabilities without token", Method: "GET", Path: "v3/capabilities", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{
			Name: "capabilities", Who: "alice", Method: "GET", Path: "v3/capabilities", Status: 200,
			Want: `{"capabilities":{"m.room_versions":{"default":"12","available":{"1":"stable","12":"stable"}},"m.change_password":{"enabled":true},"m.profile_fields":{"enabled":true}}}`,
		},
	})
}
