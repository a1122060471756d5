package eventauth

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// refusing are all rules that refuse, copied from the text of each room version.
var refusing = map[string]string{
	"1":  "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2 5.1 5.2.2 5.2.3 5.2.6 5.3.1.1 5.3.1.2 5.3.1.3 5.3.1.4 5.3.1.5 5.3.1.6 5.3.1.8 5.3.2 5.3.3 5.3.5 5.4.1 5.4.2 5.4.3 5.4.5 5.5.1 5.5.3 5.6 6 7.1 8 9 10.1 10.3.1 10.3.2 10.4.1 10.5.1 10.6.1 10.7.1 11.3",
	"3":  "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2 5.1 5.2.2 5.2.3 5.2.6 5.3.1.1 5.3.1.2 5.3.1.3 5.3.1.4 5.3.1.5 5.3.1.6 5.3.1.8 5.3.2 5.3.3 5.3.5 5.4.1 5.4.2 5.4.3 5.4.5 5.5.1 5.5.3 5.6 6 7.1 8 9 10.1 10.3.1 10.3.2 10.4.1 10.5.1 10.6.1 10.7.1",
	"6":  "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.2 4.2.3 4.2.6 4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.8 4.3.2 4.3.3 4.3.5 4.4.1 4.4.2 4.4.3 4.4.5 4.5.1 4.5.3 4.6 5 6.1 7 8 9.1 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1",
	"7":  "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.2 4.2.3 4.2.6 4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.8 4.3.2 4.3.3 4.3.5 4.4.1 4.4.2 4.4.3 4.4.5 4.5.1 4.5.3 4.6.1 4.6.2 4.6.4 4.7 5 6.1 7 8 9.1 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1",
	"8":  "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.2 4.3.3 4.3.5.2 4.3.7 4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.8 4.4.2 4.4.3 4.4.5 4.5.1 4.5.2 4.5.3 4.5.5 4.6.1 4.6.3 4.7.1 4.7.2 4.7.4 4.8 5 6.1 7 8 9.1 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1",
	"10": "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.2 4.3.3 4.3.5.2 4.3.7 4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.8 4.4.2 4.4.3 4.4.5 4.5.1 4.5.2 4.5.3 4.5.5 4.6.1 4.6.3 4.7.1 4.7.2 4.7.4 4.8 5 6.1 7 8 9.1 9.2 9.3 9.5.1 9.5.2 9.6.1 9.7.1 9.8.1 9.9.1",
	"11": "1.1 1.2 1.3 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.2 4.3.3 4.3.5.2 4.3.7 4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.8 4.4.2 4.4.3 4.4.5 4.5.1 4.5.2 4.5.3 4.5.5 4.6.1 4.6.3 4.7.1 4.7.2 4.7.4 4.8 5 6.1 7 8 9.1 9.2 9.3 9.5.1 9.5.2 9.6.1 9.7.1 9.8.1 9.9.1",
	"12": "1.1 1.2 1.3 1.4 2 3.1 3.2 3.3 3.5 4 5.1 5.2.1 5.3.2 5.3.3 5.3.5.2 5.3.7 5.4.1.1 5.4.1.2 5.4.1.3 5.4.1.4 5.4.1.5 5.4.1.6 5.4.1.8 5.4.2 5.4.3 5.4.5 5.5.1 5.5.2 5.5.3 5.5.5 5.6.1 5.6.3 5.7.1 5.7.2 5.7.4 5.8 6 7.1 8 9 10.1 10.2 10.3 10.4 10.6.1 10.6.2 10.7.1 10.8.1 10.9.1 10.10.1",
}

