package clientapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// seen is which of the messages of TestHistoryVisibility somebody sees, by number: what was
// said before anybody else was asked in, while bob was invited, while he was in the room,
// and after he left.
type seen struct {
	who   string
	said  string // such as "01"
	inner int    // the status of reading the room as a whole
}

// TestHistoryVisibility asks every operation that reads a room on behalf of members, former
// members, those invited, strangers and guests (spec: client-server API, room history
// visibility).
func TestHistoryVisibility(t *testing.T) {
	tests := map[string][]seen{
		"world_readable": {{"alice", "0123", 200}, {"bob", "0123", 200}, {"dave", "0123", 200}, {"carol", "0123", 200}, {"visitor", "0123", 200}},
		"shared":         {{"alice", "0123", 200}, {"bob", "012", 200}, {"dave", "", 403}, {"carol", "", 403}, {"visitor", "", 403}},
		"invited":        {{"alice", "0123", 200}, {"bob", "12", 200}, {"dave", "123", 403}, {"carol", "", 403}, {"visitor", "", 403}},
		"joined":         {{"alice", "0123", 200}, {"bob", "2", 200}, {"dave", "", 403}, {"carol", "", 403}, {"visitor", "", 403}},
		"nonsense":       {{"alice", "0123", 200}, {"bob", "012", 200}, {"dave", "", 403}, {"carol", "", 403}, {"visitor", "", 403}},
	}
	for visibility, viewers := range tests {
		t.Run(visibility, func(t *testing.T) {
			s := servertest.New(t)
			kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
				_, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: "visitor", Guest: true})
				return err
			})
			leave := act("leave", "bob", "leave", `{}`, 200, "")
			s.Run(t, []servertest.Case{
				createRoom("room", "alice", `{"name":"Before","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"`+visibility+`"}}]}`),
				say("room", "alice", "said0"),
				act("invite bob", "alice", "invite", `{"user_id":"{@bob}"}`, 200, ""),
				act("invite dave", "alice", "invite", `{"user_id":"{@dave}"}`, 200, ""),
				relating("said1", "m.thread", "said0"),
				joinRoom("room", "bob"),
				relating("said2", "m.thread", "said0"),
				leave,
				setState("room", "alice", "m.room.name", `{"name":"After"}`),
				relating("said3", "m.reference", "said2"),
			})
			for _, v := range viewers {
				t.Run(v.who, func(t *testing.T) { v.check(t, s, visibility) })
			}
		})
	}
}

// status asks as the viewer and compares the status.
func (v seen) status(t *testing.T, s *servertest.Server, path string, want int) *servertest.Response {
	t.Helper()
	r := s.User(v.who).Do("GET", path, "")
	if r.Status != want {
		t.Errorf("%s: %d %s, want %d", path, r.Status, r.Body, want)
	}
	for _, n := range []int{1, 3} { // not even among what relates to something else
		if !strings.Contains(v.said, fmt.Sprint(n)) && strings.Contains(string(r.Body), s.Var(fmt.Sprint("said", n))) {
			t.Errorf("%s tells of message %d: %s", path, n, r.Body)
		}
	}
	return r
}

// relating is a case in which alice says something that relates to what she said before.
func relating(name, relType, parent string) servertest.Case {
	c := say("room", "alice", name)
	c.Body = `{"msgtype":"m.text","body":"` + name + `","m.relates_to":{"rel_type":"` + relType + `","event_id":"{` + parent + `}"}}`
	return c
}

// checkRelations: what relates to an event is for those who see both.
func (v seen) checkRelations(t *testing.T, s *servertest.Server) {
	var page struct{ Chunk []matrix.ClientEvent }
	for parent, children := range map[string]string{"0": "12", "2": "3"} {
		want := 404
		if strings.Contains(v.said, parent) {
			want = 200
		}
		for _, path := range []string{"", "?recurse=true", "/m.thread", "/m.thread/m.room.message", "/m.reference", "/m.reference/m.room.message"} {
			r := v.status(t, s, "v1/rooms/{room}/relations/{said"+parent+"}"+path, want)
			if want != 200 || path != "" {
				continue
			}
			r.JSON(t, &page)
			slices.Reverse(page.Chunk)
			seen{said: v.among(children)}.sees(t, "relations", page.Chunk)
		}
	}
	if r := v.status(t, s, "v1/rooms/{room}/threads", v.inner); v.inner == 200 {
		r.JSON(t, &page)
		roots := ""
		if strings.Contains(v.said, "0") && v.among("12") != "" {
			roots = "0"
		}
		seen{said: roots}.sees(t, "threads", page.Chunk)
	}
}

// among is which of these messages they see.
func (v seen) among(messages string) (both string) {
	for _, n := range messages {
		if strings.ContainsRune(v.said, n) {
			both += string(n)
		}
	}
	return both
}

// checkSearch: who is or was in the room finds what they see.
func (v seen) checkSearch(t *testing.T, s *servertest.Server) {
	for n := range 4 {
		count := 0
		if (v.who == "alice" || v.who == "bob") && strings.Contains(v.said, fmt.Sprint(n)) {
			count = 1
		}
		r := s.User(v.who).Do("POST", "v3/search", fmt.Sprintf(`{"search_categories":{"room_events":{"search_term":"said%d"}}}`, n))
		servertest.Match(t, r.Body, fmt.Sprintf(`{"search_categories":{"room_events":{"count":%d}}}`, count))
	}
}

