package push_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/servertest"
)

// act is something that bob does in a room where one message by alice is unread in the main
// timeline, which mentions bob, and one in a thread; after it, what bob has not read.
type act struct {
	name, method, path, body string
	want                     string // as of house.unread
}

// acts are all ways to send an event. {a} is alice's mention, {root} of her thread, {reply} in it,
// {own} and {ownreply} an earlier message of bob's in the main timeline and in the thread.
var acts = []act{
	{"message", "PUT", "send/m.room.message/x", `{"msgtype":"m.text","body":"x"}`, "1/0 0/0 1/0"},
	{"notice", "PUT", "send/m.room.message/x", `{"msgtype":"m.notice","body":"x"}`, "1/0 0/0 1/0"},
	{"encrypted", "PUT", "send/m.room.encrypted/x", `{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"x"}`, "1/0 0/0 1/0"},
	{"custom event", "PUT", "send/org.example.x/x", `{}`, "1/0 0/0 1/0"},
	{"reaction", "PUT", "send/m.reaction/x", `{"m.relates_to":{"rel_type":"m.annotation","event_id":"{a}","key":"y"}}`, "1/0 0/0 1/0"},
	{"edit", "PUT", "send/m.room.message/x", `{"msgtype":"m.text","body":"x","m.new_content":{"msgtype":"m.text","body":"y"},"m.relates_to":{"rel_type":"m.replace","event_id":"{own}"}}`, "1/0 0/0 1/0"},
	{"redaction", "PUT", "redact/{own}/x", `{}`, "1/0 0/0 1/0"},
	{"state", "PUT", "state/org.example.state", `{}`, "1/0 0/0 1/0"},
	{"name in the room", "PUT", "state/m.room.member/{@bob}", `{"membership":"join","displayname":"B"}`, "1/0 0/0 1/0"},
	{"invitation", "POST", "invite", `{"user_id":"{@dave}"}`, "1/0 0/0 1/0"},
	{"reply in the thread", "PUT", "send/m.room.message/x", `{"msgtype":"m.text","body":"x","m.relates_to":{"rel_type":"m.thread","event_id":"{root}"}}`, "1/1 1/1"},
	{"reaction in the thread", "PUT", "send/m.reaction/x", `{"m.relates_to":{"rel_type":"m.annotation","event_id":"{reply}","key":"y"}}`, "1/1 1/1"},
	{"edit in the thread", "PUT", "send/m.room.message/x", `{"msgtype":"m.text","body":"x","m.new_content":{"msgtype":"m.text","body":"y"},"m.relates_to":{"rel_type":"m.replace","event_id":"{ownreply}"}}`, "1/1 1/1"},
	{"redaction in the thread", "PUT", "redact/{ownreply}/x", `{}`, "1/1 1/1"},
	{"typing", "PUT", "typing/{@bob}", `{"typing":true}`, "2/1 1/1 1/0"},
}

// prepare makes a room for an act and leaves unread in it what act says.
func prepare(h *house) {
	var made struct {
		Room string `json:"room_id"`
	}
	h.User("alice").Must("POST", "v3/createRoom", `{"preset":"public_chat","power_level_content_override":{"state_default":0,"invite":0}}`, &made)
	h.room = made.Room
	h.Set("room", h.room)
	h.User("bob").Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	root := h.say("alice", "root")
	h.Set("root", root)
	h.Set("own", h.say("bob", "own"))
	h.Set("ownreply", h.inThread("bob", root))
	h.Set("reply", h.inThread("alice", root))
	h.Set("a", h.send("alice", `{"msgtype":"m.text","body":"x","m.mentions":{"user_ids":["{@bob}"]}}`))
}

const apart = `filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22unread_thread_notifications%22%3Atrue%7D%7D%7D`

