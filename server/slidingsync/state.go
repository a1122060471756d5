package slidingsync

import (
	"bytes"
	"encoding/json"
	"slices"

	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// pattern matches state events; nil matches every type, or every key.
type pattern struct {
	Type *string `json:"type"`
	Key  *string `json:"state_key"`
}

func (p pattern) match(e *rooms.Event) bool {
	return (p.Type == nil || *p.Type == e.Type) && (p.Key == nil || *p.Key == *e.StateKey)
}

// StateRule is which state a client wants of a room (MSC4186, RequiredStateRequest).
type StateRule struct {
	Include []pattern `json:"include,omitempty"`
	Exclude []pattern `json:"exclude,omitempty"`
	Lazy    bool      `json:"lazy_members,omitempty"` // members only as the timeline needs them
}

// What stands for more than itself in the unstable form.
const (
	anything = "*"
	lazy     = "$LAZY"
	me       = "$ME"
)

// parseStateRule reads required_state: an object, or in the unstable form a list of pairs.
func parseStateRule(raw json.RawMessage) (StateRule, error) {
	raw = bytes.TrimSpace(raw)
	var rule StateRule
	if len(raw) == 0 || string(raw) == "null" {
		return rule, nil
	}
	bad := matrix.InvalidParam("required_state is no description of state.")
	if raw[0] != '[' {
		if err := json.Unmarshal(raw, &rule); err != nil {
			return StateRule{}, bad
		}
	} else {
		var pairs [][]string
		if err := json.Unmarshal(raw, &pairs); err != nil {
			return StateRule{}, bad
		}
		for _, pair := range pairs {
			if len(pair) != 2 {
				return StateRule{}, bad
			}
			rule.addPair(pair[0], pair[1])
		}
	}
	if len(rule.Include)+len(rule.Exclude) > maxPatterns {
		return StateRule{}, matrix.InvalidParam("required_state has too many elements: 256 are the most.")
	}
	return rule, nil
}

func (s *StateRule) addPair(eventType, key string) {
	if eventType == "m.room.member" && key == lazy {
		s.Lazy = true
		return
	}
	var p pattern
	if eventType != anything {
		p.Type = &eventType
	}
	if key != anything {
		p.Key = &key
	}
	s.Include = append(s.Include, p)
}

// of is the rule for a user, who may stand in it as $ME.
func (s StateRule) of(user matrix.UserID) StateRule {
	include := slices.Clone(s.Include)
	for i, p := range include {
		if p.Key != nil && *p.Key == me {
			own := string(user)
			include[i].Key = &own
		}
	}
	s.Include = include
	return s
}

// match says whether the rule wants an event whatever the timeline is.
func (s StateRule) match(e *rooms.Event) bool {
	// A pattern for every member does not undo that members come lazily.
	wanted := func(p pattern) bool {
		return p.match(e) && (p.Key != nil || !s.Lazy || e.Type != "m.room.member")
	}
	return slices.ContainsFunc(s.Include, wanted) &&
		!slices.ContainsFunc(s.Exclude, func(p pattern) bool { return p.match(e) })
}

// allMembers says whether the rule wants every member event.
func (s StateRule) allMembers() bool {
	ofMembers := func(p pattern) bool { return p.Type == nil || *p.Type == "m.room.member" }
	return !s.Lazy && !slices.ContainsFunc(s.Exclude, ofMembers) &&
		slices.ContainsFunc(s.Include, func(p pattern) bool { return ofMembers(p) && p.Key == nil })
}

// wish is the room configs that apply to a room, combined: the most of each (MSC4186,
// combining room configs).
type wish struct {
	timeline int
	rules    []StateRule
	key      string // tells two wishes about state apart

	lists      []string // that have the room
	subscribed bool
}

func (w *wish) add(c RoomConfig, user matrix.UserID) {
	w.timeline = max(w.timeline, c.Timeline)
	rule := c.State.of(user)
	raw, err := json.Marshal(rule)
	if err != nil {
		panic(err) // texts only: cannot happen
	}
	if slices.ContainsFunc(w.rules, func(r StateRule) bool { return r.same(raw) }) {
		return
	}
	w.rules = append(w.rules, rule)
	w.key += string(raw)
}

func (s StateRule) same(as []byte) bool {
	raw, err := json.Marshal(s)
	return err == nil && bytes.Equal(raw, as)
}

func (w *wish) match(e *rooms.Event) bool {
	return slices.ContainsFunc(w.rules, func(s StateRule) bool { return s.match(e) })
}

func (w *wish) lazy() bool {
	return slices.ContainsFunc(w.rules, func(s StateRule) bool { return s.Lazy }) &&
		!slices.ContainsFunc(w.rules, StateRule.allMembers)
}
