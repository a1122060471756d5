package clientapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

const password = "correct horse"

// passwordAuth is the "auth" of one who gives a password in a session.
func passwordAuth(user, password, session string) string {
	return fmt.Sprintf(`{"type":"m.login.password","identifier":{"type":"m.id.user","user":%q},"password":%q,"session":%q}`,
		user, password, session)
}

func TestLogin(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.PublicURL = "https://house.test" })
	s.SetPassword("alice", password)
	login := func(name, body string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Method: "POST", Path: "v3/login", Body: body, Status: status, Errcode: errcode, Want: want, Changes: servertest.Any}
	}
	withPassword := func(identifier string) string {
		return `{"type":"m.login.password","password":"` + password + `",` + identifier + `}`
	}
	const alice = `{"user_id":"{@alice}","access_token":"*","device_id":"*","refresh_token":"!absent","expires_in_ms":"!absent"}`
	s.Run(t, []servertest.Case{
		{Name: "flows", Method: "GET", Path: "v3/login", Status: 200, Want: `{"flows":[{"type":"m.login.password"},{"type":"m.login.token"}]}`},
		{Name: "r0 flows", Method: "GET", Path: "r0/login", Status: 200, Want: `{"flows":[{"type":"m.login.password"},{"type":"m.login.token"}]}`},
		login("no JSON", `{`, 400, "M_NOT_JSON", ""),
		login("no object", `[]`, 400, "M_BAD_JSON", ""),
		login("no type", `{}`, 400, "M_MISSING_PARAM", ""),
		login("type of the wrong type", `{"type":7}`, 400, "M_BAD_JSON", ""),
		login("unknown type", `{"type":"m.login.magic"}`, 400, "M_UNKNOWN", ""),
		login("no password", `{"type":"m.login.password","user":"alice"}`, 400, "M_MISSING_PARAM", ""),
		login("no user", `{"type":"m.login.password","password":"x"}`, 400, "M_MISSING_PARAM", ""),
		login("empty user", withPassword(`"identifier":{"type":"m.id.user"}`), 400, "M_MISSING_PARAM", ""),
		login("unknown identifier", withPassword(`"identifier":{"type":"m.id.star"}`), 400, "M_UNKNOWN", ""),
		login("third-party identifier", withPassword(`"identifier":{"type":"m.id.thirdparty","medium":"email","address":"a@b"}`), 403, "M_FORBIDDEN", ""),
		login("third-party identifier without type", withPassword(`"identifier":{"medium":"email","address":"a@b"}`), 403, "M_FORBIDDEN", ""),
		login("phone", withPassword(`"identifier":{"type":"m.id.phone","country":"GB","phone":"1"}`), 403, "M_FORBIDDEN", ""),
		login("wrong password", `{"type":"m.login.password","user":"alice","password":"wrong"}`, 403, "M_FORBIDDEN", ""),
		login("nobody", withPassword(`"user":"nobody"`), 403, "M_FORBIDDEN", ""),
		login("elsewhere", withPassword(`"user":"@alice:elsewhere.test"`), 403, "M_FORBIDDEN", ""),
		login("device ID too long", withPassword(`"user":"alice","device_id":"`+strings.Repeat("x", 256)+`"`), 400, "M_INVALID_PARAM", ""),
		login("body too large", `{"type":"`+strings.Repeat("x", 70_000)+`"}`, 413, "M_TOO_LARGE", ""),
		login("localpart", withPassword(`"identifier":{"type":"m.id.user","user":"alice"}`), 200, "", alice),
		login("in capitals", withPassword(`"identifier":{"type":"m.id.user","user":"Alice"}`), 200, "", alice),
		login("user ID", withPassword(`"identifier":{"type":"m.id.user","user":"{@alice}"}`), 200, "", alice),
		login("older form", withPassword(`"user":"alice"`), 200, "", alice),
		login("well-known comes with it", withPassword(`"user":"alice"`), 200, "", `{"well_known":{"m.homeserver":{"base_url":"https://house.test"}}}`),
		{
			Name: "own device ID and refresh", Method: "POST", Path: "v3/login",
			Body:   withPassword(`"user":"alice","device_id":"PHONE","initial_device_display_name":"my phone","refresh_token":true`),
			Status: 200, Want: `{"device_id":"PHONE","refresh_token":"*","expires_in_ms":3600000}`,
			Save: map[string]string{"refresh": "refresh_token", "access": "access_token"},
		},
	})
	s.Run(t, []servertest.Case{
		{Name: "the device is there", Who: "alice", Method: "GET", Path: "v3/devices/PHONE", Status: 200, Want: `{"device_id":"PHONE","display_name":"my phone"}`},
		{Name: "refresh", Method: "POST", Path: "v3/refresh", Body: `{"refresh_token":"{refresh}"}`, Status: 200, Want: `{"access_token":"*","refresh_token":"*","expires_in_ms":3600000}`, Save: map[string]string{"access2": "access_token"}},
		{Name: "refresh with nonsense", Method: "POST", Path: "v3/refresh", Body: `{"refresh_token":"x"}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN", Want: `{"soft_logout":"!absent"}`},
		{Name: "refresh with nothing", Method: "POST", Path: "v3/refresh", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
	})
	s.Run(t, []servertest.Case{
		{Name: "whoami", Token: s.Var("access2"), Method: "GET", Path: "v3/account/whoami", Status: 200, Want: `{"user_id":"{@alice}","device_id":"PHONE","is_guest":false}`},
		{Name: "the old refresh token is void", Method: "POST", Path: "v3/refresh", Body: `{"refresh_token":"{refresh}"}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "logout", Token: s.Var("access2"), Method: "POST", Path: "v3/logout", Body: `{}`, Status: 200, Want: `{}`, Changes: 1},
		{Name: "logged out", Token: s.Var("access2"), Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "the device is gone", Who: "alice", Method: "GET", Path: "v3/devices/PHONE", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "logout without token", Method: "POST", Path: "v3/logout", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "logout of all", Who: "alice", Method: "POST", Path: "v3/logout/all", Status: 200, Want: `{}`, Changes: servertest.Any},
		{Name: "all logged out", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
	})
}

