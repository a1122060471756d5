package syncv2

import (
	"cmp"
	"slices"

	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// summary counts the members of a room and, if it has no name, names some of them: the
// first that are in it or invited, or else those who left (spec: client-server API, sync,
// RoomSummary). heroes is who they are.
func (l *looker) summary(room matrix.RoomID) (out Summary, heroes []matrix.UserID) {
	type member struct {
		user matrix.UserID
		pos  changes.Position
	}
	named := l.named(room)
	var here, gone []member
	joined, invited := 0, 0
	for user, state := range l.v.Rooms.Members(l.r, room) {
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
		if named || user == l.q.Viewer.User {
			continue
		}
		m, _ := l.v.Rooms.MembershipRow(l.r, room, user)
		*among = append(*among, member{user, m.Position})
	}
	out = Summary{Joined: &joined, Invited: &invited}
	if len(here) == 0 {
		here = gone
	}
	slices.SortFunc(here, func(a, b member) int { return cmp.Compare(a.pos, b.pos) })
	for _, m := range here[:min(len(here), maxHeroes)] {
		heroes = append(heroes, m.user)
	}
	out.Heroes = heroes
	return out, heroes
}

// named says whether the room has a name or an alias to be called by.
func (l *looker) named(room matrix.RoomID) bool {
	for eventType, field := range map[string]string{"m.room.name": "name", "m.room.canonical_alias": "alias"} {
		e, ok := l.v.Rooms.State(l.r, room, eventType, "")
		if !ok {
			continue
		}
		if content, err := matrix.ParseObject(e.Content); err == nil {
			if text, _ := content.Text(field); text != "" {
				return true
			}
		}
	}
	return false
}
