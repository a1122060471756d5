//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/pushrule"
)

// pushCases is how many cases are made up.
const pushCases = 6000

// pushUser is whose rules are asked.
const pushUser = "@bob:example.org"

// pushCase is an event, the room it is in, and the rules of a user there.
type pushCase struct {
	User  string                      `json:"user"`
	Room  []map[string]any            `json:"room"` // state events
	Rules map[string]pushrule.Ruleset `json:"rules"`
	Event map[string]any              `json:"event"`

	members int
	names   map[string]string
	power   map[string]int // levels of users
	needed  map[string]int // levels to notify
}

// pushAnswer is which rule matches, and what it does.
type pushAnswer struct {
	Rule   string         `json:"rule"`
	Notify bool           `json:"notify"`
	Tweaks map[string]any `json:"tweaks"`
	Threw  string         `json:"threw,omitempty"`
}

func (a pushAnswer) String() string {
	tweaks, err := json.Marshal(a.Tweaks)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s notify=%t %s %s", a.Rule, a.Notify, tweaks, a.Threw)
}

// MemberCount implements pushrule.RoomInfo.
func (c *pushCase) MemberCount() int { return c.members }

// MayNotify implements pushrule.RoomInfo.
func (c *pushCase) MayNotify(key string) bool {
	needed, ok := c.needed[key]
	if !ok {
		needed = 50
	}
	return c.power[c.Event["sender"].(string)] >= needed
}

// DisplayName implements pushrule.RoomInfo.
func (c *pushCase) DisplayName(user matrix.UserID) string { return c.names[string(user)] }

// ours is what package pushrule makes of a case, told as the SDK tells it: it says of every
// rule whether it highlights, and of content rules that say nothing that they do.
func (c *pushCase) ours(t *testing.T) pushAnswer {
	t.Helper()
	event, err := json.Marshal(c.Event)
	if err != nil {
		t.Fatal(err)
	}
	e, err := pushrule.NewEvent(matrix.EventID(c.Event["event_id"].(string)), event, c)
	if err != nil {
		t.Fatal(err)
	}
	rules := c.Rules["global"]
	id, actions := pushrule.Compile(pushUser, &rules).Match(e)
	if actions == nil {
		return pushAnswer{}
	}
	a := pushAnswer{Rule: id, Notify: actions.Notify, Tweaks: map[string]any{}}
	for name, value := range actions.Tweaks {
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			t.Fatal(err)
		}
		a.Tweaks[name] = v
	}
	if _, told := a.Tweaks["highlight"]; !told {
		a.Tweaks["highlight"] = slices.ContainsFunc(rules.Content, func(r pushrule.Rule) bool { return r.ID == id })
	}
	return a
}

