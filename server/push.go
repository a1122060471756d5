package server

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/syncv2"
)

// unread shows the counts of package push to syncv2.
type unread struct{ push *push.Keeper }

// Unread implements syncv2.Unread.
func (u unread) Unread(r kv.Reader, user matrix.UserID, room matrix.RoomID, apart bool) (syncv2.Counts, map[string]syncv2.Counts) {
	sum, threads := u.push.Unread(r, user, room, apart)
	if threads == nil {
		return syncv2.Counts(sum), nil
	}
	shown := make(map[string]syncv2.Counts, len(threads))
	for thread, n := range threads {
		shown[thread] = syncv2.Counts(n)
	}
	return syncv2.Counts(sum), shown
}
