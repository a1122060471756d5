package eventauth

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

func levelsShapeCases() []testCase {
	const users, single, inMaps = "1:10.1 6:9.1 10:9.3 12:10.3", "1:10.1 6:9.1 10:9.1 12:10.1", "1:10.1 6:9.1 10:9.2 12:10.2"
	shape := func(content, want string) testCase {
		return testCase{name: "levels " + content, sender: "alice", kind: "m.room.power_levels", content: content, want: want, state: levels("")}
	}
	const text = "1:ok 10:9.1 12:10.1"
	cases := []testCase{
		shape(`{}`, "1:ok"),
		shape(`{"users":{"@x:d":50,"@:d":0},"events":{"a":-5},"notifications":{"room":1},"ban":0,"other":"x"}`, "1:ok"),
		shape(`{"users":[]}`, users), shape(`{"users":null}`, users), shape(`{"users":"x"}`, users),
		shape(`{"users":{"x":1}}`, users), shape(`{"users":{"@x":1}}`, users), shape(`{"users":{"@x:d":null}}`, users),
		shape(`{"users":{"@x:d":true}}`, users), shape(`{"users":{"@x:d":{}}}`, users), shape(`{"users":{"@x:d":"x"}}`, users),
		shape(`{"users":{"@x:d":"1.5"}}`, users), shape(`{"users":{"@x:d":""}}`, users), shape(`{"users":{"@x:d":"- 5"}}`, users),
		shape(`{"users":{"@x:d":"50"}}`, "1:ok 10:9.3 12:10.3"),
		shape(`{"users":{"@x:d":" +0050 "}}`, "1:ok 10:9.3 12:10.3"),
		shape(`{"users":{"@x:d":50.57}}`, "1:ok 6:9.1 10:9.3 12:10.3"),
		shape(`{"users":{"@x:d":5e400}}`, users),
		shape(`{"users":{"@alice:d":100}}`, "1:ok 12:10.4"),
		shape(`{"users":{"@creator2:d":100}}`, "1:ok"),
		shape(`{"events":{"a":"50"}}`, "1:ok 10:9.2 12:10.2"),
		shape(`{"notifications":{"a":"50"}}`, "1:ok 10:9.2 12:10.2"),
		shape(`{"events":5}`, inMaps), shape(`{"events":{"a":[]}}`, inMaps),
		shape(`{"notifications":5}`, "1:ok 6:9.1 10:9.2 12:10.2"), shape(`{"notifications":{"a":"b"}}`, "1:ok 6:9.1 10:9.2 12:10.2"),
	}
	for _, name := range singleLevels() {
		cases = append(cases,
			shape(`{"`+name+`":"50"}`, text), shape(`{"`+name+`":50}`, "1:ok"),
			shape(`{"`+name+`":null}`, single), shape(`{"`+name+`":[]}`, single), shape(`{"`+name+`":true}`, single))
	}
	second := shape(`{"users":{"@creator2:d":100}}`, "1:ok 12:10.4")
	second.name = "level of an additional creator"
	second.state = map[Key]string{{"m.room.power_levels", ""}: "", {"m.room.create", ""}: `{"creator":"@alice:d","additional_creators":["@creator2:d"]}`}
	return append(cases, second)
}

