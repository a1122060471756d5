package rooms

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// MemberArgs is a change of membership that somebody of this server asks for.
type MemberArgs struct {
	Room       matrix.RoomID
	Sender     matrix.UserID
	Target     matrix.UserID
	Membership string // join, invite, leave, ban, knock
	Reason     string
	IsDirect   bool            // of an invite
	ThirdParty json.RawMessage // third_party_invite of an invite, or nil
	Device     matrix.DeviceID
}

// memberContent is the content of m.room.member.
type memberContent struct {
	Membership  string          `json:"membership"`
	DisplayName string          `json:"displayname,omitempty"`
	AvatarURL   string          `json:"avatar_url,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	IsDirect    bool            `json:"is_direct,omitempty"`
	ThirdParty  json.RawMessage `json:"third_party_invite,omitempty"`
}

// SetMembership joins, invites, knocks, leaves, kicks, bans or unbans. Asking for what is
// already so returns the event that says it and changes nothing, where the standard leaves
// that open: a repeated join or leave. Errors are as of Send.
func (k *Keeper) SetMembership(tx *kv.WriteTx, a MemberArgs) (*Event, error) {
	row, ok := k.rooms.Get(tx, a.Room)
	if !ok {
		return nil, notInRoom()
	}
	have, known := k.memberships.Get(tx, membershipKey{a.Target, a.Room})
	if a.Sender == a.Target && known && have.State == a.Membership && (a.Membership == "join" || a.Membership == "leave") {
		e, ok := k.EventAt(tx, a.Room, have.Position)
		if !ok {
			return nil, matrix.NotFound("the membership has no event")
		}
		return e, nil
	}
	content := memberContent{
		Membership: a.Membership, Reason: a.Reason, IsDirect: a.IsDirect, ThirdParty: a.ThirdParty,
	}
	switch a.Membership {
	case "join", "invite", "knock":
		content.DisplayName, content.AvatarURL = k.Profiles.MemberProfile(tx, a.Target)
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	target := string(a.Target)
	return k.sendMember(tx, row, SendArgs{
		Room: a.Room, Sender: a.Sender, Type: "m.room.member", StateKey: &target, Content: raw, Device: a.Device,
	})
}

// authoriserKey is the field of a member event that names who let somebody into a
// restricted room. Only the server says so, never the one who comes in: the rules of the
// room trust the signature of the authoriser's server, which is this one.
const authoriserKey = "join_authorised_via_users_server"

// sendMember sends a member event, from whichever operation it comes, with what the server
// has to see to beyond the authorisation rules.
func (k *Keeper) sendMember(tx *kv.WriteTx, row RoomRow, a SendArgs) (*Event, error) {
	content, err := matrix.ParseObject(a.Content)
	if err != nil {
		return nil, matrix.BadJSON("the content of an event has to be an object")
	}
	target, err := matrix.ParseUserID(*a.StateKey)
	if err != nil {
		return nil, err
	}
	delete(content, authoriserKey)
	switch membership, _ := content.Text("membership"); membership {
	case "invite":
		if err := k.checkInvitee(tx, target); err != nil {
			return nil, err
		}
	case "join":
		if err := k.enter(tx, a.Room, target, content); err != nil {
			return nil, err
		}
	}
	a.Content = content.Encode()
	return k.send(tx, row, a)
}

// enter checks what only the server of somebody who joins can check, and names in the
// content who let the user in, if that is needed.
func (k *Keeper) enter(r kv.Reader, room matrix.RoomID, user matrix.UserID, content matrix.Object) error {
	switch k.Membership(r, room, user) {
	case "join": // only the name or picture changes
		if now, ok := k.State(r, room, "m.room.member", string(user)); ok {
			if by := contentText(now.Content, authoriserKey); by != "" {
				content.SetText(authoriserKey, by)
			}
		}
		return nil
	case "invite":
		return k.checkGuest(r, room, user)
	}
	if err := k.checkGuest(r, room, user); err != nil {
		return err
	}
	by, err := k.authoriser(r, room, user)
	if by != "" {
		content.SetText(authoriserKey, string(by))
	}
	return err
}

// checkGuest refuses guests where the room does not let them in (spec: client-server API,
// guest access, server behaviour).
func (k *Keeper) checkGuest(r kv.Reader, room matrix.RoomID, user matrix.UserID) error {
	if k.People == nil || !k.People.IsGuest(r, user) || k.GuestsCanJoin(r, room) {
		return nil
	}
	return matrix.Refusal(403, "M_GUEST_ACCESS_FORBIDDEN", "guests cannot join this room")
}

// GuestsCanJoin says whether guests may join the room, its other rules given.
func (k *Keeper) GuestsCanJoin(r kv.Reader, room matrix.RoomID) bool {
	e, ok := k.State(r, room, "m.room.guest_access", "")
	return ok && contentText(e.Content, "guest_access") == "can_join"
}

// evictGuests makes the guests leave a room that does not want them any more (spec:
// client-server API, guest access, server behaviour).
func (k *Keeper) evictGuests(tx *kv.WriteTx, room matrix.RoomID) error {
	if k.People == nil || k.GuestsCanJoin(tx, room) {
		return nil
	}
	return k.begin(tx, taskKey{taskGuests, string(room)})
}

// UserDeactivated makes a user whose account closes leave every room, and turn down what
// the user was invited to (spec: client-server API, POST account/deactivate).
func (k *Keeper) UserDeactivated(tx *kv.WriteTx, user matrix.UserID, _ bool) error {
	return k.begin(tx, taskKey{taskLeave, string(user)})
}

func (k *Keeper) checkInvitee(r kv.Reader, user matrix.UserID) error {
	if user.Server() != k.Server {
		return matrix.Forbidden("this server does not speak with other servers: only its own users can be invited")
	}
	if !k.Profiles.UserExists(r, user) {
		return matrix.NotFound("there is no user " + string(user) + " here")
	}
	if k.People != nil && k.People.InvitesBlocked(r, user) {
		return matrix.Refusal(403, "M_INVITE_BLOCKED", string(user)+" does not want to be invited")
	}
	return nil
}

// Kick makes somebody leave who is in the room or was asked in. M_FORBIDDEN otherwise.
func (k *Keeper) Kick(tx *kv.WriteTx, a MemberArgs) (*Event, error) {
	switch k.Membership(tx, a.Room, a.Target) {
	case "join", "invite", "knock":
	default:
		return nil, matrix.Forbidden(string(a.Target) + " is not in that room")
	}
	a.Membership = "leave"
	return k.SetMembership(tx, a)
}

// Unban lifts a ban. M_BAD_STATE when there is none.
func (k *Keeper) Unban(tx *kv.WriteTx, a MemberArgs) (*Event, error) {
	if k.Exists(tx, a.Room) && k.Membership(tx, a.Room, a.Sender) != "join" {
		return nil, notInRoom()
	}
	if k.Membership(tx, a.Room, a.Target) != "ban" {
		return nil, matrix.Refusal(403, "M_BAD_STATE", string(a.Target)+" is not banned there")
	}
	a.Membership = "leave"
	return k.SetMembership(tx, a)
}

// Forget stops showing a room to a user who has left it. M_UNKNOWN when the user is still
// in it (spec: client-server API, POST forget).
func (k *Keeper) Forget(tx *kv.WriteTx, room matrix.RoomID, user matrix.UserID) error {
	key := membershipKey{user, room}
	m, ok := k.memberships.Get(tx, key)
	if !ok {
		return notInRoom()
	}
	if m.State != "leave" && m.State != "ban" {
		return matrix.Unknown(400, "leave the room first, then it can be forgotten")
	}
	if m.Forgotten {
		return nil
	}
	m.Forgotten = true
	k.memberships.Put(tx, key, m)
	k.Changes.Append(tx, changes.Change{Kind: changes.Forgotten, Room: room, User: user})
	return nil
}

// joinRules is the content of m.room.join_rules.
type joinRules struct {
	Rule  string
	Allow []allowCondition
}

// allowCondition is one way to come into a restricted room.
type allowCondition struct {
	Type string
	Room matrix.RoomID
}

// JoinRule is the join rule of a room; "invite" if it has none.
func (k *Keeper) JoinRule(r kv.Reader, room matrix.RoomID) string { return k.joinRules(r, room).Rule }

func (k *Keeper) joinRules(r kv.Reader, room matrix.RoomID) joinRules {
	closed := joinRules{Rule: "invite"}
	e, ok := k.State(r, room, "m.room.join_rules", "")
	if !ok {
		return closed
	}
	rules := joinRules{Rule: contentText(e.Content, "join_rule")}
	content, err := matrix.ParseObject(e.Content)
	if err != nil || rules.Rule == "" {
		return closed
	}
	var list []json.RawMessage
	if content.Has("allow") && json.Unmarshal(content["allow"], &list) != nil {
		return rules // a list that cannot be read lets nobody in
	}
	for _, raw := range list {
		if o, err := matrix.ParseObject(raw); err == nil {
			kind, _ := o.Text("type")
			other, _ := o.Text("room_id")
			rules.Allow = append(rules.Allow, allowCondition{kind, matrix.RoomID(other)})
		}
	}
	return rules
}

// authoriser is the member in whose name a restricted join is allowed: somebody with the
// power to invite, if the user is in one of the rooms that the rule names
// (spec: client-server API, restricted rooms).
func (k *Keeper) authoriser(r kv.Reader, room matrix.RoomID, user matrix.UserID) (matrix.UserID, error) {
	rules := k.joinRules(r, room)
	if !restricted(rules.Rule) {
		return "", nil
	}
	if !k.allowed(r, rules, user) {
		return "", matrix.Forbidden("you have to be in one of the rooms that this room names, or be invited")
	}
	levels := k.Power(r, room)
	for member, state := range k.Members(r, room) {
		if state == "join" && member.Server() == k.Server && levels.User(member) >= levels.Invite {
			return member, nil
		}
	}
	return "", matrix.Refusal(400, "M_UNABLE_TO_GRANT_JOIN", "nobody here has the power to let you in")
}

// ProfileChanged sends a member event with the new name and picture to each room that the
// user is in (spec: client-server API, profiles, events on change of profile information).
func (k *Keeper) ProfileChanged(tx *kv.WriteTx, user matrix.UserID) error {
	return k.begin(tx, taskKey{taskProfile, string(user)})
}

func setText(content map[string]json.RawMessage, key, value string) {
	if value == "" {
		delete(content, key)
		return
	}
	quoted, err := json.Marshal(value)
	if err == nil { // a string can always be marshalled
		content[key] = quoted
	}
}
