package eventauth

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"

	"porchlight/server/matrix"
	"porchlight/server/pdu"
)

// member is the rule for m.room.member: 5 in room versions 1 to 5 and 12, 4 between.
func (c *check) member() error {
	// spec: rooms/v1 auth 5.1, rooms/v12 auth 5.1
	if c.ev.StateKey == nil || !c.content.Has("membership") {
		return c.reject(memberIncomplete, "a membership needs a user and a membership")
	}
	if !pdu.ValidUserID(*c.ev.StateKey) {
		// Not said in the rules, but no server takes it: it has no target user.
		return c.reject(memberIncomplete, "the state key of a membership has to be a user ID")
	}
	target := matrix.UserID(*c.ev.StateKey)
	if c.v.Restricted && c.content.Has("join_authorised_via_users_server") {
		// spec: rooms/v8 auth 4.2.1, rooms/v12 auth 5.2.1
		user, ok := c.content.Text("join_authorised_via_users_server")
		if !ok || !pdu.ValidUserID(user) || !c.signedBy(matrix.UserID(user).Server()) {
			return c.reject(memberUnsigned, "the server that let the user in has to sign the event")
		}
	}
	membership, _ := c.content.Text("membership")
	switch {
	case membership == "join":
		return c.join(target)
	case membership == "invite":
		return c.invite(target)
	case membership == "leave":
		return c.leave(target)
	case membership == "ban":
		return c.ban(target)
	case membership == "knock" && c.v.Knock:
		return c.knock(target)
	}
	// spec: rooms/v1 auth 5.6, rooms/v12 auth 5.8
	return c.reject(memberUnknown, "there is no such membership")
}

// join: spec: rooms/v1 auth 5.2, rooms/v12 auth 5.3.
func (c *check) join(target matrix.UserID) error {
	// spec: rooms/v1 auth 5.2.1, rooms/v12 auth 5.3.1
	if len(c.ev.PrevEvents) == 1 && c.ev.PrevEvents[0] == c.room.ID && target == creator(c.v, c.room) {
		return nil
	}
	// spec: rooms/v1 auth 5.2.2, rooms/v12 auth 5.3.2
	if c.ev.Sender != target {
		return c.reject(joinOther, "you can only join for yourself")
	}
	membership := c.membership(target)
	// spec: rooms/v1 auth 5.2.3, rooms/v12 auth 5.3.3
	if membership == "ban" {
		return c.reject(joinBanned, "you are banned from this room")
	}
	invited := membership == "invite" || membership == "join"
	joinRule := c.joinRule()
	switch {
	case joinRule == "invite", joinRule == "knock" && c.v.Knock:
		// spec: rooms/v1 auth 5.2.4, rooms/v7 auth 4.2.4, rooms/v12 auth 5.3.4
		if invited {
			return nil
		}
	case joinRule == "restricted" && c.v.Restricted, joinRule == "knock_restricted" && c.v.KnockRestricted:
		// spec: rooms/v8 auth 4.3.5, rooms/v10 auth 4.3.5, rooms/v12 auth 5.3.5
		if !invited && !c.authorised() {
			return c.reject(joinNotAuthorised, "nobody who may invite let you into this restricted room")
		}
		return nil
	case joinRule == "public":
		// spec: rooms/v1 auth 5.2.5, rooms/v12 auth 5.3.6
		return nil
	}
	// spec: rooms/v1 auth 5.2.6, rooms/v12 auth 5.3.7
	return c.reject(joinNotInvited, "you are not invited to this room")
}

// authorised says whether a member with the power to invite let the user in
// (spec: rooms/v8 auth 4.3.5.2, rooms/v12 auth 5.3.5.2).
func (c *check) authorised() bool {
	user, ok := c.content.Text("join_authorised_via_users_server")
	id := matrix.UserID(user)
	return ok && c.membership(id) == "join" && c.levels.User(id) >= c.levels.Invite
}