func levelsChangeCases() []testCase {
	change := func(name, sender, old, new, want string) testCase {
		replaced := strings.Replace(baseLevels, old, new, 1)
		if replaced == baseLevels && old != "" {
			panic("the world has no " + old)
		}
		return testCase{name: "levels: " + name, sender: sender, kind: "m.room.power_levels", content: "{" + replaced + "}", want: want}
	}
	const (
		before, after         = "1:10.3.1 6:9.3.1 10:9.5.1 12:10.6.1", "1:10.3.2 6:9.3.2 10:9.5.2 12:10.6.2"
		mapBefore, mapAfter   = "1:10.4.1 6:9.4.1 10:9.6.1 12:10.7.1", "1:10.5.1 6:9.5.1 10:9.7.1 12:10.8.1"
		userBefore, userAfter = "1:10.6.1 6:9.6.1 10:9.8.1 12:10.9.1", "1:10.7.1 6:9.7.1 10:9.9.1 12:10.10.1"
	)
	cases := []testCase{
		change("none", "mod", "", "", "1:ok"),
		change("none, written otherwise", "mod", `"ban":50`, `"ban":"50"`, "1:ok 10:9.1 12:10.1"),
		change("event raised", "mod", `"m.low":0`, `"m.low":50`, "1:ok"),
		change("event added", "mod", `"m.low":0`, `"m.low":0,"m.new":50`, "1:ok"),
		change("event removed", "mod", `,"m.low":0`, ``, "1:ok"),
		change("event above changed", "mod", `"m.special":75`, `"m.special":10`, mapBefore),
		change("event above removed", "mod", `"m.special":75,`, ``, mapBefore),
		change("events removed", "mod", `"events":{"m.special":75,"m.low":0},`, ``, mapBefore),
		change("event set above", "mod", `"m.low":0`, `"m.low":51`, mapAfter),
		change("event added above", "mod", `"m.low":0`, `"m.low":0,"m.new":51`, mapAfter),
		change("notification above changed", "mod", `"room":75`, `"room":10`, "1:ok 6:9.4.1 10:9.6.1 12:10.7.1"),
		change("notification above removed", "mod", `"room":75`, ``, "1:ok 6:9.4.1 10:9.6.1 12:10.7.1"),
		change("notification added above", "mod", `"room":75`, `"room":75,"x":51`, "1:ok 6:9.5.1 10:9.7.1 12:10.8.1"),
		change("notification by the admin", "admin", `"room":75`, `"room":100`, "1:ok"),
		change("user added", "mod", `"@mod:d":50`, `"@mod:d":50,"@bob:d":50`, "1:ok"),
		change("user added above", "mod", `"@mod:d":50`, `"@mod:d":50,"@bob:d":51`, userAfter),
		change("oneself raised", "mod", `"@mod:d":50`, `"@mod:d":51`, userAfter),
		change("oneself lowered", "mod", `"@mod:d":50`, `"@mod:d":1`, "1:ok"),
		change("oneself removed", "mod", `,"@mod:d":50`, ``, "1:ok"),
		change("better lowered", "mod", `"@admin:d":100`, `"@admin:d":10`, userBefore),
		change("better removed", "mod", `"@admin:d":100,`, ``, userBefore),
		change("lower removed", "admin", `,"@mod:d":50`, ``, "1:ok"),
		change("users removed", "mod", `"users":{"@admin:d":100,"@mod:d":50},`, ``, userBefore),
		change("anything by the creator", "alice", `"@admin:d":100`, `"@admin:d":1000`, "1:8 6:7 12:ok"),
	}
	equal := change("equal lowered", "mod", `"@mod:d":50`, `"@mod:d":50,"@twin:d":10`, userBefore)
	equal.state = levels("{" + strings.Replace(baseLevels, `"@mod:d":50`, `"@mod:d":50,"@twin:d":50`, 1) + "}")
	cases = append(cases, equal)
	for _, name := range singleLevels() {
		// Everything at 50, what is to be changed at 75.
		old := `"users":{"@mod:d":50},"state_default":50`
		high := old + `,"` + name + `":75`
		if name == "state_default" {
			old = `"users":{"@mod:d":50},"events":{"m.room.power_levels":50}`
			high = old + `,"state_default":75`
		}
		if name == "users_default" {
			high = `"users":{"@mod:d":50,"@twin:d":0},"state_default":50,"users_default":75`
			old = `"users":{"@mod:d":50,"@twin:d":0},"state_default":50`
		}
		single := func(what, before, after, want string) testCase {
			return testCase{name: "levels: " + name + " " + what, sender: "mod", kind: "m.room.power_levels",
				content: "{" + after + "}", want: want, state: levels("{" + before + "}")}
		}
		cases = append(cases,
			single("kept", high, high, "1:ok"), single("removed", high, old, before),
			single("lowered", high, strings.Replace(high, "75", "50", 1), before), single("added above", old, high, after),
			single("added", old, strings.Replace(high, "75", "20", 1), "1:ok"))
	}
	return cases
}

