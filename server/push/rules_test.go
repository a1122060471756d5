package push

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
)

const alice matrix.UserID = "@alice:example.org"

type fixture struct {
	*testing.T
	db *kv.DB
	c  *changes.Keeper
	k  *Keeper
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func setUp(t *testing.T) *fixture {
	db := kvtest.Open(t)
	c, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, db, c, New(Config{DB: db, Changes: c})}
}

func (f *fixture) rules() (all pushrule.Ruleset) {
	f.Helper()
	kvtest.View(f, f.db, func(tx *kv.ReadTx) { all = f.k.Rules(tx, alice) })
	return all
}

func (f *fixture) do(fn func(tx *kv.WriteTx) error) error {
	return f.db.Update(f.Context(), fn)
}

func (f *fixture) set(kind, id string, at Place) {
	f.Helper()
	pattern := "cake"
	if err := f.do(func(tx *kv.WriteTx) error {
		return f.k.SetRule(tx, alice, kind, pushrule.Rule{ID: id, Actions: raw(`["notify"]`), Pattern: &pattern}, at)
	}); err != nil {
		f.Fatal(err)
	}
}

func names(rules []pushrule.Rule) string {
	var all []string
	for _, r := range rules {
		all = append(all, strings.TrimPrefix(r.ID, ".m.rule."))
	}
	return strings.Join(all, " ")
}

func TestPredefinedRulesInTheStandardsOrder(t *testing.T) {
	f := setUp(t)
	all := f.rules()
	if got := names(all.Override); got != "master suppress_notices invite_for_me member_event is_user_mention is_room_mention tombstone reaction room.server_acl suppress_edits" {
		t.Errorf("override: %s", got)
	}
	if got := names(all.Underride); got != "call encrypted_room_one_to_one room_one_to_one message encrypted" {
		t.Errorf("underride: %s", got)
	}
	if all.Content == nil || all.Room == nil || all.Sender == nil {
		t.Error("kinds without rules have to be empty lists")
	}
	for _, rule := range slices.Concat(all.Override, all.Underride) {
		if !rule.Default || rule.Enabled == (rule.ID == pushrule.Master) {
			t.Errorf("%+v", rule)
		}
		if err := checkActions(rule.Actions); err != nil {
			t.Errorf("%s: %v", rule.ID, err)
		}
		if err := checkConditions(rule.Conditions); err != nil {
			t.Errorf("%s: %v", rule.ID, err)
		}
	}
	kvtest.View(t, f.db, func(tx *kv.ReadTx) {
		raw, err := f.k.Content(tx, alice)
		if err != nil || !json.Valid(raw) || !strings.Contains(string(raw), `"value":"@alice:example.org"`) {
			t.Errorf("%s %v", raw, err)
		}
	})
}

func TestOwnRulesComeBeforeThePredefined(t *testing.T) {
	f := setUp(t)
	f.set(pushrule.Override, "a", Place{})
	f.set(pushrule.Override, "b", Place{})
	f.set(pushrule.Override, "c", Place{After: "b"})
	f.set(pushrule.Override, "d", Place{Before: "a"})
	if got := names(f.rules().Override); !strings.HasPrefix(got, "master b c d a suppress_notices") {
		t.Error(got)
	}
	f.set(pushrule.Override, "c", Place{}) // stays
	f.set(pushrule.Override, "a", Place{Before: "b", After: "c"})
	if got := names(f.rules().Override); !strings.HasPrefix(got, "master a b c d suppress_notices") {
		t.Error(got)
	}
	before := f.c.Published()
	if err := f.do(func(tx *kv.WriteTx) error { return f.k.DeleteRule(tx, alice, pushrule.Override, "b") }); err != nil {
		t.Fatal(err)
	}
	kvtest.View(t, f.db, func(tx *kv.ReadTx) {
		for _, c := range f.c.Since(tx, before) {
			if c.Kind != changes.AccountData || c.User != alice || c.Key != "m.push_rules" {
				t.Errorf("%+v", c)
			}
		}
	})
	if f.c.Published() == before || names(f.rules().Override[:4]) != "master a c d" {
		t.Error(names(f.rules().Override))
	}
}