func (v seen) check(t *testing.T, s *servertest.Server, visibility string) {
	for n := range 4 {
		id, want := fmt.Sprintf("{said%d}", n), 404
		if strings.Contains(v.said, fmt.Sprint(n)) {
			want = 200
		}
		v.status(t, s, "v3/rooms/{room}/event/"+id, want)
		if v.who != "visitor" { // not an operation for guests
			v.status(t, s, "v3/events/"+id, want)
		}
		if r := v.status(t, s, "v3/rooms/{room}/context/"+id+"?limit=100", want); want == 200 {
			var around struct {
				Before []matrix.ClientEvent `json:"events_before"`
				Event  matrix.ClientEvent
				After  []matrix.ClientEvent `json:"events_after"`
			}
			r.JSON(t, &around)
			slices.Reverse(around.Before)
			v.sees(t, "context", slices.Concat(around.Before, []matrix.ClientEvent{around.Event}, around.After))
		}
	}
	for _, path := range []string{"messages?dir=f&limit=100", "messages?dir=b&limit=100"} {
		if r := v.status(t, s, "v3/rooms/{room}/"+path, v.inner); v.inner == 200 {
			var page struct{ Chunk []matrix.ClientEvent }
			r.JSON(t, &page)
			if strings.Contains(path, "dir=b") {
				slices.Reverse(page.Chunk)
			}
			v.sees(t, path, page.Chunk)
		}
	}
	if r := v.status(t, s, "v3/rooms/{room}/initialSync?limit=100", v.inner); v.inner == 200 {
		var room struct {
			Messages struct{ Chunk []matrix.ClientEvent }
		}
		r.JSON(t, &room)
		v.sees(t, "initialSync", room.Messages.Chunk)
	}
	v.checkState(t, s, visibility)
	if v.who == "visitor" {
		return
	}
	members := 403
	if v.who == "alice" {
		members = 200
	}
	v.status(t, s, "v3/rooms/{room}/joined_members", members)
	v.status(t, s, "v1/rooms/{room}/timestamp_to_event?ts=0&dir=f", v.inner)
	v.checkRelations(t, s)
	v.checkSearch(t, s)
	hierarchy := 403 // known to members, those invited, and where anybody may look in
	if v.who == "alice" || v.who == "dave" || visibility == "world_readable" {
		hierarchy = 200
	}
	v.status(t, s, "v1/rooms/{room}/hierarchy", hierarchy)
}

// checkState: who has left sees the state as it was then.
func (v seen) checkState(t *testing.T, s *servertest.Server, visibility string) {
	name := "After"
	if v.who == "bob" && visibility != "world_readable" {
		name = "Before"
	}
	if r := v.status(t, s, "v3/rooms/{room}/state/m.room.name", v.inner); v.inner == 200 {
		servertest.Match(t, r.Body, `{"name":"`+name+`"}`)
	}
	if r := v.status(t, s, "v3/rooms/{room}/state", v.inner); v.inner == 200 && !strings.Contains(string(r.Body), `{"name":"`+name+`"}`) {
		t.Errorf("the state does not have the name %s: %s", name, r.Body)
	}
	v.status(t, s, "v3/rooms/{room}/members", v.inner)
}

// sees compares what was said, of events in the order of the timeline.
func (v seen) sees(t *testing.T, where string, events []matrix.ClientEvent) {
	t.Helper()
	got := ""
	for _, e := range events {
		if e.Type == "m.room.message" {
			content, err := matrix.ParseObject(e.Content)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := content.Text("body")
			got += strings.TrimPrefix(body, "said")
		}
	}
	if got != v.said {
		t.Errorf("%s shows %q, want %q", where, got, v.said)
	}
}

// TestForgottenRoomsAreClosed: history that was to be seen is not any more.
func TestForgottenRoomsAreClosed(t *testing.T) {
	s := servertest.New(t)
	get := func(path string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: fmt.Sprint(path, " ", status), Who: "bob", Method: "GET", Path: "v3/" + path, Status: status, Errcode: errcode}
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat"}`),
		joinRoom("room", "bob"),
		say("room", "alice", "hello"),
		act("leave", "bob", "leave", `{}`, 200, ""),
		get("rooms/{room}/event/{hello}", 200, ""),
		get("rooms/{room}/context/{hello}", 200, ""),
		act("forget", "bob", "forget", `{}`, 200, ""),
		get("rooms/{room}/event/{hello}", 404, "M_NOT_FOUND"),
		get("rooms/{room}/context/{hello}", 404, "M_NOT_FOUND"),
		get("events/{hello}", 404, "M_NOT_FOUND"),
		get("rooms/{room}/messages?dir=b", 403, "M_FORBIDDEN"),
		get("rooms/{room}/state", 403, "M_FORBIDDEN"),
		get("rooms/{room}/initialSync", 403, "M_FORBIDDEN"),
		joinRoom("room", "bob"),
		get("rooms/{room}/event/{hello}", 200, ""),
	})
}
