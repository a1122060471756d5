package eventauth

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// The room of all cases. @alice created it, @admin has level 100, @mod 50; @bob and
// @far are members; @gone is banned, @guest invited, @knocker knocking and @new
// nothing at all. To invite, kick, ban, redact and set state takes 50.
const (
	createID = "$cccccccccccccccccccccccccccccccccccccccccccc"
	hashRoom = "!cccccccccccccccccccccccccccccccccccccccccccc"

	baseLevels = `"users":{"@admin:d":100,"@mod:d":50},"invite":50,"kick":50,"ban":50,"redact":50,
		"users_default":0,"events_default":0,"state_default":50,
		"events":{"m.special":75,"m.low":0},"notifications":{"room":75}`
)

func world(v roomver.Version) StateMap {
	state := StateMap{}
	put := func(eventType, key, sender, content string) {
		state[Key{eventType, key}] = StateEvent{ID: matrix.EventID("$" + eventType + key), Sender: matrix.UserID(sender), Content: json.RawMessage(content)}
	}
	put("m.room.create", "", "@alice:d", `{"creator":"@alice:d","room_version":"`+v.ID+`"}`)
	create := state[Key{"m.room.create", ""}]
	create.ID = createID
	state[Key{"m.room.create", ""}] = create
	put("m.room.power_levels", "", "@alice:d", "{"+baseLevels+"}")
	put("m.room.join_rules", "", "@alice:d", `{"join_rule":"invite"}`)
	for user, membership := range map[string]string{
		"@alice:d": "join", "@admin:d": "join", "@mod:d": "join", "@bob:d": "join", "@far:away": "join",
		"@gone:d": "ban", "@guest:d": "invite", "@knocker:d": "knock",
	} {
		put("m.room.member", user, user, `{"membership":"`+membership+`"}`)
	}
	return state
}

// testCase is one event in the world, judged in every room version.
type testCase struct {
	name    string
	sender  string // without "@" and, unless remote, ":d"
	kind    string // event type
	key     string // state key; "-" for none
	content string
	state   map[Key]string // changes of the world: content, or "" for nothing there
	change  func(v roomver.Version, ev *pdu.PDU, state StateMap)
	// want is what to expect since which room version: "1:5.2.2 6:4.2.2 12:ok".
	want string
}

func user(name string) string {
	if name == "" || strings.ContainsAny(name, ":#") {
		return name
	}
	return "@" + name + ":d"
}

// expected is the part of want that holds in a version.
func (tc testCase) expected(t *testing.T, v roomver.Version) string {
	number, err := strconv.Atoi(v.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, part := range strings.Fields(tc.want) {
		since, what, _ := strings.Cut(part, ":")
		if n, err := strconv.Atoi(since); err != nil {
			t.Fatal(err)
		} else if n <= number {
			want = what
		}
	}
	if want == "" || want == "ok" {
		return want
	}
	return "v" + v.ID + " " + want
}

func (tc testCase) event(v roomver.Version) (*pdu.PDU, StateMap) {
	state := world(v)
	for key, content := range tc.state {
		if content == "" {
			delete(state, key)
			continue
		}
		event := state[key]
		event.Content = json.RawMessage(content)
		state[key] = event
	}
	ev := &pdu.PDU{
		Version: v, ID: "$event:d", Room: "!r:d", HasRoomID: true, Sender: matrix.UserID(user(tc.sender)), Type: tc.kind,
		Content: json.RawMessage(tc.content), PrevEvents: []matrix.EventID{"$parent:d"},
	}
	if v.RoomIDIsHash {
		ev.Room = hashRoom
	}
	if tc.content == "" {
		ev.Content = json.RawMessage("{}")
	}
	if tc.key != "-" {
		ev.StateKey = &tc.key
	}
	if tc.change != nil {
		tc.change(v, ev, state)
	}
	return ev, state
}

// run judges the event in all versions and notes which rules refused.
func (tc testCase) run(t *testing.T, reached map[string]bool) {
	t.Helper()
	for _, v := range roomver.All() {
		want := tc.expected(t, v)
		if want == "" {
			continue
		}
		ev, state := tc.event(v)
		got := verdict(Check(v, ev, state, func(server matrix.ServerName) bool { return server == "d" }))
		if got != want {
			t.Errorf("version %s, %s: %s, want %s", v.ID, tc.name, got, want)
		}
		reached[got] = true
	}
}

// verdict is "ok" or the rule that refused.
func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	e, ok := err.(*matrix.Error)
	if !ok || e.Code != "M_FORBIDDEN" || e.Message == "" {
		return fmt.Sprintf("not a refusal: %v", err)
	}
	return e.Rule
}

// member is an m.room.member of a target, sent by a sender.
func member(name, sender, target, content, want string, state map[Key]string) testCase {
	return testCase{name: name, sender: sender, kind: "m.room.member", key: user(target), content: content, state: state, want: want}
}

func joinRule(rule string) map[Key]string {
	return map[Key]string{{"m.room.join_rules", ""}: `{"join_rule":"` + rule + `"}`}
}

func levels(content string) map[Key]string {
	return map[Key]string{{"m.room.power_levels", ""}: content}
}

// identityKey signs third-party invites.
func identityKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), seed))
}
