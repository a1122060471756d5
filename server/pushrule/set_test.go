package pushrule

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"porchlight/server/matrix"
)

const bob matrix.UserID = "@bob:example.org"

// someRoom answers as a room of a test.
type someRoom struct {
	members int
	may     bool
	name    string
}

func (r someRoom) MemberCount() int                 { return r.members }
func (r someRoom) MayNotify(key string) bool        { return r.may && key == "room" }
func (r someRoom) DisplayName(matrix.UserID) string { return r.name }

func event(t testing.TB, fields string, room RoomInfo) *Event {
	t.Helper()
	e, err := NewEvent("$e", []byte(`{"room_id":"!r:example.org","sender":"@alice:example.org",`+fields+`}`), room)
	if err != nil {
		t.Fatalf("%s: %v", fields, err)
	}
	return e
}

func defaults() *Ruleset {
	var s Ruleset
	for kind, rules := range Predefined(bob) {
		*s.Kind(kind) = rules
	}
	return &s
}

func TestConditions(t *testing.T) {
	create := `"type":"m.room.create","state_key":"","content":{"m.federate":true,"n":7,"none":null,"o":{},"f":1.5,"m.a":{"b\\c":"x"},"a":{"b":"y"}}`
	aliases := `"type":"m.room.canonical_alias","state_key":"","content":{"alt_aliases":["#somewhere:example.org","#myroom:example.com",7,null,true,["x"],{"a":1}],"alias":"#myroom:example.com"}`
	body := `"type":"m.room.message","content":{"body":"Dinner with Bob Builder, at ten."}`
	for _, c := range []struct {
		condition, event string
		room             someRoom
		want             bool
	}{
		{`{"kind":"event_match","key":"content.topic","pattern":"lunc?*"}`, `"content":{"topic":"Lunch plans"}`, someRoom{}, true},
		{`{"kind":"event_match","key":"content.topic","pattern":"*"}`, `"content":{"topic":null}`, someRoom{}, false},
		{`{"kind":"event_match","key":"content.topic","pattern":"*"}`, `"content":{"topic":7}`, someRoom{}, false},
		{`{"kind":"event_match","key":"content.topic","pattern":"*"}`, `"content":{}`, someRoom{}, false},
		{`{"kind":"event_match","key":"content.topic","pattern":7}`, `"content":{"topic":"7"}`, someRoom{}, false},
		{`{"kind":"event_match","key":"content.topic"}`, `"content":{"topic":""}`, someRoom{}, false},
		{`{"kind":"event_match","pattern":"*"}`, `"content":{"topic":""}`, someRoom{}, false},
		{`{"kind":"event_match","key":"content.body","pattern":"dinner"}`, body, someRoom{}, true},
		{`{"kind":"event_match","key":"content.body","pattern":"dinn"}`, body, someRoom{}, false},
		{`{"kind":"event_match","key":"content.body.x","pattern":"*"}`, body, someRoom{}, false},
		{`{"kind":"event_match","key":"room_id","pattern":"!R:example.org"}`, body, someRoom{}, true},
		{`{"kind":"event_match","key":"event_id","pattern":"$e"}`, body, someRoom{}, true},
		{`{"kind":"event_match","key":"content.m\\.a.b\\\\c","pattern":"x"}`, create, someRoom{}, true},
		{`{"kind":"event_match","key":"content.m.a.b","pattern":"*"}`, create, someRoom{}, false},
		{`{"kind":"event_match","key":"content.a.b","pattern":"Y"}`, create, someRoom{}, true},

		{`{"kind":"event_property_is","key":"content.m\\.federate","value":true}`, create, someRoom{}, true},
		{`{"kind":"event_property_is","key":"content.m\\.federate","value":"true"}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.m\\.federate","value":1}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.n","value":7}`, create, someRoom{}, true},
		{`{"kind":"event_property_is","key":"content.n","value":"7"}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.n","value":9007199254740992}`, `"content":{"n":9007199254740992}`, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.f","value":1.5}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.none","value":null}`, create, someRoom{}, true},
		{`{"kind":"event_property_is","key":"content.missing","value":null}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.o","value":{}}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"content.none"}`, create, someRoom{}, false},
		{`{"kind":"event_property_is","key":"type","value":"M.ROOM.CREATE"}`, create, someRoom{}, false},

		{`{"kind":"event_property_contains","key":"content.alt_aliases","value":"#myroom:example.com"}`, aliases, someRoom{}, true},
		{`{"kind":"event_property_contains","key":"content.alt_aliases","value":":example.com"}`, aliases, someRoom{}, false},
		{`{"kind":"event_property_contains","key":"content.alt_aliases","value":7}`, aliases, someRoom{}, true},
		{`{"kind":"event_property_contains","key":"content.alt_aliases","value":null}`, aliases, someRoom{}, true},
		{`{"kind":"event_property_contains","key":"content.alt_aliases","value":["x"]}`, aliases, someRoom{}, false},
		{`{"kind":"event_property_contains","key":"content.alias","value":"#myroom:example.com"}`, aliases, someRoom{}, false},
		{`{"kind":"event_property_contains","key":"content.none","value":null}`, aliases, someRoom{}, false},

		{`{"kind":"room_member_count","is":"2"}`, body, someRoom{members: 2}, true},
		{`{"kind":"room_member_count","is":"2"}`, body, someRoom{members: 3}, false},
		{`{"kind":"room_member_count","is":"==2"}`, body, someRoom{members: 2}, true},
		{`{"kind":"room_member_count","is":"<=10"}`, body, someRoom{members: 10}, true},
		{`{"kind":"room_member_count","is":"<10"}`, body, someRoom{members: 10}, false},
		{`{"kind":"room_member_count","is":">=10"}`, body, someRoom{members: 10}, true},
		{`{"kind":"room_member_count","is":">10"}`, body, someRoom{members: 10}, false},
		{`{"kind":"room_member_count","is":"=>10"}`, body, someRoom{members: 10}, false},
		{`{"kind":"room_member_count","is":"-1"}`, body, someRoom{members: 10}, false},
		{`{"kind":"room_member_count","is":"010"}`, body, someRoom{members: 10}, true},
		{`{"kind":"room_member_count","is":"<99999999999999999999"}`, body, someRoom{members: 10}, true},
		{`{"kind":"room_member_count","is":">99999999999999999999"}`, body, someRoom{members: 10}, false},
		{`{"kind":"room_member_count","is":""}`, body, someRoom{}, false},
		{`{"kind":"room_member_count","is":2}`, body, someRoom{members: 2}, false},
		{`{"kind":"room_member_count"}`, body, someRoom{}, false},

		{`{"kind":"sender_notification_permission","key":"room"}`, body, someRoom{may: true}, true},
		{`{"kind":"sender_notification_permission","key":"room"}`, body, someRoom{}, false},
		{`{"kind":"sender_notification_permission","key":"house"}`, body, someRoom{may: true}, false},
		{`{"kind":"sender_notification_permission"}`, body, someRoom{may: true}, false},

		{`{"kind":"contains_display_name"}`, body, someRoom{name: "bob builder"}, true},
		{`{"kind":"contains_display_name"}`, body, someRoom{name: "bob build"}, false},
		{`{"kind":"contains_display_name"}`, body, someRoom{name: "*"}, false}, // a name is no pattern
		{`{"kind":"contains_display_name"}`, body, someRoom{}, false},
		{`{"kind":"contains_display_name"}`, `"content":{}`, someRoom{name: "bob"}, false},

		{`{"kind":"org.example.unknown"}`, body, someRoom{}, false},
		{`{}`, body, someRoom{}, false},
		{`[]`, body, someRoom{}, false},
		{`7`, body, someRoom{}, false},
	} {
		rules := &Ruleset{Override: []Rule{{ID: "x", Enabled: true, Conditions: raw("[" + c.condition + "]"), Actions: raw(`["notify"]`)}}}
		_, a := Compile(bob, rules).Match(event(t, c.event, c.room))
		if (a != nil) != c.want {
			t.Errorf("%s of %s in %+v: %t", c.condition, c.event, c.room, a != nil)
		}
	}
}

