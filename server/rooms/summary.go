package rooms

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Shown is what the directory shows of a room (spec: client-server API,
// PublishedRoomsChunk).
type Shown struct {
	Room           matrix.RoomID `json:"room_id"`
	Name           string        `json:"name,omitempty"`
	Topic          string        `json:"topic,omitempty"` // plain text
	CanonicalAlias string        `json:"canonical_alias,omitempty"`
	AvatarURL      string        `json:"avatar_url,omitempty"`
	Joined         int           `json:"num_joined_members"`
	WorldReadable  bool          `json:"world_readable"`
	GuestsCanJoin  bool          `json:"guest_can_join"`
	JoinRule       string        `json:"join_rule,omitempty"`
	Type           string        `json:"room_type,omitempty"`
}

// Summary is what a room shows of itself to those who may come in (spec: client-server
// API, RoomSummary).
type Summary struct {
	Shown
	AllowedRooms []matrix.RoomID `json:"allowed_room_ids,omitempty"`
	Encryption   string          `json:"encryption,omitempty"` // the algorithm
	Version      string          `json:"room_version,omitempty"`
}

// Shown is what the directory shows of a room.
func (k *Keeper) Shown(r kv.Reader, room matrix.RoomID) Shown {
	row, _ := k.rooms.Get(r, room)
	s := Shown{
		Room: room, Type: row.Type, Joined: k.JoinedCount(r, room), JoinRule: k.JoinRule(r, room),
		WorldReadable: k.WorldReadable(r, room), GuestsCanJoin: k.GuestsCanJoin(r, room),
		Name:      k.stateText(r, room, "m.room.name", "name"),
		AvatarURL: k.stateText(r, room, "m.room.avatar", "url"),
		Topic:     k.plainTopic(r, room),
	}
	if alias, err := matrix.ParseRoomAlias(k.stateText(r, room, "m.room.canonical_alias", "alias")); err == nil {
		s.CanonicalAlias = string(alias)
	}
	return s
}

// Summary is what a room shows of itself. Who may be shown it is MayKnow's to say.
func (k *Keeper) Summary(r kv.Reader, room matrix.RoomID) Summary {
	row, _ := k.rooms.Get(r, room)
	s := Summary{
		Shown: k.Shown(r, room), Version: row.Version,
		Encryption: k.stateText(r, room, "m.room.encryption", "algorithm"),
	}
	if rules := k.joinRules(r, room); restricted(rules.Rule) {
		for _, a := range rules.Allow {
			if _, err := matrix.ParseRoomID(string(a.Room)); err == nil && a.Type == "m.room_membership" {
				s.AllowedRooms = append(s.AllowedRooms, a.Room)
			}
		}
	}
	return s
}

// JoinedCount is how many users are in the room.
func (k *Keeper) JoinedCount(r kv.Reader, room matrix.RoomID) (n int) {
	for _, state := range k.Members(r, room) {
		if state == "join" {
			n++
		}
	}
	return n
}

// maxHeroes is how many members name a room that has no name.
const maxHeroes = 5

// Heroes counts who is in a room and who is invited and, if it is asked to, names some
// members beside the viewer: the first that are in it or invited, or else those who left
// (spec: client-server API, sync, RoomSummary).
func (k *Keeper) Heroes(r kv.Reader, room matrix.RoomID, viewer matrix.UserID, name bool) (heroes []matrix.UserID, joined, invited int) {
	type member struct {
		user matrix.UserID
		pos  changes.Position
	}
	var here, gone []member
	for user, state := range k.Members(r, room) {
		among := &gone
		switch state {
		case "join":
			joined++
			among = &here
		case "invite":
			invited++
			among = &here
		case "knock":
			continue
		}
		if !name || user == viewer {
			continue
		}
		m, _ := k.MembershipRow(r, room, user)
		*among = append(*among, member{user, m.Position})
	}
	if len(here) == 0 {
		here = gone
	}
	slices.SortFunc(here, func(a, b member) int { return cmp.Compare(a.pos, b.pos) })
	for _, m := range here[:min(len(here), maxHeroes)] {
		heroes = append(heroes, m.user)
	}
	return heroes, joined, invited
}

func (k *Keeper) stateText(r kv.Reader, room matrix.RoomID, eventType, key string) string {
	e, ok := k.State(r, room, eventType, "")
	if !ok {
		return ""
	}
	return contentText(e.Content, key)
}

// plainTopic is the topic as plain text, empty if it has another form only
// (spec: client-server API, m.room.topic).
func (k *Keeper) plainTopic(r kv.Reader, room matrix.RoomID) string {
	e, ok := k.State(r, room, "m.room.topic", "")
	if !ok {
		return ""
	}
	content, err := matrix.ParseObject(e.Content)
	if err != nil {
		return ""
	}
	rich, ok := content.Object("m.topic")
	if !ok || !rich.Has("m.text") {
		topic, _ := content.Text("topic")
		return topic
	}
	var forms []json.RawMessage
	if json.Unmarshal(rich["m.text"], &forms) != nil {
		return ""
	}
	for _, raw := range forms {
		form, err := matrix.ParseObject(raw)
		if err != nil {
			continue
		}
		if mime, typed := form.Text("mimetype"); !typed && !form.Has("mimetype") || strings.EqualFold(mime, "text/plain") {
			body, _ := form.Text("body")
			return body
		}
	}
	return ""
}

// restricted says whether a join rule lets in the members of other rooms.
func restricted(rule string) bool { return rule == "restricted" || rule == "knock_restricted" }

// MayKnow says whether somebody may be shown the summary of a room: who is in it, may come
// in or ask to, or may look in (spec: client-server API, GET hierarchy and GET
// room_summary). An empty user is one who has not signed in.
func (k *Keeper) MayKnow(r kv.Reader, room matrix.RoomID, user matrix.UserID) bool {
	if !k.rooms.Has(r, room) {
		return false
	}
	if k.WorldReadable(r, room) {
		return true
	}
	membership := "leave"
	if user != "" {
		membership = k.Membership(r, room, user)
	}
	switch membership {
	case "join", "invite", "knock":
		return true
	case "ban":
		return false
	}
	rules := k.joinRules(r, room)
	switch rules.Rule {
	case "public", "knock", "knock_restricted":
		return true
	case "restricted":
		return user != "" && k.allowed(r, rules, user)
	}
	return false
}

// allowed says whether the user is in one of the rooms that a restricted room names.
func (k *Keeper) allowed(r kv.Reader, rules joinRules, user matrix.UserID) bool {
	for _, a := range rules.Allow {
		if a.Type == "m.room_membership" && k.Membership(r, a.Room, user) == "join" {
			return true
		}
	}
	return false
}
