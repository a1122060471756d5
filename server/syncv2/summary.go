package syncv2

import (
	"porchlight/server/matrix"
)

// summary counts the members of a room and, if it has no name, names some of them. heroes
// is who they are.
func (l *looker) summary(room matrix.RoomID) (out Summary, heroes []matrix.UserID) {
	heroes, joined, invited := l.v.Rooms.Heroes(l.r, room, l.q.Viewer.User, !l.named(room))
	return Summary{Heroes: heroes, Joined: &joined, Invited: &invited}, heroes
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