func TestLoginToken(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "POST", Path: "v1/login/get_token", Body: `{}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{
			Name: "asks for the password", Who: "alice", Method: "POST", Path: "v1/login/get_token", Body: `{}`, Status: 401,
			Want: `{"errcode":"!absent","flows":[{"stages":["m.login.password"]}],"params":{},"session":"*"}`, Save: map[string]string{"session": "session"},
		},
		{
			Name: "wrong password", Who: "alice", Method: "POST", Path: "v1/login/get_token",
			Body:   `{"auth":` + passwordAuth("alice", "wrong", "{session}") + `}`,
			Status: 401, Errcode: "M_FORBIDDEN", Want: `{"session":"{session}","flows":[{"stages":["m.login.password"]}]}`,
		},
		{
			Name: "right password", Who: "alice", Method: "POST", Path: "v1/login/get_token",
			Body:   `{"auth":` + passwordAuth("alice", password, "{session}") + `}`,
			Status: 200, Want: `{"login_token":"*","expires_in_ms":120000}`, Save: map[string]string{"token": "login_token"},
		},
		{
			Name: "the session is spent", Who: "alice", Method: "POST", Path: "v1/login/get_token",
			Body: `{"auth":{"session":"{session}"}}`, Status: 401, Errcode: "M_FORBIDDEN",
		},
		{Name: "log in", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.token","token":"{token}"}`, Status: 200, Want: `{"user_id":"{@alice}"}`},
		{Name: "only once", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.token","token":"{token}"}`, Status: 403, Errcode: "M_FORBIDDEN"},
	})
}

func TestRegisterClosed(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Registration = server.RegistrationClosed })
	s.Run(t, []servertest.Case{
		{Name: "user", Method: "POST", Path: "v3/register", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "guest", Method: "POST", Path: "v3/register?kind=guest", Body: `{}`, Status: 403, Errcode: "M_GUEST_ACCESS_FORBIDDEN"},
		{Name: "availability", Method: "GET", Path: "v3/register/available?username=alice", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "token", Method: "GET", Path: "v1/register/m.login.registration_token/validity?token=x", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "shared secret", Method: "GET", Path: "/_synapse/admin/v1/register", Status: 404},
		{Name: "well-known", Method: "GET", Path: "/.well-known/matrix/client", Status: 200, Want: `{"m.homeserver":{"base_url":"http://example.com"},"io.element.e2ee":"!absent"}`},
	})
}