// told holds all operations that tell counts to what is wanted.
func (h *house) told(t *testing.T, since, want string) {
	t.Helper()
	h.unread("bob", want)
	var sum, highlights, main, mainHighlights, thread, none int
	if n, _ := fmt.Sscanf(want, "%d/%d %d/%d %d/%d", &sum, &highlights, &main, &mainHighlights, &thread, &none); n < 4 {
		t.Fatalf("%q", want)
	}
	threads := `"!absent"`
	if thread > 0 {
		threads = fmt.Sprintf(`{"{root}":{"notification_count":%d}}`, thread)
	}
	room := func(counts string) string { return `{"rooms":{"join":{"{room}":{` + counts + `}}}}` }
	whole := room(fmt.Sprintf(`"unread_notifications":{"notification_count":%d,"highlight_count":%d}`, sum, highlights))
	split := room(fmt.Sprintf(`"unread_notifications":{"notification_count":%d,"highlight_count":%d},"unread_thread_notifications":%s`, main, mainHighlights, threads))
	get := func(name, path, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "GET", Path: path, Status: 200, Changes: servertest.Any, Want: want}
	}
	h.Run(t, []servertest.Case{
		get("sync from the beginning", "v3/sync", whole), get("with threads", "v3/sync?"+apart, split),
	})
	if since != "" {
		h.Run(t, []servertest.Case{
			get("next sync", "v3/sync?since="+since, whole), get("with threads", "v3/sync?since="+since+"&"+apart, split),
		})
	}
	var page struct {
		Notifications []struct {
			Room string `json:"room_id"`
			Read bool
		}
	}
	h.User("bob").Must("GET", "v3/notifications?limit=50", ``, &page)
	unread := 0
	for _, n := range page.Notifications {
		if n.Room == h.room && !n.Read {
			unread++
		}
	}
	if unread != sum {
		t.Errorf("/notifications says that %d are unread, want %d", unread, sum)
	}
	kvtest.View(t, h.DB, func(tx *kv.ReadTx) {
		letter := h.Push.Letter(tx, h.User("bob").ID)
		if line := fmt.Sprintf("  %d in %s\n", sum, h.room); strings.Contains(letter, h.room) && !strings.Contains(letter, line) {
			t.Errorf("the mail says %q, want %q", letter, line)
		}
	})
}

func (h *house) since(who string) string {
	var answer struct {
		Next string `json:"next_batch"`
	}
	h.User(who).Must("GET", "v3/sync", ``, &answer)
	return answer.Next
}

// TestOwnEventsRead: who sends an event, of whichever type and from whichever device, has read
// what came before it in its thread (spec: push, marking notifications as read). All ways of
// telling counts agree, right after a restart, too.
func TestOwnEventsRead(t *testing.T) {
	folder := t.TempDir()
	rooms, roots := map[string]string{}, map[string]string{}
	t.Run("before", func(t *testing.T) {
		h := newHouse(t, servertest.At(t, folder), "alice", "bob")
		for _, a := range acts {
			t.Run(a.name, func(t *testing.T) {
				h.t = t
				prepare(h)
				rooms[a.name], roots[a.name] = h.room, h.Var("root")
				h.told(t, "", "2/1 1/1 1/0")
				since := h.since("bob")
				h.User("bob#2").Must(a.method, "v3/rooms/{room}/"+a.path, a.body, nil)
				if a.name == "typing" {
					since = ""
				}
				h.told(t, since, a.want)
			})
		}
	})
	t.Run("after a restart", func(t *testing.T) {
		h := &house{Server: servertest.At(t, folder), t: t}
		for _, a := range acts {
			t.Run(a.name, func(t *testing.T) {
				h.t, h.room = t, rooms[a.name]
				h.Set("room", h.room)
				h.Set("root", roots[a.name])
				h.told(t, "", a.want)
			})
		}
	})
}

// TestOwnEventsStayRead: that an own event is redacted, by whomever, takes nothing of it back.
func TestOwnEventsStayRead(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	prepare(h)
	reply := h.inThread("bob", h.Var("root"))
	h.unread("bob", "1/1 1/1")
	h.User("alice").Must("PUT", "v3/rooms/{room}/redact/"+reply+"/r", `{}`, nil)
	h.unread("bob", "1/1 1/1")
	h.inThread("alice", h.Var("root"))
	h.unread("bob", "2/1 1/1 1/0")
	h.User("bob").Must("PUT", "v3/rooms/{room}/redact/"+reply+"/r2", `{}`, nil)
	h.unread("bob", "1/1 1/1")
	main := h.say("bob", "x")
	h.unread("bob", "0/0 0/0")
	h.say("alice", "y")
	h.User("alice").Must("PUT", "v3/rooms/{room}/redact/"+main+"/r", `{}`, nil)
	h.unread("bob", "1/0 1/0")
}

