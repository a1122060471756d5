package clientapi_test

import (
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// look is the case of somebody searching; what is the inside of room_events, and want that
// of the answer.
func look(name, who, what, want string) servertest.Case {
	return servertest.Case{
		Name: name, Who: who, Method: "POST", Path: "v3/search", Body: `{"search_categories":{"room_events":` + what + `}}`,
		Status: 200, Want: `{"search_categories":{"room_events":` + want + `}}`,
	}
}

// utter is say for texts that are no names of variables.
func utter(name, room, who, text string) servertest.Case {
	c := say(room, who, name)
	c.Name, c.Body = who+" says "+text, `{"msgtype":"m.text","body":"`+text+`"}`
	return c
}

func TestSearch(t *testing.T) {
	s := servertest.New(t)
	bad := func(name, body, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "POST", Path: "v3/search", Body: body, Status: 400, Errcode: errcode}
	}
	badEvents := func(name, more string) servertest.Case {
		return bad(name, `{"search_categories":{"room_events":{"search_term":"x",`+more+`}}}`, "M_INVALID_PARAM")
	}
	s.Run(t, []servertest.Case{
		{Name: "no token", Method: "POST", Path: "v3/search", Body: `{"search_categories":{}}`, Status: 401, Errcode: "M_MISSING_TOKEN"},
		bad("no body", `{}`, "M_MISSING_PARAM"),
		bad("no term", `{"search_categories":{"room_events":{}}}`, "M_MISSING_PARAM"),
		badEvents("a key that is not searched", `"keys":["content.msgtype"]`),
		bad("a term of too many words", `{"search_categories":{"room_events":{"search_term":"`+strings.Repeat("a ", 41)+`"}}}`, "M_INVALID_PARAM"),
		bad("a long term", `{"search_categories":{"room_events":{"search_term":"`+strings.Repeat("a", 1001)+`"}}}`, "M_INVALID_PARAM"),
		badEvents("an unknown order", `"order_by":"best"`),
		badEvents("an unknown group", `"groupings":{"group_by":[{"key":"type"}]}`),
		badEvents("a negative limit", `"filter":{"limit":-1}`),
		badEvents("a negative context", `"event_context":{"before_limit":-1}`),
		{Name: "a token of nothing", Who: "alice", Method: "POST", Path: "v3/search?next_batch=xyz",
			Body: `{"search_categories":{"room_events":{"search_term":"x"}}}`, Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "no category", Who: "alice", Method: "POST", Path: "v3/search", Body: `{"search_categories":{}}`, Status: 200,
			Want: `{"search_categories":{"room_events":"!absent"}}`},

		createRoom("room", "alice", `{"preset":"public_chat","name":"Garden party","topic":"Who brings the cake"}`),
		createRoom("other", "carol", `{"preset":"public_chat"}`),
		utter("one", "room", "alice", "The Cake is in the oven"),
		utter("theirs", "other", "carol", "our own cake"),
		joinRoom("room", "bob"),
		utter("two", "room", "bob", "cake, cake!"),
		look("by rank", "alice", `{"search_term":"cake"}`, `{"count":3,"highlights":["cake"],"next_batch":"!absent","groups":"!absent","state":"!absent",
			"results":[{"result":{"event_id":"{two}","room_id":"{room}"},"context":"!absent"},{"result":{"type":"m.room.topic"}},{"result":{"event_id":"{one}"}}]}`),
		look("most recent first", "alice", `{"search_term":"CAKE","order_by":"recent"}`,
			`{"results":[{"result":{"event_id":"{two}"}},{"result":{"event_id":"{one}"}},{"result":{"type":"m.room.topic"}}]}`),
		look("all words", "bob", `{"search_term":"oven cake"}`, `{"count":1,"results":[{"result":{"event_id":"{one}"}}]}`),
		look("names only", "alice", `{"search_term":"garden","keys":["content.name"]}`, `{"results":[{"result":{"type":"m.room.name"}}]}`),
		look("not in bodies", "alice", `{"search_term":"oven","keys":["content.name","content.topic"]}`, `{"count":0,"results":[]}`),
		look("filtered", "alice", `{"search_term":"cake","filter":{"senders":["{@bob}"]}}`, `{"count":1,"results":[{"result":{"event_id":"{two}"}}]}`),
		look("other rooms", "alice", `{"search_term":"cake","filter":{"not_rooms":["{room}"]}}`, `{"count":0,"results":[]}`),
		look("nobody else's rooms", "carol", `{"search_term":"cake"}`, `{"count":1,"results":[{"result":{"event_id":"{theirs}"}}]}`),
		look("whoever is in no room", "dave", `{"search_term":"cake"}`, `{"count":0,"results":[]}`),

		look("context", "alice", `{"search_term":"oven","event_context":{"before_limit":1,"after_limit":2,"include_profile":true},"include_state":true}`,
			`{"results":[{"context":{"start":"t*","end":"t*","events_before":[{"type":"m.room.topic"}],
			"events_after":[{"type":"m.room.member"},{"event_id":"{two}"}],"profile_info":{"{@alice}":{},"{@bob}":{}}}}],"state":{"{room}":["…"]}}`),
		look("context without events", "alice", `{"search_term":"oven","event_context":{"before_limit":0,"after_limit":0}}`,
			`{"results":[{"context":{"events_before":[],"events_after":[],"profile_info":"!absent"}}]}`),
		look("groups", "alice", `{"search_term":"cake","order_by":"recent","filter":{"types":["m.room.message"]},"groupings":{"group_by":[{"key":"room_id"},{"key":"sender"}]}}`,
			`{"groups":{"room_id":{"{room}":{"order":1,"results":["{two}","{one}"],"next_batch":"!absent"}},
			"sender":{"{@bob}":{"order":1,"results":["{two}"]},"{@alice}":{"order":2,"results":["{one}"]}}}}`),

		{Name: "redact", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/redact/{one}/r1", Body: `{}`, Status: 200, Changes: 1},
		look("redacted", "alice", `{"search_term":"oven"}`, `{"count":0,"results":[]}`),
		{Name: "bob leaves", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/leave", Body: `{}`, Status: 200, Changes: 1},
		utter("late", "room", "alice", "more cake"),
		look("a room left, up to then", "bob", `{"search_term":"cake","include_state":true,"filter":{"types":["m.room.message"]}}`,
			`{"count":1,"results":[{"result":{"event_id":"{two}"}}],"state":{"{room}":["…"]}}`),
		{Name: "bob forgets", Who: "bob", Method: "POST", Path: "v3/rooms/{room}/forget", Body: `{}`, Status: 200, Changes: servertest.Any},
		look("a room forgotten", "bob", `{"search_term":"cake"}`, `{"count":0,"results":[]}`),
		setState("room", "alice", "m.room.encryption", `{"algorithm":"m.megolm.v1.aes-sha2"}`),
		look("a room that is encrypted", "alice", `{"search_term":"cake"}`, `{"count":0,"results":[]}`),
	})
}

func TestSearchHistoryVisibility(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"joined"}}]}`),
		utter("before", "room", "alice", "hidden words"),
		joinRoom("room", "bob"),
		utter("after", "room", "alice", "open words"),
		look("who came later", "bob", `{"search_term":"words"}`, `{"count":1,"results":[{"result":{"event_id":"{after}"}}]}`),
		look("who was there", "alice", `{"search_term":"words"}`, `{"count":2}`),
	})
}

func TestSearchPages(t *testing.T) {
	s := servertest.New(t)
	body := `{"search_term":"tea","order_by":"recent","filter":{"limit":1},"groupings":{"group_by":[{"key":"sender"}]}}`
	first := look("first page", "alice", body, `{"count":3,"results":[{"result":{"event_id":"{three}"}}],"next_batch":"*","groups":{"sender":{"{@alice}":{"next_batch":"*"}}}}`)
	first.Save = map[string]string{"next": "search_categories.room_events.next_batch"}
	second := look("second page", "alice", body, `{"count":3,"results":[{"result":{"event_id":"{two}"}}],"next_batch":"*","groups":{"sender":{"{@bob}":{"next_batch":"!absent"}}}}`)
	second.Path, second.Save = "v3/search?next_batch={next}", map[string]string{"next": "search_categories.room_events.next_batch"}
	last := look("last page", "alice", body, `{"count":3,"results":[{"result":{"event_id":"{one}"}}],"next_batch":"!absent"}`)
	last.Path = second.Path
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat"}`),
		joinRoom("room", "bob"),
		utter("one", "room", "alice", "tea one"), utter("two", "room", "bob", "tea two"), utter("three", "room", "alice", "tea three"),
		first, second, last,
	})
	// A token of one group leads through that group alone.
	var again struct {
		Categories struct {
			Events struct {
				Groups map[string]map[matrix.UserID]struct {
					Next string `json:"next_batch"`
				} `json:"groups"`
			} `json:"room_events"`
		} `json:"search_categories"`
	}
	alice := s.User("alice")
	alice.Must("POST", "v3/search", `{"search_categories":{"room_events":`+body+`}}`, &again)
	s.Set("next", again.Categories.Events.Groups["sender"][alice.ID].Next)
	inGroup := look("next of the group", "alice", body, `{"results":[{"result":{"event_id":"{one}"}}],"next_batch":"!absent"}`)
	inGroup.Path = second.Path
	otherOrder := servertest.Case{Name: "a token of another order", Who: "alice", Method: "POST", Path: second.Path,
		Body: `{"search_categories":{"room_events":{"search_term":"tea"}}}`, Status: 400, Errcode: "M_INVALID_PARAM"}
	s.Run(t, []servertest.Case{inGroup, otherOrder})
}