// TestPredefinedRules has for each rule an event that matches and one that just does not.
func TestPredefinedRules(t *testing.T) {
	ids := map[string]bool{}
	for kind, rules := range Predefined(bob) {
		for _, rule := range rules {
			ids[rule.ID] = true
			if kind != Override && kind != Underride || rule.Enabled == (rule.ID == Master) {
				t.Errorf("%s: %+v", kind, rule)
			}
		}
	}
	mention := func(m string) string {
		return `"type":"m.room.encrypted","content":{"m.mentions":` + m + `}`
	}
	for _, c := range []struct {
		rule, yes, no string
		with, without someRoom
	}{
		{Master, `"type":"x"`, "", someRoom{}, someRoom{}},
		{".m.rule.suppress_notices", `"type":"m.room.message","content":{"msgtype":"m.notice"}`, `"type":"m.room.message","content":{"msgtype":"m.notices"}`, someRoom{}, someRoom{}},
		{".m.rule.invite_for_me", `"type":"m.room.member","state_key":"@bob:example.org","content":{"membership":"invite"}`, `"type":"m.room.member","state_key":"@bobby:example.org","content":{"membership":"invite"}`, someRoom{}, someRoom{}},
		{".m.rule.member_event", `"type":"m.room.member","state_key":"@bob:example.org","content":{"membership":"join"}`, `"type":"m.room.members","content":{}`, someRoom{}, someRoom{}},
		{".m.rule.is_user_mention", mention(`{"user_ids":["@carol:example.org","@bob:example.org"]}`), mention(`{"user_ids":["@carol:example.org"]}`), someRoom{}, someRoom{}},
		{".m.rule.is_room_mention", mention(`{"room":true}`), mention(`{"room":true}`), someRoom{may: true}, someRoom{}},
		{".m.rule.is_room_mention", mention(`{"room":true}`), mention(`{"room":"true"}`), someRoom{may: true}, someRoom{may: true}},
		{".m.rule.tombstone", `"type":"m.room.tombstone","state_key":"","content":{}`, `"type":"m.room.tombstone","content":{}`, someRoom{}, someRoom{}},
		{".m.rule.reaction", `"type":"m.reaction","content":{}`, `"type":"m.reactions","content":{}`, someRoom{}, someRoom{}},
		{".m.rule.room.server_acl", `"type":"m.room.server_acl","state_key":"","content":{}`, `"type":"m.room.server_acl","state_key":"x","content":{}`, someRoom{}, someRoom{}},
		{".m.rule.suppress_edits", `"type":"m.room.message","content":{"m.relates_to":{"rel_type":"m.replace"}}`, `"type":"m.room.message","content":{"m.relates_to":{"rel_type":"m.thread"}}`, someRoom{}, someRoom{}},
		{".m.rule.call", `"type":"m.call.invite","content":{}`, `"type":"m.call.answer","content":{}`, someRoom{}, someRoom{}},
		{".m.rule.encrypted_room_one_to_one", `"type":"m.room.encrypted","content":{}`, `"type":"m.room.encrypted","content":{}`, someRoom{members: 2}, someRoom{members: 3}},
		{".m.rule.room_one_to_one", `"type":"m.room.message","content":{}`, `"type":"m.room.message","content":{}`, someRoom{members: 2}, someRoom{members: 1}},
		{".m.rule.message", `"type":"m.room.message","content":{"body":"x"}`, `"type":"m.room.messages","content":{"body":"x"}`, someRoom{members: 3}, someRoom{members: 3}},
		{".m.rule.encrypted", `"type":"m.room.encrypted","content":{}`, `"type":"m.room.encryption","state_key":"","content":{}`, someRoom{members: 3}, someRoom{members: 3}},
	} {
		delete(ids, c.rule)
		rules := defaults()
		rules.Override[0].Enabled = c.rule == Master
		set := Compile(bob, rules)
		if id, _ := set.Match(event(t, c.yes, c.with)); id != c.rule {
			t.Errorf("%s: %s matched %q", c.rule, c.yes, id)
		}
		if c.no == "" {
			continue
		}
		if id, _ := set.Match(event(t, c.no, c.without)); id == c.rule {
			t.Errorf("%s: %s matched it, too", c.rule, c.no)
		}
	}
	for id := range ids {
		t.Errorf("there is no case for %s", id)
	}
}

