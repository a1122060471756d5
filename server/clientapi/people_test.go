package clientapi_test

import (
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/servertest"
)

// addToken makes a registration token that is good for one account.
func addToken(t *testing.T, s *servertest.Server, token string) {
	t.Helper()
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
		_, err := s.Accounts.CreateRegistrationToken(tx, token, 1, s.Config.Now().AddDate(0, 0, 1))
		return err
	})
}

func TestGuests(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.People.Guests = true })
	s.Run(t, []servertest.Case{
		{
			Name: "all but the device's name is ignored", Method: "POST", Path: "v3/register?kind=guest", Status: 200,
			Body: `{"username":"alice","password":"x","device_id":"D","initial_device_display_name":"browser","inhibit_login":true}`,
			Want: `{"user_id":"@guest-*","access_token":"*","device_id":"*"}`, Save: map[string]string{"token": "access_token", "guest": "user_id", "device": "device_id"},
		},
		{Name: "a room with guests", Who: "bob", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"private_chat","initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"public"}}]}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "a room without", Who: "bob", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"closed": "room_id"}},
	})
	token, localpart := s.Var("token"), strings.TrimPrefix(strings.Split(s.Var("guest"), ":")[0], "@")
	may := func(name, method, path, body string) servertest.Case {
		return servertest.Case{Name: name, Token: token, Method: method, Path: path, Body: body, Status: 200, Changes: servertest.Any}
	}
	mayNot := func(name, method, path, body string) servertest.Case {
		return servertest.Case{Name: name, Token: token, Method: method, Path: path, Body: body, Status: 403, Errcode: "M_GUEST_ACCESS_FORBIDDEN"}
	}
	s.Run(t, []servertest.Case{
		{Name: "whoami", Token: token, Method: "GET", Path: "v3/account/whoami", Status: 200, Want: `{"user_id":"{guest}","is_guest":true}`},
		{Name: "the device", Token: token, Method: "GET", Path: "v3/devices", Status: 200, Want: `{"devices":[{"device_id":"{device}","display_name":"browser"}]}`},
		may("join", "POST", "v3/rooms/{room}/join", `{}`),
		may("send", "PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"a"}`),
		may("sync", "GET", "v3/sync", ``),
		may("messages", "GET", "v3/rooms/{room}/messages?dir=b", ``),
		may("state", "GET", "v3/rooms/{room}/state", ``),
		may("display name", "PUT", "v3/profile/{guest}/displayname", `{"displayname":"G"}`),
		may("leave", "POST", "v3/rooms/{room}/leave", `{}`),
		may("join by the other address", "POST", "v3/join/{room}", `{}`),
		may("capabilities", "GET", "v3/capabilities", ``),
		mayNot("join a room without guests by the other address", "POST", "v3/join/{closed}", `{}`),
		mayNot("knock", "POST", "v3/knock/{closed}", `{}`),
		mayNot("join a room without guests", "POST", "v3/rooms/{closed}/join", `{}`),
		mayNot("avatar", "PUT", "v3/profile/{guest}/avatar_url", `{"avatar_url":"mxc://h/a"}`),
		mayNot("make a room", "POST", "v3/createRoom", `{}`),
		mayNot("invite", "POST", "v3/rooms/{room}/invite", `{"user_id":"{@bob}"}`),
		mayNot("password", "POST", "v3/account/password", `{"new_password":"battery staple"}`),
		mayNot("search people", "POST", "v3/user_directory/search", `{"search_term":"bob"}`),
		mayNot("account data", "PUT", "v3/user/{guest}/account_data/m.x", `{}`),
	})
	upgrade := func(name, username, token string, status int, errcode string) servertest.Case {
		return servertest.Case{
			Name: name, Method: "POST", Path: "v3/register", Status: status, Errcode: errcode, Changes: servertest.Any,
			Body: `{"username":"` + username + `","password":"` + password + `","guest_access_token":"` + token + `","auth":{"type":"m.login.dummy"}}`,
		}
	}
	bob := s.User("bob")
	s.Run(t, []servertest.Case{
		upgrade("under another name", "bob", token, 403, "M_FORBIDDEN"),
		upgrade("with no guest's token", "bob", bob.Token, 403, "M_FORBIDDEN"),
		upgrade("with no token", localpart, "x", 401, "M_UNKNOWN_TOKEN"),
		upgrade("right", localpart, token, 200, ""),
		{Name: "no guest any more", Token: token, Method: "GET", Path: "v3/account/whoami", Status: 200, Want: `{"user_id":"{guest}","is_guest":false}`},
		{Name: "the password", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"` + localpart + `","password":"` + password + `"}`, Status: 200, Changes: servertest.Any},
	})
}

func TestLoginTokenRevisions(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.RateLimitsOff = false })
	for _, name := range []string{"alice", "bob", "carol"} {
		s.SetPassword(name, password)
	}
	auth := func(who string) string { return `{"auth":` + passwordAuth(who, password, "") + `}` }
	const unstable = "/_matrix/client/unstable/org.matrix.msc3882/login/"
	s.Run(t, []servertest.Case{
		{Name: "flows", Method: "GET", Path: "v3/login", Status: 200, Want: `{"flows":[{"type":"m.login.password"},{"type":"m.login.token","get_login_token":true,"org.matrix.msc3882.get_login_token":true}]}`},
		{Name: "without a password", Who: "dora", Method: "POST", Path: "v1/login/get_token", Body: `{}`, Status: 400, Errcode: "M_UNKNOWN"},
		{Name: "a failure does not count", Who: "alice", Method: "POST", Path: "v1/login/get_token", Body: `{"auth":` + passwordAuth("alice", "wrong", "") + `}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "stable", Who: "alice", Method: "POST", Path: "v1/login/get_token", Body: auth("alice"), Status: 200, Want: `{"login_token":"*","expires_in_ms":120000,"expires_in":"!absent"}`},
		{Name: "once a minute", Who: "alice", Method: "POST", Path: "v1/login/get_token", Body: auth("alice"), Status: 429, Errcode: "M_LIMIT_EXCEEDED", Want: `{"retry_after_ms":"*"}`},
		{Name: "once a minute, by any path", Who: "alice", Method: "POST", Path: unstable + "get_token", Body: `{}`, Status: 429, Errcode: "M_LIMIT_EXCEEDED"},
		{Name: "revision 1", Who: "bob", Method: "POST", Path: unstable + "get_token", Body: auth("bob"), Status: 200, Want: `{"login_token":"*","expires_in_ms":120000}`},
		{Name: "revision 0", Who: "carol", Method: "POST", Path: unstable + "token", Body: auth("carol"), Status: 200, Want: `{"login_token":"*","expires_in":120}`, Save: map[string]string{"token": "login_token"}},
		{Name: "log in", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.token","token":"{token}"}`, Status: 200, Want: `{"user_id":"{@carol}"}`, Changes: servertest.Any},
		{Name: "log in with nothing", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.token"}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "application service without a token", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"x"}}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "application service", Token: "x", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"x"}}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
	})
}

func TestOpenID(t *testing.T) {
	s := servertest.New(t)
	const path, info = "v3/user/{@alice}/openid/request_token", "/_matrix/federation/v1/openid/userinfo"
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "POST", Path: path, Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "unknown token", Token: "x", Method: "POST", Path: path, Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "for another", Who: "bob", Method: "POST", Path: path, Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "no object", Who: "alice", Method: "POST", Path: path, Body: `[]`, Status: 400, Errcode: "M_BAD_JSON"},
		{Name: "right", Who: "alice", Method: "POST", Path: path, Body: `{}`, Status: 200, Want: `{"access_token":"*","token_type":"Bearer","matrix_server_name":"house.test","expires_in":3600}`, Save: map[string]string{"openid": "access_token"}},
		{Name: "who is it", Method: "GET", Path: info + "?access_token={openid}", Status: 200, Want: `{"sub":"{@alice}"}`},
		{Name: "who is nobody", Method: "GET", Path: info + "?access_token=x", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "who", Method: "GET", Path: info, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "it is no access token", Method: "GET", Path: "v3/account/whoami?access_token={openid}", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
	})
}

