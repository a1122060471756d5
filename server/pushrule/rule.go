package pushrule

import "encoding/json"

// The kinds of rules, the most important first.
const (
	Override  = "override"
	Content   = "content"
	Room      = "room"
	Sender    = "sender"
	Underride = "underride"
)

// Kinds is all kinds, the most important first.
func Kinds() []string { return []string{Override, Content, Room, Sender, Underride} }

// Rule is a push rule as clients see it (spec: PushRule).
type Rule struct {
	ID         string          `json:"rule_id" cbor:"1,keyasint"`
	Default    bool            `json:"default" cbor:"-"` // predefined
	Enabled    bool            `json:"enabled" cbor:"2,keyasint,omitempty"`
	Actions    json.RawMessage `json:"actions" cbor:"3,keyasint"`
	Conditions json.RawMessage `json:"conditions,omitempty" cbor:"4,keyasint,omitempty"`
	Pattern    *string         `json:"pattern,omitempty" cbor:"5,keyasint,omitempty"`
}

// Ruleset is the rules of a user by kind, each in order of importance.
type Ruleset struct {
	Override  []Rule `json:"override"`
	Content   []Rule `json:"content"`
	Room      []Rule `json:"room"`
	Sender    []Rule `json:"sender"`
	Underride []Rule `json:"underride"`
}

// Kind is where the rules of a kind stand; nil if there is no such kind.
func (s *Ruleset) Kind(name string) *[]Rule {
	switch name {
	case Override:
		return &s.Override
	case Content:
		return &s.Content
	case Room:
		return &s.Room
	case Sender:
		return &s.Sender
	case Underride:
		return &s.Underride
	}
	return nil
}
