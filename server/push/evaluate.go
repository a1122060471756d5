package push

import (
	"encoding/json"
	"slices"

	"porchlight/kv"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
	"porchlight/server/rooms"
)

// EventAppended notes in an event whom it notifies. It is a witness of server/rooms.
func (k *Keeper) EventAppended(tx *kv.WriteTx, e *rooms.Event) error {
	if e.Type == "m.room.member" && e.StateKey != nil {
		k.memberChanged(tx, e)
	}
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

// outcomes holds an event against the rules of everybody in its room: one by one of those who
// have changed theirs or are named, and once for all others.
func (k *Keeper) outcomes(tx *kv.WriteTx, e *rooms.Event) ([]rooms.NoticeGroup, []matrix.UserID, error) {
	in := k.roster(tx, e.Room)
	joined := func(user matrix.UserID) bool {
		return user.Server() == k.Rooms.Server && k.Rooms.Membership(tx, e.Room, user) == "join"
	}
	others := in.local
	if joined(e.Sender) {
		others--
	}
	invited := matrix.UserID("")
	if e.Membership() == "invite" && *e.StateKey != string(e.Sender) && matrix.UserID(*e.StateKey).Server() == k.Rooms.Server {
		invited = matrix.UserID(*e.StateKey)
	}
	if others == 0 && invited == "" {
		return nil, nil, nil
	}
	event, err := pushrule.NewEvent(e.ID, e.PDU, &roomInfo{k, tx, e, in.members})
	if err != nil {
		return nil, nil, err
	}
	var all outcomes
	ask := func(user matrix.UserID, apart bool) {
		_, actions := k.set(tx, user).Match(event)
		all.add(actions, apart, user)
	}
	for _, user := range in.own {
		if user != e.Sender {
			ask(user, false)
			others--
		}
	}
	for _, user := range event.Named() {
		if user != e.Sender && joined(user) && !k.rules.Has(tx, user) {
			ask(user, false)
			others--
		}
	}
	if others > 0 {
		_, actions := predefined().Match(event)
		all.addRest(actions)
	}
	if invited != "" {
		ask(invited, true)
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
	rest    bool // and all who were not asked
}

// add notes what an event does to a user. Whom the user ignores is looked at when this is read:
// it may change.
func (o *outcomes) add(actions *pushrule.Actions, apart bool, user matrix.UserID) {
	of := o.of(actions, apart)
	of.users = append(of.users, user)
}

// addRest notes what an event does to all who were not asked.
func (o *outcomes) addRest(actions *pushrule.Actions) { o.of(actions, false).rest = true }

func (o *outcomes) of(actions *pushrule.Actions, apart bool) *outcome {
	if actions != nil && !actions.Notify {
		actions = nil
	}
	for i := range o.all {
		if same(o.all[i].actions, actions) && o.all[i].apart == apart {
			return &o.all[i]
		}
	}
	o.all = append(o.all, outcome{actions: actions, apart: apart})
	return &o.all[len(o.all)-1]
}

func same(a, b *pushrule.Actions) bool {
	return a == b || a != nil && b != nil && string(a.JSON) == string(b.JSON)
}

// groups are those who are notified. The outcome of who was not asked, or else the largest among
// those joined, goes without its users' names; if that is to be notified, the silent have to be
// named.
func (o *outcomes) groups(sender matrix.UserID) (groups []rooms.NoticeGroup, silent []matrix.UserID) {
	rest := slices.IndexFunc(o.all, func(of outcome) bool { return of.rest })
	if rest < 0 {
		for i := range o.all {
			if !o.all[i].apart && (rest < 0 || len(o.all[i].users) > len(o.all[rest].users)) {
				rest = i
			}
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
