package push_test

import (
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

func (h *house) ignore(list string) {
	h.t.Helper()
	h.User("bob").Must("PUT", "v3/user/{@bob}/account_data/m.ignored_user_list", `{"ignored_users":{`+list+`}}`, nil)
}

// TestIgnoringCounts: whom a user ignores decides at once, both ways, what counts as unread,
// whenever it was sent; every operation that tells counts says the same, right after a restart,
// too.
func TestIgnoringCounts(t *testing.T) {
	folder := t.TempDir()
	var room, root, since string
	t.Run("before", func(t *testing.T) {
		h := newHouse(t, servertest.At(t, folder), "alice", "bob", "carol")
		room, root = h.room, h.say("alice", "root")
		h.Set("root", root)
		h.say("carol", "one")
		h.send("carol", `{"msgtype":"m.text","body":"x","m.mentions":{"user_ids":["{@bob}"]}}`)
		h.inThread("carol", root)
		h.told(t, "", "4/1 3/1 1/0")
		since = h.since("bob")
		h.ignore(`"{@carol}":{}`)
		h.told(t, since, "1/0 1/0")
		since = h.since("bob")
		h.say("carol", "while ignored")
		h.told(t, "", "1/0 1/0")
		h.ignore(``)
		h.told(t, since, "5/1 4/1 1/0")
		since = h.since("bob")
		h.ignore(`"{@carol}":{},"{@alice}":{}`)
		h.told(t, since, "0/0 0/0")
	})
	t.Run("after a restart", func(t *testing.T) {
		h := &house{Server: servertest.At(t, folder), t: t, room: room}
		h.Set("room", room)
		h.Set("root", root)
		h.told(t, since, "0/0 0/0")
		h.ignore(`"{@carol}":{}`)
		h.told(t, since, "1/0 1/0")
	})
}

// TestIgnoringTellsOnlyWhatMatters: rooms in which nothing changes are left out of the answer.
func TestIgnoringTellsOnlyWhatMatters(t *testing.T) {
	h := newHouse(t, servertest.New(t), "alice", "bob", "carol")
	since := h.since("bob")
	h.ignore(`"{@carol}":{}`)
	h.Run(t, []servertest.Case{{Name: "nothing unread", Who: "bob", Method: "GET", Path: "v3/sync?since=" + since, Status: 200, Changes: servertest.Any,
		Want: `{"account_data":{"events":["…"]},"rooms":{"join":{"{room}":"!absent"}}}`}})
}

// TestInvitationsOfIgnoredAreNotListed: also those from before.
func TestInvitationsOfIgnoredAreNotListed(t *testing.T) {
	h := newHouse(t, servertest.New(t), "carol")
	h.User("carol").Must("POST", "v3/rooms/{room}/invite", `{"user_id":"{@bob}"}`, nil)
	list := func(name, want string) {
		t.Helper()
		h.Run(t, []servertest.Case{{Name: name, Who: "bob", Method: "GET", Path: "v3/notifications", Status: 200, Want: want, Changes: servertest.Any}})
	}
	list("invited", `{"notifications":[{"room_id":"{room}"}]}`)
	h.ignore(`"{@carol}":{}`)
	list("ignored", `{"notifications":[]}`)
	h.ignore(``)
	list("no longer", `{"notifications":[{"room_id":"{room}"}]}`)
}

// TestIgnoringMovesTheBadge: the telephone is told of the count as soon as it changes, and never
// of what somebody says who is ignored.
func TestIgnoringMovesTheBadge(t *testing.T) {
	h := newHouse(t, servertest.New(t, private, func(c *server.Config) { c.Push.ActiveDelay = -1 }), "alice", "bob", "carol")
	g := newGateway(t, nil)
	h.pusher("bob", "key", g.URL, "")
	for range 3 {
		g.event(t, h.say("carol", "x"))
	}
	want(t, g.event(t, h.say("alice", "y")), `{"counts":{"unread":4}}`)
	h.ignore(`"{@carol}":{}`)
	want(t, g.next(t), `{"event_id":"!absent","counts":{"unread":1}}`)
	h.say("carol", "unheard")
	want(t, g.event(t, h.say("alice", "z")), `{"counts":{"unread":2}}`)
	h.ignore(``)
	want(t, g.next(t), `{"event_id":"!absent","counts":{"unread":6}}`)
}
