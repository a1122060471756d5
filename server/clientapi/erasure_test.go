package clientapi_test

import (
	"strings"
	"testing"

	"porchlight/server/servertest"
)

// TestErasure: what somebody said who asked to be forgotten is hidden from those who came
// later, in whichever way it is read, and from nobody else (spec: client-server API, POST
// account/deactivate).
func TestErasure(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	secret := func(name, body string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/" + name, Body: body, Status: 200, Changes: servertest.Any, Save: map[string]string{name: "event_id"}}
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "owner", `{"preset":"public_chat"}`),
		joinRoom("room", "alice"),
		{Name: "alice has a name", Who: "alice", Method: "PUT", Path: "v3/profile/{@alice}/displayname", Body: `{"displayname":"Secret Alice"}`, Status: 200, Changes: servertest.Any},
		joinRoom("room", "bob"),
		secret("root", `{"msgtype":"m.text","body":"secret root"}`),
		secret("edit", `{"msgtype":"m.text","body":"* secret","m.new_content":{"msgtype":"m.text","body":"secret edit"},"m.relates_to":{"rel_type":"m.replace","event_id":"{root}"}}`),
		secret("reply", `{"msgtype":"m.text","body":"secret reply","m.relates_to":{"rel_type":"m.thread","event_id":"{root}"}}`),
		{Name: "bob replies", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"bob's","m.relates_to":{"rel_type":"m.thread","event_id":"{root}"}}`, Status: 200, Changes: servertest.Any},
		joinRoom("room", "carol"),
		act("carol leaves", "carol", "leave", `{}`, 200, ""),
		{Name: "alice wants to be forgotten", Who: "alice", Method: "POST", Path: "v3/account/deactivate", Body: `{"erase":true,"auth":` + passwordAuth("alice", password, "") + `}`, Status: 200, Changes: servertest.Any},
		joinRoom("room", "dave"),
		joinRoom("room", "carol"),
	})
	reads := []string{
		"v3/sync", "v3/initialSync?limit=100", "v3/rooms/{room}/initialSync?limit=100",
		"v3/rooms/{room}/messages?dir=b&limit=100", "v3/rooms/{room}/messages?dir=f&limit=100",
		"v3/rooms/{room}/event/{root}", "v3/rooms/{room}/event/{reply}", "v3/events/{edit}",
		"v3/rooms/{room}/context/{reply}?limit=100",
		"v1/rooms/{room}/relations/{root}", "v1/rooms/{room}/relations/{root}/m.replace", "v1/rooms/{room}/threads",
	}
	for _, path := range reads {
		for who, sees := range map[string]bool{"bob": true, "carol": true, "dave": false} {
			r := s.User(who).Do("GET", path, "")
			if r.Status != 200 {
				t.Errorf("%s as %s: %d %s", path, who, r.Status, r.Body)
			} else if got := strings.Contains(strings.ToLower(string(r.Body)), "secret"); got != sees {
				t.Errorf("%s as %s shows what alice said: %t, want %t: %s", path, who, got, sees, r.Body)
			}
		}
	}
	for _, path := range []string{"v3/rooms/{room}/state", "v3/rooms/{room}/state/m.room.member/{@alice}", "v3/rooms/{room}/members", "v3/profile/{@alice}"} {
		if r := s.User("dave").Do("GET", path, ""); strings.Contains(string(r.Body), "Secret") {
			t.Errorf("%s shows what alice was called: %s", path, r.Body)
		}
	}
	for who, count := range map[string]string{"bob": "1", "carol": "1", "dave": "0"} {
		r := s.User(who).Do("POST", "v3/search", `{"search_categories":{"room_events":{"search_term":"secret edit"}}}`)
		servertest.Match(t, r.Body, `{"search_categories":{"room_events":{"count":`+count+`}}}`)
	}
}
