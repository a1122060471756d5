package clientapi_test

import (
	"testing"

	"porchlight/server/servertest"
)

// relate is the case of somebody sending an event that relates to another one; more is
// further content, as `,"body":"x"`, and its ID is saved under name.
func relate(name, who, eventType, relation, parent, more string) servertest.Case {
	return servertest.Case{
		Name: who + " sends " + name, Who: who, Method: "PUT", Path: "v3/rooms/{room}/send/" + eventType + "/" + name,
		Body:   `{"m.relates_to":{"rel_type":"` + relation + `","event_id":"{` + parent + `}"` + more + `}`,
		Status: 200, Changes: 1, Save: save(name, "event_id"),
	}
}

// refused is the case as one that is refused.
func refused(c servertest.Case, errcode string) servertest.Case {
	c.Name, c.Path, c.Status, c.Errcode, c.Changes, c.Save = c.Name+" in vain", c.Path+"again", 400, errcode, 0, nil
	return c
}

const messageType = "m.room.message"

// relatedRoom is theRoom where things relate to {one}: bob's reply in its thread, alice's
// edit of it, a reaction, and an edit of the reply.
func relatedRoom(t *testing.T) *servertest.Server {
	t.Helper()
	s := theRoom(t)
	s.Run(t, []servertest.Case{
		relate("reply", "bob", messageType, "m.thread", "one", `},"body":"in the thread"`),
		relate("edit", "alice", messageType, "m.replace", "one", `},"body":"* uno","m.new_content":{"body":"uno"}`),
		relate("reaction", "bob", "m.reaction", "m.annotation", "one", `,"key":"👍"}`),
		relate("edited", "bob", messageType, "m.replace", "reply", `},"body":"* aside","m.new_content":{"body":"aside"}`),
	})
	return s
}

func TestRelations(t *testing.T) {
	s := relatedRoom(t)
	const path = "v1/rooms/{room}/relations/{one}"
	get := func(name, who, path, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: path, Status: 200, Want: want}
	}
	refuse := func(name, who, path string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: path, Status: status, Errcode: errcode}
	}
	s.Run(t, []servertest.Case{
		refuse("no token", "", path, 401, "M_MISSING_TOKEN"),
		refuse("no token, by type", "", path+"/m.thread", 401, "M_MISSING_TOKEN"),
		refuse("no token, by types", "", path+"/m.thread/m.room.message", 401, "M_MISSING_TOKEN"),
		refuse("stranger", "dave", path, 404, "M_NOT_FOUND"),
		refuse("stranger, by type", "dave", path+"/m.thread", 404, "M_NOT_FOUND"),
		refuse("stranger, by types", "dave", path+"/m.thread/m.room.message", 404, "M_NOT_FOUND"),
		refuse("no such event", "bob", "v1/rooms/{room}/relations/$no", 404, "M_NOT_FOUND"),
		refuse("in another room", "bob", "v1/rooms/!other/relations/{one}", 404, "M_NOT_FOUND"),
		refuse("no event", "bob", "v1/rooms/{room}/relations/no", 400, "M_INVALID_PARAM"),
		refuse("wrong direction", "bob", path+"?dir=up", 400, "M_INVALID_PARAM"),
		refuse("wrong limit", "bob", path+"?limit=-1", 400, "M_INVALID_PARAM"),
		refuse("wrong from", "bob", path+"/m.thread?from=x", 400, "M_INVALID_PARAM"),
		refuse("wrong to", "bob", path+"/m.thread/m.room.message?to=x", 400, "M_INVALID_PARAM"),
		refuse("wrong recurse", "bob", path+"?recurse=maybe", 400, "M_INVALID_PARAM"),

		get("all", "bob", path, `{"chunk":[{"event_id":"{reaction}"},{"event_id":"{edit}"},{"event_id":"{reply}","room_id":"{room}",
			"unsigned":{"m.relations":{"m.replace":{"event_id":"{edited}"}}}}],"next_batch":"!absent","prev_batch":"!absent","recursion_depth":"!absent"}`),
		get("forwards", "bob", path+"?dir=f&recurse=false", `{"chunk":[{"event_id":"{reply}"},{"event_id":"{edit}"},{"event_id":"{reaction}"}],"recursion_depth":1}`),
		get("by type", "bob", path+"/m.thread", `{"chunk":[{"event_id":"{reply}"}]}`),
		get("by types", "bob", path+"/m.annotation/m.reaction", `{"chunk":[{"event_id":"{reaction}"}]}`),
		get("by another type", "bob", path+"/m.annotation/m.room.message", `{"chunk":[]}`),
		get("none", "bob", "v1/rooms/{room}/relations/{two}", `{"chunk":[],"next_batch":"!absent"}`),
		get("recursive", "bob", path+"?recurse=true", `{"chunk":[{"event_id":"{edited}"},{"event_id":"{reaction}"},{"event_id":"{edit}"},{"event_id":"{reply}"}],"recursion_depth":3}`),
		get("recursive forwards", "bob", path+"?recurse=true&dir=f&limit=1", `{"chunk":[{"event_id":"{reply}"}],"next_batch":"*"}`),
		get("recursive by type", "bob", path+"/m.thread?recurse=true", `{"chunk":[{"event_id":"{reply}"}]}`),
		get("no events wanted", "bob", path+"?limit=0", `{"chunk":[],"next_batch":"!absent"}`),

		{Name: "first page", Who: "bob", Method: "GET", Path: path + "?limit=2", Status: 200, Save: save("next", "next_batch"),
			Want: `{"chunk":[{"event_id":"{reaction}"},{"event_id":"{edit}"}],"prev_batch":"!absent"}`},
		{Name: "second page", Who: "bob", Method: "GET", Path: path + "?limit=2&from={next}", Status: 200, Save: save("prev", "prev_batch"),
			Want: `{"chunk":[{"event_id":"{reply}"}],"next_batch":"!absent"}`},
		get("and back", "bob", path+"?dir=f&from={prev}", `{"chunk":[{"event_id":"{edit}"},{"event_id":"{reaction}"}]}`),
		get("up to", "bob", path+"?to={next}", `{"chunk":[{"event_id":"{reaction}"},{"event_id":"{edit}"}],"next_batch":"!absent"}`),
		get("the wrong way round", "bob", path+"?from=t1&to={next}", `{"chunk":[]}`),
		{Name: "first page forwards", Who: "bob", Method: "GET", Path: path + "?dir=f&limit=1", Status: 200, Save: save("on", "next_batch"), Want: `{"chunk":[{"event_id":"{reply}"}]}`},
		get("on forwards", "bob", path+"?dir=f&from={on}", `{"chunk":[{"event_id":"{edit}"},{"event_id":"{reaction}"}]}`),
	})
}

