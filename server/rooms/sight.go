package rooms

import (
	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// Ignored is whom a user does not want to hear.
func (k *Keeper) Ignored(r kv.Reader, user matrix.UserID) map[matrix.UserID]bool {
	if k.People == nil {
		return nil
	}
	return k.People.Ignored(r, user)
}

// Listener is a user as somebody whom the house tells of what is new: what the user may see
// and wants to hear, in all rooms, as of one transaction.
type Listener struct {
	k       *Keeper
	r       kv.Reader
	user    matrix.UserID
	ignored map[matrix.UserID]bool
}

// Listener reads once whom the user ignores.
func (k *Keeper) Listener(r kv.Reader, user matrix.UserID) *Listener {
	return &Listener{k, r, user, k.Ignored(r, user)}
}

// Ignores says whether the listener wants to hear nothing of a user.
func (l *Listener) Ignores(user matrix.UserID) bool { return l.ignored[user] }

// Wants says whether the listener, whose membership of the event's room is m, may see the
// event, and it is not by somebody whom the listener ignores. State events are told whoever
// sent them (spec: client-server API, ignoring users).
func (l *Listener) Wants(e *Event, m Membership) bool {
	if !e.IsState() && l.ignored[e.Sender] {
		return false
	}
	return l.k.visible(l.r, l.user, e, m)
}

// WantsInvite says whether the listener wants to hear of the invitation to a room that m is
// about: not if it blocks all, nor if it ignores who invites (spec: client-server API, invite
// permission and ignoring users).
func (l *Listener) WantsInvite(room matrix.RoomID, m Membership) bool {
	if p := l.k.People; p != nil && p.InvitesBlocked(l.r, l.user) {
		return false
	}
	e, ok := l.k.EventAt(l.r, room, m.Position)
	return !ok || !l.ignored[e.Sender]
}

// StaySince follows a user's member events in a room, of which m is the latest, back to a
// position: what the membership was then, and whether the user came into the room behind it.
// To who came in anew, what is known of the room from before is not worth anything.
func (k *Keeper) StaySince(r kv.Reader, room matrix.RoomID, m Membership, since changes.Position) (before string, entered bool) {
	later := ""
	for pos := m.Position; pos != 0; {
		e, ok := k.EventAt(r, room, pos)
		if !ok {
			break
		}
		is := e.Membership()
		entered = entered || later == "join" && is != "join"
		if pos <= since {
			return is, entered
		}
		later, pos = is, e.Replaces
	}
	return "leave", entered || later == "join"
}