func TestUserDirectory(t *testing.T) {
	const path = "v3/user_directory/search"
	search := func(name, term, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "POST", Path: path, Body: `{"search_term":"` + term + `"}`, Status: 200, Want: want}
	}
	shared := func(c *server.Config) { c.People.Directory = "shared" }
	t.Run("all", func(t *testing.T) {
		s := servertest.New(t, func(c *server.Config) { c.People.Directory = "all" })
		for user, name := range map[string]string{"bob": "Róbert Ångström", "dora": "山田 太郎", "erin": "Мария"} {
			s.User(user).Must("PUT", "v3/profile/{@"+user+"}/displayname", `{"displayname":"`+name+`"}`, nil)
		}
		s.User("bobby")
		s.Run(t, []servertest.Case{
			{Name: "no token", Method: "POST", Path: path, Body: `{"search_term":"a"}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
			{Name: "no term", Who: "alice", Method: "POST", Path: path, Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
			{Name: "negative limit", Who: "alice", Method: "POST", Path: path, Body: `{"search_term":"a","limit":-1}`, Status: 400, Errcode: "M_INVALID_PARAM"},
			search("name, best first", "bob", `{"results":[{"user_id":"{@bob}","display_name":"Róbert Ångström","avatar_url":"!absent"},{"user_id":"@bobby:{server}"}],"limited":false}`),
			search("case and accents", "ANGS", `{"results":[{"user_id":"{@bob}"}]}`),
			search("two words", "angs rob", `{"results":[{"user_id":"{@bob}"}]}`),
			search("not the middle of a word", "ngström", `{"results":[]}`),
			search("the middle where there are no words", "田", `{"results":[{"user_id":"@dora:{server}"}]}`),
			search("Cyrillic", "мар", `{"results":[{"user_id":"@erin:{server}"}]}`),
			search("user ID", "@bob:house", `{"results":[{"user_id":"{@bob}"}]}`),
			search("not oneself", "alice", `{"results":[]}`),
			search("nothing", " ", `{"results":[]}`),
			{Name: "limited", Who: "alice", Method: "POST", Path: path, Body: `{"search_term":"bob","limit":1}`, Status: 200, Want: `{"results":[{"user_id":"{@bob}"}],"limited":true}`},
		})
	})
	t.Run("shared", func(t *testing.T) {
		s := servertest.New(t, shared)
		s.User("alice")
		s.User("bob")
		s.User("carol")
		s.Run(t, []servertest.Case{
			search("strangers", "bob", `{"results":[]}`),
			{Name: "bob is in a public room", Who: "bob", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any},
			search("in a public room", "bob", `{"results":[{"user_id":"{@bob}"}]}`),
			{Name: "a private room", Who: "carol", Method: "POST", Path: "v3/createRoom", Body: `{"invite":["{@alice}"]}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
			{Name: "join it", Who: "alice", Method: "POST", Path: "v3/rooms/{room}/join", Body: `{}`, Status: 200, Changes: servertest.Any},
			search("shares a room", "carol", `{"results":[{"user_id":"{@carol}"}]}`),
		})
	})
}