func TestRelationsAreChecked(t *testing.T) {
	s := relatedRoom(t)
	s.Run(t, []servertest.Case{
		refused(relate("again", "bob", "m.reaction", "m.annotation", "one", `,"key":"👍"}`), "M_DUPLICATE_ANNOTATION"),
		relate("otherkey", "bob", "m.reaction", "m.annotation", "one", `,"key":"👎"}`),
		relate("otheruser", "alice", "m.reaction", "m.annotation", "one", `,"key":"👍"}`),
		{Name: "redact", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/redact/{reaction}/1", Body: `{}`, Status: 200, Changes: 1},
		relate("anew", "bob", "m.reaction", "m.annotation", "one", `,"key":"👍"}`),
		refused(relate("nested", "alice", messageType, "m.thread", "reply", `}`), "M_UNKNOWN"),
		refused(relate("atanedit", "alice", messageType, "m.thread", "edit", `}`), "M_UNKNOWN"),
		{Name: "answer", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/answer", Body: `{"body":"x","m.relates_to":{"m.in_reply_to":{"event_id":"{two}"}}}`, Status: 200, Changes: 1, Save: save("answer", "event_id")},
		relate("ofananswer", "alice", messageType, "m.thread", "answer", `}`),
		{Name: "stranger", Who: "dave", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/x", Body: `{"m.relates_to":{"rel_type":"m.thread","event_id":"{reply}"}}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "nonsense", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/n", Body: `{"m.relates_to":{"rel_type":7,"event_id":["x"]}}`, Status: 200, Changes: 1},
		{Name: "no such parent", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/p", Body: `{"m.relates_to":{"rel_type":"m.thread","event_id":"$nothing"}}`, Status: 200, Changes: 1},
		{Name: "other keys", Who: "bob", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/k", Body: `{"M.relates_to":{"rel_type":"m.thread","event_id":"{reply}"}}`, Status: 200, Changes: 1},
	})
}

func TestAggregations(t *testing.T) {
	s := relatedRoom(t)
	const event = "v3/rooms/{room}/event/{one}"
	shows := func(name, who, path, relations string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: path, Status: 200, Want: relations}
	}
	of := func(relations string) string {
		return `{"event_id":"{one}","unsigned":{"m.relations":` + relations + `}}`
	}
	const all = `{"m.replace":{"event_id":"{edit}","content":{"m.new_content":{"body":"uno"}}},"m.annotation":"!absent","m.reference":"!absent",
		"m.thread":{"count":1,"current_user_participated":true,"latest_event":{"event_id":"{reply}","unsigned":{"m.relations":{"m.replace":{"event_id":"{edited}"}}}}}}`
	const filter = "filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%7D"
	ignore := func(users string) servertest.Case {
		return servertest.Case{Name: "alice ignores " + users, Who: "alice", Method: "PUT", Path: "v3/user/{@alice}/account_data/m.ignored_user_list", Body: `{"ignored_users":{` + users + `}}`, Status: 200, Changes: 1}
	}
	s.Run(t, []servertest.Case{
		shows("event", "alice", event, of(all)),
		shows("context", "bob", "v3/rooms/{room}/context/{one}?limit=0", `{"event":`+of(all)+`}`),
		shows("messages", "bob", "v3/rooms/{room}/messages?dir=f&limit=1&"+filter, `{"chunk":[`+of(all)+`]}`),
		shows("the content stays", "bob", event, `{"content":{"body":"one"}}`),
		shows("nothing relates", "bob", "v3/rooms/{room}/event/{two}", `{"unsigned":{"m.relations":"!absent"}}`),
		relate("foreign", "bob", messageType, "m.replace", "one", `},"m.new_content":{"body":"bob's"}`),
		relate("othertype", "alice", "m.other", "m.replace", "one", `},"m.new_content":{"body":"x"}`),
		relate("without", "alice", messageType, "m.replace", "one", `},"body":"x"`),
		relate("ofedit", "alice", messageType, "m.replace", "edit", `},"m.new_content":{"body":"x"}`),
		shows("edits that are no good", "bob", event, of(`{"m.replace":{"event_id":"{edit}","unsigned":{"m.relations":"!absent"}}}`)),
		relate("ref1", "bob", "m.x", "m.reference", "one", `}`),
		relate("ref2", "alice", "m.x", "m.reference", "one", `}`),
		relate("reply2", "alice", messageType, "m.thread", "one", `}`),
		relate("later", "alice", messageType, "m.replace", "one", `},"m.new_content":{"body":"eins"}`),
		shows("more", "bob", event, of(`{"m.replace":{"event_id":"{later}"},"m.reference":{"chunk":[{"event_id":"{ref1}"},{"event_id":"{ref2}"}]},"m.thread":{"count":2,"latest_event":{"event_id":"{reply2}"}}}`)),
		{Name: "redact an edit", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/redact/{later}/1", Body: `{}`, Status: 200, Changes: 1},
		{Name: "redact a reply", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/redact/{reply2}/2", Body: `{}`, Status: 200, Changes: 1},
		shows("less", "bob", event, of(`{"m.replace":{"event_id":"{edit}"},"m.thread":{"count":1,"latest_event":{"event_id":"{reply}"}}}`)),
		joinRoom("room", "carol"),
		shows("who took no part", "carol", event, of(`{"m.thread":{"current_user_participated":false}}`)),
		ignore(`"{@bob}":{}`),
		shows("ignored", "alice", event, of(`{"m.replace":{"event_id":"{edit}"},"m.reference":{"chunk":[{"event_id":"{ref2}"}]},"m.thread":"!absent"}`)),
		shows("ignored relations", "alice", "v1/rooms/{room}/relations/{one}/m.thread", `{"chunk":[]}`),
		ignore(``),
		{Name: "redact the root", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/redact/{one}/3", Body: `{}`, Status: 200, Changes: 1},
		shows("redacted", "bob", event, of(`{"m.replace":"!absent","m.thread":{"count":1}}`)),
	})
}

func TestAggregationsInSync(t *testing.T) {
	s := theRoom(t)
	const quiet = "v3/sync?set_presence=offline"
	s.Run(t, []servertest.Case{
		{Name: "since", Who: "bob", Method: "GET", Path: quiet, Status: 200, Save: save("since", "next_batch")},
		say("room", "alice", "four"),
		relate("edit", "alice", messageType, "m.replace", "four", `},"m.new_content":{"body":"vier"}`),
		{Name: "all of it", Who: "bob", Method: "GET", Path: quiet + "&since={since}", Status: 200,
			Want: `{"rooms":{"join":{"{room}":{"timeline":{"limited":false,"events":[{"event_id":"{four}","unsigned":{"m.relations":"!absent"}},{"event_id":"{edit}"}]}}}}}`},
		{Name: "limited", Who: "bob", Method: "GET", Path: quiet + "&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A2%7D%7D%7D", Status: 200,
			Want: `{"rooms":{"join":{"{room}":{"timeline":{"limited":true,"events":[{"event_id":"{four}","unsigned":{"m.relations":{"m.replace":{"event_id":"{edit}"}}}},{"event_id":"{edit}"}]}}}}}`},
	})
}

func TestThreads(t *testing.T) {
	s := theRoom(t)
	const path = "v1/rooms/{room}/threads"
	get := func(name, who, query, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: path + query, Status: 200, Want: want}
	}
	refuse := func(name, who, path string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: path, Status: status, Errcode: errcode}
	}
	thread := func(root, latest string) string {
		return `{"event_id":"{` + root + `}","unsigned":{"m.relations":{"m.thread":{"latest_event":{"event_id":"{` + latest + `}"}}}}}`
	}
	s.Run(t, []servertest.Case{
		refuse("no token", "", path, 401, "M_MISSING_TOKEN"),
		refuse("stranger", "dave", path, 403, "M_FORBIDDEN"),
		refuse("no such room", "bob", "v1/rooms/!nowhere/threads", 403, "M_FORBIDDEN"),
		refuse("wrong include", "bob", path+"?include=some", 400, "M_INVALID_PARAM"),
		refuse("wrong limit", "bob", path+"?limit=0", 400, "M_INVALID_PARAM"),
		refuse("negative limit", "bob", path+"?limit=-1", 400, "M_INVALID_PARAM"),
		refuse("wrong from", "bob", path+"?from=x", 400, "M_INVALID_PARAM"),
		get("none", "bob", "", `{"chunk":[],"next_batch":"!absent"}`),

		say("room", "bob", "four"),
		relate("a1", "alice", messageType, "m.thread", "one", `}`),
		relate("b1", "alice", messageType, "m.thread", "two", `}`),
		relate("c1", "alice", messageType, "m.thread", "four", `}`),
		relate("a2", "bob", messageType, "m.thread", "one", `}`),
		get("by the newest reply", "bob", "", `{"chunk":[`+thread("one", "a2")+`,`+thread("four", "c1")+`,`+thread("two", "b1")+`],"next_batch":"!absent"}`),
		get("participated", "bob", "?include=participated", `{"chunk":[{"event_id":"{one}"},{"event_id":"{four}"}]}`),
		{Name: "first page", Who: "bob", Method: "GET", Path: path + "?limit=2", Status: 200, Save: save("next", "next_batch"), Want: `{"chunk":[{"event_id":"{one}"},{"event_id":"{four}"}]}`},
		get("second page", "bob", "?limit=2&from={next}", `{"chunk":[{"event_id":"{two}"}],"next_batch":"!absent"}`),
		{Name: "ignore", Who: "alice", Method: "PUT", Path: "v3/user/{@alice}/account_data/m.ignored_user_list", Body: `{"ignored_users":{"{@bob}":{}}}`, Status: 200, Changes: 1},
		get("ignoring", "alice", "", `{"chunk":[{"event_id":"{four}","content":{"body":"!absent"},"unsigned":{"m.relations":{"m.thread":{"count":1}}}},{"event_id":"{two}"},`+thread("one", "a1")+`]}`),
	})
}

// TestAggregationsOfWhatIsSeen asks as somebody who left before the second reply, and as
// somebody who came too late for the first message.
func TestAggregationsOfWhatIsSeen(t *testing.T) {
	s := servertest.New(t)
	const event = "v3/rooms/{room}/event/{root}"
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"preset":"public_chat","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"joined"}}]}`),
		joinRoom("room", "bob"),
		say("room", "alice", "root"),
		relate("early", "alice", messageType, "m.thread", "root", `}`),
		act("bob leaves", "bob", "leave", `{}`, 200, ""),
		joinRoom("room", "carol"),
		relate("late", "alice", messageType, "m.thread", "root", `}`),
		relate("edit", "alice", messageType, "m.replace", "root", `},"m.new_content":{}`),
		{Name: "alice sees all", Who: "alice", Method: "GET", Path: event, Status: 200, Want: `{"unsigned":{"m.relations":{"m.replace":{"event_id":"{edit}"},"m.thread":{"count":2,"latest_event":{"event_id":"{late}"}}}}}`},
		{Name: "bob sees the beginning", Who: "bob", Method: "GET", Path: event, Status: 200, Want: `{"unsigned":{"m.relations":{"m.replace":"!absent","m.thread":{"count":1,"latest_event":{"event_id":"{early}"}}}}}`},
		{Name: "bob lists it", Who: "bob", Method: "GET", Path: "v1/rooms/{room}/relations/{root}", Status: 200, Want: `{"chunk":[{"event_id":"{early}"}]}`},
		{Name: "bob's threads", Who: "bob", Method: "GET", Path: "v1/rooms/{room}/threads", Status: 200, Want: `{"chunk":[{"event_id":"{root}"}]}`},
		{Name: "carol sees no root", Who: "carol", Method: "GET", Path: "v1/rooms/{room}/relations/{root}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "carol's threads", Who: "carol", Method: "GET", Path: "v1/rooms/{room}/threads", Status: 200, Want: `{"chunk":[]}`},
	})
}
