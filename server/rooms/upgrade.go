package rooms

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"porchlight/kv"
	"porchlight/server/eventauth"
	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// UpgradeArgs asks to replace a room by one of another version.
type UpgradeArgs struct {
	Room    matrix.RoomID
	User    matrix.UserID
	Device  matrix.DeviceID
	Version string
	// AdditionalCreators are not looked at where the new version has none.
	AdditionalCreators []string
}

const (
	// maxMovedBans is how many bans an upgrade takes along: each is an event.
	maxMovedBans = 1000
	// maxMovedChildren is how many rooms of a space an upgrade takes along.
	maxMovedChildren = 1000
)

// transferable is the state that an upgrade takes along, in this order (spec: client-server
// API, room upgrades, server behaviour). The power levels come last, so that they do not
// keep the one who upgrades from sending the rest.
var transferable = []string{
	"m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic",
	"m.room.guest_access", "m.room.history_visibility", "m.room.join_rules",
}

// Upgrade replaces a room by one of another version and returns the new one. The error is
// M_FORBIDDEN for who may not send m.room.tombstone there, M_UNSUPPORTED_ROOM_VERSION, or
// M_INVALID_PARAM for creators who are none.
//
// Besides the state that the standard recommends, bans, the children of a space and the
// place in the directory go along: an upgrade should neither let in who was kept out nor
// take a room from where people find it.
func (k *Keeper) Upgrade(tx *kv.WriteTx, a UpgradeArgs) (matrix.RoomID, error) {
	if k.Membership(tx, a.Room, a.User) != "join" {
		return "", notInRoom()
	}
	levels := k.Power(tx, a.Room)
	if levels.User(a.User) < levels.Event("m.room.tombstone", true) {
		return "", matrix.Forbidden("you do not have the power level to upgrade this room")
	}
	v, ok := roomver.Get(a.Version)
	if !ok {
		return "", matrix.UnsupportedRoomVersion(a.Version)
	}
	u := &upgrade{old: a.Room, args: a, creation: creation{
		k: k, tx: tx, v: v, a: CreateArgs{Creator: a.User, Version: a.Version, Device: a.Device},
	}}
	for _, step := range []func() error{u.replacement, u.join, u.transfer, u.bans, u.aliases, u.levels, u.tombstone, u.quieten} {
		if err := step(); err != nil {
			return "", err
		}
	}
	if k.IsPublic(tx, a.Room) {
		k.SetPublic(tx, a.Room, false)
		k.SetPublic(tx, u.room, true)
	}
	return u.room, nil
}

// upgrade is one room on its way to another.
type upgrade struct {
	creation
	old  matrix.RoomID
	args UpgradeArgs
}

// replacement is the new room's m.room.create event.
func (u *upgrade) replacement() error {
	content := matrix.Object{}
	if old, ok := u.k.State(u.tx, u.old, "m.room.create", ""); ok {
		before, err := matrix.ParseObject(old.Content)
		if err != nil {
			return err
		}
		for _, key := range []string{"type", "m.federate"} {
			if before.Has(key) {
				content[key] = before[key]
			}
		}
	}
	predecessor := matrix.Object{}
	predecessor.SetText("room_id", string(u.old))
	for e := range u.k.Backwards(u.tx, u.old, 1<<63-1) {
		predecessor.SetText("event_id", string(e.ID)) // the last one known
		break
	}
	content["predecessor"] = predecessor.Encode()
	if u.v.PrivilegedCreators && len(u.args.AdditionalCreators) > 0 {
		var creators []string
		for _, s := range u.args.AdditionalCreators {
			if _, err := matrix.ParseUserID(s); err != nil {
				return err
			}
			if !slices.Contains(creators, s) && s != string(u.args.User) {
				creators = append(creators, s)
			}
		}
		raw, err := json.Marshal(creators)
		if err != nil {
			return err
		}
		if creators != nil {
			content["additional_creators"] = raw
		}
	}
	u.a.CreationContent = content.Encode()
	return u.create()
}

// transfer copies state whose meaning does not hang on who sent it.
func (u *upgrade) transfer() error {
	for _, eventType := range transferable {
		e, ok := u.k.State(u.tx, u.old, eventType, "")
		if !ok {
			continue
		}
		content := e.Content
		if eventType == "m.room.join_rules" && !u.understands(contentText(content, "join_rule")) {
			content = json.RawMessage(`{"join_rule":"invite"}`) // rather closed than by a rule that nobody knows
		}
		if err := u.carry(eventType, "", content); err != nil {
			return err
		}
	}
	row, _ := u.k.rooms.Get(u.tx, u.old)
	if row.Type != "m.space" {
		return nil
	}
	n := 0
	for _, e := range slices.Collect(u.k.StateOfType(u.tx, u.old, "m.space.child")) {
		if _, valid := SpaceChild(e); !valid || n == maxMovedChildren {
			continue
		}
		n++
		if err := u.carry(e.Type, *e.StateKey, e.Content); err != nil {
			return err
		}
	}
	return nil
}