// TestMentionsOnly: a text alone mentions nobody, whatever names stand in it; an edit
// mentions whom it names at the top of its content (MSC3952).
func TestMentionsOnly(t *testing.T) {
	set := Compile(bob, defaults())
	for fields, want := range map[string]string{
		`"type":"m.room.message","content":{"body":"bob: hello @room"}`:    ".m.rule.message",
		`"type":"m.room.message","content":{"body":"bob","m.mentions":{}}`: ".m.rule.message",
		`"type":"m.room.message","content":{"body":"* bob","m.mentions":{},"m.new_content":{"m.mentions":{"user_ids":["@bob:example.org"]}},"m.relates_to":{"rel_type":"m.replace"}}`: ".m.rule.suppress_edits",
		`"type":"m.room.message","content":{"body":"* bob","m.mentions":{"user_ids":["@bob:example.org"]},"m.new_content":{"m.mentions":{}},"m.relates_to":{"rel_type":"m.replace"}}`: ".m.rule.is_user_mention",
		`"type":"m.room.message","content":{"body":"> bob","m.mentions":{"user_ids":["@bob:example.org"]},"m.relates_to":{"m.in_reply_to":{"event_id":"$x"}}}`:                        ".m.rule.is_user_mention",
		`"type":"m.room.message","content":{"body":"This is an example mention @bob:example.org","msgtype":"m.notice","m.mentions":{"user_ids":["@bob:example.org"],"room":true}}`:    ".m.rule.suppress_notices",
	} {
		if id, _ := set.Match(event(t, fields, someRoom{members: 5, may: true, name: "bob"})); id != want {
			t.Errorf("%s: %s, want %s", fields, id, want)
		}
	}
}

