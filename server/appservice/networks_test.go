package appservice_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

// TestMadeOnDemand: users and rooms of the service's are made when somebody asks for them.
func TestMadeOnDemand(t *testing.T) {
	s := servertest.New(t)
	var mu sync.Mutex
	var asked []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return // a transaction
		}
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		kind, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/_matrix/app/v1/"), "/")
		name, _, _ = strings.Cut(name[1:], ":")
		made := &servertest.Response{Status: http.StatusNotFound}
		switch {
		case strings.Contains(name, "nobody"):
		case kind == "users":
			made = s.Ask(r.Context(), appToken, "POST", "v3/register", strings.NewReader(`{"type":"m.login.application_service","inhibit_login":true,"username":"`+name+`"}`))
		case kind == "rooms":
			made = s.Ask(r.Context(), appToken, "POST", "v3/createRoom", strings.NewReader(`{"preset":"public_chat","room_version":"12","room_alias_name":"`+name+`",
				"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":"`+map[bool]string{true: "knock", false: "public"}[strings.Contains(name, "knock")]+`"}}]}`))
		}
		w.WriteHeader(made.Status)
	}))
	defer web.Close()
	add(t, s, registration(web.URL))
	alice := s.User("alice")
	var made struct {
		Room string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"invite":["@_irc_first:house.test"]}`, &made)
	s.Set("room", made.Room)
	alice.Must("POST", "v3/rooms/{room}/invite", `{"user_id":"@_irc_second:house.test"}`, nil)
	alice.Must("PUT", "v3/rooms/{room}/state/m.room.member/@_irc_third:house.test", `{"membership":"invite"}`, nil)
	alice.Must("GET", "v3/profile/@_irc_fourth:house.test", ``, nil)
	alice.Must("POST", "v3/join/%23_irc_made:house.test", `{}`, nil)
	alice.Must("POST", "v3/knock/%23_irc_knock:house.test", `{}`, nil)
	alice.Must("GET", "v3/directory/room/%23_irc_looked:house.test", ``, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "v3/rooms/{room}/invite", `{"user_id":"@_irc_nobody:house.test"}`, 404},
		{"POST", "v3/join/%23_irc_nobody:house.test", `{}`, 404},
		{"POST", "v3/knock/%23_irc_nobody:house.test", `{}`, 404},
		{"POST", "v3/rooms/{room}/invite", `{"user_id":"@nobody:house.test"}`, 404},
	} {
		if r := alice.Do(c.method, c.path, c.body); r.Status != c.status {
			t.Errorf("%s %s: %d %s", c.path, c.body, r.Status, r.Body)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"users/@_irc_first:house.test", "users/@_irc_second:house.test", "users/@_irc_third:house.test", "users/@_irc_fourth:house.test",
		"rooms/#_irc_made:house.test", "rooms/#_irc_knock:house.test", "rooms/#_irc_looked:house.test",
	}
	for i, path := range want {
		if i >= len(asked) || asked[i] != "/_matrix/app/v1/"+path {
			t.Fatalf("asked for %q, want %q first", asked, want)
		}
	}
	if slices.ContainsFunc(asked, func(path string) bool { return strings.Contains(path, "@nobody") }) {
		t.Error("asked for somebody outside of the namespaces")
	}
}

// TestNetworks looks up places and users of other networks, and rooms in their directories.
func TestNetworks(t *testing.T) {
	s := servertest.New(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+houseToken || r.URL.Query().Has("access_token") {
			w.WriteHeader(403)
			return
		}
		answers := map[string]string{
			"protocol/irc":                         `{"user_fields":["nick"],"location_fields":["channel"],"icon":"mxc://house.test/irc","field_types":{"nick":{"regexp":".*","placeholder":"joe"},"channel":{"regexp":".*","placeholder":"#x"}},"instances":[{"network_id":"libera","desc":"Libera","fields":{"network":"libera"}}]}`,
			"location/irc?channel=%23go":           `[{"alias":"#_irc_go:house.test","protocol":"irc","fields":{"channel":"#go"}}]`,
			"user/irc?nick=joe":                    `[{"userid":"@_irc_joe:house.test","protocol":"irc","fields":{"nick":"joe"}}]`,
			"location?alias=%23_irc_go:house.test": `[{"alias":"#_irc_go:house.test","protocol":"irc","fields":{"channel":"#go"}}]`,
			"user?userid=%40_irc_joe:house.test":   `[{"userid":"@_irc_joe:house.test","protocol":"irc","fields":{"nick":"joe"}}]`,
		}
		asked := strings.ReplaceAll(strings.TrimPrefix(r.URL.RequestURI(), "/_matrix/app/v1/thirdparty/"), "%3A", ":")
		if answer, ok := answers[asked]; ok {
			fmt.Fprint(w, answer)
			return
		}
		if r.Method == http.MethodGet {
			w.WriteHeader(404)
		}
	}))
	defer web.Close()
	add(t, s, registration(web.URL))
	add(t, s, strings.NewReplacer("id: bridge", "id: other", "bridgebot", "otherbot", appToken, "another-token", "_irc_", "_tg_", "[irc]", "[telegram]").Replace(registration("null")))
	room := as(t, s, "", "POST", "v3/createRoom", `{"name":"Go","preset":"public_chat"}`)["room_id"].(string)
	s.User("alice").Must("POST", "v3/createRoom", `{"name":"Ours","visibility":"public"}`, nil)
	as(t, s, "", "PUT", "v3/directory/list/appservice/libera/"+room, `{"visibility":"public"}`)
	whole := as(t, s, "", "POST", "v3/createRoom", `{"name":"All of IRC"}`)["room_id"].(string)
	as(t, s, "", "PUT", "v3/directory/list/appservice/irc/"+whole, `{"visibility":"public"}`)

	alice := s.User("alice")
	for _, c := range []struct {
		path   string
		status int
		want   string // parts, in the answer
	}{
		{"v3/thirdparty/protocols", 200, `"irc":{ "instance_id":"bridge|irc|libera" "network_id":"libera" "icon":"mxc://house.test/irc"`},
		{"v3/thirdparty/protocol/irc", 200, `"instance_id":"bridge|irc|libera" "user_fields":["nick"]`},
		{"v3/thirdparty/protocol/xmpp", 404, `M_NOT_FOUND`},
		{"v3/thirdparty/protocol/telegram", 404, `M_NOT_FOUND`}, // nobody can be asked
		{"v3/thirdparty/location/irc?channel=%23go", 200, `"#_irc_go:house.test"`},
		{"v3/thirdparty/location/irc?channel=%23rust", 404, `M_NOT_FOUND`},
		{"v3/thirdparty/location/xmpp?channel=%23go", 404, `M_NOT_FOUND`},
		{"v3/thirdparty/user/irc?nick=joe", 200, `"@_irc_joe:house.test"`},
		{"v3/thirdparty/user/irc?nick=jane", 404, `M_NOT_FOUND`},
		{"v3/thirdparty/location?alias=%23_irc_go:house.test", 200, `"channel":"#go"`},
		{"v3/thirdparty/location?alias=%23none:house.test", 404, `M_NOT_FOUND`},
		{"v3/thirdparty/user?userid=@_irc_joe:house.test", 200, `"nick":"joe"`},
		{"v3/thirdparty/user?userid=@alice:house.test", 200, `[]`},
		{"v3/thirdparty/user?userid=@nobody:house.test", 404, `M_NOT_FOUND`},
	} {
		r := alice.Do("GET", c.path, "")
		if r.Status != c.status {
			t.Errorf("%s: %d %s", c.path, r.Status, r.Body)
		}
		for _, part := range strings.Fields(c.want) {
			if !strings.Contains(string(r.Body), part) {
				t.Errorf("%s: no %s in %s", c.path, part, r.Body)
			}
		}
	}
	for _, c := range []struct{ body, names string }{
		{`{}`, "Ours"},
		{`{"include_all_networks":true}`, "All of IRC, Go, Ours"},
		{`{"third_party_instance_id":"bridge|irc|libera"}`, "All of IRC, Go"},
		{`{"third_party_instance_id":"bridge|irc|oftc"}`, "All of IRC"},
		{`{"third_party_instance_id":"other|telegram|telegram"}`, ""},
		{`{"third_party_instance_id":"bridge|irc|libera","filter":{"generic_search_term":"irc"}}`, "All of IRC"},
	} {
		var page struct {
			Chunk []struct{ Name string }
			Total int `json:"total_room_count_estimate"`
		}
		alice.Must("POST", "v3/publicRooms", c.body, &page)
		var names []string
		for _, room := range page.Chunk {
			names = append(names, room.Name)
		}
		slices.Sort(names)
		if got := strings.Join(names, ", "); got != c.names || page.Total != len(names) {
			t.Errorf("%s: %s", c.body, got)
		}
	}
	if r := alice.Do("POST", "v3/publicRooms", `{"include_all_networks":true,"third_party_instance_id":"x"}`); r.Status != 400 {
		t.Errorf("both at once: %d %s", r.Status, r.Body)
	}
}

// TestFolder: registrations are read at the start; what is wrong with one is told.
func TestFolder(t *testing.T) {
	folder, data := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tg := strings.NewReplacer("id: bridge", "id: telegram", "bridgebot", "tgbot", appToken, "another-token", "_irc_", "_tg_")
	write("a.yaml", registration("http://127.0.0.1:1"))
	write("b.yml", tg.Replace(registration("null")))
	write("broken.yaml", "id: [")
	write("clash.yaml", strings.NewReplacer("id: bridge", "id: thief", "bridgebot", "thief", appToken, "a-third-token").Replace(registration("null")))
	write("token.yaml", strings.ReplaceAll(registration("null"), houseToken, appToken))
	write("notes.txt", "id: [")
	if err := os.Mkdir(filepath.Join(folder, "folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	in := func(c *server.Config) { c.Appservices = folder }
	t.Run("first", func(t *testing.T) {
		s := servertest.At(t, data, in)
		lines, err := s.Do(t.Context(), server.Order{Do: "appservice list"})
		if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "bridge ") || !strings.HasPrefix(lines[1], "telegram ") {
			t.Errorf("%q, %v", lines, err)
		}
		greeting := strings.Join(s.Greeting(), "\n")
		for _, file := range []string{"broken.yaml", "clash.yaml", "token.yaml"} {
			if !strings.Contains(greeting, filepath.Join(folder, file)+": a registration cannot be used: ") {
				t.Errorf("%s is not told of in %s", file, greeting)
			}
		}
		if strings.Contains(greeting, "a.yaml") || strings.Contains(greeting, houseToken) || strings.Contains(greeting, appToken) || strings.Contains(greeting, "notes") {
			t.Error(greeting)
		}
	})
	// The second time nothing is new, one file has changed, and one is gone.
	write("a.yaml", strings.Replace(registration("http://127.0.0.1:2"), "protocols", "rate_limited: true\nprotocols", 1))
	if err := os.Remove(filepath.Join(folder, "b.yml")); err != nil {
		t.Fatal(err)
	}
	t.Run("second", func(t *testing.T) {
		s := servertest.At(t, data, in)
		if services := s.Services.Services(); len(services) != 2 || services[0].URL != "http://127.0.0.1:2" || !services[0].RateLimited {
			t.Errorf("%+v", services)
		}
		lines, err := s.Do(t.Context(), server.Order{Do: "appservice add", Registration: tg.Replace(registration("null"))})
		if err != nil || lines[0] != "telegram is registered just so already" {
			t.Errorf("%q, %v", lines, err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		s := servertest.At(t, data, func(c *server.Config) { c.Appservices = filepath.Join(folder, "none") })
		if !strings.Contains(strings.Join(s.Greeting(), "\n"), "the folder of registrations cannot be read") {
			t.Error(s.Greeting())
		}
	})
}

// TestOldForms are those that services used before the standard's of today.
func TestOldForms(t *testing.T) {
	s := servertest.New(t)
	bridged(t, s, newBridge(t))
	as(t, s, ghost, "PUT", "v3/devices/GHOST", `{}`)
	// The house notes on its own what the service has been told meanwhile.
	s.Run(t, []servertest.Case{
		{Name: "the token in the query", Method: "GET", Path: "r0/account/whoami?access_token=" + appToken + "&user_id=" + ghost, Status: 200, Want: `{"user_id":"@_irc_ann:house.test"}`},
		{Name: "the device by its old name", Token: appToken, Method: "GET", Path: "v3/account/whoami?org.matrix.msc3202.device_id=GHOST&user_id=" + ghost, Status: 200, Want: `{"device_id":"GHOST"}`},
		{Name: "a device that is not there", Token: appToken, Method: "GET", Path: "v3/account/whoami?org.matrix.msc3202.device_id=X&user_id=" + ghost, Status: 400, Errcode: "M_UNKNOWN_DEVICE", Changes: servertest.Any},
		{Name: "register with a login", Token: appToken, Method: "POST", Path: "r0/register", Body: `{"type":"m.login.application_service","username":"_irc_bea","device_id":"BEA"}`, Status: 200, Want: `{"device_id":"BEA"}`, Changes: servertest.Any},
		{Name: "log in with the old field", Token: appToken, Method: "POST", Path: "r0/login", Body: `{"type":"m.login.application_service","user":"@_irc_bea:house.test","device_id":"BEA2"}`, Status: 200, Changes: servertest.Any},
		{Name: "cross-signing keys without a password", Token: appToken, Method: "POST", Path: "v3/keys/device_signing/upload?user_id=" + ghost, Body: `{"master_key":{"user_id":"` + ghost + `","usage":["master"],"keys":{"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}}`, Status: 200, Changes: servertest.Any},
		{Name: "delete devices without a password", Token: appToken, Method: "POST", Path: "v3/delete_devices?user_id=" + ghost, Body: `{"devices":["GHOST"]}`, Status: 200, Changes: servertest.Any},
		{Name: "an alias of its own", Token: appToken, Method: "PUT", Path: "v3/directory/room/%23_irc_a:house.test?user_id=" + ghost, Body: `{"room_id":"{room}"}`, Status: 200, Changes: servertest.Any},
		{Name: "the owner deletes what is reserved", Who: "owner", Method: "DELETE", Path: "v3/directory/room/%23_irc_a:house.test", Status: 400, Errcode: "M_EXCLUSIVE", Changes: servertest.Any},
		{Name: "the service deletes it", Token: appToken, Method: "DELETE", Path: "v3/directory/room/%23_irc_a:house.test", Status: 200, Changes: servertest.Any},
		{Name: "a ghost is closed without a password", Token: appToken, Method: "POST", Path: "v3/account/deactivate?user_id=@_irc_bea:house.test", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "and acts no more", Token: appToken, Method: "GET", Path: "v3/account/whoami?user_id=@_irc_bea:house.test", Status: 403, Errcode: "M_FORBIDDEN", Changes: servertest.Any},
	})
}
