package push_test

import (
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/servertest"
)

// house is a house with a room in which some users are.
type house struct {
	*servertest.Server
	t    *testing.T
	room string
	txn  int
}

func newHouse(t *testing.T, s *servertest.Server, users ...string) *house {
	h := &house{Server: s, t: t}
	var made struct {
		Room string `json:"room_id"`
	}
	s.User(users[0]).Must("POST", "v3/createRoom", `{"preset":"public_chat"}`, &made)
	h.room = made.Room
	s.Set("room", h.room)
	for _, u := range users[1:] {
		s.User(u).Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	}
	return h
}

// send sends an event and returns its ID.
func (h *house) send(who, content string) string {
	h.t.Helper()
	h.txn++
	var sent struct {
		ID string `json:"event_id"`
	}
	h.User(who).Must("PUT", fmt.Sprintf("v3/rooms/{room}/send/m.room.message/t%d", h.txn), content, &sent)
	return sent.ID
}

func (h *house) say(who, text string) string {
	h.t.Helper()
	return h.send(who, `{"msgtype":"m.text","body":"`+text+`"}`)
}

func (h *house) inThread(who, root string) string {
	h.t.Helper()
	return h.send(who, `{"msgtype":"m.text","body":"x","m.relates_to":{"rel_type":"m.thread","event_id":"`+root+`"}}`)
}

func (h *house) read(who, kind, event, thread string) {
	h.t.Helper()
	body := `{}`
	if thread != "" {
		body = `{"thread_id":"` + thread + `"}`
	}
	h.User(who).Must("POST", "v3/rooms/{room}/receipt/"+kind+"/"+event, body, nil)
}

// unread holds what is kept to what is said, and to what a server that knows nothing yet
// counts.
func (h *house) unread(who, want string) {
	h.t.Helper()
	for _, keeper := range []*push.Keeper{h.Push, h.Push.Forgetful()} {
		kvtest.View(h.t, h.DB, func(tx *kv.ReadTx) {
			user := h.User(who).ID
			sum, _ := keeper.Unread(tx, user, matrix.RoomID(h.room), false)
			main, threads := keeper.Unread(tx, user, matrix.RoomID(h.room), true)
			got := fmt.Sprintf("%d/%d %d/%d", sum.Notifications, sum.Highlights, main.Notifications, main.Highlights)
			for _, n := range threads {
				got += fmt.Sprintf(" %d/%d", n.Notifications, n.Highlights)
			}
			if got != want {
				h.t.Errorf("%s has not read %s, want %s", who, got, want)
			}
		})
	}
}

func TestUnreadCounts(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob", "carol")
	mention := `{"msgtype":"m.text","body":"x","m.mentions":{"user_ids":["@bob:` + servertest.Name + `"]}}`
	h.unread("bob", "0/0 0/0")
	first := h.say("alice", "one")
	h.send("alice", `{"msgtype":"m.notice","body":"beep"}`)
	h.unread("bob", "1/0 1/0")
	h.unread("alice", "0/0 0/0")
	loud := h.send("alice", mention)
	h.unread("bob", "2/1 2/1")
	h.unread("carol", "2/0 2/0")

	h.read("bob", "m.read", first, "")
	h.unread("bob", "1/1 1/1")
	h.User("alice").Must("PUT", "v3/rooms/{room}/redact/"+loud+"/r1", `{}`, nil)
	h.unread("bob", "0/0 0/0")
	h.unread("carol", "1/0 1/0")

	h.say("bob", "my own")
	h.unread("bob", "0/0 0/0")
	last := h.say("carol", "two")
	h.read("bob", "m.read.private", last, "")
	h.unread("bob", "0/0 0/0")
	h.say("carol", "three")
	h.unread("bob", "1/0 1/0")
	h.read("bob", "m.read", first, "") // behind the private one
	h.unread("bob", "1/0 1/0")

	h.User("bob").Must("PUT", "v3/user/{@bob}/account_data/m.ignored_user_list", `{"ignored_users":{"{@carol}":{}}}`, nil)
	h.unread("bob", "0/0 0/0")
	h.say("carol", "unheard")
	h.unread("bob", "0/0 0/0")
	h.unread("alice", "4/0 4/0")

	h.User("bob").Must("PUT", "v3/pushrules/global/room/{room}", `{"actions":[]}`, nil)
	h.say("alice", "muted")
	h.unread("bob", "0/0 0/0")
	h.unread("carol", "1/0 1/0")
	h.User("bob").Must("DELETE", "v3/pushrules/global/room/{room}", ``, nil)
	h.say("alice", "loud again")
	h.unread("bob", "1/0 1/0")

	h.User("bob").Must("POST", "v3/rooms/{room}/leave", `{}`, nil)
	h.unread("bob", "0/0 0/0")
	h.say("alice", "without bob")
	h.User("bob").Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	h.unread("bob", "0/0 0/0")
	h.say("alice", "with bob")
	h.unread("bob", "1/0 1/0")
	h.User("bob").Must("PUT", "v3/profile/{@bob}/displayname", `{"displayname":"Bob"}`, nil)
	h.unread("bob", "1/0 1/0")
}