// about is the event, and the rules of these names.
func (c *pushCase) about(names ...string) string {
	told := map[string]any{"event": c.Event, "members": c.members, "name": c.names[pushUser], "needed": c.needed, "power": c.power}
	rules := c.Rules["global"]
	for _, kind := range pushrule.Kinds() {
		for _, rule := range *rules.Kind(kind) {
			if slices.Contains(names, rule.ID) {
				told["rule "+rule.ID] = rule
			}
		}
	}
	text, err := json.Marshal(told)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// theirs is what matrix-js-sdk makes of cases.
func theirs(t *testing.T, cases []*pushCase) []pushAnswer {
	t.Helper()
	folder := t.TempDir()
	given := map[string]any{"cases": filepath.Join(folder, "cases.json"), "answers": filepath.Join(folder, "answers.json")}
	text, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(given["cases"].(string), text, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, given, "node", "push_rules.mjs")
	var answers []pushAnswer
	if text, err = os.ReadFile(given["answers"].(string)); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(cases) {
		t.Fatalf("%d answers to %d cases", len(answers), len(cases))
	}
	return answers
}

// TestPushRules holds our push rules to those of matrix-js-sdk, in some thousand cases that
// are made up. Where the two are known to differ, no case goes; see TestPushRulesDiffer.
func TestPushRules(t *testing.T) {
	m := &pushMaker{rand.New(rand.NewPCG(3952, 3873))}
	var cases []*pushCase
	for range pushCases {
		cases = append(cases, m.make())
	}
	matched, wrong := map[string]int{}, 0
	for i, their := range theirs(t, cases) {
		our := cases[i].ours(t)
		name := our.Rule
		if !strings.HasPrefix(name, ".") {
			name, _, _ = strings.Cut(name, "-")
		}
		if matched[name]++; our.String() != their.String() {
			if wrong++; wrong <= 10 {
				t.Errorf("we: %s\nthey: %s\n%s", our, their, cases[i].about(our.Rule, their.Rule))
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d cases are answered in another way", wrong, len(cases))
	}
	for _, name := range slices.Sorted(maps.Keys(matched)) {
		t.Logf("%5d %s", matched[name], name)
	}
	// A comparison in which a rule never matches says nothing about it.
	for _, rules := range pushrule.Predefined(pushUser) {
		for _, rule := range rules {
			if matched[rule.ID] == 0 {
				t.Errorf("no case matches %s", rule.ID)
			}
		}
	}
}

// pushMaker makes up cases.
type pushMaker struct{ *rand.Rand }

func pick[T any](m *pushMaker, from ...T) T { return from[m.IntN(len(from))] }

func (m *pushMaker) chance(percent int) bool { return m.IntN(100) < percent }

func (m *pushMaker) make() *pushCase {
	c := &pushCase{User: pushUser, power: map[string]int{}, needed: map[string]int{}, names: map[string]string{}}
	sender := pick(m, "@alice:example.org", "@carol:example.org", "@dave:other.example")
	room := pick(m, "!kitchen:example.org", "!Porch:example.org")
	c.Event = map[string]any{
		"event_id": "$event", "room_id": room, "sender": sender, "origin_server_ts": 1432735824653,
		"user_id": sender, // sender rules of the SDK look there: see TestPushRulesDiffer
	}
	m.fillEvent(c.Event)
	state := func(typ, key string, content map[string]any) {
		c.Room = append(c.Room, map[string]any{"event_id": fmt.Sprint("$s", len(c.Room)), "room_id": room, "sender": sender, "type": typ, "state_key": key, "content": content})
	}
	state("m.room.create", "", map[string]any{"room_version": "11"})
	names := []string{"Bob", "bob the builder", "Ünal", "B.*b"}
	for i, user := range []string{pushUser, sender, "@erin:example.org", "@frank:example.org"} {
		membership := pick(m, "join", "join", "leave", "invite")
		if i < 2 {
			membership = "join"
		}
		c.names[user] = fmt.Sprint(user, " by name")
		if i == 0 {
			c.names[user] = pick(m, names...)
		}
		if membership == "join" {
			c.members++
		}
		state("m.room.member", user, map[string]any{"membership": membership, "displayname": c.names[user]})
	}
	c.power[sender] = pick(m, 0, 49, 50, 100)
	levels := map[string]any{"users": c.power, "users_default": 0}
	if m.chance(50) {
		c.needed = map[string]int{"room": pick(m, 0, 50, 60), "house": pick(m, 0, 100)}
		levels["notifications"] = c.needed
	}
	state("m.room.power_levels", "", levels)
	c.Rules = map[string]pushrule.Ruleset{"global": m.rules(room, sender)}
	return c
}

func (m *pushMaker) words(n int) string {
	var b strings.Builder
	for range 1 + m.IntN(n) {
		b.WriteString(pick(m, "cake", "Cake", "lie", "tea", "TEA", "bob", "Bob", "@bob:example.org", "@room", "Äpfel", "äpfel", "ΝΟΜΟΣ", "B.*b", "a", "_", "7", "pan"))
		b.WriteString(pick(m, " ", "", ", ", "-", "_", "ä", "!", ".", "  "))
	}
	return b.String()
}

func (m *pushMaker) pattern() string {
	return pick(m,
		pick(m, "cake", "lie", "TEA", "äpfel", "νομος", "bob", "@room", "*", "a", "_", "c*e", "*cake*", "tea*lie", "**", "*a", "B.*b", "[a-z]+", "(cake|tea)", `\w`),
		strings.TrimSpace(m.words(2)),
		strings.ReplaceAll(strings.TrimSpace(m.words(2)), "a", "*"))
}

// value is what a property may be: all but compound values and numbers with a fraction.
func (m *pushMaker) value() any {
	return pick[any](m, "x", "true", "7", "@bob:example.org", true, false, nil, 7, -7, 0, 9007199254740991, m.words(2))
}

func (m *pushMaker) fillEvent(e map[string]any) {
	e["type"] = pick(m, "m.room.message", "m.room.message", "m.room.message", "m.room.encrypted", "m.reaction", "m.room.member", "m.room.tombstone", "m.room.server_acl", "m.call.invite", "com.example.Thing")
	content := map[string]any{}
	e["content"] = content
	for _, property := range []struct {
		name   string
		chance int // percent
		make   func() any
	}{
		{"body", 95, func() any { return pick[any](m, m.words(6), m.words(6), m.words(6), "", 7, nil) }},
		{"msgtype", 80, func() any {
			return pick(m, "m.text", "m.text", "m.text", "m.image", "m.emote", "m.text", "m.notice", "M.NOTICE")
		}},
		{"m.mentions", 15, func() any {
			return pick[any](m, map[string]any{}, map[string]any{"user_ids": []string{"@bob:example.org", "@x:y"}}, map[string]any{"user_ids": []string{"@x:y"}, "room": true},
				map[string]any{"room": pick[any](m, true, false, "true")}, 7, nil)
		}},
		{"m.relates_to", 30, func() any {
			return map[string]any{"rel_type": pick(m, "m.replace", "m.thread", "m.annotation"), "event_id": "$other"}
		}},
		{"m.new_content", 15, func() any {
			return map[string]any{"body": m.words(3), "m.mentions": map[string]any{"user_ids": []string{"@bob:example.org"}}}
		}},
		{"topic", 15, m.value},
		{`m\foo`, 15, m.value},
		{"m.a", 15, func() any { return map[string]any{`b.c\d`: m.value(), "": m.value()} }},
		{"m", 15, func() any { return map[string]any{"a": m.value()} }},
		{"list", 15, func() any { return []any{m.value(), m.value(), []any{7}, map[string]any{"x": 1}} }},
		{`\x`, 15, m.value},
		{"longlist", 15, func() any { return slices.Repeat([]any{m.value()}, m.IntN(5)) }},
	} {
		if m.chance(property.chance) {
			content[property.name] = property.make()
		}
	}
	if typ := e["type"].(string); strings.HasPrefix(typ, "m.room.") && typ != "m.room.message" && typ != "m.room.encrypted" || m.chance(5) {
		e["state_key"] = pick(m, "", "@bob:example.org", "@bobby:example.org", "")
		content["membership"] = pick(m, "invite", "join")
	}
}

func (m *pushMaker) condition() map[string]any {
	key := pick(m, "content.body", "content.body", "content.topic", `content.m\\foo`, `content.m\foo`, `content.m\.a.b\.c\\d`, "content.m.a", `content.m\.a.`, "content.list",
		"content.longlist", `content.\x`, `content.\\x`, "type", "sender", "room_id", "state_key", "event_id", `content.m\.mentions.room`, `content.m\.mentions.user_ids`,
		`content.m\.relates_to.rel_type`, `content.m\.new_content.m\.mentions.user_ids`, "content.missing", "missing.too", "content", `content.body\`)
	switch m.IntN(12) {
	case 0, 1, 2, 3:
		return map[string]any{"kind": "event_match", "key": key, "pattern": pick(m, m.pattern(), m.pattern(), "m.room.*", "!k*", "*:example.org", "$event", "")}
	case 4, 5:
		return map[string]any{"kind": "event_property_is", "key": key, "value": m.value()}
	case 6, 7:
		return map[string]any{"kind": "event_property_contains", "key": key, "value": m.value()}
	case 8:
		return map[string]any{"kind": "room_member_count", "is": fmt.Sprint(pick(m, "", "==", "<", ">", "<=", ">=", "=", "=>", "<>", " "), pick(m, "2", "3", "4", "02", "99999999999999999999", "x", ""))}
	case 9:
		return map[string]any{"kind": "sender_notification_permission", "key": pick(m, "room", "house", "other", "")}
	case 10:
		return map[string]any{"kind": "contains_display_name"}
	}
	return map[string]any{"kind": pick(m, "org.example.unknown", "device", ""), "key": key, "pattern": "*"}
}

func (m *pushMaker) actions() json.RawMessage {
	return json.RawMessage(pick(m, `["notify"]`, `[]`, `["dont_notify"]`, `["coalesce"]`, `["notify","dont_notify"]`, `["notify",{"set_tweak":"highlight"}]`, `["notify",{"set_tweak":"highlight","value":false}]`,
		`["notify",{"set_tweak":"sound","value":"ring"},{"set_tweak":"glow","value":{"a":[1]}}]`, `[{"set_tweak":"sound","value":null}]`, `["notify",{"set_tweak":"highlight","value":true},{"set_tweak":"highlight","value":false}]`))
}

// rules are the predefined ones, some of them changed, and some of the user's own.
func (m *pushMaker) rules(room, sender string) pushrule.Ruleset {
	var all pushrule.Ruleset
	own := func(kind string, id string) pushrule.Rule {
		rule := pushrule.Rule{ID: id, Enabled: m.chance(85), Actions: m.actions()}
		if kind == pushrule.Override || kind == pushrule.Underride {
			conditions := []map[string]any{}
			for range 1 + m.IntN(2) {
				conditions = append(conditions, m.condition())
			}
			text, err := json.Marshal(conditions)
			if err != nil {
				panic(err) // strings and numbers: cannot happen
			}
			rule.Conditions = text
		}
		if kind == pushrule.Content {
			if pattern := m.pattern(); pattern != "" {
				rule.Pattern = &pattern
			}
		}
		return rule
	}
	predefined := pushrule.Predefined(pushUser)
	for _, kind := range pushrule.Kinds() {
		into := all.Kind(kind)
		*into = []pushrule.Rule{}
		for i := range m.IntN(3) {
			id := fmt.Sprintf("%s-%d", kind, i)
			if kind == pushrule.Room {
				id = pick(m, room, strings.ToLower(room), "!elsewhere:example.org")
			} else if kind == pushrule.Sender {
				id = pick(m, sender, strings.ToUpper(sender), "@zoe:example.org")
			}
			*into = append(*into, own(kind, id))
		}
		for _, rule := range predefined[kind] {
			rule.Default = true
			if rule.ID == pushrule.Master {
				rule.Enabled = m.chance(2)
			} else if m.chance(5) && rule.ID != ".m.rule.room.server_acl" {
				rule.Enabled = false
			}
			if m.chance(5) {
				rule.Actions = m.actions()
			}
			if rule.ID == pushrule.Master {
				*into = slices.Insert(*into, 0, rule)
			} else {
				*into = append(*into, rule)
			}
		}
	}
	return all
}

// pushDifference is a case in which matrix-js-sdk does something else than the standard says.
type pushDifference struct {
	name, spec       string
	event            string // what is not as ever, as JSON
	names            string // of the user in the room; empty: none
	rules            string // of the user's own, as JSON, by kind
	disabled         string // a predefined rule
	ours, theirsRule string
	highlight        bool // they say so, although the rule does not
}

// TestPushRulesDiffer lists all differences from matrix-js-sdk that are known, each with the
// sentence of the standard that we follow. Once the SDK follows it, too, this fails.
func TestPushRulesDiffer(t *testing.T) {
	differences := []pushDifference{
		{name: "default rules that the standard does not have", spec: "The following server-default rules are specified (push rules, predefined rules): .org.matrix.msc3914.rule.room.call is not among them",
			event: `{"type":"org.matrix.msc3401.call","state_key":"x","content":{"m.intent":"m.ring"}}`, theirsRule: ".org.matrix.msc3914.rule.room.call"},
		{name: "a default rule that was switched off", spec: "Disabled rules never match (push rules); the SDK has a second one, of the name before the standard",
			event: `{"type":"m.room.server_acl","state_key":"","content":{}}`, disabled: ".m.rule.room.server_acl", theirsRule: ".org.matrix.msc3786.rule.room.server_acl"},
		{name: "a question mark", spec: "? matches exactly one character (appendices, glob-style matching)",
			event: `{"type":"x","content":{"topic":"lunch"}}`, rules: `{"override":[{"rule_id":"o","enabled":true,"actions":["notify"],"conditions":[{"kind":"event_match","key":"content.topic","pattern":"lunc?*"}]}]}`, ours: "o"},
		{name: "a line break", spec: "* matches zero or more characters (appendices, glob-style matching), and a line break is one",
			event: `{"type":"x","content":{"body":"tea\nlie"}}`, rules: `{"content":[{"rule_id":"c","enabled":true,"actions":["notify"],"pattern":"tea*lie"}]}`, ours: "c"},
		{name: "who sent it", spec: "The rule_id of Sender rules is always the Matrix user ID of the user whose messages they'd apply to (push rules); the SDK looks at user_id, which events have not",
			event: `{"type":"x","content":{}}`, rules: `{"sender":[{"rule_id":"@alice:example.org","enabled":true,"actions":["notify"]}]}`, ours: "@alice:example.org"},
		{name: "content rules stand out", spec: "If no highlight tweak is given at all then the value of highlight is defined to be false (push rules, set_tweak)",
			event: `{"type":"x","content":{"body":"tea"}}`, rules: `{"content":[{"rule_id":"c","enabled":true,"actions":["notify"],"pattern":"tea"}]}`, ours: "c", theirsRule: "c", highlight: true},
		{name: "an empty pattern", spec: "must match any substring of the content.body property which starts and ends at a word boundary (push rules, content): the empty one does in an empty body",
			event: `{"type":"x","content":{"body":""}}`, rules: `{"content":[{"rule_id":"c","enabled":true,"actions":["notify"],"pattern":""}]}`, ours: "c"},
		{name: "numbers with a fraction", spec: "only supports non-compound canonical JSON values: strings, integers (push rules, event_property_is)",
			event: `{"type":"x","content":{"n":1.5}}`, rules: `{"override":[{"rule_id":"o","enabled":true,"actions":["notify"],"conditions":[{"kind":"event_property_is","key":"content.n","value":1.5}]}]}`, theirsRule: "o"},
		{name: "places in a list", spec: "the path to an event property by concatenating property names with dots (appendices): the items of a list have no names",
			event: `{"type":"x","content":{"list":["a","b"]}}`, rules: `{"override":[{"rule_id":"o","enabled":true,"actions":["notify"],"conditions":[{"kind":"event_property_is","key":"content.list.1","value":"b"}]}]}`, theirsRule: "o"},
		{name: "what JavaScript knows of a text", spec: "If the property specified by key is completely absent from the event, then the condition will not match (push rules, event_property_is)",
			event: `{"type":"x","content":{"body":"four"}}`, rules: `{"override":[{"rule_id":"o","enabled":true,"actions":["notify"],"conditions":[{"kind":"event_property_is","key":"content.body.length","value":4}]}]}`, theirsRule: "o"},
		{name: "somebody without a name", spec: "content.body contains the owner's display name in that room (push rules, contains_display_name): who has none is not mentioned by the user ID",
			event: `{"type":"x","content":{"body":"@bob:example.org"}}`, rules: `{"override":[{"rule_id":"o","enabled":true,"actions":["notify"],"conditions":[{"kind":"contains_display_name"}]}]}`, theirsRule: "o"},
		{name: "the name of mentions before the standard", spec: "Event property, unstable: org.matrix.msc3952.mentions (MSC3952, unstable prefix)",
			event: `{"type":"x","content":{"org.matrix.msc3952.mentions":{"user_ids":["@bob:example.org"]}}}`, ours: ".m.rule.is_user_mention"},
	}
	var cases []*pushCase
	for _, d := range differences {
		cases = append(cases, d.made(t))
	}
	for i, their := range theirs(t, cases) {
		d := differences[i]
		our := cases[i].ours(t)
		highlight := their.Tweaks["highlight"] == true
		if our.Rule != d.ours || their.Rule != d.theirsRule || their.Threw != "" || d.highlight && !highlight {
			t.Errorf("%s: we say %s, want %q; they say %s, want %q", d.name, our, d.ours, their, d.theirsRule)
		}
		t.Logf("%s: %s", d.name, d.spec)
	}
}

// made is the case of a difference.
func (d *pushDifference) made(t *testing.T) *pushCase {
	t.Helper()
	const room, sender = "!kitchen:example.org", "@alice:example.org"
	c := &pushCase{User: pushUser, members: 2, names: map[string]string{pushUser: d.names}, Event: map[string]any{}}
	var own, all pushrule.Ruleset
	if err := json.Unmarshal([]byte(d.event), &c.Event); err != nil {
		t.Fatal(err)
	}
	if d.rules != "" {
		if err := json.Unmarshal([]byte(d.rules), &own); err != nil {
			t.Fatal(err)
		}
	}
	c.Event["event_id"], c.Event["room_id"], c.Event["sender"] = "$event", room, sender
	c.Room = []map[string]any{{"event_id": "$s", "room_id": room, "sender": sender, "type": "m.room.create", "state_key": "", "content": map[string]any{"room_version": "11"}}}
	for _, user := range []string{pushUser, sender} {
		c.Room = append(c.Room, map[string]any{"event_id": "$" + user, "room_id": room, "sender": user, "type": "m.room.member", "state_key": user, "content": map[string]any{"membership": "join"}})
	}
	for _, kind := range pushrule.Kinds() {
		into := all.Kind(kind)
		*into = append([]pushrule.Rule{}, *own.Kind(kind)...)
		for _, rule := range pushrule.Predefined(pushUser)[kind] {
			rule.Default, rule.Enabled = true, rule.Enabled && rule.ID != d.disabled
			*into = append(*into, rule)
		}
	}
	c.Rules = map[string]pushrule.Ruleset{"global": all}
	return c
}
