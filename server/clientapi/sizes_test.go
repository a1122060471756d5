package clientapi_test

import (
	"fmt"
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

// TestAnswersThatAreTooLarge makes more state than one answer may have: who asks for it whole
// is told so, and can read it in parts.
func TestAnswersThatAreTooLarge(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Limits.Answers, c.Limits.RoomState = 100<<10, 500<<10 })
	cases := []servertest.Case{
		{Name: "room", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "state, while it is small", Who: "alice", Method: "GET", Path: "v3/rooms/{room}/state", Status: 200},
	}
	text := strings.Repeat("x", 50<<10)
	for i := range 12 {
		c := servertest.Case{Name: fmt.Sprint("event ", i), Who: "alice", Method: "PUT", Path: fmt.Sprintf("v3/rooms/{room}/state/m.x/%d", i), Body: fmt.Sprintf(`{"x":%q}`, text), Status: 200, Changes: servertest.Any}
		if i >= 9 {
			c.Status, c.Errcode, c.Changes, c.Want = 403, "M_RESOURCE_LIMIT_EXCEEDED", 0, `{"admin_contact":"matrix:u/owner:{server}"}`
		}
		cases = append(cases, c)
	}
	for _, path := range []string{"v3/rooms/{room}/state", "v3/rooms/{room}/members", "v3/rooms/{room}/initialSync", "v3/sync", "v3/initialSync"} {
		cases = append(cases, servertest.Case{Name: path, Who: "alice", Method: "GET", Path: path, Status: 413, Errcode: "M_TOO_LARGE"})
	}
	cases = append(cases,
		servertest.Case{Name: "one event", Who: "alice", Method: "GET", Path: "v3/rooms/{room}/state/m.x/1", Status: 200},
		servertest.Case{Name: "another user", Who: "bob", Method: "GET", Path: "v3/sync", Status: 200},
	)
	s.Run(t, append([]servertest.Case{{Name: "owner", Who: "owner", Method: "GET", Path: "v3/account/whoami", Status: 200}}, cases...))
}
