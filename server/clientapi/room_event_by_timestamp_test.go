package clientapi_test

import (
	"sync/atomic"
	"testing"
	"time"

	"porchlight/server"
	"porchlight/server/servertest"
)

func TestEventByTimestamp(t *testing.T) {
	var clock atomic.Int64 // ms
	clock.Store(1_700_000_000_000)
	s := servertest.New(t, func(c *server.Config) { c.Now = func() time.Time { return time.UnixMilli(clock.Load()) } })
	at := func(ms int64) { clock.Store(1_700_000_000_000 + ms) }
	find := func(name, who, query string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v1/rooms/{room}/timestamp_to_event" + query, Status: status, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{createRoom("room", "alice", `{"preset":"public_chat","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"joined"}}]}`)})
	at(1000)
	s.Run(t, []servertest.Case{say("room", "alice", "one")})
	at(2000)
	s.Run(t, []servertest.Case{joinRoom("room", "bob"), say("room", "alice", "two")})
	at(1500) // the clock was put back
	s.Run(t, []servertest.Case{say("room", "alice", "stray")})
	at(3000)
	s.Run(t, []servertest.Case{say("room", "alice", "three")})
	at(4000)
	s.Run(t, []servertest.Case{
		find("no token", "", "?ts=1700000000000&dir=f", 401, "M_MISSING_TOKEN", ""),
		{Name: "unknown token", Token: "x", Method: "GET", Path: "v1/rooms/{room}/timestamp_to_event?ts=1&dir=f", Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		find("who is not in the room", "carol", "?ts=1700000000000&dir=f", 403, "M_FORBIDDEN", ""),
		find("no time", "alice", "?dir=f", 400, "M_MISSING_PARAM", ""),
		find("no direction", "alice", "?ts=1", 400, "M_MISSING_PARAM", ""),
		find("bad direction", "alice", "?ts=1&dir=x", 400, "M_INVALID_PARAM", ""),
		find("bad time", "alice", "?ts=x&dir=f", 400, "M_INVALID_PARAM", ""),
		find("exact, forwards", "alice", "?ts=1700000001000&dir=f", 200, "", `{"event_id":"{one}","origin_server_ts":1700000001000}`),
		find("exact, backwards", "alice", "?ts=1700000001000&dir=b", 200, "", `{"event_id":"{one}"}`),
		find("in between, forwards", "alice", "?ts=1700000002001&dir=f", 200, "", `{"event_id":"{three}"}`),
		find("in between, backwards", "alice", "?ts=1700000002999&dir=b", 200, "", `{"event_id":"{two}"}`),
		find("out of order, forwards", "alice", "?ts=1700000001200&dir=f", 200, "", `{"event_id":"{stray}"}`),
		find("out of order, backwards", "alice", "?ts=1700000001700&dir=b", 200, "", `{"event_id":"{stray}"}`),
		find("before everything", "alice", "?ts=-5&dir=b", 404, "M_NOT_FOUND", ""),
		find("from the beginning", "alice", "?ts=0&dir=f", 200, "", `{"origin_server_ts":1700000000000}`),
		find("behind everything", "alice", "?ts=1700000003001&dir=f", 404, "M_NOT_FOUND", ""),
		find("back from the end of time", "alice", "?ts=9223372036854775807&dir=b", 200, "", `{"event_id":"{three}"}`),
		find("bob sees nothing of before he came", "bob", "?ts=1700000001999&dir=b", 200, "", `{"event_id":"{stray}"}`),
		find("bob is led to what he may see", "bob", "?ts=1700000000500&dir=f", 200, "", `{"event_id":"{stray}"}`),
		{Name: "kick", Who: "alice", Method: "POST", Path: "v3/rooms/{room}/kick", Body: `{"user_id":"{@bob}"}`, Status: 200, Changes: 1},
		say("room", "alice", "later"),
		find("nothing after he left", "bob", "?ts=1700000004001&dir=f", 404, "M_NOT_FOUND", ""),
		find("up to when he left", "bob", "?ts=1700000009000&dir=b", 200, "", `{"origin_server_ts":1700000004000}`),
	})
}