// TestRules runs all cases and then counts: every rule of every version has
// refused something, and nothing was refused by a rule that is not in the text.
func TestRules(t *testing.T) {
	reached := make(map[string]bool)
	for _, group := range [][]testCase{
		createCases(), generalCases(), joinCases(), inviteCases(), thirdPartyCases(t),
		leaveAndBanCases(), knockCases(), levelsShapeCases(), levelsChangeCases(), redactionCases(),
	} {
		for _, tc := range group {
			tc.run(t, reached)
		}
	}
	authEventCases(t, reached)
	var rules string
	for _, v := range roomver.All() {
		if own, ok := refusing[v.ID]; ok {
			rules = own
		}
		var missing, unknown []string
		for _, rule := range strings.Fields(rules) {
			if !reached["v"+v.ID+" "+rule] {
				missing = append(missing, rule)
			}
		}
		for _, rule := range slices.Sorted(maps.Keys(reached)) {
			number, ok := strings.CutPrefix(rule, "v"+v.ID+" ")
			if ok && !slices.Contains(strings.Fields(rules), number) {
				unknown = append(unknown, number)
			}
		}
		if missing != nil || unknown != nil {
			t.Errorf("version %s: never refused: %v; refused but not in the text: %v", v.ID, missing, unknown)
		}
	}
}

func createCases() []testCase {
	create := func(name, content, want string, change func(v roomver.Version, ev *pdu.PDU)) testCase {
		return testCase{
			name: name, sender: "alice", kind: "m.room.create", content: content, want: want,
			change: func(v roomver.Version, ev *pdu.PDU, state StateMap) {
				clear(state)
				ev.PrevEvents, ev.HasRoomID = nil, !v.RoomIDIsHash
				if change != nil {
					change(v, ev)
				}
			},
		}
	}
	return []testCase{
		create("create", `{"creator":"@alice:d"}`, "1:ok", nil),
		create("create with version", `{"creator":"@alice:d","room_version":"12"}`, "1:ok", nil),
		create("with parents", `{"creator":"@alice:d"}`, "1:1.1", func(_ roomver.Version, ev *pdu.PDU) { ev.PrevEvents = []matrix.EventID{"$x"} }),
		create("room of another server", `{"creator":"@alice:d"}`, "1:1.2", func(_ roomver.Version, ev *pdu.PDU) { ev.Room, ev.HasRoomID = "!r:other", true }),
		create("names its room", `{}`, "12:1.2", func(_ roomver.Version, ev *pdu.PDU) { ev.HasRoomID = true }),
		create("unknown version", `{"creator":"@alice:d","room_version":"99"}`, "1:1.3", nil),
		create("version is no string", `{"creator":"@alice:d","room_version":1}`, "1:1.3", nil),
		create("version null", `{"creator":"@alice:d","room_version":null}`, "1:1.3", nil),
		create("no creator", `{}`, "1:1.4 11:ok", nil),
		create("case matters", `{"Creator":"@alice:d"}`, "1:1.4 11:ok", nil),
		create("more creators", `{"creator":"@alice:d","additional_creators":["@bob:d","@:d"]}`, "1:ok", nil),
		create("no more creators", `{"creator":"@alice:d","additional_creators":[]}`, "1:ok", nil),
		create("creators are no list", `{"creator":"@alice:d","additional_creators":"@bob:d"}`, "1:ok 12:1.4", nil),
		create("creators null", `{"creator":"@alice:d","additional_creators":null}`, "1:ok 12:1.4", nil),
		create("creator null", `{"creator":"@alice:d","additional_creators":[null]}`, "1:ok 12:1.4", nil),
		create("creator is no string", `{"creator":"@alice:d","additional_creators":[1]}`, "1:ok 12:1.4", nil),
		create("creator is no user", `{"creator":"@alice:d","additional_creators":["bob"]}`, "1:ok 12:1.4", nil),
	}
}