// understands says whether the new version knows a join rule.
func (u *upgrade) understands(rule string) bool {
	switch rule {
	case "public", "invite", "private":
		return true
	case "knock":
		return u.v.Knock
	case "restricted":
		return u.v.Restricted
	case "knock_restricted":
		return u.v.KnockRestricted
	}
	return false
}

// carry sends state of the old room into the new one; what the new one's version cannot
// hold, such as numbers with a fraction, stays behind.
func (u *upgrade) carry(eventType, key string, content json.RawMessage) error {
	err := u.state(eventType, key, content)
	if err != nil && !matrix.IsCode(err, "M_BAD_JSON") && !matrix.IsCode(err, "M_INVALID_PARAM") {
		return err
	}
	return nil
}

// bans keeps out of the new room who was kept out of the old one.
func (u *upgrade) bans() error {
	n := 0
	for _, e := range slices.Collect(u.k.StateOfType(u.tx, u.old, "m.room.member")) {
		if e.Membership() != "ban" || n == maxMovedBans {
			continue
		}
		n++
		content := matrix.Object{}
		content.SetText("membership", "ban")
		if reason := contentText(e.Content, "reason"); reason != "" {
			content.SetText("reason", reason)
		}
		err := u.state(e.Type, *e.StateKey, content.Encode())
		if err != nil && !matrix.IsCode(err, "M_FORBIDDEN") { // a creator of the new room cannot be banned
			return err
		}
	}
	return nil
}

// aliases moves the aliases of this server, and the main one with them.
func (u *upgrade) aliases() error {
	e, named := u.k.State(u.tx, u.old, "m.room.canonical_alias", "")
	for _, alias := range u.k.Aliases(u.tx, u.old) {
		row, _ := u.k.aliases.Get(u.tx, alias)
		u.k.roomAliases.Delete(u.tx, roomAliasKey{u.old, alias})
		u.k.putAlias(u.tx, alias, u.room, row.Creator)
	}
	if !named {
		return nil
	}
	main, alt, ok := canonicalAliases(e.Content)
	if !ok {
		return nil
	}
	leads := func(s string) bool {
		row, ok := u.k.aliases.Get(u.tx, matrix.RoomAlias(s))
		return ok && row.Room == u.room
	}
	content := map[string]any{}
	if leads(main) {
		content["alias"] = main
	}
	if alt = slices.DeleteFunc(alt, func(s string) bool { return !leads(s) }); len(alt) > 0 {
		content["alt_aliases"] = alt
	}
	if len(content) == 0 {
		return nil
	}
	if err := u.stateOf(e.Type, content); err != nil {
		return err
	}
	return u.inOldRoom("m.room.canonical_alias", json.RawMessage(`{}`))
}

// inOldRoom sends state into the old room, if the user may.
func (u *upgrade) inOldRoom(eventType string, content json.RawMessage) error {
	key := ""
	row, _ := u.k.rooms.Get(u.tx, u.old)
	_, err := u.k.send(u.tx, row, SendArgs{
		Room: u.old, Sender: u.args.User, Type: eventType, StateKey: &key, Content: content, Device: u.args.Device,
	})
	if matrix.IsCode(err, "M_FORBIDDEN") {
		return nil
	}
	return err
}

// levels gives the new room the power levels of the old one, in the form of its version.
func (u *upgrade) levels() error {
	e, ok := u.k.State(u.tx, u.old, "m.room.power_levels", "")
	if !ok {
		return u.powerLevels()
	}
	content, err := matrix.ParseObject(e.Content)
	if err != nil {
		return err
	}
	for key, raw := range content {
		content[key] = wholeLevels(raw)
		if content[key] == nil {
			delete(content, key)
		}
	}
	users, _ := content.Object("users")
	if users == nil {
		users = matrix.Object{}
	}
	for user := range users {
		if _, err := matrix.ParseUserID(user); err != nil {
			delete(users, user)
		}
	}
	create, _ := u.k.State(u.tx, u.room, "m.room.create", "")
	creators := eventauth.Creators(u.v, eventauth.StateEvent{ID: create.ID, Sender: create.Sender, Content: create.Content})
	if u.v.PrivilegedCreators {
		for _, user := range creators {
			delete(users, string(user))
		}
		u.raiseTombstone(content)
	} else if old := u.k.Power(u.tx, u.old).User(u.args.User); !users.Has(string(u.args.User)) && old == eventauth.CreatorLevel {
		// Who stood above all levels in the old room needs the highest one in this.
		users[string(u.args.User)] = strconv.AppendInt(nil, highestNeeded(content), 10)
	}
	content["users"] = users.Encode()
	return u.state(e.Type, "", content.Encode())
}

