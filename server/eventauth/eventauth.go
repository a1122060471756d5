// Package eventauth decides whether an event is allowed in a room: the
// authorisation rules of all room versions.
//
// Check judges an event by a set of state, CheckAuthEvents the list of auth_events
// that came with it; AuthTypes names the state that has to be in that list, and
// Levels reads power levels for whoever wants to know before trying. Everything is
// a function of its arguments. What an event looks like is checked in pdu before.
//
// A refusal is a matrix.Error, M_FORBIDDEN, whose Rule names the rule as the room
// version's own text numbers it, such as "v6 4.2.3"; the numbers of all versions
// are in numbers.go. Comments give the number in the first version that has the
// rule and in version 12.
package eventauth

import (
	"encoding/json"

	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// Key names one piece of a room's state.
type Key struct {
	Type     string // event type
	StateKey string
}

// StateEvent is what the rules want to know of an event in the state.
type StateEvent struct {
	ID      matrix.EventID
	Sender  matrix.UserID
	Content json.RawMessage // a JSON object
}

// State is the state of a room that an event is judged by: that before the event,
// the current state, or what its auth_events say. Only accepted events are in it.
type State interface {
	// StateEvent returns the state event of a type with a state key.
	StateEvent(eventType, stateKey string) (StateEvent, bool)
}

// StateMap is a State held in a map.
type StateMap map[Key]StateEvent

// StateEvent looks into the map.
func (m StateMap) StateEvent(eventType, stateKey string) (StateEvent, bool) {
	e, ok := m[Key{eventType, stateKey}]
	return e, ok
}

// SignedBy says whether the event being judged carries a valid signature of a
// server. For an event whose signatures have all been verified, or that was signed
// here, this is the method HasSignature of the event. nil is: signed by nobody.
type SignedBy func(server matrix.ServerName) bool

// Check judges an event by a set of state. nil means that it is allowed
// (spec: server-server API, authorisation rules).
func Check(v roomver.Version, ev *pdu.PDU, state State, signedBy SignedBy) error {
	content, err := matrix.ParseObject(ev.Content)
	if err != nil {
		return err
	}
	if signedBy == nil {
		signedBy = func(matrix.ServerName) bool { return false }
	}
	c := &check{v: v, ev: ev, content: content, state: state, signedBy: signedBy}
	if ev.Type == "m.room.create" {
		return c.create()
	}
	create, ok := state.StateEvent("m.room.create", "")
	if v.RoomIDIsHash {
		// spec: rooms/v12 auth 2
		if !ok || create.ID != pdu.CreateEventOf(ev.Room) {
			return c.reject(roomUnknown, "the room ID is not that of a room that was created")
		}
	} else if !ok {
		// spec: rooms/v1 auth 2.4
		return c.reject(authNoCreate, "the room has no create event")
	}
	c.room = create
	c.levels = Levels(v, state)
	// spec: rooms/v1 auth 3, rooms/v12 auth 4
	if !c.federated() && ev.Sender.Server() != create.Sender.Server() {
		return c.reject(notFederated, "this room is for users of its own server only")
	}
	return c.rules()
}

// check is one event being judged.
type check struct {
	v        roomver.Version
	ev       *pdu.PDU
	content  matrix.Object
	state    State
	signedBy SignedBy
	room     StateEvent // the create event
	levels   PowerLevels
}

// reject refuses the event by a rule.
func (c *check) reject(r rule, msg string) error {
	err := matrix.Forbidden(msg)
	err.Rule = number(c.v, r)
	return err
}

// rules are those behind the checks of auth events and federation.
func (c *check) rules() error {
	if c.ev.Type == "m.room.aliases" && c.v.AliasesAuthRule {
		return c.aliases()
	}
	if c.ev.Type == "m.room.member" {
		return c.member()
	}
	// spec: rooms/v1 auth 6, rooms/v12 auth 6
	if c.membership(c.ev.Sender) != "join" {
		return c.reject(senderNotJoined, "you are not in this room")
	}
	level := c.levels.User(c.ev.Sender)
	if c.ev.Type == "m.room.third_party_invite" {
		// spec: rooms/v1 auth 7.1, rooms/v12 auth 7.1
		if level < c.levels.Invite {
			return c.reject(thirdPartyLevel, "your power level is too low to invite")
		}
		return nil
	}
	// spec: rooms/v1 auth 8, rooms/v12 auth 8
	if level < c.levels.Event(c.ev.Type, c.ev.StateKey != nil) {
		return c.reject(levelTooLow, "your power level is too low to send this type of event")
	}
	// spec: rooms/v1 auth 9, rooms/v12 auth 9
	if key := c.ev.StateKey; key != nil && len(*key) > 0 && (*key)[0] == '@' && *key != string(c.ev.Sender) {
		return c.reject(stateOfOther, "a state key that is a user ID has to be your own")
	}
	switch {
	case c.ev.Type == "m.room.power_levels":
		return c.powerLevels()
	case c.ev.Type == "m.room.redaction" && c.v.RedactionAuthRule:
		return c.redaction(level)
	}
	// spec: rooms/v1 auth 12, rooms/v12 auth 11
	return nil
}

// create is rule 1 of all room versions.
func (c *check) create() error {
	// spec: rooms/v1 auth 1.1, rooms/v12 auth 1.1
	if len(c.ev.PrevEvents) > 0 {
		return c.reject(createHasParents, "a room can be created only once")
	}
	if c.v.RoomIDIsHash {
		// spec: rooms/v12 auth 1.2
		if c.ev.HasRoomID {
			return c.reject(createRoomID, "the create event may not name the room")
		}
	} else if c.ev.Room.Server() != c.ev.Sender.Server() {
		// spec: rooms/v1 auth 1.2
		return c.reject(createRoomID, "the room ID has to name the server of the creator")
	}
	// spec: rooms/v1 auth 1.3, rooms/v12 auth 1.3
	if c.content.Has("room_version") {
		id, ok := c.content.Text("room_version")
		if ok {
			_, ok = roomver.Get(id)
		}
		if !ok {
			return c.reject(createVersion, "the room version is not known")
		}
	}
	// spec: rooms/v1 auth 1.4
	if !c.v.ImplicitRoomCreator && !c.content.Has("creator") {
		return c.reject(createNoCreator, "the create event has to name the creator")
	}
	// spec: rooms/v12 auth 1.4
	if c.v.PrivilegedCreators && c.content.Has("additional_creators") {
		if _, ok := userIDs(c.content["additional_creators"]); !ok {
			return c.reject(createAdditional, "additional_creators has to be a list of user IDs")
		}
	}
	// spec: rooms/v1 auth 1.5, rooms/v12 auth 1.5
	return nil
}

// userIDs reads a list of user IDs.
func userIDs(raw json.RawMessage) ([]matrix.UserID, bool) {
	var list []*string
	if json.Unmarshal(raw, &list) != nil || list == nil {
		return nil, false
	}
	ids := make([]matrix.UserID, 0, len(list))
	for _, id := range list {
		if id == nil || !pdu.ValidUserID(*id) {
			return nil, false
		}
		ids = append(ids, matrix.UserID(*id))
	}
	return ids, true
}

// federated is true unless the create event says otherwise.
func (c *check) federated() bool {
	content, _ := matrix.ParseObject(c.room.Content)
	return string(content["m.federate"]) != "false"
}

// aliases is rule 4 of room versions 1 to 5.
func (c *check) aliases() error {
	// spec: rooms/v1 auth 4.1
	if c.ev.StateKey == nil {
		return c.reject(aliasesNoKey, "aliases have to be state")
	}
	// spec: rooms/v1 auth 4.2
	if *c.ev.StateKey != string(c.ev.Sender.Server()) {
		return c.reject(aliasesOfOther, "you can only list the aliases of your own server")
	}
	// spec: rooms/v1 auth 4.3
	return nil
}

// redaction is rule 11 of room versions 1 and 2.
func (c *check) redaction(level int64) error {
	// spec: rooms/v1 auth 11.1
	if level >= c.levels.Redact {
		return nil
	}
	// spec: rooms/v1 auth 11.2
	if c.ev.Redacts != "" && serverOf(c.ev.Redacts) == serverOf(c.ev.ID) {
		return nil
	}
	// spec: rooms/v1 auth 11.3
	return c.reject(redactionLevel, "your power level is too low to redact this")
}

// membership is that of a user in the state, "leave" for who never was here.
func (c *check) membership(user matrix.UserID) string {
	event, ok := c.state.StateEvent("m.room.member", string(user))
	if !ok {
		return "leave"
	}
	content, _ := matrix.ParseObject(event.Content)
	membership, _ := content.Text("membership")
	return membership
}

// joinRule is that of the state; a room without is by invitation only.
func (c *check) joinRule() string {
	event, ok := c.state.StateEvent("m.room.join_rules", "")
	if !ok {
		return "invite"
	}
	content, _ := matrix.ParseObject(event.Content)
	if !content.Has("join_rule") {
		return "invite"
	}
	joinRule, _ := content.Text("join_rule")
	return joinRule
}
