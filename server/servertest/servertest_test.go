package servertest_test

import (
	"io"
	"net/http"
	"testing"

	"porchlight/server/servertest"
)

func TestHouse(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		{Name: "versions", Method: "GET", Path: "versions", Status: 200, Want: `{"versions":["r0.5.0","…"],"unstable_features":{}}`},
		{Name: "unknown", Method: "GET", Path: "v3/nothing", Status: 404, Errcode: "M_UNRECOGNIZED"},
		{Name: "no token", Method: "POST", Path: "v3/createRoom", Body: "{}", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "bad token", Token: "x", Method: "POST", Path: "v3/createRoom", Body: "{}", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		{
			Name: "create", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"invite":["{@bob}"],"room_alias_name":"a/b"}`,
			Status: 200, Want: `{"room_id":"!*"}`, Changes: servertest.Any, Save: map[string]string{"room": "room_id"},
		},
		{
			Name: "alias with a slash", Who: "bob", Method: "GET", Path: "v3/directory/room/%23a%2Fb:{server}",
			Status: 200, Want: `{"room_id":"{room}"}`,
		},
		{
			Name: "send", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/t1", Body: `{"body":"{@alice.device}"}`,
			Status: 200, Want: `{"event_id":"$*"}`, Changes: 1, Save: map[string]string{"event": "event_id"},
		},
		{
			Name: "send again", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/t1", Body: `{"body":"x"}`,
			Status: 200, Want: `{"event_id":"{event}"}`,
		},
		{
			Name: "send from outside", Who: "carol", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/t1", Body: `{}`,
			Status: 403, Errcode: "M_FORBIDDEN",
		},
	})
	resp, err := http.Get(s.URL() + "/_matrix/client/versions")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Errorf("%d, %v", resp.StatusCode, err)
	}
}