func TestUnreadInThreads(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	root := h.say("alice", "root")
	h.unread("bob", "1/0 1/0")
	in := h.inThread("alice", root)
	h.unread("bob", "2/0 1/0 1/0")
	// A reaction of a reply in the thread belongs to it; edits notify nobody.
	h.send("alice", `{"msgtype":"m.text","body":"x","m.relates_to":{"rel_type":"m.reference","event_id":"`+in+`"}}`)
	h.unread("bob", "3/0 1/0 2/0")
	h.read("bob", "m.read", root, "main")
	h.unread("bob", "2/0 0/0 2/0")
	h.read("bob", "m.read", in, root)
	h.unread("bob", "1/0 0/0 1/0")
	last := h.say("alice", "behind")
	h.unread("bob", "2/0 1/0 1/0")
	h.read("bob", "m.read.private", last, "")
	h.unread("bob", "0/0 0/0")
	h.inThread("alice", root)
	h.unread("bob", "1/0 0/0 1/0")
}

func TestInvitesAndCallsNotify(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	h.User("alice").Must("PUT", "v3/rooms/{room}/send/m.call.invite/c", `{"call_id":"1","version":"1","party_id":"a","lifetime":60000,"offer":{"type":"offer","sdp":"x"}}`, nil)
	h.unread("bob", "1/0 1/0")
	h.User("alice").Must("POST", "v3/rooms/{room}/invite", `{"user_id":"{@carol}"}`, nil)
	h.unread("bob", "1/0 1/0")
	h.Run(t, []servertest.Case{
		{Name: "carol is notified", Who: "carol", Method: "GET", Path: "v3/notifications", Status: 200,
			Want: `{"notifications":[{"event":{"type":"m.room.member","state_key":"{@carol}"},"room_id":"{room}","read":false,"actions":["notify",{"set_tweak":"sound","value":"default"}],"ts":"*"}],"next_token":"!absent"}`},
	})
}

// TestCountsInSync: the counts come with the event that changes them, also right after a
// restart.
func TestCountsInSync(t *testing.T) {
	folder := t.TempDir()
	var since, root string
	want := func(s *servertest.Server, name, query, want string) {
		t.Helper()
		s.Run(t, []servertest.Case{{Name: name, Who: "bob", Method: "GET", Path: "v3/sync" + query, Status: 200, Changes: servertest.Any, Want: want, Save: map[string]string{"since": "next_batch"}}})
		since = s.Var("since")
	}
	threads := `filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22unread_thread_notifications%22%3Atrue%7D%7D%7D`
	var room string
	t.Run("before", func(t *testing.T) {
		s := servertest.At(t, folder)
		h := newHouse(t, s, "alice", "bob")
		room = h.room
		want(s, "nothing", "", `{"rooms":{"join":{"{room}":{"unread_notifications":{"notification_count":0,"highlight_count":0}}}}}`)
		root = h.say("alice", "hello")
		h.inThread("alice", root)
		want(s, "with the event", "?since="+since, `{"rooms":{"join":{"{room}":{"unread_notifications":{"notification_count":2,"highlight_count":0},"unread_thread_notifications":"!absent"}}}}`)
	})
	t.Run("after", func(t *testing.T) {
		s := servertest.At(t, folder)
		s.Set("room", room)
		s.Set("root", root)
		want(s, "right after a restart", "?"+threads, `{"rooms":{"join":{"{room}":{"unread_notifications":{"notification_count":1,"highlight_count":0},"unread_thread_notifications":{"{root}":{"notification_count":1,"highlight_count":0}}}}}}`)
		s.User("bob").Must("POST", "v3/rooms/{room}/receipt/m.read/{root}", `{"thread_id":"main"}`, nil)
		want(s, "with the receipt", "?"+threads+"&since="+since, `{"rooms":{"join":{"{room}":{"unread_notifications":{"notification_count":0},"unread_thread_notifications":{"{root}":{"notification_count":1}}}}}}`)
	})
}

