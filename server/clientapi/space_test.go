package clientapi_test

import (
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

// TestTheDiskIsNearlyFull lets others than the owner write no more, but remove and leave.
func TestTheDiskIsNearlyFull(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Limits.Reserve = 1 << 62 })
	refused := `{"admin_contact":"matrix:u/owner:{server}"}`
	s.Run(t, []servertest.Case{
		{Name: "the owner makes a room", Who: "owner", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "the owner writes", Who: "owner", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"x"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"event": "event_id"}},
		{Name: "a message of another", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"x"}`, Status: 403, Errcode: "M_RESOURCE_LIMIT_EXCEEDED", Want: refused},
		{Name: "a room of another", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{}`, Status: 403, Errcode: "M_RESOURCE_LIMIT_EXCEEDED", Want: refused},
		{Name: "another joins", Who: "alice", Method: "POST", Path: "v3/join/{room}", Body: `{}`, Status: 403, Errcode: "M_RESOURCE_LIMIT_EXCEEDED", Want: refused},
		{Name: "account data of another", Who: "alice", Method: "PUT", Path: "v3/user/@alice:{server}/account_data/x", Body: `{}`, Status: 403, Errcode: "M_RESOURCE_LIMIT_EXCEEDED", Want: refused},
		{Name: "another reads", Who: "alice", Method: "GET", Path: "v3/account/whoami", Status: 200},
		{Name: "the owner removes", Who: "owner", Method: "PUT", Path: "v3/rooms/{room}/redact/{event}/2", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "another logs out", Who: "alice", Method: "POST", Path: "v3/logout", Body: `{}`, Status: 200, Changes: servertest.Any},
	})
}
