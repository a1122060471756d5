package push

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
	"porchlight/server/rooms"
)

// EventAppended notes in an event whom it notifies. It is a witness of server/rooms.
func (k *Keeper) EventAppended(tx *kv.WriteTx, e *rooms.Event) error {
	var notice rooms.Notice
	// Of each event the thread is kept, since with its own event a user reads what came before
	// in that thread, also if the event is redacted later.
	if thread := k.Ephemeral.Thread(tx, e); thread != ephemeral.MainThread {
		notice.Thread = matrix.EventID(thread)
	}
	if e.Type == "m.room.redaction" && e.Redacts != "" {
		target, ok := k.Rooms.Event(tx, e.Redacts)
		if ok && target.Room == e.Room && target.Notice != nil && len(target.Notice.Groups) > 0 {
			notice.Undone = target.Position
		}
	}
	var err error
	if notice.Groups, notice.Silent, err = k.outcomes(tx, e); err != nil {
		return err
	}
	if len(notice.Groups) == 0 {
		notice.Silent = nil
	}
	if notice.Thread != "" || notice.Undone != 0 || len(notice.Groups) > 0 {
		e.Notice = &notice
	}
	return nil
}

// outcomes holds an event against the rules of everybody in its room.
func (k *Keeper) outcomes(tx *kv.WriteTx, e *rooms.Event) ([]rooms.NoticeGroup, []matrix.UserID, error) {
	var joined, invited []matrix.UserID
	members := 0
	for user, membership := range k.Rooms.Members(tx, e.Room) {
		if membership == "join" {
			members++
		}
		switch {
		case user == e.Sender || user.Server() != k.Rooms.Server:
		case membership == "join":
			joined = append(joined, user)
		case membership == "invite" && e.Is("m.room.member", string(user)):
			invited = append(invited, user)
		}
	}
	if len(joined)+len(invited) == 0 {
		return nil, nil, nil
	}
	event, err := pushrule.NewEvent(e.ID, e.PDU, &roomInfo{k, tx, e, members})
	if err != nil {
		return nil, nil, err
	}
	var all outcomes
	for i, user := range append(joined, invited...) {
		_, actions := k.set(tx, user).Match(event)
		if actions != nil && !actions.Notify {
			actions = nil // whom the user ignores is looked at when this is read: it may change
		}
		all.add(user, actions, i >= len(joined))
	}
	groups, silent := all.groups(e.Sender)
	return groups, silent, nil
}

// outcomes are what an event does to each user, put together.
type outcomes struct {
	all []outcome
}

// outcome is the users for whom a rule does the same.
type outcome struct {
	actions *pushrule.Actions // nil: nothing
	users   []matrix.UserID
	apart   bool // they are not joined
}

func (o *outcomes) add(user matrix.UserID, actions *pushrule.Actions, apart bool) {
	for i := range o.all {
		if same(o.all[i].actions, actions) && o.all[i].apart == apart {
			o.all[i].users = append(o.all[i].users, user)
			return
		}
	}
	o.all = append(o.all, outcome{actions, []matrix.UserID{user}, apart})
}

func same(a, b *pushrule.Actions) bool {
	return a == b || a != nil && b != nil && string(a.JSON) == string(b.JSON)
}

// groups are those who are notified. The largest outcome among those joined goes without
// its users' names; if that is to be notified, the silent have to be named.
func (o *outcomes) groups(sender matrix.UserID) (groups []rooms.NoticeGroup, silent []matrix.UserID) {
	rest := -1
	for i := range o.all {
		if !o.all[i].apart && (rest < 0 || len(o.all[i].users) > len(o.all[rest].users)) {
			rest = i
		}
	}
	for i, of := range o.all {
		switch {
		case of.actions == nil:
			silent = append(silent, of.users...)
			continue
		case i == rest:
			of.users = nil
		}
		groups = append(groups, rooms.NoticeGroup{Actions: of.actions.JSON, Highlight: of.actions.Highlight, Users: of.users})
	}
	if rest < 0 || o.all[rest].actions == nil {
		return groups, nil
	}
	return groups, append(silent, sender)
}

// roomInfo answers what rules ask of the room of an event.
type roomInfo struct {
	k       *Keeper
	tx      kv.Reader
	e       *rooms.Event
	members int // joined
}

// MemberCount implements pushrule.RoomInfo.
func (i *roomInfo) MemberCount() int { return i.members }

// MayNotify implements pushrule.RoomInfo.
func (i *roomInfo) MayNotify(key string) bool {
	levels := i.k.Rooms.Power(i.tx, i.e.Room)
	return levels.User(i.e.Sender) >= levels.Notification(key)
}

// DisplayName implements pushrule.RoomInfo.
func (i *roomInfo) DisplayName(user matrix.UserID) string {
	return i.k.Rooms.DisplayNameIn(i.tx, i.e.Room, user)
}

// actionsOf reads what a notice says that is to be done.
func actionsOf(g *rooms.NoticeGroup) *pushrule.Actions {
	return pushrule.ParseActions(json.RawMessage(g.Actions))
}
