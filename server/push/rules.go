package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
)

const (
	// MaxRules is how many rules of all kinds a user may add.
	MaxRules = 1000
	// maxRulesSize is the size of all rules that a user may add, in bytes: they are read as a
	// whole, and every client of the user gets them as a whole.
	maxRulesSize = 256 << 10
	// maxRule is the size of a rule's conditions or actions in bytes.
	maxRule = 8 << 10
	// maxPattern is the length of a pattern or of a rule's name in bytes.
	maxPattern = pushrule.MaxPattern
)

// rulesRow is what a user changed.
type rulesRow struct {
	Own     map[string][]pushrule.Rule `cbor:"1,keyasint,omitempty"` // by kind, in order
	Changed map[string]change          `cbor:"2,keyasint,omitempty"` // predefined rules, by rule ID
}

// change is what a user changed of a predefined rule.
type change struct {
	Enabled *bool  `cbor:"1,keyasint,omitempty"`
	Actions []byte `cbor:"2,keyasint,omitempty"` // JSON
}

// Rules are all rules of a user.
func (k *Keeper) Rules(r kv.Reader, user matrix.UserID) pushrule.Ruleset {
	row, _ := k.rules.Get(r, user)
	return row.rules(user)
}

func (row rulesRow) rules(user matrix.UserID) pushrule.Ruleset {
	var all pushrule.Ruleset
	defaults := pushrule.Predefined(user)
	for _, kind := range pushrule.Kinds() {
		into := all.Kind(kind)
		*into = append([]pushrule.Rule{}, row.Own[kind]...)
		for _, rule := range defaults[kind] {
			rule.Default = true
			if c, ok := row.Changed[rule.ID]; ok {
				if c.Enabled != nil {
					rule.Enabled = *c.Enabled
				}
				if c.Actions != nil {
					rule.Actions = c.Actions
				}
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

// Content is the content of the m.push_rules account data of a user.
func (k *Keeper) Content(r kv.Reader, user matrix.UserID) (json.RawMessage, error) {
	raw, err := json.Marshal(map[string]pushrule.Ruleset{"global": k.Rules(r, user)})
	if err != nil {
		return nil, fmt.Errorf("push rules of %s: %w", user, err)
	}
	return raw, nil
}

// Rule is one rule, also by the name it had before it was in the standard. The error is
// M_NOT_FOUND, also for a kind that there is not: clients ask so for kinds that came later.
func (k *Keeper) Rule(r kv.Reader, user matrix.UserID, kind, id string) (pushrule.Rule, error) {
	all := k.Rules(r, user)
	rules := all.Kind(kind)
	if rules == nil {
		return pushrule.Rule{}, notFound()
	}
	for _, name := range []string{id, pushrule.StableID(id)} {
		if i := index(*rules, name); i >= 0 {
			return (*rules)[i], nil
		}
	}
	return pushrule.Rule{}, notFound()
}

func noSuchKind() error {
	return matrix.InvalidParam("the kind of a push rule is one of " + strings.Join(pushrule.Kinds(), ", "))
}

func notFound() error { return matrix.NotFound("there is no such push rule") }

func index(rules []pushrule.Rule, id string) int {
	return slices.IndexFunc(rules, func(rule pushrule.Rule) bool { return rule.ID == id })
}

// Place says where a rule goes: right before or right behind another own rule of its
// kind. With neither, a new rule goes first and one that is there stays.
type Place struct{ Before, After string }

// SetRule adds or replaces an own rule (spec: setPushRule). A new rule is enabled. The
// errors are M_INVALID_PARAM, M_MISSING_PARAM and M_BAD_JSON for a rule of the wrong form,
// M_UNKNOWN for a place that there is not, M_TOO_LARGE.
func (k *Keeper) SetRule(tx *kv.WriteTx, user matrix.UserID, kind string, rule pushrule.Rule, at Place) error {
	if err := checkRule(kind, &rule); err != nil {
		return err
	}
	row, _ := k.rules.Get(tx, user)
	if row.Own == nil {
		row.Own = map[string][]pushrule.Rule{}
	}
	rules := slices.Clone(row.Own[kind])
	rule.Enabled, rule.Default = true, false
	was := index(rules, rule.ID)
	if was >= 0 {
		rule.Enabled = rules[was].Enabled
		if at == (Place{}) {
			if err := row.hasRoom(&rule, false); err != nil {
				return err
			}
			rules[was] = rule
			return k.store(tx, user, row, kind, rules)
		}
		rules = slices.Delete(rules, was, was+1)
	}
	place := 0
	if next := at.Before; next != "" {
		if place = index(rules, next); place < 0 {
			return unknownPlace(next)
		}
	} else if at.After != "" {
		if place = index(rules, at.After) + 1; place == 0 {
			return unknownPlace(at.After)
		}
	}
	if err := row.hasRoom(&rule, was < 0); err != nil {
		return err
	}
	return k.store(tx, user, row, kind, slices.Insert(rules, place, rule))
}

// hasRoom refuses a rule for which there is no room.
func (row *rulesRow) hasRoom(rule *pushrule.Rule, isNew bool) error {
	count, size := 0, sizeOf(rule)
	for _, rules := range row.Own {
		count += len(rules)
		for i := range rules {
			size += sizeOf(&rules[i])
		}
	}
	if isNew && count >= MaxRules {
		return matrix.TooLarge(fmt.Sprintf("there can be at most %d push rules", MaxRules))
	}
	if size > maxRulesSize {
		return matrix.TooLarge(fmt.Sprintf("all push rules together can have at most %d bytes", maxRulesSize))
	}
	return nil
}

func sizeOf(rule *pushrule.Rule) int {
	size := len(rule.ID) + len(rule.Actions) + len(rule.Conditions)
	if rule.Pattern != nil {
		size += len(*rule.Pattern)
	}
	return size
}

func unknownPlace(id string) error {
	return matrix.Unknown(400, fmt.Sprintf("there is no push rule %.64q of yours to put it before or after", id))
}

func (k *Keeper) store(tx *kv.WriteTx, user matrix.UserID, row rulesRow, kind string, rules []pushrule.Rule) error {
	row.Own[kind] = rules
	k.put(tx, user, row)
	return nil
}

// put writes the row and tells the user's clients.
func (k *Keeper) put(tx *kv.WriteTx, user matrix.UserID, row rulesRow) {
	k.rules.Put(tx, user, row)
	k.rulesChanged(tx, user)
	k.Changes.Append(tx, changes.Change{Kind: changes.AccountData, User: user, Key: "m.push_rules"})
}

// checkRule looks at a rule that a client wants to add.
func checkRule(kind string, rule *pushrule.Rule) error {
	if !slices.Contains(pushrule.Kinds(), kind) {
		return noSuchKind()
	}
	switch {
	case rule.ID == "" || len(rule.ID) > maxPattern:
		return matrix.InvalidParam(fmt.Sprintf("a push rule has a name of 1 to %d bytes", maxPattern))
	case rule.ID[0] == '.':
		return matrix.InvalidParam("names that begin with a dot are the server's")
	case strings.ContainsAny(rule.ID, `/\`):
		return matrix.InvalidParam("the name of a push rule may hold neither / nor \\")
	}
	if err := checkActions(rule.Actions); err != nil {
		return err
	}
	if kind != pushrule.Content {
		rule.Pattern = nil
	} else if rule.Pattern == nil {
		return matrix.MissingParam("a content rule needs a pattern")
	} else if len(*rule.Pattern) > maxPattern {
		return matrix.TooLarge(fmt.Sprintf("a pattern may have at most %d bytes", maxPattern))
	}
	if kind != pushrule.Override && kind != pushrule.Underride {
		rule.Conditions = nil
		return nil
	}
	if len(rule.Conditions) == 0 || string(rule.Conditions) == "null" {
		rule.Conditions = json.RawMessage(`[]`)
	}
	return checkConditions(rule.Conditions)
}

func checkActions(actions json.RawMessage) error {
	var all []json.RawMessage
	if len(actions) > maxRule {
		return matrix.TooLarge(fmt.Sprintf("the actions of a push rule may have at most %d bytes", maxRule))
	}
	if json.Unmarshal(actions, &all) != nil || all == nil {
		return matrix.BadJSON("actions has to be a list")
	}
	for _, action := range all {
		var word string
		if json.Unmarshal(action, &word) == nil {
			// dont_notify and coalesce do nothing any more, but old clients send them
			// (spec: push rules, historical actions).
			if !slices.Contains([]string{"notify", "dont_notify", "coalesce"}, word) {
				return matrix.InvalidParam(fmt.Sprintf("there is no action %.64q", word))
			}
			continue
		}
		o, err := matrix.ParseObject(action)
		if err != nil {
			return matrix.BadJSON("an action has to be a string or an object")
		}
		if _, ok := o.Text("set_tweak"); !ok {
			return matrix.InvalidParam("an action that is an object needs set_tweak")
		}
	}
	return nil
}

func checkConditions(conditions json.RawMessage) error {
	if len(conditions) > maxRule {
		return matrix.TooLarge(fmt.Sprintf("the conditions of a push rule may have at most %d bytes", maxRule))
	}
	var all []json.RawMessage
	if json.Unmarshal(conditions, &all) != nil || all == nil {
		return matrix.BadJSON("conditions has to be a list")
	}
	for _, c := range all {
		o, err := matrix.ParseObject(c)
		if err != nil {
			return matrix.BadJSON("a condition has to be an object")
		}
		// What a condition of an unknown kind means is for later; it never matches.
		if _, ok := o.Text("kind"); !ok {
			return matrix.MissingParam("a condition needs a kind")
		}
	}
	return nil
}

// DeleteRule deletes an own rule. The errors are M_INVALID_PARAM for a kind that there is
// not, M_NOT_FOUND, and M_INVALID_PARAM for a predefined rule.
func (k *Keeper) DeleteRule(tx *kv.WriteTx, user matrix.UserID, kind, id string) error {
	rule, err := k.Rule(tx, user, kind, id)
	if err != nil {
		return err
	}
	if rule.Default {
		return matrix.InvalidParam("a predefined rule can be disabled, but not deleted")
	}
	row, _ := k.rules.Get(tx, user)
	own := slices.Clone(row.Own[kind])
	i := index(own, rule.ID)
	return k.store(tx, user, row, kind, slices.Delete(own, i, i+1))
}

// SetEnabled switches a rule on or off. The errors are those of Rule.
func (k *Keeper) SetEnabled(tx *kv.WriteTx, user matrix.UserID, kind, id string, enabled bool) error {
	rule, err := k.Rule(tx, user, kind, id)
	if err != nil || rule.Enabled == enabled {
		return err
	}
	k.edit(tx, user, kind, rule,
		func(own *pushrule.Rule) { own.Enabled = enabled },
		func(c *change) { c.Enabled = &enabled })
	return nil
}

// SetActions changes what a rule does. The errors are those of Rule, and M_BAD_JSON and
// M_INVALID_PARAM for actions of the wrong form.
func (k *Keeper) SetActions(tx *kv.WriteTx, user matrix.UserID, kind, id string, actions json.RawMessage) error {
	rule, err := k.Rule(tx, user, kind, id)
	if err != nil {
		return err
	}
	if err := checkActions(actions); err != nil {
		return err
	}
	if bytes.Equal(rule.Actions, actions) {
		return nil
	}
	if !rule.Default {
		row, _ := k.rules.Get(tx, user)
		if err := row.hasRoom(&pushrule.Rule{Actions: actions}, false); err != nil {
			return err
		}
	}
	k.edit(tx, user, kind, rule,
		func(own *pushrule.Rule) { own.Actions = actions },
		func(c *change) { c.Actions = actions })
	return nil
}

func (k *Keeper) edit(tx *kv.WriteTx, user matrix.UserID, kind string, rule pushrule.Rule, own func(*pushrule.Rule), predefined func(*change)) {
	row, _ := k.rules.Get(tx, user)
	if !rule.Default {
		own(&row.Own[kind][index(row.Own[kind], rule.ID)])
	} else {
		if row.Changed == nil {
			row.Changed = map[string]change{}
		}
		c := row.Changed[rule.ID]
		predefined(&c)
		c.forgetDefaults(user, kind, rule.ID)
		row.Changed[rule.ID] = c
		if c.Enabled == nil && c.Actions == nil {
			delete(row.Changed, rule.ID)
		}
	}
	k.put(tx, user, row)
}

// forgetDefaults leaves out of a change what is again as it is predefined: what a later
// release predefines then holds for this user, too.
func (c *change) forgetDefaults(user matrix.UserID, kind, id string) {
	rules := pushrule.Predefined(user)[kind]
	i := index(rules, id)
	if i < 0 {
		return
	}
	if c.Enabled != nil && *c.Enabled == rules[i].Enabled {
		c.Enabled = nil
	}
	var actions bytes.Buffer
	if c.Actions != nil && json.Compact(&actions, c.Actions) == nil && bytes.Equal(actions.Bytes(), rules[i].Actions) {
		c.Actions = nil
	}
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	for user, row := range k.rules.Scan(r, kv.All()) {
		for kind, rules := range row.Own {
			for i, rule := range rules {
				if err := checkRule(kind, &rule); err != nil || index(rules, rule.ID) != i {
					report("rule %s %s of %s: %v, or it is there twice", kind, rule.ID, user, err)
				}
			}
		}
	}
	for hash, row := range k.secrets.Scan(r, kv.All()) {
		if row.User == "" || row.Name == "" {
			report("the secret %s is of user %q and device %q", hash.id(), row.User, row.Name)
		}
	}
	last := k.Changes.Last(r)
	for key, row := range k.pushers.Scan(r, kv.All()) {
		if checkPusherKey(key.AppID, key.Pushkey) != nil || row.Since > last || row.Pending > last+1 {
			report("the pusher %v stands at %d and %d, the log ends at %d", key, row.Since, row.Pending, last)
		}
	}
}
