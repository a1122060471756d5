package ephemeral

import (
	"maps"
	"slices"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// DefaultTyping is how long somebody types who did not say how long.
	DefaultTyping = 30 * time.Second
	// MaxTyping is how long somebody may be said to type without saying it again.
	MaxTyping = 2 * time.Minute
)

// typists is who is typing in a room.
type typists struct {
	until   map[matrix.UserID]time.Time
	changed uint64 // counter of the last coming or going
}

// SetTyping notes that a member of a room types for a while, or has stopped. A timeout of
// zero or less is DefaultTyping, a long one is cut to MaxTyping. The error is M_FORBIDDEN
// for somebody who is not in the room.
func (k *Keeper) SetTyping(r kv.Reader, room matrix.RoomID, user matrix.UserID, typing bool, timeout time.Duration) error {
	if k.Rooms.Membership(r, room, user) != "join" {
		return matrix.Forbidden("you are not in that room")
	}
	if timeout <= 0 {
		timeout = DefaultTyping
	}
	if !typing {
		k.StopTyping(room, user)
		return nil
	}
	k.mu.Lock()
	in := k.typing[room]
	if in == nil {
		in = &typists{until: map[matrix.UserID]time.Time{}}
		k.typing[room] = in
	}
	_, already := in.until[user]
	in.until[user] = k.Now().Add(min(timeout, MaxTyping))
	if !already {
		in.changed = k.next()
	}
	k.mu.Unlock()
	if !already {
		k.changed()
	}
	k.Active(user)
	return nil
}

// StopTyping notes that somebody has stopped typing: by saying so, by sending the message
// or by leaving.
func (k *Keeper) StopTyping(room matrix.RoomID, user matrix.UserID) {
	k.mu.Lock()
	in := k.typing[room]
	was := false
	if in != nil {
		if _, was = in.until[user]; was {
			delete(in.until, user)
			in.changed = k.next()
		}
	}
	k.mu.Unlock()
	if was {
		k.changed()
	}
}

// Typing is who is typing in a room, sorted and never nil.
func (k *Keeper) Typing(room matrix.RoomID) []matrix.UserID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.typing[room].users()
}

// TypingSince are the rooms in which somebody began or stopped typing after a counter,
// with all who are typing there now: an empty list where nobody is. Counter 0, or one of
// another Boot given as 0, means all rooms in which somebody is typing.
func (k *Keeper) TypingSince(counter uint64) map[matrix.RoomID][]matrix.UserID {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[matrix.RoomID][]matrix.UserID{}
	for room, in := range k.typing {
		if in.changed > counter && (counter > 0 || len(in.until) > 0) {
			all[room] = in.users()
		}
	}
	return all
}

func (t *typists) users() []matrix.UserID {
	if t == nil {
		return []matrix.UserID{}
	}
	all := slices.AppendSeq(make([]matrix.UserID, 0, len(t.until)), maps.Keys(t.until))
	slices.Sort(all)
	return all
}

// expireTyping drops whose time is over and says when the next one's is. The caller
// holds mu.
func (k *Keeper) expireTyping(now time.Time) (next time.Time, any bool) {
	for _, in := range k.typing {
		for user, until := range in.until {
			if !until.After(now) {
				delete(in.until, user)
				in.changed = k.next()
				continue
			}
			if !any || until.Before(next) {
				next, any = until, true
			}
		}
	}
	return next, any
}