func TestKindsInTheirOrder(t *testing.T) {
	word := "tea"
	rules := &Ruleset{
		Override:  []Rule{{ID: "off", Actions: raw(`[]`)}, {ID: "o", Enabled: true, Conditions: raw(`[{"kind":"event_match","key":"type","pattern":"o"}]`), Actions: raw(`[]`)}},
		Content:   []Rule{{ID: "c", Enabled: true, Pattern: &word, Actions: raw(`[]`)}, {ID: "none", Enabled: true, Actions: raw(`[]`)}},
		Room:      []Rule{{ID: "!r:example.org", Enabled: true, Actions: raw(`[]`)}},
		Sender:    []Rule{{ID: "@alice:example.org", Enabled: true, Actions: raw(`[]`)}},
		Underride: []Rule{{ID: "u", Enabled: true, Actions: raw(`[]`)}},
	}
	tea := `"type":"o","content":{"body":"Time for Tea!"}`
	want := func(fields, id string) {
		t.Helper()
		if got, _ := Compile(bob, rules).Match(event(t, fields, someRoom{})); got != id {
			t.Errorf("%s: %q, want %q", fields, got, id)
		}
	}
	want(tea, "o")
	rules.Override = nil
	want(tea, "c")
	rules.Content = rules.Content[1:]
	want(tea, "!r:example.org")
	rules.Room[0].ID = "!R:example.org"
	want(tea, "@alice:example.org")
	rules.Sender[0].ID = "@alice"
	want(tea, "u")
	rules.Underride[0].Conditions = raw(`{}`)
	want(tea, "")
}

