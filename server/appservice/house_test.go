package appservice_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

const appToken, houseToken = "as-token-of-the-bridge", "hs-token-of-the-bridge"

func registration(url string) string {
	return fmt.Sprintf(`
id: bridge
url: %s
as_token: %s
hs_token: %s
sender_localpart: bridgebot
protocols: [irc]
namespaces:
  users: [{exclusive: true, regex: '@_irc_.*:house\.test'}]
  aliases: [{exclusive: true, regex: '#_irc_.*:house\.test'}]
`, url, appToken, houseToken)
}

func add(t *testing.T, s *servertest.Server, file string) {
	t.Helper()
	if _, err := s.Do(t.Context(), server.Order{Do: "appservice add", Registration: file}); err != nil {
		t.Fatal(err)
	}
}

func TestActingForUsers(t *testing.T) {
	s := servertest.New(t)
	add(t, s, registration("null"))
	const service = `{"type":"m.login.application_service","username":"_irc_ann","inhibit_login":true}`
	s.Run(t, []servertest.Case{
		{Name: "who the service is", Token: appToken, Method: "GET", Path: "v3/account/whoami", Status: 200, Want: `{"user_id":"@bridgebot:house.test"}`},
		{Name: "a ghost that is not there", Token: appToken, Method: "GET", Path: "v3/account/whoami?user_id=@_irc_ann:house.test", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "anybody registers a reserved name", Method: "POST", Path: "v3/register", Body: `{"username":"_irc_ann","password":"long-enough-1"}`, Status: 400, Errcode: "M_EXCLUSIVE"},
		{Name: "the service's own name", Method: "GET", Path: "v3/register/available?username=_irc_x", Status: 400, Errcode: "M_EXCLUSIVE"},
		{Name: "register without a token", Method: "POST", Path: "v3/register", Body: service, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "register with another's token", Token: "x", Method: "POST", Path: "v3/register", Body: service, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{Name: "register outside", Token: appToken, Method: "POST", Path: "v3/register", Body: `{"type":"m.login.application_service","username":"ann"}`, Status: 400, Errcode: "M_EXCLUSIVE"},
		{Name: "register a ghost", Token: appToken, Method: "POST", Path: "v3/register", Body: service, Status: 200, Want: `{"user_id":"@_irc_ann:house.test"}`, Changes: servertest.Any},
		{Name: "twice", Token: appToken, Method: "POST", Path: "v3/register", Body: service, Status: 400, Errcode: "M_USER_IN_USE"},
		{Name: "act for the ghost", Token: appToken, Method: "GET", Path: "v3/account/whoami?user_id=@_irc_ann:house.test", Status: 200, Want: `{"user_id":"@_irc_ann:house.test"}`},
		{Name: "act for somebody else", Token: appToken, Method: "GET", Path: "v3/account/whoami?user_id=@alice:house.test", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "a device that is not there", Token: appToken, Method: "GET", Path: "v3/account/whoami?user_id=@_irc_ann:house.test&device_id=D", Status: 400, Errcode: "M_UNKNOWN_DEVICE"},
		{Name: "make the device", Token: appToken, Method: "PUT", Path: "v3/devices/D?user_id=@_irc_ann:house.test", Body: `{"display_name":"d"}`, Status: 201, Changes: servertest.Any},
		{Name: "name the device", Token: appToken, Method: "PUT", Path: "v3/devices/D?user_id=@_irc_ann:house.test", Body: `{"display_name":"e"}`, Status: 200, Changes: servertest.Any},
		{Name: "act with the device", Token: appToken, Method: "GET", Path: "v3/account/whoami?user_id=@_irc_ann:house.test&device_id=D", Status: 200, Want: `{"user_id":"@_irc_ann:house.test","device_id":"D"}`},
		{Name: "delete the device", Token: appToken, Method: "DELETE", Path: "v3/devices/D?user_id=@_irc_ann:house.test", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "log the ghost in", Token: appToken, Method: "POST", Path: "v3/login", Body: `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"_irc_ann"}}`, Status: 200, Changes: servertest.Any},
		{Name: "log somebody else in", Token: appToken, Method: "POST", Path: "v3/login", Body: `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"alice"}}`, Status: 400, Errcode: "M_EXCLUSIVE"},
		{Name: "make a room", Token: appToken, Method: "POST", Path: "v3/createRoom", Body: `{"room_alias_name":"_irc_room"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "an alias outside", Token: appToken, Method: "PUT", Path: "v3/directory/room/%23x:house.test", Body: `{"room_id":"{room}"}`, Status: 400, Errcode: "M_EXCLUSIVE"},
		{Name: "anybody takes a reserved alias", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"room_alias_name":"_irc_2"}`, Status: 400, Errcode: "M_EXCLUSIVE"},
		{Name: "a message of another time", Token: appToken, Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1?ts=1234567890123", Body: `{"body":"x","msgtype":"m.text"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"event": "event_id"}},
		{Name: "of no time", Token: appToken, Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/2?ts=now", Body: `{"body":"x","msgtype":"m.text"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "its time", Token: appToken, Method: "GET", Path: "v3/rooms/{room}/event/{event}", Status: 200, Want: `{"origin_server_ts":1234567890123}`},
		{Name: "a message of the first time there is", Token: appToken, Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/3?ts=0", Body: `{"body":"x","msgtype":"m.text"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"first": "event_id"}},
		{Name: "its time as well", Token: appToken, Method: "GET", Path: "v3/rooms/{room}/event/{first}", Status: 200, Want: `{"origin_server_ts":0}`},
		{Name: "a member event of that time", Token: appToken, Method: "PUT", Path: "v3/rooms/{room}/state/m.room.member/@bridgebot:house.test?ts=0", Body: `{"membership":"join","displayname":"B"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"member": "event_id"}},
		{Name: "the member's time", Token: appToken, Method: "GET", Path: "v3/rooms/{room}/event/{member}", Status: 200, Want: `{"origin_server_ts":0}`},
		{Name: "found by it", Token: appToken, Method: "GET", Path: "v1/rooms/{room}/timestamp_to_event?ts=0&dir=b", Status: 200, Want: `{"event_id":"{member}","origin_server_ts":0}`},
		{Name: "before there was time", Token: appToken, Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/4?ts=-1", Body: `{"body":"x","msgtype":"m.text"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "later than can be told", Token: appToken, Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/5?ts=9007199254740992", Body: `{"body":"x","msgtype":"m.text"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "list in the network's directory", Token: appToken, Method: "PUT", Path: "v3/directory/list/appservice/irc/{room}", Body: `{"visibility":"public"}`, Status: 200, Changes: servertest.Any},
		{Name: "of no network", Token: appToken, Method: "PUT", Path: "v3/directory/list/appservice/" + strings.Repeat("x", 256) + "/{room}", Body: `{"visibility":"public"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "anybody lists", Who: "alice", Method: "PUT", Path: "v3/directory/list/appservice/irc/{room}", Body: `{"visibility":"public"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "ping without a URL", Token: appToken, Method: "POST", Path: "v1/appservice/bridge/ping", Body: `{}`, Status: 400, Errcode: "M_URL_NOT_SET"},
		{Name: "ping another service", Token: appToken, Method: "POST", Path: "v1/appservice/other/ping", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "a user pings", Who: "alice", Method: "POST", Path: "v1/appservice/bridge/ping", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
	})
}

func TestOverlapsAreRefused(t *testing.T) {
	s := servertest.New(t)
	add(t, s, registration("null"))
	other := strings.NewReplacer("id: bridge", "id: other", "bridgebot", "otherbot", appToken, "another-token").Replace(registration("null"))
	_, err := s.Do(t.Context(), server.Order{Do: "appservice add", Registration: other})
	if err == nil || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("%v", err)
	}
	add(t, s, strings.ReplaceAll(other, "_irc_", "_tg_"))
	lines, err := s.Do(t.Context(), server.Order{Do: "appservice list"})
	if err != nil || len(lines) != 2 {
		t.Errorf("%v, %v", lines, err)
	}
	if text := strings.Join(lines, " "); strings.Contains(text, "token") {
		t.Errorf("a token is told: %s", text)
	}
	for _, id := range []string{"bridge", "other"} {
		if _, err := s.Do(t.Context(), server.Order{Do: "appservice remove", Service: id}); err != nil {
			t.Error(err)
		}
	}
}

// fake is an application service.
type fake struct {
	mu     sync.Mutex
	down   bool
	status int // of pings
	bodies []string
	ids    []string
	events []string
	news   chan struct{} // holds one
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+houseToken {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id, isTransaction := strings.CutPrefix(r.URL.Path, "/_matrix/app/v1/transactions/")
	if !isTransaction {
		f.bodies = append(f.bodies, string(raw))
		w.WriteHeader(f.status)
		fmt.Fprint(w, `{"x":1}`)
		return
	}
	defer func() {
		select {
		case f.news <- struct{}{}:
		default:
		}
	}()
	var body struct {
		Events []struct {
			Content struct{ Body string }
		}
	}
	if json.Unmarshal(raw, &body) != nil {
		return
	}
	seen := slices.Contains(f.ids, id)
	f.ids = append(f.ids, id)
	if !seen { // as a service that tells transactions apart by their IDs
		for _, e := range body.Events {
			if e.Content.Body != "" {
				f.events = append(f.events, e.Content.Body)
			}
		}
	}
	if f.down { // it took the transaction, and the answer is lost
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	fmt.Fprint(w, "{}")
}

func (f *fake) set(down bool, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.status = down, status
}

// until waits until the service has seen this many messages.
func (f *fake) until(t *testing.T, done func() bool) {
	t.Helper()
	for {
		f.mu.Lock()
		is := done()
		f.mu.Unlock()
		if is {
			return
		}
		select {
		case <-f.news:
		case <-t.Context().Done():
			t.Fatal("the service was not told")
		}
	}
}

func TestTransactionsSurviveRestarts(t *testing.T) {
	folder := t.TempDir()
	f := &fake{news: make(chan struct{}, 1), status: 200}
	web := httptest.NewServer(f)
	defer web.Close()
	var room, want string
	t.Run("before", func(t *testing.T) {
		s := servertest.At(t, folder)
		add(t, s, registration(web.URL))
		alice := s.User("alice")
		var out struct {
			Room string `json:"room_id"`
		}
		alice.Must("POST", "v3/createRoom", `{"invite":["@bridgebot:house.test"],"preset":"public_chat"}`, &out)
		room = out.Room
		s.Set("room", room)
		if r := s.Ask(t.Context(), appToken, "POST", "v3/rooms/"+room+"/join", strings.NewReader(`{}`)); r.Status != 200 {
			t.Fatalf("%s", r.Body)
		}
		for i := range 5 {
			alice.Must("PUT", fmt.Sprintf("v3/rooms/{room}/send/m.room.message/a%d", i), fmt.Sprintf(`{"msgtype":"m.text","body":"a%d"}`, i), nil)
		}
		f.until(t, func() bool { return len(f.events) == 5 })
		f.set(true, 200)
		for i := range 5 {
			alice.Must("PUT", fmt.Sprintf("v3/rooms/{room}/send/m.room.message/b%d", i), fmt.Sprintf(`{"msgtype":"m.text","body":"b%d"}`, i), nil)
		}
		f.until(t, func() bool { return len(f.events) > 5 }) // in flight, not acknowledged
	})
	f.set(false, 200)
	t.Run("after", func(t *testing.T) {
		s := servertest.At(t, folder)
		s.User("alice").Must("PUT", "v3/rooms/"+room+"/send/m.room.message/c", `{"msgtype":"m.text","body":"c"}`, nil)
		f.until(t, func() bool { return len(f.events) >= 11 })
	})
	for _, name := range []string{"a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3", "b4", "c"} {
		want += name + " "
	}
	if got := strings.Join(f.events, " ") + " "; got != want {
		t.Errorf("told %s, transactions %v", got, f.ids)
	}
}

func TestRoomsMadeOnDemand(t *testing.T) {
	s := servertest.New(t)
	var paths []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return // a transaction
		}
		paths = append(paths, r.URL.EscapedPath())
		made := &servertest.Response{Status: http.StatusNotFound}
		if strings.HasPrefix(r.URL.Path, "/_matrix/app/v1/rooms/#_irc_made:") {
			made = s.Ask(r.Context(), appToken, "POST", "v3/createRoom", strings.NewReader(`{"room_alias_name":"_irc_made","preset":"public_chat"}`))
		}
		w.WriteHeader(made.Status)
	}))
	defer web.Close()
	add(t, s, registration(web.URL))
	s.Run(t, []servertest.Case{
		{Name: "join what is made on demand", Who: "alice", Method: "POST", Path: "v3/join/%23_irc_made:house.test", Body: `{}`, Status: 200, Changes: servertest.Any},
	})
	// Not as cases: the service's worker may write its place meanwhile.
	for _, path := range []string{"v3/directory/room/%23_irc_none:house.test", "v3/profile/@_irc_none:house.test", "v3/directory/room/%23none:house.test"} {
		if r := s.Ask(t.Context(), "", "GET", path, nil); r.Status != 404 || r.Errcode() != "M_NOT_FOUND" {
			t.Errorf("%s: %d %s", path, r.Status, r.Body)
		}
	}
	want := []string{"/_matrix/app/v1/rooms/%23_irc_made:house.test"}
	if len(paths) == 0 || paths[0] != want[0] {
		t.Errorf("asked for %v", paths)
	}
}

func TestPing(t *testing.T) {
	f := &fake{news: make(chan struct{}, 1), status: 200}
	web := httptest.NewServer(f)
	s := servertest.New(t)
	add(t, s, registration(web.URL))
	ping := func(path string) *servertest.Response {
		return s.Ask(t.Context(), appToken, "POST", path, strings.NewReader(`{"transaction_id":"meow"}`))
	}
	for _, path := range []string{"v1/appservice/bridge/ping", "unstable/fi.mau.msc2659/appservice/bridge/ping"} {
		if r := ping(path); r.Status != 200 || !strings.Contains(string(r.Body), "duration_ms") {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	}
	if len(f.bodies) != 2 || f.bodies[0] != `{"transaction_id":"meow"}` {
		t.Errorf("%q", f.bodies)
	}
	f.set(false, 418)
	var bad struct {
		Errcode, Body string
		Status        int
	}
	r := ping("v1/appservice/bridge/ping")
	if r.JSON(t, &bad); r.Status != 502 || bad.Errcode != "M_BAD_STATUS" || bad.Status != 418 || bad.Body != `{"x":1}` {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	web.Close()
	if r := ping("v1/appservice/bridge/ping"); r.Status != 502 || r.Errcode() != "M_CONNECTION_FAILED" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	if strings.Contains(string(r.Body), houseToken) {
		t.Error("the token is told")
	}
}