func TestRegisterOpen(t *testing.T) {
	s := servertest.New(t)
	s.User("taken")
	register := func(name, body string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Method: "POST", Path: "v3/register", Body: body, Status: status, Errcode: errcode, Want: want}
	}
	dummy := func(rest string) string {
		return `{"auth":{"type":"m.login.dummy"},"password":"` + password + `"` + rest + `}`
	}
	s.Run(t, []servertest.Case{
		register("flows", `{}`, 401, "", `{"flows":[{"stages":["m.login.dummy"]}],"session":"*"}`),
		{Name: "strange kind", Method: "POST", Path: "v3/register?kind=robot", Body: `{}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		register("name taken", `{"username":"taken"}`, 400, "M_USER_IN_USE", ""),
		register("name with capitals taken", `{"username":"TAKEN"}`, 400, "M_USER_IN_USE", ""),
		register("bad name", `{"username":"a b"}`, 400, "M_INVALID_USERNAME", ""),
		register("weak password", `{"username":"alice","password":"short"}`, 400, "M_WEAK_PASSWORD", ""),
		register("no password", `{"username":"alice","auth":{"type":"m.login.dummy"}}`, 400, "M_MISSING_PARAM", ""),
		register("auth of the wrong shape", `{"auth":7,"password":"`+password+`"}`, 400, "M_BAD_JSON", ""),
		register("a stage of no flow", `{"auth":{"type":"m.login.password"},"password":"`+password+`"}`, 401, "M_FORBIDDEN", ""),
		register("auth without a type", `{"auth":{},"password":"`+password+`"}`, 401, "", `{"session":"*"}`),
		register("no JSON", `nope`, 400, "M_NOT_JSON", ""),
		register("right", dummy(`,"username":"Alice","device_id":"D","initial_device_display_name":"x"`), 200, "", `{"user_id":"@alice:house.test","device_id":"D","access_token":"*"}`),
		register("again", dummy(`,"username":"alice"`), 400, "M_USER_IN_USE", ""),
		register("without login", dummy(`,"username":"bob","inhibit_login":true`), 200, "", `{"user_id":"@bob:house.test","device_id":"!absent","access_token":"!absent"}`),
		register("without name", dummy(``), 200, "", `{"user_id":"@guest-*","access_token":"*"}`),
		{Name: "free name", Method: "GET", Path: "v3/register/available?username=dora", Status: 200, Want: `{"available":true}`},
		{Name: "taken name", Method: "GET", Path: "v3/register/available?username=alice", Status: 400, Errcode: "M_USER_IN_USE"},
		{Name: "bad name", Method: "GET", Path: "v3/register/available?username=a%20b", Status: 400, Errcode: "M_INVALID_USERNAME"},
		{Name: "no name", Method: "GET", Path: "v3/register/available", Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "log in", Method: "POST", Path: "v3/login", Body: `{"type":"m.login.password","user":"alice","password":"` + password + `"}`, Status: 200, Want: `{"user_id":"@alice:house.test"}`},
	})
}

func TestRegisterWithToken(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Registration = server.RegistrationToken })
	addToken(t, s, "once")
	valid := func(name, token string, want string) servertest.Case {
		return servertest.Case{Name: name, Method: "GET", Path: "v1/register/m.login.registration_token/validity?token=" + token, Status: 200, Want: `{"valid":` + want + `}`}
	}
	body := func(user, token string) string {
		return `{"username":"` + user + `","password":"` + password + `","auth":{"type":"m.login.registration_token","token":"` + token + `"}}`
	}
	s.Run(t, []servertest.Case{
		valid("good token", "once", "true"),
		valid("no such token", "twice", "false"),
		valid("no token", "%00", "false"),
		{Name: "flows", Method: "POST", Path: "v3/register", Body: `{}`, Status: 401, Want: `{"flows":[{"stages":["m.login.registration_token"]}]}`},
		{Name: "dummy is not enough", Method: "POST", Path: "v3/register", Body: `{"password":"` + password + `","auth":{"type":"m.login.dummy"}}`, Status: 401, Errcode: "M_FORBIDDEN"},
		{Name: "wrong token", Method: "POST", Path: "v3/register", Body: body("alice", "twice"), Status: 401, Errcode: "M_FORBIDDEN", Want: `{"session":"*"}`},
		{Name: "right token", Method: "POST", Path: "v3/register", Body: body("alice", "once"), Status: 200, Want: `{"user_id":"@alice:house.test"}`},
		valid("used up", "once", "false"),
		{Name: "used up", Method: "POST", Path: "v3/register", Body: body("bob", "once"), Status: 401, Errcode: "M_FORBIDDEN"},
	})
}

func TestRegisterBySecret(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) {
		c.Registration, c.SharedSecret = server.RegistrationClosed, "of the house"
	})
	const path = "/_synapse/admin/v1/register"
	nonce := func() string {
		var out struct{ Nonce string }
		s.Ask(t.Context(), "", "GET", path, nil).JSON(t, &out)
		return out.Nonce
	}
	body := func(nonce, user, mac string) string {
		b, err := json.Marshal(map[string]any{"nonce": nonce, "username": user, "password": password, "displayname": "Al", "admin": true, "mac": mac})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good, spent := nonce(), nonce()
	s.Run(t, []servertest.Case{
		{Name: "no nonce", Method: "POST", Path: path, Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "unknown nonce", Method: "POST", Path: path, Body: body("x", "alice", "00"), Status: 400, Errcode: "M_UNKNOWN"},
		{Name: "wrong HMAC", Method: "POST", Path: path, Body: body(spent, "alice", sharedSecretMAC("other", spent, "alice", password, "admin")), Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "spent nonce", Method: "POST", Path: path, Body: body(spent, "alice", sharedSecretMAC("of the house", spent, "alice", password, "admin")), Status: 400, Errcode: "M_UNKNOWN"},
		{
			Name: "right", Method: "POST", Path: path, Body: body(good, "alice", sharedSecretMAC("of the house", good, "alice", password, "admin")),
			Status: 200, Want: `{"user_id":"@alice:house.test","access_token":"*","device_id":"*","home_server":"house.test"}`, Changes: 1,
		},
		{Name: "the display name", Who: "bob", Method: "GET", Path: "v3/profile/@alice:house.test", Status: 200, Want: `{"displayname":"Al"}`},
	})
}
