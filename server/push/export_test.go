package push

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/pushrule"
	"porchlight/server/rooms"
)

// Forgetful is the same keeper without anything in memory.
func (k *Keeper) Forgetful() *Keeper { return &Keeper{Config: k.Config, rules: k.rules} }

// Letter is the mail that tells a user of all that is unread.
func (k *Keeper) Letter(r kv.Reader, user matrix.UserID) string {
	w := &worker{k: k, key: pusherKey{User: user}}
	text, _ := w.letter(r, 1)
	return text
}

// Payload is what a gateway of the user would be told of an event; empty if nothing.
func (k *Keeper) Payload(r kv.Reader, user matrix.UserID, room matrix.RoomID, pos changes.Position) (string, error) {
	p, ok := k.payload(r, pusherKey{User: user}, &pusherRow{Data: []byte("{}")}, room, pos)
	if !ok {
		return "", nil
	}
	raw, err := json.Marshal(p)
	return string(raw), err
}

// Tells says whether a pusher of the user would be told something of what has happened so far.
func (k *Keeper) Tells(r kv.Reader, user matrix.UserID) bool {
	w := &worker{k: k, key: pusherKey{user, "app", "key"}}
	_, p, _ := w.next(r, &pusherRow{Kind: HTTP}, 1)
	return p != nil
}

// Alone is what the rules of one user say of an event, without anything that is kept, as JSON;
// empty if they do not notify.
func (k *Keeper) Alone(r kv.Reader, e *rooms.Event, user matrix.UserID) (string, error) {
	members := 0
	for _, membership := range k.Rooms.Members(r, e.Room) {
		if membership == "join" {
			members++
		}
	}
	event, err := pushrule.NewEvent(e.ID, e.PDU, &roomInfo{k, r, e, members})
	if err != nil {
		return "", err
	}
	rules := k.Rules(r, user)
	if _, a := pushrule.Compile(user, &rules).Match(event); a != nil && a.Notify {
		return string(a.JSON), nil
	}
	return "", nil
}

// Asked counts the rules that were made ready, each for a user.
func (k *Keeper) Asked() int {
	k.sets.mu.Lock()
	defer k.sets.mu.Unlock()
	return len(k.sets.all)
}