// raiseTombstone keeps the level of upgrades above that of other state (spec: client-server
// API, POST createRoom, step 3).
func (u *upgrade) raiseTombstone(content matrix.Object) {
	state := levelOf(content["state_default"], 50)
	events, _ := content.Object("events")
	if events == nil {
		events = matrix.Object{}
	}
	if levelOf(events["m.room.tombstone"], state) <= state {
		events["m.room.tombstone"] = strconv.AppendInt(nil, max(tombstoneLevel, state+1), 10)
		content["events"] = events.Encode()
	}
}

// highestNeeded is the level of somebody who may do everything, at least 100.
func highestNeeded(content matrix.Object) int64 {
	highest := int64(100)
	for _, raw := range content {
		highest = max(highest, levelOf(raw, 0))
	}
	events, _ := content.Object("events")
	for _, raw := range events {
		highest = max(highest, levelOf(raw, 0))
	}
	return highest
}

// levelOf is a level that wholeLevels has passed.
func levelOf(raw json.RawMessage, otherwise int64) int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// maxLevel is the greatest power level that every room version can hold.
const maxLevel = 1<<53 - 1

// wholeLevels turns levels that are strings or fractions, which older room versions allow,
// into whole numbers, also inside an object; nil where there is no level in it.
func wholeLevels(raw json.RawMessage) json.RawMessage {
	if o, err := matrix.ParseObject(raw); err == nil {
		for key, value := range o {
			if o[key] = wholeLevels(value); o[key] == nil {
				delete(o, key)
			}
		}
		return o.Encode()
	}
	written := strings.Trim(string(raw), `" `)
	n, err := strconv.ParseInt(written, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(written, 64)
		if err != nil || f > maxLevel || f < -maxLevel {
			return nil
		}
		n = int64(f)
	}
	return strconv.AppendInt(nil, max(min(n, maxLevel), -maxLevel), 10)
}

// tombstone says in the old room where everybody went.
func (u *upgrade) tombstone() error {
	content, err := json.Marshal(map[string]any{
		"body": "This room has been replaced", "replacement_room": u.room,
	})
	if err != nil {
		return err
	}
	key := ""
	row, _ := u.k.rooms.Get(u.tx, u.old)
	_, err = u.k.send(u.tx, row, SendArgs{
		Room: u.old, Sender: u.args.User, Type: "m.room.tombstone", StateKey: &key, Content: content, Device: u.args.Device,
	})
	return err
}

// quieten keeps people from talking and inviting in the old room, if the user may change
// its power levels.
func (u *upgrade) quieten() error {
	e, ok := u.k.State(u.tx, u.old, "m.room.power_levels", "")
	if !ok {
		return nil
	}
	content, err := matrix.ParseObject(e.Content)
	if err != nil {
		return err
	}
	levels := u.k.Power(u.tx, u.old)
	quiet := max(50, min(levels.UsersDefault, maxLevel-1)+1)
	changed := false
	for key, now := range map[string]int64{"events_default": levels.EventsDefault, "invite": levels.Invite} {
		if now < quiet {
			content[key] = strconv.AppendInt(nil, quiet, 10)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return u.inOldRoom(e.Type, content.Encode())
}

// SpaceChild is the room that an m.space.child event names; false if the event says that
// there is none (spec: client-server API, m.space.child).
func SpaceChild(e *Event) (matrix.RoomID, bool) {
	content, err := matrix.ParseObject(e.Content)
	if err != nil || e.StateKey == nil {
		return "", false
	}
	if via, ok := texts(content, "via"); !ok || len(via) == 0 {
		return "", false
	}
	room, err := matrix.ParseRoomID(*e.StateKey)
	return room, err == nil
}

// Replaced is the room that a room replaces, if it truly does: the old one says so as well,
// or is about to, because the user is just making the new one (spec: client-server API,
// room upgrades).
func (k *Keeper) Replaced(r kv.Reader, room matrix.RoomID, user matrix.UserID) (matrix.RoomID, bool) {
	create, ok := k.State(r, room, "m.room.create", "")
	if !ok {
		return "", false
	}
	content, err := matrix.ParseObject(create.Content)
	if err != nil {
		return "", false
	}
	predecessor, _ := content.Object("predecessor")
	text, _ := predecessor.Text("room_id")
	old := matrix.RoomID(text)
	if !k.Exists(r, old) {
		return "", false
	}
	if k.stateText(r, old, "m.room.tombstone", "replacement_room") == string(room) {
		return old, true
	}
	_, replaced := k.State(r, old, "m.room.tombstone", "")
	return old, !replaced && create.Sender == user
}
