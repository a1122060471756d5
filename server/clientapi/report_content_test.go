package clientapi_test

import (
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

func TestReports(t *testing.T) {
	s := servertest.New(t)
	report := func(name, who, path, body string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "POST", Path: path, Body: body, Status: status, Errcode: errcode, Changes: servertest.Any}
	}
	// refused is the one answer to whoever may not report an event.
	refused := func(name, who, path string) servertest.Case {
		c := report(name, who, path, `{"reason":"x"}`, 404, "M_NOT_FOUND")
		c.Want = `{"errcode":"M_NOT_FOUND","error":"The event was not found or you are not joined to the room."}`
		return c
	}
	s.User("owner")
	s.Run(t, []servertest.Case{
		createRoom("room", "alice", `{"invite":["{@bob}"],"initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"joined"}}]}`),
		{Name: "early", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"body":"early"}`, Status: 200, Changes: 1, Save: save("early", "event_id")},
		joinRoom("room", "bob"),
		{Name: "late", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/2", Body: `{"body":"late"}`, Status: 200, Changes: 1, Save: save("late", "event_id")},
		createRoom("other", "bob", `{}`),

		report("event without token", "", "v3/rooms/{room}/report/{late}", `{}`, 401, "M_MISSING_TOKEN"),
		{Name: "event with unknown token", Token: "x", Method: "POST", Path: "v3/rooms/{room}/report/{late}", Body: `{}`, Status: 401, Errcode: "M_UNKNOWN_TOKEN"},
		report("event, no JSON", "bob", "v3/rooms/{room}/report/{late}", `{`, 400, "M_NOT_JSON"),
		report("event, reason of the wrong type", "bob", "v3/rooms/{room}/report/{late}", `{"reason":1}`, 400, "M_BAD_JSON"),
		report("event, reason too long", "bob", "v3/rooms/{room}/report/{late}", `{"reason":"`+strings.Repeat("x", 4097)+`"}`, 400, "M_INVALID_PARAM"),
		refused("event by who is not in the room", "carol", "v3/rooms/{room}/report/{late}"),
		refused("event that bob cannot see", "bob", "v3/rooms/{room}/report/{early}"),
		refused("event that is not there", "bob", "v3/rooms/{room}/report/$none"),
		refused("event of another room", "bob", "v3/rooms/{other}/report/{late}"),
		refused("event of a room that is not there", "bob", "v3/rooms/!none/report/{late}"),
		report("event", "bob", "v3/rooms/{room}/report/{late}", `{"reason":"rude\nreport 9: false","score":-100}`, 200, ""),
		report("event without reason", "alice", "v3/rooms/{room}/report/{early}", `{}`, 200, ""),

		report("room without token", "", "v3/rooms/{room}/report", `{"reason":""}`, 401, "M_MISSING_TOKEN"),
		report("room without reason", "carol", "v3/rooms/{room}/report", `{}`, 400, "M_MISSING_PARAM"),
		report("room that is not there", "carol", "v3/rooms/!none/report", `{"reason":""}`, 404, "M_NOT_FOUND"),
		report("no room ID", "carol", "v3/rooms/none/report", `{"reason":""}`, 400, "M_INVALID_PARAM"),
		report("room, from outside", "carol", "v3/rooms/{room}/report", `{"reason":""}`, 200, ""),

		report("user without token", "", "v3/users/{@bob}/report", `{"reason":""}`, 401, "M_MISSING_TOKEN"),
		report("user without reason", "carol", "v3/users/{@bob}/report", `{}`, 400, "M_MISSING_PARAM"),
		report("user who is not there", "carol", "v3/users/@nobody:{server}/report", `{"reason":""}`, 404, "M_NOT_FOUND"),
		report("no user ID", "carol", "v3/users/bob/report", `{"reason":""}`, 400, "M_INVALID_PARAM"),
		report("user", "carol", "v3/users/{@bob}/report", `{"reason":"spam"}`, 200, ""),
	})

	lines, err := s.Do(t.Context(), server.Order{Do: "report list"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`"m.room.message" event ` + s.Var("late") + ` by @alice:house.test in ` + s.Var("room") + `, because "rude\nreport 9: false"`,
		`    {"body":"late"}`, s.Var("early"), `    {"body":"early"}`,
		"@carol:house.test reports the room " + s.Var("room"),
		`reports the user @bob:house.test, because "spam"`,
	} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Fatalf("line %d of %q should have %q", i, lines, want)
		}
	}
	if _, err := s.Do(t.Context(), server.Order{Do: "report remove", Report: 1}); err != nil {
		t.Error(err)
	}
	if _, err := s.Do(t.Context(), server.Order{Do: "report remove", Report: 1}); err == nil {
		t.Error("a report was removed twice")
	}
}

func TestReportReachesTheOwner(t *testing.T) {
	s := servertest.New(t)
	owner := s.User("owner")
	s.Run(t, []servertest.Case{
		{Name: "report", Who: "alice", Method: "POST", Path: "v3/users/{@bob}/report", Body: `{"reason":"spam"}`, Status: 200, Changes: servertest.Any},
	})
	var sync struct {
		Rooms struct {
			Invite map[string]any
		}
	}
	owner.Must("GET", "v3/sync", "", &sync)
	if len(sync.Rooms.Invite) != 1 {
		t.Fatalf("the owner is invited to %d rooms", len(sync.Rooms.Invite))
	}
	for room := range sync.Rooms.Invite {
		s.Set("notices", room)
	}
	s.Run(t, []servertest.Case{
		{Name: "it is tagged", Who: "owner", Method: "GET", Path: "v3/user/{@owner}/rooms/{notices}/tags", Status: 200, Want: `{"tags":{"m.server_notice":{}}}`},
		{Name: "the invitation cannot be turned down", Who: "owner", Method: "POST", Path: "v3/rooms/{notices}/leave", Body: `{}`, Status: 403, Errcode: "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"},
		joinRoom("notices", "owner"),
		{
			Name: "the report is there", Who: "owner", Method: "GET", Path: "v3/rooms/{notices}/messages?dir=b&limit=2", Status: 200,
			Want: `{"chunk":[{"type":"m.room.member"},{"content":{"msgtype":"m.server_notice","server_notice_type":"porchlight.report","body":"report 1, * because \"spam\""}}]}`,
		},
		{Name: "the owner does not talk there", Who: "owner", Method: "PUT", Path: "v3/rooms/{notices}/send/m.room.message/1", Body: `{}`, Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "a second one comes to the same room", Who: "alice", Method: "POST", Path: "v3/users/{@bob}/report", Body: `{"reason":"more"}`, Status: 200, Changes: 1},
		{Name: "the room can be left", Who: "owner", Method: "POST", Path: "v3/rooms/{notices}/leave", Body: `{}`, Status: 200, Changes: 1},
		{Name: "a third one invites again", Who: "alice", Method: "POST", Path: "v3/users/{@bob}/report", Body: `{"reason":"third"}`, Status: 200, Changes: 2},
		joinRoom("notices", "owner"),
		{Name: "leave again", Who: "owner", Method: "POST", Path: "v3/rooms/{notices}/leave", Body: `{}`, Status: 200, Changes: 1},
		{Name: "block invitations", Who: "owner", Method: "PUT", Path: "v3/user/{@owner}/account_data/m.invite_permission_config", Body: `{"default_action":"block"}`, Status: 200, Changes: 1},
		{Name: "then there is only the list", Who: "alice", Method: "POST", Path: "v3/users/{@bob}/report", Body: `{"reason":"fourth"}`, Status: 200},
	})
}