func TestEnablingAndActions(t *testing.T) {
	f := setUp(t)
	f.set(pushrule.Content, "cake", Place{})
	get := func(kind, id string) (rule pushrule.Rule) {
		kvtest.View(t, f.db, func(tx *kv.ReadTx) {
			var err error
			if rule, err = f.k.Rule(tx, alice, kind, id); err != nil {
				t.Fatal(err)
			}
		})
		return rule
	}
	for kind, id := range map[string]string{pushrule.Content: "cake", pushrule.Underride: ".m.rule.message"} {
		for _, enabled := range []bool{false, true, false} {
			if err := f.do(func(tx *kv.WriteTx) error { return f.k.SetEnabled(tx, alice, kind, id, enabled) }); err != nil {
				t.Fatal(err)
			}
			if get(kind, id).Enabled != enabled {
				t.Errorf("%s is not %t", id, enabled)
			}
		}
		if err := f.do(func(tx *kv.WriteTx) error {
			return f.k.SetActions(tx, alice, kind, id, raw(`["notify",{"set_tweak":"highlight"}]`))
		}); err != nil {
			t.Fatal(err)
		}
		if rule := get(kind, id); string(rule.Actions) != `["notify",{"set_tweak":"highlight"}]` || rule.Enabled {
			t.Errorf("%+v", rule)
		}
	}
	f.set(pushrule.Content, "cake", Place{})
	if get(pushrule.Content, "cake").Enabled {
		t.Error("changing a disabled rule enabled it")
	}
}

