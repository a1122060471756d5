package rooms

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"porchlight/kv"
	"porchlight/server/eventauth"
	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// CreateArgs says what room to create (spec: client-server API, POST createRoom).
type CreateArgs struct {
	Creator         matrix.UserID
	Version         string // empty: the default
	Preset          string // empty: by Public
	Public          bool   // shown in the directory
	AliasLocalpart  string
	Name, Topic     string
	Invite          []matrix.UserID
	IsDirect        bool
	CreationContent json.RawMessage // object or nil
	InitialState    []StateArgs
	PowerLevels     json.RawMessage // power_level_content_override, or nil
	Device          matrix.DeviceID
}

// StateArgs is one event of initial_state.
type StateArgs struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// preset is what a preset sets beside power levels.
type preset struct{ joinRule, visibility, guests string }

var presets = map[string]preset{
	"private_chat":         {"invite", "shared", "can_join"},
	"trusted_private_chat": {"invite", "shared", "can_join"},
	"public_chat":          {"public", "shared", "forbidden"},
}

// Create makes a room with all its first events, in the order of the standard, in one
// transaction. The error is M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE for a taken alias,
// M_INVALID_ROOM_STATE when the rules refuse one of the events, M_INVALID_PARAM or
// M_BAD_JSON for bad arguments.
func (k *Keeper) Create(tx *kv.WriteTx, a CreateArgs) (matrix.RoomID, error) {
	if a.Version == "" {
		a.Version = k.DefaultVersion
	}
	v, ok := roomver.Get(a.Version)
	if !ok {
		return "", matrix.UnsupportedRoomVersion(a.Version)
	}
	if a.Preset == "" {
		a.Preset = "private_chat"
		if a.Public {
			a.Preset = "public_chat"
		}
	}
	p, ok := presets[a.Preset]
	if !ok {
		return "", matrix.InvalidParam("preset has to be private_chat, public_chat or trusted_private_chat")
	}
	c := &creation{k: k, tx: tx, v: v, a: a, preset: p}
	if err := c.run(); err != nil {
		return "", err
	}
	return c.room, nil
}

// creation is one room on its way.
type creation struct {
	k      *Keeper
	tx     *kv.WriteTx
	v      roomver.Version
	a      CreateArgs
	preset preset
	room   matrix.RoomID
	row    RoomRow
}

func (c *creation) run() error {
	for _, user := range c.a.Invite {
		if err := c.k.checkInvitee(c.tx, user); err != nil {
			return err
		}
	}
	if err := c.create(); err != nil {
		return err
	}
	steps := []func() error{c.join, c.powerLevels, c.alias, c.presetState, c.initialState, c.nameAndTopic}
	for _, step := range steps {
		if err := step(); err != nil {
			return invalidState(err)
		}
	}
	if c.a.Public {
		c.k.SetPublic(c.tx, c.room, true)
	}
	return c.invite()
}

// invalidState is what a refusal by the rules of the new room is called.
func invalidState(err error) error {
	if matrix.IsCode(err, "M_FORBIDDEN") {
		return matrix.InvalidRoomState("the room cannot be made like this: " + err.(*matrix.Error).Message)
	}
	return err
}

