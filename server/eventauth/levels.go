package eventauth

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// CreatorLevel is the power level of a room's creators in room versions where it
// is infinite: above every level that can be set (spec: rooms/v12, authorisation rules).
const CreatorLevel = math.MaxInt64

// maxLevel is the greatest level that can be set; what is beyond counts as this.
// It can be met in room versions 1 to 5 only.
const maxLevel = CreatorLevel - 1

// PowerLevels are the levels in force in a room, with the defaults filled in
// (spec: client-server API, m.room.power_levels).
type PowerLevels struct {
	// UsersDefault is the level of a user who is not listed.
	UsersDefault int64
	// EventsDefault and StateDefault are needed to send types not listed.
	EventsDefault, StateDefault int64
	// Ban, Kick, Invite and Redact are needed to do so.
	Ban, Kick, Invite, Redact int64

	users         map[string]int64
	events        map[string]int64
	notifications map[string]int64
	creators      []matrix.UserID // at CreatorLevel
}

// Levels reads the power levels of a room from its state. A room without
// m.room.power_levels has the defaults, and its creator level 100.
func Levels(v roomver.Version, state State) PowerLevels {
	p := PowerLevels{StateDefault: 50, Ban: 50, Kick: 50, Redact: 50}
	create, created := state.StateEvent("m.room.create", "")
	if created && v.PrivilegedCreators {
		p.creators = Creators(v, create)
	}
	event, ok := state.StateEvent("m.room.power_levels", "")
	if !ok {
		if created && !v.PrivilegedCreators {
			p.users = map[string]int64{string(creator(v, create)): 100}
		}
		return p
	}
	content, _ := matrix.ParseObject(event.Content)
	for name, level := range map[string]*int64{
		"users_default": &p.UsersDefault, "events_default": &p.EventsDefault, "state_default": &p.StateDefault,
		"ban": &p.Ban, "kick": &p.Kick, "invite": &p.Invite, "redact": &p.Redact,
	} {
		if value, ok := parseLevel(v, content[name]); ok {
			*level = value
		}
	}
	p.users = readLevels(v, content["users"])
	p.events = readLevels(v, content["events"])
	p.notifications = readLevels(v, content["notifications"])
	return p
}

// User is the level of a user.
func (p PowerLevels) User(id matrix.UserID) int64 {
	for _, creator := range p.creators {
		if id == creator {
			return CreatorLevel
		}
	}
	if level, ok := p.users[string(id)]; ok {
		return level
	}
	return p.UsersDefault
}

// Event is the level needed to send an event of a type
// (spec: server-server API, required power level).
func (p PowerLevels) Event(eventType string, isState bool) int64 {
	if level, ok := p.events[eventType]; ok {
		return level
	}
	if isState {
		return p.StateDefault
	}
	return p.EventsDefault
}

// Notification is the level needed to notify in a way, such as "room"; 50 if it is
// not listed.
func (p PowerLevels) Notification(key string) int64 {
	if level, ok := p.notifications[key]; ok {
		return level
	}
	return 50
}

// CanRedact says whether a redaction takes effect on an event of a sender
// (spec: rooms/v3, handling redactions). It trusts a server with the events of its
// own users; which of them may use that is for the server to decide.
func (p PowerLevels) CanRedact(redactor, sender matrix.UserID) bool {
	return p.User(redactor) >= p.Redact || redactor.Server() == sender.Server()
}

// Creators are the users who created a room: in room versions with privileged
// creators the sender of the create event and its additional_creators, otherwise
// the one creator (spec: rooms/v12, authorisation rules).
func Creators(v roomver.Version, create StateEvent) []matrix.UserID {
	creators := []matrix.UserID{creator(v, create)}
	if !v.PrivilegedCreators {
		return creators
	}
	content, _ := matrix.ParseObject(create.Content)
	additional, _ := userIDs(content["additional_creators"])
	return append(creators, additional...)
}

// creator is the user who created a room.
func creator(v roomver.Version, create StateEvent) matrix.UserID {
	if v.ImplicitRoomCreator {
		return create.Sender
	}
	content, _ := matrix.ParseObject(create.Content)
	user, _ := content.Text("creator")
	return matrix.UserID(user)
}

// parseLevel reads one level: an integer, or what the room version allows besides
// (spec: rooms/v1, deprecated event content schemas). Floats are there only where
// canonical JSON is not enforced.
func parseLevel(v roomver.Version, raw json.RawMessage) (int64, bool) {
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if v.IntegerPowerLevels {
			return 0, false
		}
		quoted, ok := matrix.Object{"": raw}.Text("")
		if !ok {
			return 0, false
		}
		text = strings.TrimSpace(quoted)
		if strings.ContainsAny(text, ".eE") {
			return 0, false // floats are not allowed within strings
		}
	}
	level, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return clamp(level), true
	}
	if v.StrictCanonicalJSON || !strings.ContainsAny(text, ".eE") {
		return 0, false
	}
	float, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false // beyond what a double can hold, or no number
	}
	if math.Abs(float) >= maxLevel {
		return clamp(int64(math.Copysign(1, float)) * math.MaxInt64), true
	}
	return int64(float), true // truncates
}

// clamp keeps a level below CreatorLevel. ParseInt gives the nearest int64 for
// what is out of range.
func clamp(level int64) int64 {
	return max(-maxLevel, min(level, maxLevel))
}

