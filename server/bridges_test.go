package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

const wideToken = "as-token-of-a-wide-bridge"

// wide is a bridge that may act for everybody, as those for double puppeting are registered.
func wide(t *testing.T, s *servertest.Server, url string) {
	t.Helper()
	_, err := s.Do(t.Context(), server.Order{Do: "appservice add", Registration: fmt.Sprintf(`
id: wide
url: %s
as_token: %s
hs_token: hs-token-of-a-wide-bridge
sender_localpart: widebot
namespaces:
  users: [{exclusive: false, regex: '@.*:house\.test'}]
  aliases: [{exclusive: false, regex: '#.*:house\.test'}]
`, url, wideToken)})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBridgesHaveNoRightsOfPeople: whoever acts for people by a namespace posts for them, and
// has none of what they may over the server and the board.
func TestBridgesHaveNoRightsOfPeople(t *testing.T) {
	s := servertest.New(t, withNoDevices)
	owner, bob := s.User("owner"), s.User("bob")
	s.SetPassword("bob", ownersPassword)
	s.User("admin")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
		if err := s.Accounts.SetAdmin(tx, "@admin:house.test", true); err != nil {
			return err
		}
		return s.MakeOwner(tx, owner.ID)
	})
	wide(t, s, "null")
	var control matrix.RoomID
	kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
		for room, m := range s.Rooms.Memberships(tx, owner.ID) {
			if m.State == "join" && s.Rooms.Membership(tx, room, s.BoardUser()) == "join" {
				control = room
			}
		}
	})
	s.Set("control", string(control))
	login := func(who string) servertest.Case {
		return servertest.Case{Name: "log in as " + who, Token: wideToken, Method: "POST", Path: "v3/login", Status: 403, Errcode: "M_FORBIDDEN",
			Body: fmt.Sprintf(`{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":%q}}`, who)}
	}
	const said = `{"msgtype":"m.text","body":"open"}`
	as := func(who string) string { return "?user_id=@" + who + ":house.test" }
	board := s.BoardUser().Localpart()
	s.Run(t, []servertest.Case{
		login("owner"), login("admin"), login("bob"), login(board),
		{Name: "lock as the owner", Token: wideToken, Method: "PUT", Path: "v1/admin/lock/{@bob}" + as("owner"), Body: `{"locked":true}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "lock as an administrator", Token: wideToken, Method: "PUT", Path: "v1/admin/lock/{@bob}" + as("admin"), Body: `{"locked":true}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "the status", Token: wideToken, Method: "GET", Path: "/_porchlight/status" + as("owner"), Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "open the door as the owner", Token: wideToken, Method: "PUT", Path: "v3/rooms/{control}/send/m.room.message/1" + as("owner"), Body: said, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "call as the owner", Token: wideToken, Method: "PUT", Path: "v3/rooms/{control}/send/m.call.invite/2" + as("owner"), Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "act for the board", Token: wideToken, Method: "GET", Path: "v3/account/whoami" + as(board), Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "the owner may", Who: "owner", Method: "PUT", Path: "v3/rooms/{control}/send/m.room.message/3", Body: `{"msgtype":"m.text","body":"hello"}`, Status: 200, Changes: servertest.Any},
	})
	var made struct {
		Room string `json:"room_id"`
	}
	bob.Must("POST", "v3/createRoom", `{"invite":["{@owner}"]}`, &made)
	owner.Must("POST", "v3/rooms/"+made.Room+"/join", `{}`, nil)
	s.Set("room", made.Room)
	s.Run(t, []servertest.Case{
		{Name: "double puppeting", Token: wideToken, Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/4" + as("owner"), Body: said, Status: 200, Changes: servertest.Any},
	})
}

// withNoDevices gives a server a board without a camera, a microphone or a loudspeaker.
func withNoDevices(c *server.Config) {
	c.Board = server.BoardConfig{Camera: "none", Microphone: "none", Loudspeaker: "none", Loopback: true}
}

// TestStrangersAskNoBridges: names that are not there are asked of bridges for who is signed in
// only.
func TestStrangersAskNoBridges(t *testing.T) {
	var asked atomic.Int32
	hold := make(chan struct{})
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/users/") || strings.Contains(r.URL.Path, "/rooms/") {
			asked.Add(1)
			<-hold
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(bridge.Close)
	s := servertest.New(t, func(c *server.Config) { c.AllowPrivateNetworks = true })
	wide(t, s, bridge.URL)
	s.Run(t, []servertest.Case{
		{Name: "a profile", Method: "GET", Path: "v3/profile/@ghost:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "an alias", Method: "GET", Path: "v3/directory/room/%23ghost:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
	})
	if n := asked.Load(); n != 0 {
		t.Errorf("strangers have asked %d times", n)
	}
	close(hold)
	if r := s.User("bob").Do("GET", "v3/profile/@ghost:{server}", ""); r.Status != 404 || asked.Load() == 0 {
		t.Errorf("who is signed in: %d %s, asked %d times", r.Status, r.Body, asked.Load())
	}
}