func generalCases() []testCase {
	noCreate := map[Key]string{{"m.room.create", ""}: ""}
	local := map[Key]string{{"m.room.create", ""}: `{"creator":"@alice:d","m.federate":false}`}
	open := map[Key]string{{"m.room.create", ""}: `{"creator":"@alice:d","m.federate":true}`}
	return []testCase{
		{name: "message", sender: "bob", kind: "m.room.message", key: "-", want: "1:ok"},
		{name: "no create event", sender: "bob", kind: "m.room.message", key: "-", state: noCreate, want: "1:2.4 12:2"},
		{name: "create event of another room", sender: "bob", kind: "m.room.message", key: "-", want: "1:ok 12:2",
			change: func(_ roomver.Version, ev *pdu.PDU, _ StateMap) {
				ev.Room = matrix.RoomID(strings.ReplaceAll(string(ev.Room), "c", "d"))
			}},
		{name: "from away", sender: "@far:away", kind: "m.room.message", key: "-", want: "1:ok"},
		{name: "from away, closed", sender: "@far:away", kind: "m.room.message", key: "-", state: local, want: "1:3 12:4"},
		{name: "from here, closed", sender: "bob", kind: "m.room.message", key: "-", state: local, want: "1:ok"},
		{name: "from away, open", sender: "@far:away", kind: "m.room.message", key: "-", state: open, want: "1:ok"},
		{name: "aliases", sender: "bob", kind: "m.room.aliases", key: "d", want: "1:ok 6:7 12:8"},
		{name: "aliases of a stranger", sender: "new", kind: "m.room.aliases", key: "d", want: "1:ok 6:5 12:6"},
		{name: "aliases of the moderator", sender: "mod", kind: "m.room.aliases", key: "d", want: "1:ok"},
		{name: "aliases without key", sender: "mod", kind: "m.room.aliases", key: "-", want: "1:4.1 6:ok"},
		{name: "aliases of another server", sender: "mod", kind: "m.room.aliases", key: "away", want: "1:4.2 6:ok"},
		{name: "not a member", sender: "new", kind: "m.room.message", key: "-", want: "1:6 6:5 12:6"},
		{name: "invited", sender: "guest", kind: "m.room.message", key: "-", want: "1:6 6:5 12:6"},
		{name: "banned", sender: "gone", kind: "m.room.message", key: "-", want: "1:6 6:5 12:6"},
		{name: "third-party invite", sender: "mod", kind: "m.room.third_party_invite", key: "token", want: "1:ok"},
		{name: "third-party invite, too low", sender: "bob", kind: "m.room.third_party_invite", key: "token", want: "1:7.1 6:6.1 12:7.1"},
		{name: "third-party invite is not ruled by events", sender: "mod", kind: "m.room.third_party_invite", key: "@x", want: "1:ok"},
		{name: "state, too low", sender: "bob", kind: "m.room.topic", key: "", want: "1:8 6:7 12:8"},
		{name: "state", sender: "mod", kind: "m.room.topic", key: "", want: "1:ok"},
		{name: "listed type, too low", sender: "mod", kind: "m.special", key: "-", want: "1:8 6:7 12:8"},
		{name: "listed type", sender: "admin", kind: "m.special", key: "-", want: "1:ok"},
		{name: "listed state", sender: "bob", kind: "m.low", key: "", want: "1:ok"},
		{name: "own state", sender: "bob", kind: "m.low", key: "@bob:d", want: "1:ok"},
		{name: "state of another", sender: "admin", kind: "m.low", key: "@bob:d", want: "1:9 6:8 12:9"},
		{name: "creator without levels", sender: "alice", kind: "m.room.topic", key: "", state: levels(""), want: "1:ok"},
		{name: "other without levels", sender: "admin", kind: "m.room.topic", key: "", state: levels(""), want: "1:8 6:7 12:8"},
		{name: "unlisted creator", sender: "alice", kind: "m.special", key: "-", want: "1:8 6:7 12:ok"},
		{name: "additional creator", sender: "bob", kind: "m.special", key: "-", want: "1:8 6:7 12:ok",
			state: map[Key]string{{"m.room.create", ""}: `{"creator":"@alice:d","additional_creators":["@bob:d"]}`}},
		{name: "the creator is who sent the create event", sender: "bob", kind: "m.room.topic", key: "", want: "1:ok 11:7 12:8",
			state: map[Key]string{{"m.room.create", ""}: `{"creator":"@bob:d"}`, {"m.room.power_levels", ""}: ""}},
	}
}