func TestActions(t *testing.T) {
	for actions, want := range map[string]string{
		`["notify"]`:                           `true false {}`,
		`[]`:                                   `false false {}`,
		`["dont_notify"]`:                      `false false {}`,
		`["coalesce"]`:                         `false false {}`,
		`["notify","dont_notify"]`:             `true false {}`,
		`["notify",{"set_tweak":"highlight"}]`: `true true {"highlight":true}`,
		`["notify",{"set_tweak":"highlight","value":false}]`:                   `true false {"highlight":false}`,
		`["notify",{"set_tweak":"sound","value":"ring"},{"set_tweak":"glow"}]`: `true false {"glow":true,"sound":"ring"}`,
		`[7,null,{},"boom"]`: `false false {}`,
		`{}`:                 `false false {}`,
		`"notify"`:           `false false {}`,
	} {
		a := ParseActions(raw(actions))
		tweaks, err := json.Marshal(a.Tweaks)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(a.Notify, a.Highlight, strings.Replace(string(tweaks), "null", "{}", 1))
		if got = strings.Replace(got, "falsefalse", "false false", 1); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %s, want %s", actions, got, want)
		}
	}
}

// TestOldNamesOfMentions: before it was in the standard, the property had another name.
func TestOldNamesOfMentions(t *testing.T) {
	set := Compile(bob, defaults())
	for fields, want := range map[string]string{
		`"type":"m.room.message","content":{"org.matrix.msc3952.mentions":{"user_ids":["@bob:example.org"]}}`:                 ".m.rule.is_user_mention",
		`"type":"m.room.message","content":{"org.matrix.msc3952.mentions":{"room":true}}`:                                     ".m.rule.is_room_mention",
		`"type":"m.room.message","content":{"org.matrix.msc3952.mentions":{"user_ids":["@bob:example.org"]},"m.mentions":{}}`: ".m.rule.message",
		`"type":"m.room.message","content":{"org.matrix.msc3952.mentions":{"user_ids":["@carol:example.org"]}}`:               ".m.rule.message",
		`"type":"m.room.message","content":{"org.matrix.msc3952.mentions":7}`:                                                 ".m.rule.message",
	} {
		if id, _ := set.Match(event(t, fields, someRoom{members: 5, may: true})); id != want {
			t.Errorf("%s: %s, want %s", fields, id, want)
		}
	}
	for id, want := range map[string]string{
		".org.matrix.msc3952.is_user_mention": ".m.rule.is_user_mention", ".org.matrix.msc3952.is_room_mention": ".m.rule.is_room_mention",
		".m.rule.message": ".m.rule.message", "org.matrix.msc3952.x": "org.matrix.msc3952.x",
	} {
		if got := StableID(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

// TestWhatOnlyServersSeeIsNotLookedAt: a rule matches what clients are shown of an event.
func TestWhatOnlyServersSeeIsNotLookedAt(t *testing.T) {
	fields := `"type":"x","depth":7,"hashes":{"sha256":"abc"},"auth_events":["$a"],"origin":"example.org","content":{"depth":7}`
	for condition, want := range map[string]bool{
		`{"kind":"event_property_is","key":"depth","value":7}`:                false,
		`{"kind":"event_match","key":"hashes.sha256","pattern":"*"}`:          false,
		`{"kind":"event_property_contains","key":"auth_events","value":"$a"}`: false,
		`{"kind":"event_match","key":"origin","pattern":"*"}`:                 false,
		`{"kind":"event_property_is","key":"content.depth","value":7}`:        true,
	} {
		rules := &Ruleset{Override: []Rule{{ID: "x", Enabled: true, Conditions: raw("[" + condition + "]"), Actions: raw(`["notify"]`)}}}
		if id, _ := Compile(bob, rules).Match(event(t, fields, someRoom{})); (id == "x") != want {
			t.Errorf("%s: %t", condition, !want)
		}
	}
}

// TestManyRulesAreBounded: whatever patterns a user has, an event costs some milliseconds
// for them and no more; rules without patterns go on to match.
func TestManyRulesAreBounded(t *testing.T) {
	body := strings.Repeat("a", 60<<10)
	for _, pattern := range []string{strings.Repeat("a*", MaxPattern/2-1) + "b", strings.Repeat("*?", MaxPattern/2-1) + "b", "aa", "a", "*b"} {
		var rules Ruleset
		for i := range 5000 {
			rules.Content = append(rules.Content, Rule{ID: fmt.Sprint(i), Enabled: true, Pattern: &pattern, Actions: raw(`[]`)})
		}
		rules.Underride = []Rule{{ID: "last", Enabled: true, Conditions: raw(`[{"kind":"event_property_is","key":"type","value":"m.room.message"}]`), Actions: raw(`["notify"]`)}}
		set := Compile(bob, &rules)
		e := event(t, `"type":"m.room.message","content":{"body":"`+body+`"}`, someRoom{})
		start := time.Now()
		id, _ := set.Match(e)
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("%.8s… took %s", pattern, took)
		}
		if id != "last" {
			t.Errorf("%.8s…: %q", pattern, id)
		}
	}
	// A user with many words to look for, as people have them, is not bounded by that.
	var rules Ruleset
	for i := range 1000 {
		word := fmt.Sprintf("word%d", i)
		rules.Content = append(rules.Content, Rule{ID: word, Enabled: true, Pattern: &word, Actions: raw(`[]`)})
	}
	e := event(t, `"type":"m.room.message","content":{"body":"`+strings.Repeat("a word and ", 1000)+`word999"}`, someRoom{})
	if id, _ := Compile(bob, &rules).Match(e); id != "word999" {
		t.Errorf("the last of many words: %q", id)
	}
}

func FuzzRule(f *testing.F) {
	f.Add(`[{"kind":"event_match","key":"content.body","pattern":"a*"}]`, `["notify"]`, `{"body":"a b"}`)
	f.Add(`[{"kind":"event_property_contains","key":"content.m\\.x","value":7}]`, `[{"set_tweak":"x"}]`, `{"m.x":[7]}`)
	f.Add(`[{"kind":"room_member_count","is":"<="}]`, `[]`, `{}`)
	f.Add(`[{"kind":"contains_display_name"}]`, `{}`, `[]`)
	f.Fuzz(func(t *testing.T, conditions, actions, content string) {
		e, err := NewEvent("$e", []byte(`{"room_id":"!r","sender":"@a:b","content":`+content+`}`), someRoom{members: 2, name: "a"})
		if err != nil {
			return
		}
		rules := &Ruleset{Override: []Rule{{ID: "x", Enabled: true, Conditions: raw(conditions), Actions: raw(actions)}},
			Content: []Rule{{ID: "y", Enabled: true, Pattern: &content, Actions: raw(actions)}}}
		if id, a := Compile(bob, rules).Match(e); (id == "") != (a == nil) {
			t.Errorf("%q %v", id, a)
		}
	})
}

// BenchmarkFiftyMembers evaluates the predefined rules for one message and 50 members.
func BenchmarkFiftyMembers(b *testing.B) {
	sets := make([]*Set, 50)
	for i := range sets {
		user := matrix.UserID(fmt.Sprintf("@user%d:example.org", i))
		var rules Ruleset
		for kind, of := range Predefined(user) {
			*rules.Kind(kind) = of
		}
		sets[i] = Compile(user, &rules)
	}
	pdu := []byte(`{"room_id":"!r:example.org","sender":"@alice:example.org","type":"m.room.message","content":{"msgtype":"m.text","body":"Good morning, everybody","m.mentions":{}}}`)
	for b.Loop() {
		e, err := NewEvent("$e", pdu, someRoom{members: 50})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range sets {
			s.Match(e)
		}
	}
}