// invite: spec: rooms/v1 auth 5.3, rooms/v12 auth 5.4.
func (c *check) invite(target matrix.UserID) error {
	if c.content.Has("third_party_invite") {
		return c.thirdPartyInvite(target)
	}
	// spec: rooms/v1 auth 5.3.2, rooms/v12 auth 5.4.2
	if c.membership(c.ev.Sender) != "join" {
		return c.reject(inviteNotJoined, "you are not in this room")
	}
	// spec: rooms/v1 auth 5.3.3, rooms/v12 auth 5.4.3
	switch c.membership(target) {
	case "join":
		return c.reject(inviteTarget, "that user is in the room already")
	case "ban":
		return c.reject(inviteTarget, "that user is banned from the room")
	}
	// spec: rooms/v1 auth 5.3.4, rooms/v12 auth 5.4.4
	if c.levels.User(c.ev.Sender) >= c.levels.Invite {
		return nil
	}
	// spec: rooms/v1 auth 5.3.5, rooms/v12 auth 5.4.5
	return c.reject(inviteLevel, "your power level is too low to invite")
}

// thirdPartyInvite: spec: rooms/v1 auth 5.3.1, rooms/v12 auth 5.4.1.
func (c *check) thirdPartyInvite(target matrix.UserID) error {
	// spec: rooms/v1 auth 5.3.1.1, rooms/v12 auth 5.4.1.1
	if c.membership(target) == "ban" {
		return c.reject(thirdPartyBanned, "that user is banned from the room")
	}
	// spec: rooms/v1 auth 5.3.1.2, rooms/v12 auth 5.4.1.2
	proof, _ := c.content.Object("third_party_invite")
	signed, ok := proof.Object("signed")
	if !ok {
		return c.reject(thirdPartyUnsigned, "the invitation is not signed")
	}
	// spec: rooms/v1 auth 5.3.1.3, rooms/v12 auth 5.4.1.3
	user, hasUser := signed.Text("mxid")
	token, hasToken := signed.Text("token")
	if !hasUser || !hasToken {
		return c.reject(thirdPartyIncomplete, "the signed invitation has to hold mxid and token")
	}
	// spec: rooms/v1 auth 5.3.1.4, rooms/v12 auth 5.4.1.4
	if user != string(target) {
		return c.reject(thirdPartyTarget, "the invitation was signed for another user")
	}
	// spec: rooms/v1 auth 5.3.1.5, rooms/v12 auth 5.4.1.5
	invite, ok := c.state.StateEvent("m.room.third_party_invite", token)
	if !ok {
		return c.reject(thirdPartyToken, "there is no such invitation in the room")
	}
	// spec: rooms/v1 auth 5.3.1.6, rooms/v12 auth 5.4.1.6
	if invite.Sender != c.ev.Sender {
		return c.reject(thirdPartySender, "the invitation was sent by another user")
	}
	// spec: rooms/v1 auth 5.3.1.7, rooms/v12 auth 5.4.1.7
	if anySignature(signed, publicKeys(invite.Content)) {
		return nil
	}
	// spec: rooms/v1 auth 5.3.1.8, rooms/v12 auth 5.4.1.8
	return c.reject(thirdPartySignature, "no signature of the invitation is valid")
}

// publicKeys are the keys of an m.room.third_party_invite
// (spec: rooms/v1 auth 5.3.1.7.1 and 5.3.1.7.2).
func publicKeys(raw json.RawMessage) (keys []ed25519.PublicKey) {
	content, _ := matrix.ParseObject(raw)
	add := func(o matrix.Object) {
		text, _ := o.Text("public_key")
		if key, err := matrix.DecodeBase64(text); err == nil && len(key) == ed25519.PublicKeySize {
			keys = append(keys, key)
		}
	}
	add(content)
	var list []json.RawMessage
	if json.Unmarshal(content["public_keys"], &list) != nil {
		return keys // no list, or none that can be read: public_key remains
	}
	for _, raw := range list {
		if item, err := matrix.ParseObject(raw); err == nil {
			add(item)
		}
	}
	return keys
}