func joinCases() []testCase {
	const join = `{"membership":"join"}`
	via := func(user string) string {
		return `{"membership":"join","join_authorised_via_users_server":` + user + `}`
	}
	first := func(parent matrix.EventID) func(roomver.Version, *pdu.PDU, StateMap) {
		return func(_ roomver.Version, ev *pdu.PDU, state StateMap) {
			for key := range state {
				if key.Type != "m.room.create" {
					delete(state, key)
				}
			}
			ev.PrevEvents = []matrix.EventID{parent}
		}
	}
	none := map[Key]string{{"m.room.join_rules", ""}: ""}
	const refused = "1:5.2.6 6:4.2.6 8:4.3.7 12:5.3.7"
	restricted := func(rule, name, sender, content, want string) testCase {
		return member(rule+", "+name, sender, sender, content, want, joinRule(rule))
	}
	cases := []testCase{
		{name: "creator joins", sender: "alice", kind: "m.room.member", key: "@alice:d", content: join, change: first(createID), want: "1:ok"},
		{name: "creator joins later", sender: "alice", kind: "m.room.member", key: "@alice:d", content: join, change: first("$other"), want: refused},
		{name: "another joins first", sender: "bob", kind: "m.room.member", key: "@bob:d", content: join, change: first(createID), want: refused},
		{name: "no state key", sender: "bob", kind: "m.room.member", key: "-", content: join, want: "1:5.1 6:4.1 12:5.1"},
		member("state key is no user", "bob", "#x", join, "1:5.1 6:4.1 12:5.1", nil),
		member("no membership", "bob", "bob", `{}`, "1:5.1 6:4.1 12:5.1", nil),
		member("membership in capitals", "bob", "bob", `{"Membership":"join"}`, "1:5.1 6:4.1 12:5.1", nil),
		member("membership is no string", "bob", "bob", `{"membership":1}`, "1:5.6 6:4.6 7:4.7 8:4.8 12:5.8", nil),
		member("unknown membership", "bob", "bob", `{"membership":"dance"}`, "1:5.6 6:4.6 7:4.7 8:4.8 12:5.8", nil),
		member("join for another", "bob", "new", join, "1:5.2.2 6:4.2.2 8:4.3.2 12:5.3.2", joinRule("public")),
		member("banned", "gone", "gone", join, "1:5.2.3 6:4.2.3 8:4.3.3 12:5.3.3", joinRule("public")),
		member("invite only, invited", "guest", "guest", join, "1:ok", nil),
		member("invite only, joined", "bob", "bob", join, "1:ok", nil),
		member("invite only, not invited", "new", "new", join, refused, nil),
		member("no join rules, not invited", "new", "new", join, refused, none),
		member("no join rule, not invited", "new", "new", join, refused, map[Key]string{{"m.room.join_rules", ""}: `{}`}),
		member("no join rule, invited", "guest", "guest", join, "1:ok", map[Key]string{{"m.room.join_rules", ""}: `{}`}),
		member("join rule is no string", "guest", "guest", join, refused, map[Key]string{{"m.room.join_rules", ""}: `{"join_rule":1}`}),
		member("public", "new", "new", join, "1:ok", joinRule("public")),
		member("public, from away", "@new:away", "@new:away", join, "1:ok", joinRule("public")),
		member("private, invited", "guest", "guest", join, refused, joinRule("private")),
		member("knock, invited", "guest", "guest", join, "1:5.2.6 6:4.2.6 7:ok", joinRule("knock")),
		member("knock, knocking", "knocker", "knocker", join, refused, joinRule("knock")),
	}
	for rule, since := range map[string]int{"restricted": 8, "knock_restricted": 10} {
		before := "1:5.2.6 6:4.2.6"
		unsigned := "8:4.2.1 12:5.2.1"
		if since == 10 {
			before += " 8:4.3.7"
		}
		known := fmt.Sprintf("%s %d:", before, since)
		cases = append(cases,
			restricted(rule, "invited", "guest", join, known+"ok"),
			restricted(rule, "joined", "bob", join, known+"ok"),
			restricted(rule, "let in", "new", via(`"@mod:d"`), known+"ok"),
			restricted(rule, "let in by nobody", "new", join, known+"4.3.5.2 12:5.3.5.2"),
			restricted(rule, "let in by who may not invite", "new", via(`"@bob:d"`), known+"4.3.5.2 12:5.3.5.2"),
			restricted(rule, "let in by a stranger", "new", via(`"@other:d"`), known+"4.3.5.2 12:5.3.5.2"),
			restricted(rule, "let in, not signed", "new", via(`"@far:away"`), before+" "+unsigned),
			restricted(rule, "let in by no user", "new", via(`"mod"`), before+" "+unsigned),
			restricted(rule, "let in by no string", "new", via(`5`), before+" "+unsigned),
			restricted(rule, "let in, but banned", "gone", via(`"@mod:d"`), "1:5.2.3 6:4.2.3 8:4.3.3 12:5.3.3"),
		)
	}
	return append(cases,
		member("leave that was let in elsewhere", "bob", "bob", `{"membership":"leave","join_authorised_via_users_server":"@far:away"}`,
			"1:ok 8:4.2.1 12:5.2.1", nil))
}