func TestNotifications(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob", "carol")
	h.say("alice", "one")
	h.say("bob", "not for bob")
	h.send("alice", `{"msgtype":"m.text","body":"two","m.mentions":{"room":true}}`)
	three := h.say("carol", "three")
	h.Set("three", three)
	h.read("bob", "m.read", three, "")
	h.say("alice", "four")
	get := func(name, query, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "GET", Path: "v3/notifications" + query, Status: 200, Want: want, Changes: servertest.Any}
	}
	body := func(text string, read bool) string {
		return fmt.Sprintf(`{"event":{"content":{"body":%q},"type":"m.room.message","room_id":"!absent"},"room_id":"{room}","read":%t}`, text, read)
	}
	page := get("first page", "?limit=2", `{"notifications":[`+body("four", false)+`,`+body("three", true)+`],"next_token":"*"}`)
	page.Save = map[string]string{"next": "next_token"}
	h.Run(t, []servertest.Case{
		page,
		get("second page", "?limit=2&from={next}", `{"notifications":[`+body("two", true)+`,`+body("one", true)+`]}`),
		get("highlights", "?only=highlight", `{"notifications":[`+body("two", true)+`],"next_token":"!absent"}`),
		get("only something else", "?only=all", `{"notifications":[`+body("four", false)+`,"…"]}`),
		{Name: "bad token", Who: "bob", Method: "GET", Path: "v3/notifications?from=x", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "bad limit", Who: "bob", Method: "GET", Path: "v3/notifications?limit=-1", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "no token", Method: "GET", Path: "v3/notifications", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "nothing", Who: "dave", Method: "GET", Path: "v3/notifications", Status: 200, Want: `{"notifications":[],"next_token":"!absent"}`, Changes: servertest.Any},
	})
}

// BenchmarkSendToFifty sends messages into a room of 50 members: the evaluation of everybody's
// rules is in it.
func BenchmarkSendToFifty(b *testing.B) {
	s := servertest.New(b)
	alice := s.User("alice")
	var made struct {
		Room string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"preset":"public_chat"}`, &made)
	s.Set("room", made.Room)
	for i := range 49 {
		s.User(fmt.Sprintf("user%d", i)).Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	}
	text := strings.Repeat("good morning ", 5)
	n := 0
	for b.Loop() {
		n++
		alice.Must("PUT", fmt.Sprintf("v3/rooms/{room}/send/m.room.message/b%d", n), `{"msgtype":"m.text","body":"`+text+`"}`, nil)
	}
}

// TestCountsOverTheBound: of very many unread events as many count after a restart as before,
// and never fewer than the bound.
func TestCountsOverTheBound(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob", "carol")
	h.Push.LookBack = 20
	most := 0
	for i := range 100 {
		if i%7 == 3 {
			h.say("carol", "from another")
		} else {
			h.say("alice", "x")
		}
		counts := [2]int{}
		kvtest.View(t, h.DB, func(tx *kv.ReadTx) {
			for j, keeper := range []*push.Keeper{h.Push, h.Push.Forgetful()} {
				sum, _ := keeper.Unread(tx, h.User("bob").ID, matrix.RoomID(h.room), false)
				counts[j] = sum.Notifications
			}
		})
		if counts[0] != counts[1] || counts[0] < min(i+1, 20) || counts[0] > 30 {
			t.Fatalf("after %d messages %d are unread, and %d after a restart", i+1, counts[0], counts[1])
		}
		most = max(most, counts[0])
	}
	if most < 25 {
		t.Errorf("at most %d were unread: the bound moves with each message", most)
	}
	h.say("bob", "here")
	h.unread("bob", "0/0 0/0")
	h.say("alice", "x")
	h.unread("bob", "1/0 1/0")
}
