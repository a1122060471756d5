package history

import (
	"cmp"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// State is the state of a room: as it is now for members, as it was when they left for
// former ones.
func (k *Keeper) State(r kv.Reader, v rooms.Viewer, room matrix.RoomID) ([]matrix.ClientEvent, error) {
	if _, err := k.Horizon(r, room, v.User); err != nil {
		return nil, err
	}
	shown := []matrix.ClientEvent{}
	for e := range k.Rooms.Sight(r, v.User, room).StateSetAt(now) {
		shown = append(shown, k.Rooms.ClientEvent(r, e, v))
	}
	return shown, nil
}

// StateEvent is the state event of one type and key, seen as State sees it.
func (k *Keeper) StateEvent(r kv.Reader, v rooms.Viewer, room matrix.RoomID, eventType, key string) (matrix.ClientEvent, error) {
	horizon, err := k.Horizon(r, room, v.User)
	if err != nil {
		return matrix.ClientEvent{}, err
	}
	e, ok := k.Rooms.StateAt(r, room, horizon, eventType, key)
	if !ok {
		return matrix.ClientEvent{}, matrix.NotFound("The room has no state of that type and key.")
	}
	return k.Rooms.ClientEvent(r, e, v), nil
}

// memberships are the values that a membership can have.
var memberships = map[string]bool{"join": true, "invite": true, "knock": true, "leave": true, "ban": true}

// Members are the member events of a room, at a token's place if one is given: those whose
// membership is, or those whose membership is not; with both given, those of either kind.
func (k *Keeper) Members(r kv.Reader, v rooms.Viewer, room matrix.RoomID, at, is, isNot string) ([]matrix.ClientEvent, error) {
	if _, err := k.Horizon(r, room, v.User); err != nil {
		return nil, err
	}
	place := now
	if at != "" {
		var err error
		if place, err = ParseToken(at); err != nil {
			return nil, err
		}
	}
	for _, m := range []string{is, isNot} {
		if m != "" && !memberships[m] {
			return nil, matrix.InvalidParam("There is no such membership.")
		}
	}
	shown := []matrix.ClientEvent{}
	for e := range k.Rooms.Sight(r, v.User, room).MembersAt(place) {
		m := e.Membership()
		if is == "" && isNot == "" || is != "" && m == is || isNot != "" && m != isNot {
			shown = append(shown, k.Rooms.ClientEvent(r, e, v))
		}
	}
	return shown, nil
}

// JoinedMember is what a room knows of one of its members.
type JoinedMember struct {
	// DisplayName is the user ID of who has none, as clients would show it: matrix-nio
	// takes no answer without, and then cannot encrypt for the room.
	DisplayName string `json:"display_name"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

// JoinedMembers are those who are in the room, for one of them.
func (k *Keeper) JoinedMembers(r kv.Reader, v rooms.Viewer, room matrix.RoomID) (map[matrix.UserID]JoinedMember, error) {
	if k.Rooms.Membership(r, room, v.User) != "join" {
		return nil, matrix.Forbidden("You aren't a member of the room.")
	}
	joined := map[matrix.UserID]JoinedMember{}
	for e := range k.Rooms.StateOfType(r, room, "m.room.member") {
		if e.Membership() != "join" {
			continue
		}
		var m JoinedMember
		if content, err := matrix.ParseObject(e.Content); err == nil {
			m.DisplayName, _ = content.Text("displayname")
			m.AvatarURL, _ = content.Text("avatar_url")
		}
		m.DisplayName = cmp.Or(m.DisplayName, *e.StateKey)
		joined[matrix.UserID(*e.StateKey)] = m
	}
	return joined, nil
}