func inviteCases() []testCase {
	const invite = `{"membership":"invite"}`
	const target = "1:5.3.3 6:4.3.3 8:4.4.3 12:5.4.3"
	return []testCase{
		member("invite", "mod", "new", invite, "1:ok", nil),
		member("invite again", "mod", "guest", invite, "1:ok", nil),
		member("invite who knocks", "mod", "knocker", invite, "1:ok", nil),
		member("invite from outside", "new", "guest", invite, "1:5.3.2 6:4.3.2 8:4.4.2 12:5.4.2", nil),
		member("invite a member", "mod", "bob", invite, target, nil),
		member("invite the banned", "admin", "gone", invite, target, nil),
		member("invite, too low", "bob", "new", invite, "1:5.3.5 6:4.3.5 8:4.4.5 12:5.4.5", nil),
		member("invite without levels", "bob", "new", invite, "1:ok", levels("")),
	}
}

// thirdPartyCases are invitations of somebody who had no Matrix user before.
func thirdPartyCases(t *testing.T) []testCase {
	key, wrong := identityKey(1), identityKey(2)
	base64 := func(k ed25519.PrivateKey) string { return matrix.EncodeBase64(k.Public().(ed25519.PublicKey)) }
	sign := func(object string, k ed25519.PrivateKey) string {
		signed, err := matrix.SignJSON([]byte(object), "id.example", "ed25519:0", k)
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
	good := sign(`{"mxid":"@new:d","token":"t"}`, key)
	oneKey := fmt.Sprintf(`{"public_key":%q}`, base64(key))
	invited := func(name, target, proof, keys, want string) testCase {
		return testCase{
			name: "third party: " + name, sender: "mod", kind: "m.room.member", key: user(target), want: want,
			content: `{"membership":"invite","third_party_invite":` + proof + `}`,
			change: func(_ roomver.Version, _ *pdu.PDU, state StateMap) {
				state[Key{"m.room.third_party_invite", "t"}] = StateEvent{Sender: "@mod:d", Content: json.RawMessage(keys)}
			},
		}
	}
	signed := func(object string) string { return `{"display_name":"x","signed":` + object + `}` }
	const unsigned, incomplete, bad = "1:5.3.1.2 6:4.3.1.2 8:4.4.1.2 12:5.4.1.2", "1:5.3.1.3 6:4.3.1.3 8:4.4.1.3 12:5.4.1.3", "1:5.3.1.8 6:4.3.1.8 8:4.4.1.8 12:5.4.1.8"
	other := invited("another sender", "new", signed(good), oneKey, "1:5.3.1.6 6:4.3.1.6 8:4.4.1.6 12:5.4.1.6")
	other.sender = "admin"
	outside := invited("from outside", "new", signed(good), oneKey, "1:ok")
	outside.state = map[Key]string{{"m.room.member", "@mod:d"}: `{"membership":"leave"}`}
	return []testCase{
		invited("one key", "new", signed(good), oneKey, "1:ok"),
		invited("list of keys", "new", signed(good), fmt.Sprintf(`{"public_key":%q,"public_keys":[1,{},{"public_key":%q}]}`, base64(wrong), base64(key)), "1:ok"),
		outside,
		other,
		invited("banned", "gone", signed(good), oneKey, "1:5.3.1.1 6:4.3.1.1 8:4.4.1.1 12:5.4.1.1"),
		invited("not signed", "new", `{"display_name":"x"}`, oneKey, unsigned),
		invited("null", "new", `null`, oneKey, unsigned),
		invited("signed is no object", "new", signed(`"x"`), oneKey, unsigned),
		invited("no mxid", "new", signed(`{"token":"t"}`), oneKey, incomplete),
		invited("no token", "new", signed(`{"mxid":"@new:d"}`), oneKey, incomplete),
		invited("token is no string", "new", signed(`{"mxid":"@new:d","token":5}`), oneKey, incomplete),
		invited("for another", "knocker", signed(good), oneKey, "1:5.3.1.4 6:4.3.1.4 8:4.4.1.4 12:5.4.1.4"),
		invited("unknown token", "new", signed(`{"mxid":"@new:d","token":"u"}`), oneKey, "1:5.3.1.5 6:4.3.1.5 8:4.4.1.5 12:5.4.1.5"),
		invited("no signature", "new", signed(`{"mxid":"@new:d","token":"t"}`), oneKey, bad),
		invited("wrong key", "new", signed(sign(`{"mxid":"@new:d","token":"t"}`, wrong)), oneKey, bad),
		invited("no keys", "new", signed(good), `{}`, bad),
		invited("short key", "new", signed(good), `{"public_key":"AAAA","public_keys":{}}`, bad),
		invited("changed after signing", "new", signed(strings.Replace(good, `"token"`, `"x":1,"token"`, 1)), oneKey, bad),
	}
}

func leaveAndBanCases() []testCase {
	const leave, ban = `{"membership":"leave"}`, `{"membership":"ban"}`
	const absent, tooLow = "1:5.4.1 6:4.4.1 8:4.5.1 12:5.5.1", "1:5.4.5 6:4.4.5 8:4.5.5 12:5.5.5"
	const banLow = "1:5.5.3 6:4.5.3 8:4.6.3 12:5.6.3"
	return []testCase{
		member("leave", "bob", "bob", leave, "1:ok", nil),
		member("decline", "guest", "guest", leave, "1:ok", nil),
		member("no longer knock", "knocker", "knocker", leave, "1:5.4.1 6:4.4.1 7:ok", nil),
		member("leave while banned", "gone", "gone", leave, absent, nil),
		member("leave from outside", "new", "new", leave, absent, nil),
		member("kick from outside", "new", "bob", leave, "1:5.4.2 6:4.4.2 8:4.5.2 12:5.5.2", nil),
		member("unban, too low", "mod", "gone", leave, "1:5.4.3 6:4.4.3 8:4.5.3 12:5.5.3", levels(`{`+strings.Replace(baseLevels, `"ban":50`, `"ban":60`, 1)+`}`)),
		member("unban", "mod", "gone", leave, "1:ok", nil),
		member("kick", "mod", "bob", leave, "1:ok", nil),
		member("withdraw an invite", "mod", "guest", leave, "1:ok", nil),
		member("kick, too low", "bob", "@far:away", leave, tooLow, nil),
		member("kick one's equal", "admin", "admin2", leave, tooLow, levels(`{"users":{"@admin:d":100,"@admin2:d":100}}`)),
		member("kick the creator", "admin", "alice", leave, "1:ok 12:5.5.5", nil),
		member("ban", "mod", "bob", ban, "1:ok", nil),
		member("ban a stranger", "mod", "new", ban, "1:ok", nil),
		member("ban from outside", "new", "bob", ban, "1:5.5.1 6:4.5.1 8:4.6.1 12:5.6.1", nil),
		member("ban, too low", "bob", "new", ban, banLow, nil),
		member("ban one's better", "mod", "admin", ban, banLow, nil),
		member("ban the creator", "admin", "alice", ban, "1:ok 12:5.6.3", nil),
		member("one creator bans another", "alice", "bob", ban, "12:5.6.3",
			map[Key]string{{"m.room.create", ""}: `{"additional_creators":["@bob:d"]}`}),
	}
}

func knockCases() []testCase {
	const knock = `{"membership":"knock"}`
	const unknown = "1:5.6 6:4.6 "
	return []testCase{
		member("knock", "new", "new", knock, unknown+"7:ok", joinRule("knock")),
		member("knock again", "knocker", "knocker", knock, unknown+"7:ok", joinRule("knock")),
		member("knock, or restricted", "new", "new", knock, unknown+"7:4.6.1 8:4.7.1 10:ok", joinRule("knock_restricted")),
		member("knock on an invite-only room", "new", "new", knock, unknown+"7:4.6.1 8:4.7.1 12:5.7.1", nil),
		member("knock on a restricted room", "new", "new", knock, unknown+"7:4.6.1 8:4.7.1 12:5.7.1", joinRule("restricted")),
		member("knock for another", "new", "other", knock, unknown+"7:4.6.2 8:4.7.2 12:5.7.2", joinRule("knock")),
		member("knock while banned", "gone", "gone", knock, unknown+"7:4.6.4 8:4.7.4 12:5.7.4", joinRule("knock")),
		member("knock while invited", "guest", "guest", knock, unknown+"7:4.6.4 8:4.7.4 12:5.7.4", joinRule("knock")),
		member("knock from inside", "bob", "bob", knock, unknown+"7:4.6.4 8:4.7.4 12:5.7.4", joinRule("knock")),
	}
}

func redactionCases() []testCase {
	redact := func(name, sender, target, want string, state map[Key]string) testCase {
		return testCase{name: name, sender: sender, kind: "m.room.redaction", key: "-", want: want, state: state,
			change: func(_ roomver.Version, ev *pdu.PDU, _ StateMap) { ev.Redacts = matrix.EventID(target) }}
	}
	return []testCase{
		redact("redact", "mod", "$x:away", "1:ok", nil),
		redact("redact an event of this server", "bob", "$x:d", "1:ok", nil),
		redact("redact an event of another server", "bob", "$x:away", "1:11.3 3:ok", nil),
		redact("redact nothing", "bob", "", "1:11.3 3:ok", nil),
		redact("redactions have a level", "bob", "$x:d", "1:8 6:7 12:8", levels(`{"events":{"m.room.redaction":10}}`)),
	}
}

// authEventCases judge the list of auth_events.
func authEventCases(t *testing.T, reached map[string]bool) {
	key := func(s string) *string { return &s }
	for _, v := range roomver.All() {
		room := matrix.RoomID("!r:d")
		ev := &pdu.PDU{Version: v, Room: room, Sender: "@bob:d", Type: "m.room.message", Content: json.RawMessage("{}")}
		levels := AuthEvent{Room: room, Type: "m.room.power_levels", StateKey: key("")}
		own := AuthEvent{Room: room, Type: "m.room.member", StateKey: key("@bob:d")}
		create := AuthEvent{Room: room, Type: "m.room.create", StateKey: key("")}
		rejected, elsewhere := own, own
		rejected.Rejected, elsewhere.Room = true, "!other:d"
		base := []AuthEvent{create, levels}
		section := "2."
		if v.AuthEventsWithoutCreate {
			base, section = []AuthEvent{levels}, "3."
		}
		for _, tc := range []struct {
			name string
			add  []AuthEvent
			want string
		}{
			{"usual", []AuthEvent{own}, "ok"},
			{"duplicate", []AuthEvent{own, own}, section + "1"},
			{"not wanted", []AuthEvent{own, {Room: room, Type: "m.room.topic", StateKey: key("")}}, section + "2"},
			{"no state", []AuthEvent{own, {Room: room, Type: "m.room.message"}}, section + "2"},
			{"member of another", []AuthEvent{own, {Room: room, Type: "m.room.member", StateKey: key("@x:d")}}, section + "2"},
			{"rejected", []AuthEvent{rejected}, section + "3"},
			{"of another room", []AuthEvent{elsewhere}, section + "5"},
		} {
			want := "v" + v.ID + " " + tc.want
			if tc.want == "ok" {
				want = tc.want
			}
			got := verdict(CheckAuthEvents(v, ev, append(slices.Clone(base), tc.add...)))
			if got != want {
				t.Errorf("version %s, auth events, %s: %s, want %s", v.ID, tc.name, got, want)
			}
			reached[got] = true
		}
		got := verdict(CheckAuthEvents(v, ev, []AuthEvent{levels, own}))
		if want := "v" + v.ID + " 2.4"; got != want && !v.AuthEventsWithoutCreate {
			t.Errorf("version %s, without create event: %s", v.ID, got)
		}
		got = verdict(CheckAuthEvents(v, ev, []AuthEvent{create, levels, own}))
		if want := "v12 3.2"; v.AuthEventsWithoutCreate && got != want {
			t.Errorf("version %s, with create event: %s", v.ID, got)
		}
		ev.Type = "m.room.create"
		if err := CheckAuthEvents(v, ev, nil); err != nil {
			t.Errorf("version %s: %v", v.ID, err)
		}
	}
}

func TestSignedByNobody(t *testing.T) {
	v, _ := roomver.Get("12")
	tc := member("", "new", "new", `{"membership":"join","join_authorised_via_users_server":"@mod:d"}`, "", joinRule("restricted"))
	ev, state := tc.event(v)
	if got := verdict(Check(v, ev, state, nil)); got != "v12 5.2.1" {
		t.Error(got)
	}
}

func TestContentIsNoObject(t *testing.T) {
	v, _ := roomver.Get("12")
	ev, state := testCase{sender: "bob", kind: "m.x", key: "-", content: "[]"}.event(v)
	if err := Check(v, ev, state, nil); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Error(err)
	}
}