// readLevels reads those levels of an object that can be read.
func readLevels(v roomver.Version, raw json.RawMessage) map[string]int64 {
	object, err := matrix.ParseObject(raw)
	if err != nil {
		return nil
	}
	levels := make(map[string]int64, len(object))
	for key, value := range object {
		if level, ok := parseLevel(v, value); ok {
			levels[key] = level
		}
	}
	return levels
}

// areLevels says whether raw is an object with levels for values; with users, its
// keys have to be user IDs.
func areLevels(v roomver.Version, raw json.RawMessage, users bool) bool {
	object, err := matrix.ParseObject(raw)
	if err != nil {
		return false
	}
	for key, value := range object {
		if _, ok := parseLevel(v, value); !ok || users && !pdu.ValidUserID(key) {
			return false
		}
	}
	return true
}

// singleLevels are the levels of m.room.power_levels that are no maps, in the
// order of the rules.
func singleLevels() []string {
	return []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}
}

// powerLevels is the rule for m.room.power_levels: 10 in room versions 1 to 5 and
// 12, 9 between.
func (c *check) powerLevels() error {
	if err := c.levelsShape(); err != nil {
		return err
	}
	old, ok := c.state.StateEvent("m.room.power_levels", "")
	if !ok {
		return nil // spec: rooms/v1 auth 10.2, rooms/v12 auth 10.5
	}
	content, _ := matrix.ParseObject(old.Content)
	own := c.levels.User(c.ev.Sender)
	// spec: rooms/v1 auth 10.3, rooms/v12 auth 10.6
	for _, name := range singleLevels() {
		before, wasSet := parseLevel(c.v, content[name])
		after, isSet := parseLevel(c.v, c.content[name])
		if wasSet == isSet && before == after {
			continue
		}
		if wasSet && before > own {
			return c.reject(levelsBefore, "you cannot change "+name+", which is above your own level")
		}
		if isSet && after > own {
			return c.reject(levelsAfter, "you cannot set "+name+" above your own level")
		}
	}
	// spec: rooms/v1 auth 10.4 and 10.5, rooms/v6 auth 9.4 and 9.5, rooms/v12 auth 10.7 and 10.8
	if err := c.changedMap(content, "events", own); err != nil {
		return err
	}
	if c.v.LimitNotificationsPowerLevels {
		if err := c.changedMap(content, "notifications", own); err != nil {
			return err
		}
	}
	return c.changedUsers(content, own)
}

// levelsShape: spec: rooms/v1 auth 10.1, rooms/v10 auth 9.1 to 9.3, rooms/v12 auth
// 10.1 to 10.4. The rules of room versions 1 to 9 speak of users only, but a level
// that cannot be read would be none that the following rules can compare.
func (c *check) levelsShape() error {
	single, maps := levelsSingle, levelsMaps
	if !c.v.IntegerPowerLevels {
		single, maps = levelsUsers, levelsUsers
	}
	for _, name := range singleLevels() {
		if _, ok := parseLevel(c.v, c.content[name]); !ok && c.content.Has(name) {
			return c.reject(single, name+" has to be an integer")
		}
	}
	for _, name := range []string{"events", "notifications"} {
		if name == "notifications" && !c.v.LimitNotificationsPowerLevels {
			continue
		}
		if c.content.Has(name) && !areLevels(c.v, c.content[name], false) {
			return c.reject(maps, name+" has to be an object of integers")
		}
	}
	if c.content.Has("users") && !areLevels(c.v, c.content["users"], true) {
		return c.reject(levelsUsers, "users has to be an object of integers by user ID")
	}
	// spec: rooms/v12 auth 10.4
	if users, ok := c.content.Object("users"); ok && c.v.PrivilegedCreators {
		for _, creator := range Creators(c.v, c.room) {
			if users.Has(string(creator)) {
				return c.reject(levelsCreator, "the level of a creator of the room cannot be set")
			}
		}
	}
	return nil
}

// changedMap checks what was changed in events or notifications.
func (c *check) changedMap(old matrix.Object, name string, own int64) error {
	before, after := readLevels(c.v, old[name]), readLevels(c.v, c.content[name])
	for key, level := range before {
		now, kept := after[key]
		if (!kept || now != level) && level > own {
			return c.reject(levelsMapBefore, "you cannot change a level in "+name+" that is above your own")
		}
	}
	for key, level := range after {
		was, known := before[key]
		if (!known || was != level) && level > own {
			return c.reject(levelsMapAfter, "you cannot set a level in "+name+" above your own")
		}
	}
	return nil
}

// changedUsers: spec: rooms/v1 auth 10.6 and 10.7, rooms/v12 auth 10.9 and 10.10.
func (c *check) changedUsers(old matrix.Object, own int64) error {
	before, after := readLevels(c.v, old["users"]), readLevels(c.v, c.content["users"])
	for user, level := range before {
		now, kept := after[user]
		if (!kept || now != level) && user != string(c.ev.Sender) && level >= own {
			return c.reject(levelsUserBefore, "you cannot change the level of a user who is not below you")
		}
	}
	for user, level := range after {
		was, known := before[user]
		if (!known || was != level) && level > own {
			return c.reject(levelsUserAfter, "you cannot raise a user above your own level")
		}
	}
	return nil
}
