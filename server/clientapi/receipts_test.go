package clientapi_test

import (
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

func TestReceiptsTypingAndPresence(t *testing.T) {
	s := servertest.New(t)
	s.User("carol")
	s.Run(t, []servertest.Case{
		{Name: "a room", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{"preset":"public_chat"}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "bob joins", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/join", Status: 200, Changes: servertest.Any},
		{Name: "a message", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"hello"}`, Status: 200, Changes: 1, Save: map[string]string{"event": "event_id"}},
		{Name: "bob syncs", Who: "bob", Method: "GET", Path: "v3/sync", Status: 200, Changes: servertest.Any, Save: map[string]string{"bob": "next_batch"}},
		{Name: "alice syncs", Who: "alice", Method: "GET", Path: "v3/sync", Status: 200, Changes: servertest.Any, Save: map[string]string{"alice": "next_batch"}},

		{Name: "typing", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/typing/{@bob}", Body: `{"typing":true,"timeout":30000}`, Status: 200, Woken: true},
		{Name: "typing for another", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/typing/{@alice}", Body: `{"typing":true}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "typing from outside", Who: "carol", Method: "PUT", Path: "v3/rooms/{room}/typing/{@carol}", Body: `{"typing":true}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "typing what", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/typing/{@bob}", Body: `{}`, Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "typing for ever", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/typing/{@alice}", Body: `{"typing":true,"timeout":9223372036854775807}`, Status: 200},
		{Name: "typing no more", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/typing/{@alice}", Body: `{"typing":false,"timeout":-5}`, Status: 200},

		{Name: "a receipt", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{event}", Body: `{}`, Status: 200, Woken: true, Changes: servertest.Any},
		{Name: "a private one", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read.private/{event}", Body: `{"thread_id":"main"}`, Status: 200, Changes: servertest.Any},
		{Name: "for nothing", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/$nothing", Body: `{}`, Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "unknown type", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.seen/{event}", Body: `{}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "from outside", Who: "carol", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{event}", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "thread of the wrong type", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{event}", Body: `{"thread_id":7}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "empty thread", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{event}", Body: `{"thread_id":""}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "another thread", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{event}", Body: `{"thread_id":"$other"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "a marker has no thread", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.fully_read/{event}", Body: `{"thread_id":"main"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "a marker", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/receipt/m.fully_read/{event}", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "markers", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/read_markers", Body: `{"m.fully_read":"{event}","m.read":"{event}","m.read.private":"{event}"}`, Status: 200, Changes: servertest.Any},
		{Name: "empty markers count as absent", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/read_markers", Body: `{"m.fully_read":"","m.read":"{event}","m.read.private":null}`, Status: 200, Changes: servertest.Any},
		{Name: "all empty", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/read_markers", Body: `{"m.fully_read":"","m.read":"","m.read.private":""}`, Status: 200},
		{Name: "no event ID", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/read_markers", Body: `{"m.read":"event"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "what was deferred is written", Who: "carol", Method: "PUT", Path: "v3/user/{@carol}/account_data/org.example.x", Body: `{}`, Status: 200, Changes: servertest.Any},
		{Name: "markers on nothing", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/read_markers", Body: `{"m.fully_read":"$nothing"}`, Status: 404, Errcode: "M_NOT_FOUND"},

		{Name: "alice hears of it", Who: "alice", Method: "GET", Path: "v3/sync?since={alice}", Status: 200, Changes: servertest.Any,
			Want: `{"rooms":{"join":{"{room}":{"ephemeral":{"events":[{"type":"m.typing","content":{"user_ids":["{@bob}"]}},
				{"type":"m.receipt","content":{"{event}":{"m.read":{"{@bob}":{"ts":"*"}},"m.read.private":"!absent"}}}]}}}}}`},
		{Name: "bob has the marker", Who: "bob", Method: "GET", Path: "v3/sync?since={bob}", Status: 200, Changes: servertest.Any,
			Want: `{"rooms":{"join":{"{room}":{"account_data":{"events":[{"type":"m.fully_read","content":{"event_id":"{event}"}}]}}}}}`},

		{Name: "presence", Who: "bob", Method: "PUT", Path: "v3/presence/{@bob}/status", Body: `{"presence":"unavailable","status_msg":"at lunch"}`, Status: 200, Woken: true, Changes: servertest.Any},
		{Name: "presence of another", Who: "bob", Method: "PUT", Path: "v3/presence/{@alice}/status", Body: `{"presence":"online"}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "unknown presence", Who: "bob", Method: "PUT", Path: "v3/presence/{@bob}/status", Body: `{"presence":"dreaming"}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "seen", Who: "alice", Method: "GET", Path: "v3/presence/{@bob}/status", Status: 200, Want: `{"presence":"unavailable","status_msg":"at lunch","last_active_ago":"*"}`, Changes: servertest.Any},
		{Name: "not by strangers", Who: "carol", Method: "GET", Path: "v3/presence/{@bob}/status", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "turn", Who: "bob", Method: "GET", Path: "v3/voip/turnServer", Status: 200, Want: `{}`, Changes: servertest.Any},
	})
}

func TestPushRules(t *testing.T) {
	s := servertest.New(t)
	s.User("alice")
	rule := func(name, method, path, body string, status int, errcode, want string, changes int) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: method, Path: "v3/pushrules/" + path, Body: body, Status: status, Errcode: errcode, Want: want, Changes: changes}
	}
	s.Run(t, []servertest.Case{
		rule("all", "GET", "", "", 200, "", `{"global":{"override":[{"rule_id":".m.rule.master","enabled":false,"default":true,"conditions":[],"actions":[]},"…"],"content":[],"room":[],"sender":[],"underride":[{"rule_id":".m.rule.call"},"…"]}}`, 0),
		rule("global", "GET", "global/", "", 200, "", `{"override":[{"rule_id":".m.rule.master"},"…"]}`, 0),
		rule("global without slash", "GET", "global", "", 200, "", `{"content":[]}`, 0),
		rule("one", "GET", "global/underride/.m.rule.message", "", 200, "", `{"rule_id":".m.rule.message","actions":["notify"]}`, 0),
		rule("none", "GET", "global/underride/cake", "", 404, "M_NOT_FOUND", "", 0),
		rule("no kind", "GET", "global/overdrive/cake", "", 404, "M_NOT_FOUND", "", 0),
		rule("no kind to set", "PUT", "global/overdrive/cake", `{"actions":[]}`, 400, "M_INVALID_PARAM", "", 0),
		rule("add", "PUT", "global/content/cake", `{"pattern":"cake","actions":["notify"]}`, 200, "", `{}`, 1),
		rule("add before", "PUT", "global/content/pie?before=cake", `{"pattern":"pie","actions":[]}`, 200, "", `{}`, 1),
		rule("add behind nothing", "PUT", "global/content/tea?after=nothing", `{"pattern":"tea","actions":[]}`, 400, "M_UNKNOWN", "", 0),
		rule("add without actions", "PUT", "global/content/tea", `{"pattern":"tea"}`, 400, "M_MISSING_PARAM", "", 0),
		rule("add without pattern", "PUT", "global/content/tea", `{"actions":[]}`, 400, "M_MISSING_PARAM", "", 0),
		rule("add a server's", "PUT", "global/override/.tea", `{"actions":[]}`, 400, "M_INVALID_PARAM", "", 0),
		rule("with a slash", "PUT", "global/override/a%2Fb", `{"actions":[]}`, 400, "M_INVALID_PARAM", "", 0),
		rule("for a room", "PUT", "global/room/%21r%3Ax", `{"actions":["dont_notify"]}`, 200, "", `{}`, 1),
		rule("enabled", "GET", "global/content/cake/enabled", "", 200, "", `{"enabled":true}`, 0),
		rule("disable", "PUT", "global/content/cake/enabled", `{"enabled":false}`, 200, "", `{}`, 1),
		rule("disabled", "GET", "global/content/cake/enabled", "", 200, "", `{"enabled":false}`, 0),
		rule("enable what", "PUT", "global/content/tea/enabled", `{"enabled":false}`, 404, "M_NOT_FOUND", "", 0),
		rule("set actions", "PUT", "global/underride/.m.rule.message/actions", `{"actions":["notify",{"set_tweak":"highlight"}]}`, 200, "", `{}`, 1),
		rule("actions", "GET", "global/underride/.m.rule.message/actions", "", 200, "", `{"actions":["notify",{"set_tweak":"highlight"}]}`, 0),
		rule("order", "GET", "global/", "", 200, "", `{"content":[{"rule_id":"pie"},{"rule_id":"cake","enabled":false}],"room":[{"rule_id":"!r:x"}]}`, 0),
		rule("delete", "DELETE", "global/content/cake", "", 200, "", `{}`, 1),
		rule("delete twice", "DELETE", "global/content/cake", "", 404, "M_NOT_FOUND", "", 0),
		{Name: "in sync", Who: "alice", Method: "GET", Path: "v3/sync", Status: 200, Changes: servertest.Any,
			Want: `{"account_data":{"events":[{"type":"m.push_rules","content":{"global":{"content":[{"rule_id":"pie"}]}}}]}}`},
		{Name: "as account data", Who: "alice", Method: "GET", Path: "v3/user/{@alice}/account_data/m.push_rules", Status: 200, Want: `{"global":{"content":[{"rule_id":"pie"}]}}`},
		{Name: "pushers", Who: "alice", Method: "GET", Path: "v3/pushers", Status: 200, Want: `{"pushers":[]}`},
		{Name: "no token", Method: "GET", Path: "v3/pushrules/", Status: 401, Errcode: "M_MISSING_TOKEN"},
	})
}

// TestReadMarkersAreAllOrNothing: of several markers of which one cannot be set, none is.
func TestReadMarkersAreAllOrNothing(t *testing.T) {
	s := servertest.New(t)
	alice, bob := s.User("alice"), s.User("bob")
	var made struct {
		Room string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"preset":"public_chat"}`, &made)
	s.Set("room", made.Room)
	bob.Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	var sent struct {
		Event string `json:"event_id"`
	}
	alice.Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"x"}`, &sent)
	s.Set("event", sent.Event)
	for _, bad := range []string{"m.fully_read", "m.read", "m.read.private"} {
		var parts []string
		for _, kind := range []string{"m.fully_read", "m.read", "m.read.private"} {
			event := sent.Event
			if kind == bad {
				event = "$nothing"
			}
			parts = append(parts, fmt.Sprintf("%q:%q", kind, event))
		}
		s.Run(t, []servertest.Case{{Name: "unknown " + bad, Who: "bob", Method: "POST", Path: "v3/rooms/{room}/read_markers", Body: "{" + strings.Join(parts, ",") + "}", Status: 404, Errcode: "M_NOT_FOUND"}})
		kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
			if got := s.Ephemeral.Receipts(tx, matrix.RoomID(made.Room), bob.ID); len(got) != 0 {
				t.Errorf("unknown %s: %v were set", bad, got)
			}
			if _, there := s.Accounts.AccountData(tx, bob.ID, matrix.RoomID(made.Room), "m.fully_read"); there {
				t.Errorf("unknown %s: the fully read marker was set", bad)
			}
		})
	}
}