func TestWellKnown(t *testing.T) {
	plain := servertest.New(t)
	plain.Run(t, []servertest.Case{
		{Name: "client", Method: "GET", Path: "/.well-known/matrix/client", Status: 200, Want: `{"m.homeserver":{"base_url":"http://example.com"},"io.element.e2ee":"!absent"}`},
		{Name: "support", Method: "GET", Path: "/.well-known/matrix/support", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "policy server", Method: "GET", Path: "/.well-known/matrix/policy_server", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "OAuth 2.0", Method: "GET", Path: "v1/auth_metadata", Status: 404, Errcode: "M_UNRECOGNIZED"},
		{Name: "single sign-on", Method: "GET", Path: "v3/login/sso/redirect?redirectUrl=https%3A%2F%2Fapp.test", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "single sign-on to nowhere", Method: "GET", Path: "v3/login/sso/redirect", Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "single sign-on by one", Method: "GET", Path: "v3/login/sso/redirect/x?redirectUrl=https%3A%2F%2Fapp.test", Status: 404, Errcode: "M_NOT_FOUND"},
	})
	const key = "6yhHGKhCiXTSEN2ksjV7kX/N6rBQZ3Xb+M7LlC6NS+s"
	told := servertest.New(t, func(c *server.Config) {
		c.PublicURL, c.EncryptionHint = "https://house.test/", "off"
		c.People.PolicyKey = key
		c.People.Support = server.Support{Contacts: []server.Contact{{User: "@owner:house.test", Role: "m.role.admin"}, {Email: "a@b.test", Role: "m.role.security"}}, Page: "https://house.test/help"}
	})
	told.Run(t, []servertest.Case{
		{Name: "client", Method: "GET", Path: "/.well-known/matrix/client", Status: 200, Want: `{"m.homeserver":{"base_url":"https://house.test"},"io.element.e2ee":{"default":false}}`},
		{Name: "support", Method: "GET", Path: "/.well-known/matrix/support", Status: 200, Want: `{"contacts":[{"matrix_id":"@owner:house.test","role":"m.role.admin","email_address":"!absent"},{"email_address":"a@b.test","role":"m.role.security"}],"support_page":"https://house.test/help"}`},
		{Name: "policy server", Method: "GET", Path: "/.well-known/matrix/policy_server", Status: 200, Want: `{"public_keys":{"ed25519":"` + key + `"}}`},
	})
}