func TestSearchScripts(t *testing.T) {
	s := servertest.New(t)
	found := func(term, id string) servertest.Case {
		return look(term, "alice", `{"search_term":"`+term+`"}`, `{"count":1,"results":[{"result":{"event_id":"{`+id+`}"}}]}`)
	}
	none := func(term string) servertest.Case {
		return look("nothing for "+term, "alice", `{"search_term":"`+term+`"}`, `{"count":0,"results":[]}`)
	}
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{}`),
		utter("german", "room", "alice", "Schöne Grüße aus der Hauptstraße 🎉"),
		utter("russian", "room", "alice", "Привет, как дела?"),
		utter("chinese", "room", "alice", "我们明天去北京大学"),
		utter("japanese", "room", "alice", "東京タワーへ行きましょう"),
		utter("thai", "room", "alice", "สวัสดีครับ ยินดีต้อนรับ"),
		utter("arabic", "room", "alice", "السَّلامُ عَلَيْكُم"),
		utter("korean", "room", "alice", "서울에서 만나요"),
		utter("emoji", "room", "alice", "🎉🎉🎉"),
		found("GRÜSSE", "german"), found("hauptstrasse", "german"), found("ПРИВЕТ", "russian"),
		found("北京", "chinese"), found("去", "chinese"), found("タワー", "japanese"), found("ﾀﾜｰ", "japanese"), found("東京", "japanese"),
		found("ครับ", "thai"), found("السلام", "arabic"), found("عليكم", "arabic"), found("서울", "korean"),
		none("🎉"), none("京北"), none(""), found("🎉 grüße", "german"),
	})
}