// TestServerMadeEvents: the server's own member events after a change of name read nothing, since
// nobody was in the room; events that a part of the server sends in somebody's name do.
func TestServerMadeEvents(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob")
	h.say("alice", "x")
	h.User("bob").Must("PUT", "v3/profile/{@bob}/displayname", `{"displayname":"Bob"}`, nil)
	h.unread("bob", "1/0 1/0")
	kvtest.Update(t, h.DB, func(tx *kv.WriteTx) error {
		_, err := h.Rooms.Send(tx, rooms.SendArgs{
			Room: matrix.RoomID(h.room), Sender: h.User("bob").ID, Type: "m.room.message", Content: []byte(`{"msgtype":"m.notice","body":"x"}`),
		})
		return err
	})
	h.unread("bob", "0/0 0/0")
}

// TestServicesReadForTheirUsers: a bridge that sends in somebody's name reads for that user, and
// that user's telephone hears of it.
func TestServicesReadForTheirUsers(t *testing.T) {
	folder := t.TempDir()
	err := os.WriteFile(filepath.Join(folder, "bridge.yaml"), []byte("{id: bridge, url: null, as_token: as-token-bridge, hs_token: hs-token-bridge, "+
		"sender_localpart: bridgebot, rate_limited: false, namespaces: {users: [{exclusive: false, regex: '@bob:.*'}]}}"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, servertest.New(t, private, func(c *server.Config) { c.Appservices = folder }), "alice", "bob")
	g := newGateway(t, nil)
	h.pusher("bob", "key", g.URL, "")
	want(t, g.event(t, h.say("alice", "one")), `{"counts":{"unread":1}}`)
	want(t, g.event(t, h.say("alice", "two")), `{"counts":{"unread":2}}`)
	answer := h.Ask(t.Context(), "as-token-bridge", "PUT", "/_matrix/client/v3/rooms/"+h.room+"/send/m.room.message/x?user_id=@bob:"+servertest.Name, strings.NewReader(`{"msgtype":"m.text","body":"from afar"}`))
	if answer.Status != 200 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	want(t, g.next(t), `{"event_id":"!absent","counts":{"unread":0}}`)
	h.unread("bob", "0/0 0/0")
}

// TestBadgesFallWithOwnEvents: each kind of own event that reads something is told to the
// telephone, and such that read nothing are not.
func TestBadgesFallWithOwnEvents(t *testing.T) {
	h := newHouse(t, servertest.New(t, private, func(c *server.Config) { c.Push.ActiveDelay = -1 }), "alice", "bob")
	g := newGateway(t, nil)
	for _, a := range acts {
		t.Run(a.name, func(t *testing.T) {
			h.t = t
			prepare(h)
			h.pusher("bob", "key", g.URL, "")
			want(t, g.event(t, h.say("alice", "one more")), `{"counts":{"unread":3}}`)
			h.User("bob").Must(a.method, "v3/rooms/{room}/"+a.path, a.body, nil)
			var left int
			if _, err := fmt.Sscanf(a.want, "%d", &left); err != nil {
				t.Fatal(err)
			}
			switch {
			case a.name == "typing":
				g.quiet(t, 50*time.Millisecond)
			case strings.HasSuffix(a.name, "the thread"): // "one more" stays
				want(t, g.next(t), fmt.Sprintf(`{"event_id":"!absent","counts":{"unread":%d}}`, left+1))
			default:
				want(t, g.next(t), fmt.Sprintf(`{"event_id":"!absent","counts":{"unread":%d}}`, left))
			}
			h.User("bob").Must("POST", "v3/rooms/{room}/leave", `{}`, nil)
			h.User("bob").Must("POST", "v3/pushers/set", `{"app_id":"app","pushkey":"key","kind":null}`, nil)
		})
	}
}