// TestDefaultsAreRestored: a predefined rule that is again as it was leaves nothing behind,
// so that it follows a later release; and it is found by its name before the standard.
func TestDefaultsAreRestored(t *testing.T) {
	f := setUp(t)
	const id = ".m.rule.is_room_mention"
	stored := func() (n int) {
		kvtest.View(t, f.db, func(tx *kv.ReadTx) {
			row, _ := f.k.rules.Get(tx, alice)
			n = len(row.Changed)
		})
		return n
	}
	for _, c := range []struct {
		do   func(tx *kv.WriteTx) error
		left int
	}{
		{func(tx *kv.WriteTx) error { return f.k.SetEnabled(tx, alice, pushrule.Override, id, false) }, 1},
		{func(tx *kv.WriteTx) error { return f.k.SetActions(tx, alice, pushrule.Override, id, raw(`[]`)) }, 1},
		{func(tx *kv.WriteTx) error {
			return f.k.SetEnabled(tx, alice, pushrule.Override, ".org.matrix.msc3952.is_room_mention", true)
		}, 1},
		{func(tx *kv.WriteTx) error {
			return f.k.SetActions(tx, alice, pushrule.Override, id, raw(`[ "notify", {"set_tweak": "highlight"} ]`))
		}, 0},
	} {
		if err := f.do(c.do); err != nil {
			t.Fatal(err)
		}
		if got := stored(); got != c.left {
			t.Errorf("%d changes are kept, want %d", got, c.left)
		}
	}
	if got, want := f.rules(), (rulesRow{}).rules(alice); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestRulesAreBounded: neither many rules nor large ones.
func TestRulesAreBounded(t *testing.T) {
	f := setUp(t)
	add := func(id, pattern string) error {
		return f.do(func(tx *kv.WriteTx) error {
			return f.k.SetRule(tx, alice, pushrule.Content, pushrule.Rule{ID: id, Actions: raw(`[]`), Pattern: &pattern}, Place{})
		})
	}
	if err := f.do(func(tx *kv.WriteTx) error {
		short := "x"
		for i := range MaxRules {
			if err := f.k.SetRule(tx, alice, pushrule.Content, pushrule.Rule{ID: fmt.Sprint(i), Actions: raw(`[]`), Pattern: &short}, Place{}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := add("one more", "x"); !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("a rule too many: %v", err)
	}
	if err := add("7", "y"); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	long := strings.Repeat("x", maxPattern)
	var err error
	for i := 0; err == nil && i < MaxRules; i++ {
		err = add(fmt.Sprint(i), long)
	}
	if !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("rules too large: %v", err)
	}
	if err := f.do(func(tx *kv.WriteTx) error {
		return f.k.SetActions(tx, alice, pushrule.Content, "9", raw(`[{"set_tweak":"x","value":"`+strings.Repeat("x", maxRule-40)+`"}]`))
	}); !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("actions too large: %v", err)
	}
}

func TestRefusedRules(t *testing.T) {
	f := setUp(t)
	long := strings.Repeat("x", maxPattern+1)
	short := "x"
	for name, c := range map[string]struct {
		kind string
		rule pushrule.Rule
		at   Place
		code string
	}{
		"kind":            {"overdrive", pushrule.Rule{ID: "a", Actions: raw(`[]`)}, Place{}, "M_INVALID_PARAM"},
		"predefined":      {pushrule.Override, pushrule.Rule{ID: ".a", Actions: raw(`[]`)}, Place{}, "M_INVALID_PARAM"},
		"slash":           {pushrule.Override, pushrule.Rule{ID: "a/b", Actions: raw(`[]`)}, Place{}, "M_INVALID_PARAM"},
		"backslash":       {pushrule.Override, pushrule.Rule{ID: `a\b`, Actions: raw(`[]`)}, Place{}, "M_INVALID_PARAM"},
		"long name":       {pushrule.Override, pushrule.Rule{ID: long, Actions: raw(`[]`)}, Place{}, "M_INVALID_PARAM"},
		"no actions":      {pushrule.Override, pushrule.Rule{ID: "a"}, Place{}, "M_BAD_JSON"},
		"action":          {pushrule.Override, pushrule.Rule{ID: "a", Actions: raw(`["explode"]`)}, Place{}, "M_INVALID_PARAM"},
		"number":          {pushrule.Override, pushrule.Rule{ID: "a", Actions: raw(`[7]`)}, Place{}, "M_BAD_JSON"},
		"tweak":           {pushrule.Override, pushrule.Rule{ID: "a", Actions: raw(`[{}]`)}, Place{}, "M_INVALID_PARAM"},
		"condition":       {pushrule.Override, pushrule.Rule{ID: "a", Actions: raw(`[]`), Conditions: raw(`[{}]`)}, Place{}, "M_MISSING_PARAM"},
		"no pattern":      {pushrule.Content, pushrule.Rule{ID: "a", Actions: raw(`[]`)}, Place{}, "M_MISSING_PARAM"},
		"long pattern":    {pushrule.Content, pushrule.Rule{ID: "a", Actions: raw(`[]`), Pattern: &long}, Place{}, "M_TOO_LARGE"},
		"unknown before":  {pushrule.Content, pushrule.Rule{ID: "a", Actions: raw(`[]`), Pattern: &short}, Place{Before: "b"}, "M_UNKNOWN"},
		"predefined next": {pushrule.Override, pushrule.Rule{ID: "a", Actions: raw(`[]`)}, Place{After: pushrule.Master}, "M_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			err := f.do(func(tx *kv.WriteTx) error { return f.k.SetRule(tx, alice, c.kind, c.rule, c.at) })
			if !matrix.IsCode(err, c.code) {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
	for name, err := range map[string]error{
		"M_NOT_FOUND":     f.do(func(tx *kv.WriteTx) error { return f.k.DeleteRule(tx, alice, pushrule.Room, "x") }),
		"M_INVALID_PARAM": f.do(func(tx *kv.WriteTx) error { return f.k.DeleteRule(tx, alice, pushrule.Override, pushrule.Master) }),
	} {
		if !matrix.IsCode(err, name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}