// TestReceiptsInThreads: a receipt in a thread may be on whatever relates to its root.
func TestReceiptsInThreads(t *testing.T) {
	s := servertest.New(t)
	alice := s.User("alice")
	var made struct {
		Room string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{}`, &made)
	s.Set("room", made.Room)
	send := func(name, eventType, relation string) {
		var sent struct {
			Event string `json:"event_id"`
		}
		content := `{"msgtype":"m.text","body":"x"}`
		if relation != "" {
			content = `{"msgtype":"m.text","body":"x","m.relates_to":` + relation + `}`
		}
		alice.Must("PUT", "v3/rooms/{room}/send/"+eventType+"/"+name, content, &sent)
		s.Set(name, sent.Event)
	}
	send("root", "m.room.message", "")
	send("reply", "m.room.message", `{"rel_type":"m.thread","event_id":"{root}"}`)
	send("reaction", "m.reaction", `{"rel_type":"m.annotation","event_id":"{root}","key":"y"}`)
	send("edit", "m.room.message", `{"rel_type":"m.replace","event_id":"{root}"}`)
	send("below", "m.reaction", `{"rel_type":"m.annotation","event_id":"{edit}","key":"y"}`)
	send("other", "m.room.message", "")
	var cases []servertest.Case
	for _, name := range []string{"root", "reply", "reaction", "edit", "below"} {
		cases = append(cases, servertest.Case{Name: name, Who: "alice", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{" + name + "}", Body: `{"thread_id":"{root}"}`, Status: 200, Changes: servertest.Any})
	}
	s.Run(t, append(cases, servertest.Case{Name: "not related", Who: "alice", Method: "POST", Path: "v3/rooms/{room}/receipt/m.read/{other}", Body: `{"thread_id":"{root}"}`, Status: 400, Errcode: "M_INVALID_PARAM"}))
}
