package pushrule

import (
	"encoding/json"

	"porchlight/server/matrix"
)

// Actions is what a rule does when it matches.
type Actions struct {
	Notify    bool
	Highlight bool
	// Tweaks are what a push gateway is told, by name (spec: push rules, set_tweak).
	Tweaks map[string]json.RawMessage
	// JSON is the actions as clients are told them.
	JSON json.RawMessage
}

// ParseActions reads the actions of a rule. What is not understood does nothing, and so do
// dont_notify and coalesce.
func ParseActions(actions json.RawMessage) *Actions {
	a := &Actions{JSON: actions}
	var all []json.RawMessage
	if json.Unmarshal(actions, &all) != nil {
		a.JSON = raw(`[]`)
		return a
	}
	for _, action := range all {
		if string(action) == `"notify"` {
			a.Notify = true
			continue
		}
		o, err := matrix.ParseObject(action)
		if err != nil {
			continue
		}
		name, ok := o.Text("set_tweak")
		if !ok {
			continue
		}
		value := o["value"]
		if value == nil {
			value = raw(`true`) // spec: a highlight without a value is true
		}
		if name == "highlight" {
			a.Highlight = string(value) == "true"
		}
		if a.Tweaks == nil {
			a.Tweaks = map[string]json.RawMessage{}
		}
		a.Tweaks[name] = value
	}
	return a
}

// Set is the rules of a user, ready to be asked. It does not change, and any goroutine may
// ask it.
type Set struct {
	user  matrix.UserID
	rules []compiled
}

type compiled struct {
	id         string
	conditions []condition
	actions    *Actions
}

// Compile makes the rules of a user ready. Disabled rules are left out.
func Compile(user matrix.UserID, rules *Ruleset) *Set {
	s := &Set{user: user}
	for _, kind := range Kinds() {
		for _, rule := range *rules.Kind(kind) {
			if rule.Enabled {
				s.rules = append(s.rules, compiled{rule.ID, conditionsOf(kind, &rule), ParseActions(rule.Actions)})
			}
		}
	}
	return s
}

func conditionsOf(kind string, rule *Rule) []condition {
	switch kind {
	case Content:
		if rule.Pattern == nil {
			return []condition{never}
		}
		return []condition{matchText(bodyKey, splitPath(bodyKey), compileGlob(*rule.Pattern))}
	case Room:
		return []condition{func(e *Event, _ matrix.UserID) bool { return string(e.Room) == rule.ID }}
	case Sender:
		return []condition{func(e *Event, _ matrix.UserID) bool { return string(e.Sender) == rule.ID }}
	}
	if len(rule.Conditions) == 0 {
		return nil
	}
	var all []json.RawMessage
	if json.Unmarshal(rule.Conditions, &all) != nil {
		return []condition{never}
	}
	conditions := make([]condition, len(all))
	for i, c := range all {
		conditions[i] = compileCondition(c)
	}
	return conditions
}

// Match is the first rule that matches an event, and what it does; nil if none does. Of
// events that the user has sent, nobody should ask.
func (s *Set) Match(e *Event) (id string, a *Actions) {
	e.left = maxWork
	for i := range s.rules {
		if s.rules[i].matches(e, s.user) {
			return s.rules[i].id, s.rules[i].actions
		}
	}
	return "", nil
}

func (c *compiled) matches(e *Event, user matrix.UserID) bool {
	for _, condition := range c.conditions {
		if !condition(e, user) {
			return false
		}
	}
	return true
}