func TestLevels(t *testing.T) {
	one, _ := roomver.Get("1")
	ten, _ := roomver.Get("10")
	twelve, _ := roomver.Get("12")
	for _, tc := range []struct {
		name    string
		v       roomver.Version
		content string
		want    string
	}{
		{"defaults", ten, `{}`, "bob 0, alice 0, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"none", ten, ``, "bob 0, alice 100, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"none", twelve, ``, "bob 0, alice 9223372036854775807, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"set", ten, `{"users":{"@alice:d":7},"users_default":1,"events_default":2,"state_default":3,"ban":4,"kick":5,"invite":6,"redact":7,"notifications":{"room":8}}`,
			"bob 1, alice 7, send 2, state 3, ban 4, kick 5, invite 6, redact 7, room 8"},
		{"text", one, `{"users":{"@alice:d":" +007 ","@bob:d":"-3"},"ban":"4"}`, "bob -3, alice 7, send 0, state 50, ban 4, kick 50, invite 0, redact 50, room 50"},
		{"text is not read", ten, `{"users":{"@alice:d":"7"},"ban":"4"}`, "bob 0, alice 0, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"floats", one, `{"users":{"@alice:d":5.114698E4,"@bob:d":-1.9},"ban":50.57}`, "bob -1, alice 51146, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"huge", one, `{"users":{"@alice:d":1e300,"@bob:d":-99999999999999999999}}`,
			"bob -9223372036854775806, alice 9223372036854775806, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"creators cannot be set", twelve, `{"users":{"@alice:d":1}}`, "bob 0, alice 9223372036854775807, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"keys have case", ten, `{"Ban":1,"USERS":{"@bob:d":100}}`, "bob 0, alice 0, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
		{"no object", ten, `[]`, "bob 0, alice 0, send 0, state 50, ban 50, kick 50, invite 0, redact 50, room 50"},
	} {
		state := world(tc.v)
		state[Key{"m.room.power_levels", ""}] = StateEvent{Content: json.RawMessage(tc.content)}
		if tc.content == "" {
			delete(state, Key{"m.room.power_levels", ""})
		}
		p := Levels(tc.v, state)
		got := fmt.Sprintf("bob %d, alice %d, send %d, state %d, ban %d, kick %d, invite %d, redact %d, room %d",
			p.User("@bob:d"), p.User("@alice:d"), p.Event("x", false), p.Event("x", true), p.Ban, p.Kick, p.Invite, p.Redact, p.Notification("room"))
		if got != tc.want {
			t.Errorf("version %s, %s:\n%s, want\n%s", tc.v.ID, tc.name, got, tc.want)
		}
	}
}

func TestCanRedact(t *testing.T) {
	v, _ := roomver.Get("12")
	p := Levels(v, world(v))
	for _, tc := range []struct {
		redactor, sender matrix.UserID
		want             bool
	}{{"@mod:d", "@far:away", true}, {"@bob:d", "@far:away", false}, {"@bob:d", "@mod:d", true}, {"@alice:d", "@far:away", true}} {
		if got := p.CanRedact(tc.redactor, tc.sender); got != tc.want {
			t.Errorf("%s redacts an event of %s: %v", tc.redactor, tc.sender, got)
		}
	}
}

func TestAuthTypes(t *testing.T) {
	key := func(s string) *string { return &s }
	const usual = "m.room.power_levels/ m.room.member/@s:d"
	for _, tc := range []struct {
		version, kind string
		key           *string
		content, want string
	}{
		{"12", "m.room.create", key(""), `{}`, ""},
		{"11", "m.room.message", nil, `{}`, "m.room.create/ " + usual},
		{"12", "m.room.message", nil, `{}`, usual},
		{"12", "m.room.member", key("@s:d"), `{"membership":"join"}`, usual + " m.room.join_rules/"},
		{"12", "m.room.member", key("@t:d"), `{"membership":"leave"}`, usual + " m.room.member/@t:d"},
		{"12", "m.room.member", key("@t:d"), `{"membership":"ban"}`, usual + " m.room.member/@t:d"},
		{"12", "m.room.member", key("@t:d"), `{"membership":"invite"}`, usual + " m.room.member/@t:d m.room.join_rules/"},
		{"12", "m.room.member", key("@s:d"), `{"membership":"knock"}`, usual + " m.room.join_rules/"},
		{"12", "m.room.member", key("@t:d"), `{"membership":"invite","third_party_invite":{"signed":{"token":"x"}}}`,
			usual + " m.room.member/@t:d m.room.join_rules/ m.room.third_party_invite/x"},
		{"12", "m.room.member", key("@s:d"), `{"membership":"join","join_authorised_via_users_server":"@a:d"}`, usual + " m.room.join_rules/ m.room.member/@a:d"},
		{"7", "m.room.member", key("@s:d"), `{"membership":"join","join_authorised_via_users_server":"@a:d"}`, "m.room.create/ " + usual + " m.room.join_rules/"},
		{"12", "m.room.member", nil, `[]`, usual},
	} {
		v, _ := roomver.Get(tc.version)
		var got []string
		for _, k := range AuthTypes(v, tc.kind, "@s:d", tc.key, json.RawMessage(tc.content)) {
			got = append(got, k.Type+"/"+k.StateKey)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("version %s, %s %s: %v, want %s", tc.version, tc.kind, tc.content, got, tc.want)
		}
	}
}

func TestCreators(t *testing.T) {
	create := StateEvent{Sender: "@s:d", Content: json.RawMessage(`{"creator":"@c:d","additional_creators":["@a:d"]}`)}
	for version, want := range map[string]string{"10": "[@c:d]", "11": "[@s:d]", "12": "[@s:d @a:d]"} {
		v, _ := roomver.Get(version)
		if got := fmt.Sprint(Creators(v, create)); got != want {
			t.Errorf("version %s: %s", version, got)
		}
	}
}