// anySignature says whether any signature of the object is by any of the keys.
func anySignature(signed matrix.Object, keys []ed25519.PublicKey) bool {
	message := signed.SigningBytes()
	for _, bySigner := range signed.Signatures() {
		for _, signature := range bySigner {
			for _, key := range keys {
				if matrix.VerifySignature(signature, message, key) == nil {
					return true
				}
			}
		}
	}
	return false
}

// leave: spec: rooms/v1 auth 5.4, rooms/v12 auth 5.5.
func (c *check) leave(target matrix.UserID) error {
	// spec: rooms/v1 auth 5.4.1, rooms/v7 auth 4.4.1, rooms/v12 auth 5.5.1
	if c.ev.Sender == target {
		switch c.membership(target) {
		case "invite", "join":
			return nil
		case "knock":
			if c.v.Knock {
				return nil
			}
		}
		return c.reject(leaveAbsent, "you are not in this room")
	}
	// spec: rooms/v1 auth 5.4.2, rooms/v12 auth 5.5.2
	if c.membership(c.ev.Sender) != "join" {
		return c.reject(leaveNotJoined, "you are not in this room")
	}
	level := c.levels.User(c.ev.Sender)
	// spec: rooms/v1 auth 5.4.3, rooms/v12 auth 5.5.3
	if c.membership(target) == "ban" && level < c.levels.Ban {
		return c.reject(leaveUnban, "your power level is too low to lift a ban")
	}
	// spec: rooms/v1 auth 5.4.4, rooms/v12 auth 5.5.4
	if level >= c.levels.Kick && c.levels.User(target) < level {
		return nil
	}
	// spec: rooms/v1 auth 5.4.5, rooms/v12 auth 5.5.5
	return c.reject(leaveLevel, "your power level is too low to remove that user")
}

// ban: spec: rooms/v1 auth 5.5, rooms/v12 auth 5.6.
func (c *check) ban(target matrix.UserID) error {
	// spec: rooms/v1 auth 5.5.1, rooms/v12 auth 5.6.1
	if c.membership(c.ev.Sender) != "join" {
		return c.reject(banNotJoined, "you are not in this room")
	}
	// spec: rooms/v1 auth 5.5.2, rooms/v12 auth 5.6.2
	level := c.levels.User(c.ev.Sender)
	if level >= c.levels.Ban && c.levels.User(target) < level {
		return nil
	}
	// spec: rooms/v1 auth 5.5.3, rooms/v12 auth 5.6.3
	return c.reject(banLevel, "your power level is too low to ban that user")
}

// knock: spec: rooms/v7 auth 4.6, rooms/v12 auth 5.7.
func (c *check) knock(target matrix.UserID) error {
	// spec: rooms/v7 auth 4.6.1, rooms/v10 auth 4.7.1, rooms/v12 auth 5.7.1
	joinRule := c.joinRule()
	if joinRule != "knock" && !(joinRule == "knock_restricted" && c.v.KnockRestricted) {
		return c.reject(knockRule, "one cannot knock on this room")
	}
	// spec: rooms/v7 auth 4.6.2, rooms/v12 auth 5.7.2
	if c.ev.Sender != target {
		return c.reject(knockOther, "you can only knock for yourself")
	}
	// spec: rooms/v7 auth 4.6.3, rooms/v12 auth 5.7.3
	switch c.membership(target) {
	case "ban", "invite", "join":
		// spec: rooms/v7 auth 4.6.4, rooms/v12 auth 5.7.4
		return c.reject(knockNotOutside, "you are banned, invited or in the room already")
	}
	return nil
}

// serverOf is the server name in an event ID of room versions 1 and 2.
func serverOf(id matrix.EventID) string {
	_, host, _ := strings.Cut(string(id), ":")
	return host
}