// create is the m.room.create event. From room version 12 on its hash is the room's ID.
func (c *creation) create() error {
	content, err := object(c.a.CreationContent)
	if err != nil {
		return matrix.BadJSON("creation_content has to be an object")
	}
	content["room_version"] = text(c.v.ID)
	delete(content, "creator")
	if !c.v.ImplicitRoomCreator {
		content["creator"] = text(string(c.a.Creator))
	}
	if err := c.additionalCreators(content); err != nil {
		return err
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	d := pdu.Draft{
		Sender: c.a.Creator, Type: "m.room.create", StateKey: new(string), Content: raw,
		Depth: pdu.NextDepth(c.v, 0), OriginServerTS: c.k.Now().UnixMilli(),
	}
	if !c.v.RoomIDIsHash {
		opaque := make([]byte, 18)
		if _, err := io.ReadFull(c.k.Random, opaque); err != nil {
			return err
		}
		d.Room = matrix.RoomID("!" + base64.RawURLEncoding.EncodeToString(opaque) + ":" + string(c.k.Server))
	}
	p, err := pdu.Build(c.v, d, c.k.Server, c.k.KeyID, c.k.Key, c.k.Random)
	if err != nil {
		return err
	}
	if err := eventauth.Check(c.v, p, c.k.authState(c.tx, p.Room), p.HasSignature); err != nil {
		return invalidState(err)
	}
	c.room = p.Room
	if c.k.Exists(c.tx, c.room) {
		// The same creator, content and millisecond hash to the same room.
		return matrix.LimitExceeded(1)
	}
	var roomType string
	if json.Unmarshal(content["type"], &roomType) != nil {
		roomType = ""
	}
	c.row = RoomRow{Version: c.v.ID, Creator: c.a.Creator, Type: roomType}
	c.k.rooms.Put(c.tx, c.room, c.row)
	_, err = c.k.append(c.tx, p, eventRow{Device: c.a.Device})
	return err
}

// additionalCreators adds those invited into a trusted chat, where creators have
// privileges.
func (c *creation) additionalCreators(content map[string]json.RawMessage) error {
	if !c.v.PrivilegedCreators || c.a.Preset != "trusted_private_chat" || len(c.a.Invite) == 0 {
		return nil
	}
	var list []string
	if raw, ok := content["additional_creators"]; ok {
		if err := json.Unmarshal(raw, &list); err != nil {
			return matrix.InvalidParam("additional_creators has to be a list of user IDs")
		}
	}
	for _, user := range c.a.Invite {
		if !slices.Contains(list, string(user)) && user != c.a.Creator {
			list = append(list, string(user))
		}
	}
	raw, err := json.Marshal(list)
	content["additional_creators"] = raw
	return err
}

func (c *creation) join() error {
	_, err := c.k.SetMembership(c.tx, MemberArgs{
		Room: c.room, Sender: c.a.Creator, Target: c.a.Creator, Membership: "join", Device: c.a.Device,
	})
	return err
}

// tombstoneLevel is the level of upgrades where creators stand above all levels.
const tombstoneLevel = 150

// powerLevels is the standard's default, with what the creator wants laid over it.
func (c *creation) powerLevels() error {
	users := map[string]int{}
	if !c.v.PrivilegedCreators {
		users[string(c.a.Creator)] = 100
		if c.a.Preset == "trusted_private_chat" {
			for _, user := range c.a.Invite {
				users[string(user)] = 100
			}
		}
	}
	events := map[string]int{
		"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50,
		"m.room.power_levels": 100, "m.room.history_visibility": 100, "m.room.encryption": 100,
		"m.room.server_acl": 100, "m.room.tombstone": 100,
	}
	if c.v.PrivilegedCreators {
		// Above what any member can be given by default, so that only creators upgrade.
		events["m.room.tombstone"] = tombstoneLevel
	}
	content := map[string]any{
		"users": users, "users_default": 0, "events": events, "events_default": 0, "state_default": 50,
		"ban": 50, "kick": 50, "redact": 50, "invite": 0,
		"notifications": map[string]int{"room": 50},
	}
	over, err := object(c.a.PowerLevels)
	if err != nil {
		return matrix.BadJSON("power_level_content_override has to be an object")
	}
	for key, value := range over {
		content[key] = value
	}
	c.raiseTombstone(content)
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return c.state("m.room.power_levels", "", raw)
}

// raiseTombstone gives upgrades a level of their own above that of other state, unless the
// creator has chosen one (spec: client-server API, POST createRoom, step 3).
func (c *creation) raiseTombstone(content map[string]any) {
	raw, overridden := content["events"].(json.RawMessage)
	if !c.v.PrivilegedCreators || !overridden {
		return
	}
	events, err := matrix.ParseObject(raw)
	if err != nil || events.Has("m.room.tombstone") {
		return
	}
	state, _ := content["state_default"].(json.RawMessage)
	events["m.room.tombstone"] = strconv.AppendInt(nil, max(tombstoneLevel, levelOf(state, 0)+1), 10)
	content["events"] = events.Encode()
}

func (c *creation) alias() error {
	if c.a.AliasLocalpart == "" {
		return nil
	}
	alias, err := matrix.ParseRoomAlias(fmt.Sprintf("#%s:%s", c.a.AliasLocalpart, c.k.Server))
	if err != nil {
		return err
	}
	if c.k.aliases.Has(c.tx, alias) {
		return matrix.RoomInUse("the alias " + string(alias) + " is taken")
	}
	c.k.putAlias(c.tx, alias, c.room, c.a.Creator)
	return c.stateOf("m.room.canonical_alias", map[string]any{"alias": alias})
}

func (c *creation) presetState() error {
	events := []struct {
		eventType, key, value string
	}{
		{"m.room.join_rules", "join_rule", c.preset.joinRule},
		{"m.room.history_visibility", "history_visibility", c.preset.visibility},
		{"m.room.guest_access", "guest_access", c.preset.guests},
	}
	for _, e := range events {
		wanted := slices.ContainsFunc(c.a.InitialState, func(s StateArgs) bool { return s.Type == e.eventType && s.StateKey == "" })
		if wanted {
			continue // initial_state takes precedence over the preset
		}
		if err := c.stateOf(e.eventType, map[string]any{e.key: e.value}); err != nil {
			return err
		}
	}
	return nil
}

func (c *creation) initialState() error {
	for _, s := range c.a.InitialState {
		if s.StateKey == "" && (s.Type == "m.room.name" && c.a.Name != "" || s.Type == "m.room.topic" && c.a.Topic != "") {
			continue // overridden by name and topic
		}
		if err := c.state(s.Type, s.StateKey, s.Content); err != nil {
			return err
		}
	}
	return nil
}

func (c *creation) nameAndTopic() error {
	if c.a.Name != "" {
		if err := c.stateOf("m.room.name", map[string]any{"name": c.a.Name}); err != nil {
			return err
		}
	}
	if c.a.Topic == "" {
		return nil
	}
	return c.stateOf("m.room.topic", map[string]any{
		"topic":   c.a.Topic,
		"m.topic": map[string]any{"m.text": []map[string]string{{"body": c.a.Topic, "mimetype": "text/plain"}}},
	})
}

func (c *creation) invite() error {
	for _, user := range c.a.Invite {
		if user == c.a.Creator {
			continue
		}
		_, err := c.k.SetMembership(c.tx, MemberArgs{
			Room: c.room, Sender: c.a.Creator, Target: user, Membership: "invite", IsDirect: c.a.IsDirect, Device: c.a.Device,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *creation) stateOf(eventType string, content map[string]any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return c.state(eventType, "", raw)
}

func (c *creation) state(eventType, key string, content json.RawMessage) error {
	a := SendArgs{Room: c.room, Sender: c.a.Creator, Type: eventType, StateKey: &key, Content: content, Device: c.a.Device}
	if err := c.k.checkContent(c.tx, a); err != nil {
		return err
	}
	send := c.k.send
	if eventType == "m.room.member" {
		send = c.k.sendMember
	}
	_, err := send(c.tx, c.row, a)
	return err
}

// object parses an optional JSON object.
func object(raw json.RawMessage) (map[string]json.RawMessage, error) {
	content := map[string]json.RawMessage{}
	if len(raw) == 0 {
		return content, nil
	}
	err := json.Unmarshal(raw, &content)
	if content == nil {
		content = map[string]json.RawMessage{}
	}
	return content, err
}

func text(s string) json.RawMessage {
	raw, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`) // a string can always be marshalled
	}
	return raw
}
