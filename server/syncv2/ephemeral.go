package syncv2

import (
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
)

// readMoment reads what is true only for a while and new to the client: who types, who has
// read how far, who is there.
func (l *looker) readMoment() {
	count := l.since.Count
	if l.first || l.since.Boot != l.v.Ephemeral.Boot() {
		count = 0
	}
	l.typing = l.v.Ephemeral.TypingSince(count)
	if l.first {
		l.presence = l.v.Ephemeral.PresenceSince(0)
		return // receipts are read with each room
	}
	l.presence = l.v.Ephemeral.PresenceSince(count)
	for room := range l.typing {
		if l.isIn(room) {
			l.news.room(room)
		}
	}
	if l.news.far {
		return // as above
	}
	since := ephemeral.Since{Position: l.since.Position, Boot: l.since.Boot, Counter: l.since.Count}
	l.receipts = l.v.Ephemeral.ReceiptsSince(l.r, l.q.Viewer.User, since, l.isIn)
	for room := range l.receipts {
		l.news.room(room)
	}
}

func (l *looker) isIn(room matrix.RoomID) bool {
	return l.v.Rooms.Membership(l.r, room, l.q.Viewer.User) == "join"
}

// ephemeral is what is new of typing and receipts in a room, or all of it; read says that
// a receipt of the user's own is among it, which changes the unread counts.
func (l *looker) ephemeral(room matrix.RoomID, full bool) (told []any, read bool) {
	filter := &l.q.filter.Room.Ephemeral
	told = []any{}
	receipts := l.receipts[room]
	if full {
		receipts = l.v.Ephemeral.Receipts(l.r, room, l.q.Viewer.User)
	}
	for _, x := range receipts {
		read = read || x.User == l.q.Viewer.User
	}
	if !filter.MatchRoom(room) {
		return told, read
	}
	if users, ok := l.typing[room]; ok && filter.Match("m.typing", "") {
		told = append(told, ephemeral.TypingEvent(users))
	}
	if len(receipts) > 0 && filter.Match("m.receipt", "") {
		for _, e := range ephemeral.ReceiptEvents(receipts) {
			told = append(told, e)
		}
	}
	return told, read
}

// others tells of the presence of those who share a room with the user.
func (l *looker) others() error {
	var told []any
	for _, p := range l.presence {
		if !l.q.filter.Presence.Match("m.presence", p.User) || l.listener.Ignores(p.User) {
			continue
		}
		if p.User == l.q.Viewer.User || l.v.Rooms.SharesRoom(l.r, l.q.Viewer.User, p.User) {
			told = append(told, p.Event())
		}
	}
	if len(told) > 0 {
		l.res.Presence = &Events{told}
		l.res.news = true
	}
	return nil
}

// unread are the counts of what the user has not read in a room, apart for each thread if
// the client asks for it.
func (l *looker) unread(room matrix.RoomID) (Counts, map[string]Counts) {
	if l.v.Unread == nil {
		return Counts{}, nil
	}
	return l.v.Unread.Unread(l.r, l.q.Viewer.User, room, l.q.filter.Room.Timeline.UnreadThreadNotifications)
}

// hidden says whether what counts as unread in a room may depend on whom the user ignores.
func (l *looker) hidden(room matrix.RoomID) bool {
	return l.v.Unread != nil && l.v.Unread.Hidden(l.r, l.q.Viewer.User, room)
}