// FuzzCheck: neither the event nor the state may make the rules panic.
func FuzzCheck(f *testing.F) {
	for _, v := range roomver.All() {
		f.Add(v.ID, "m.room.member", "@bob:d", true, `{"membership":"join"}`, `{"users":{"@bob:d":50}}`, `{"join_rule":"restricted"}`, `{"membership":"invite"}`)
		f.Add(v.ID, "m.room.power_levels", "", true, `{"users":{"@bob:d":"50"},"ban":1e3}`, `{"users":{"@bob:d":5.5}}`, `{}`, `{"membership":"join"}`)
		f.Add(v.ID, "m.room.member", "@x:d", true, `{"membership":"invite","third_party_invite":{"signed":{"mxid":"@x:d","token":"t"}}}`, `[]`, `null`, `{"public_keys":[null]}`)
		f.Add(v.ID, "m.room.create", "", true, `{"additional_creators":[null]}`, ``, ``, ``)
	}
	f.Fuzz(func(t *testing.T, id, kind, key string, isState bool, content, levels, rules, membership string) {
		v, ok := roomver.Get(id)
		if !ok {
			return
		}
		state := world(v)
		state[Key{"m.room.power_levels", ""}] = StateEvent{Content: json.RawMessage(levels)}
		state[Key{"m.room.join_rules", ""}] = StateEvent{Content: json.RawMessage(rules)}
		state[Key{"m.room.member", "@bob:d"}] = StateEvent{Content: json.RawMessage(membership)}
		state[Key{"m.room.third_party_invite", "t"}] = StateEvent{Sender: "@bob:d", Content: json.RawMessage(membership)}
		ev := &pdu.PDU{Version: v, Room: "!r:d", Sender: "@bob:d", Type: kind, Content: json.RawMessage(content)}
		if v.RoomIDIsHash {
			ev.Room = hashRoom
		}
		if isState {
			ev.StateKey = &key
		}
		if err := Check(v, ev, state, ev.HasSignature); err != nil && verdict(err) != "" && !matrix.IsCode(err, "M_BAD_JSON") {
			if rule := err.(*matrix.Error).Rule; strings.HasSuffix(rule, " ") || rule == "" {
				t.Fatalf("refused by a rule that is not in the text: %v", err)
			}
		}
		Levels(v, state)
		AuthTypes(v, kind, "@bob:d", ev.StateKey, ev.Content)
	})
}
