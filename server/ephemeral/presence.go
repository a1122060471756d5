package ephemeral

import (
	"encoding/json"
	"fmt"
	"time"

	"porchlight/server/matrix"
)

const (
	// idleAfter is when somebody who is connected but does nothing becomes unavailable
	// (spec: presence, idle timeout).
	idleAfter = 5 * time.Minute
	// offlineAfter is when somebody whose last /sync has ended goes offline.
	offlineAfter = 40 * time.Second
	// maxStatus is the length of a status message in bytes.
	maxStatus = 1024
)

// The states of presence.
const (
	Online      = "online"
	Unavailable = "unavailable"
	Offline     = "offline"
)

// presence is what is known of a user who has been here since the start.
type presence struct {
	state   string
	status  string
	active  time.Time // when the user last did something
	synced  time.Time // when the last /sync ended
	syncs   int       // that are open
	changed uint64
	chosen  bool // unavailable by the user's own wish, which idling does not undo
}

// Presence is how a user is there (spec: m.presence).
type Presence struct {
	User            matrix.UserID
	State           string
	LastActiveAgo   int64 // ms
	Status          string
	CurrentlyActive bool
}

// Event is the m.presence event.
func (p Presence) Event() json.RawMessage {
	type content struct {
		State   string `json:"presence"`
		Ago     int64  `json:"last_active_ago"`
		Status  string `json:"status_msg,omitempty"`
		Current bool   `json:"currently_active"`
	}
	raw, err := json.Marshal(struct {
		Type    string        `json:"type"`
		Sender  matrix.UserID `json:"sender"`
		Content content       `json:"content"`
	}{"m.presence", p.User, content{p.State, p.LastActiveAgo, p.Status, p.CurrentlyActive}})
	if err != nil {
		panic(err) // strings and numbers only: cannot happen
	}
	return raw
}

// SetPresence is a user's own word. A nil status leaves the message as it is. The error is
// M_INVALID_PARAM for a state that there is not.
func (k *Keeper) SetPresence(user matrix.UserID, state string, status *string) error {
	if err := checkPresence(state); err != nil {
		return err
	}
	if status != nil && len(*status) > maxStatus {
		return matrix.InvalidParam(fmt.Sprintf("a status message may have at most %d bytes", maxStatus))
	}
	k.mu.Lock()
	p := k.of(user)
	before := *p
	p.active, p.synced = k.Now(), k.Now()
	p.chosen = state != Online
	p.state = state
	if status != nil {
		p.status = *status
	}
	k.note(p, before)
	return nil
}

func checkPresence(state string) error {
	switch state {
	case Online, Unavailable, Offline:
		return nil
	}
	return matrix.InvalidParam("presence has to be online, unavailable or offline")
}

// Active notes that a user did something: sent a message, say.
func (k *Keeper) Active(user matrix.UserID) {
	k.mu.Lock()
	p := k.of(user)
	before := *p
	p.active = k.Now()
	if !p.chosen && (p.syncs > 0 || p.state != Offline) {
		p.state = Online
	}
	k.note(p, before)
}

// Connect notes that a user's /sync begins; state is its set_presence, empty for online.
// done is to be called when it ends. The error is M_INVALID_PARAM.
func (k *Keeper) Connect(user matrix.UserID, state string) (done func(), err error) {
	if state == "" {
		state = Online
	}
	if err := checkPresence(state); err != nil {
		return nil, err
	}
	if state == Offline { // the client does not want to be seen
		return func() {}, nil
	}
	k.mu.Lock()
	p := k.of(user)
	before := *p
	p.syncs++
	if p.state == Offline && !p.chosen || state == Unavailable {
		p.state = state
		if p.active.IsZero() {
			p.active = k.Now()
		}
	}
	k.note(p, before)
	return func() {
		k.mu.Lock()
		p.syncs--
		p.synced = k.Now()
		k.mu.Unlock()
		k.changedDeadline()
	}, nil
}

// changedDeadline lets Run look at its deadlines without waking those who wait for news.
func (k *Keeper) changedDeadline() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// of finds or makes the entry of a user. The caller holds mu.
func (k *Keeper) of(user matrix.UserID) *presence {
	p := k.presence[user]
	if p == nil {
		p = &presence{state: Offline}
		k.presence[user] = p
	}
	return p
}

// note numbers what others can see of a change, and lets go of mu, which the caller holds.
func (k *Keeper) note(p *presence, before presence) {
	seen := p.state != before.state || p.status != before.status
	if seen {
		p.changed = k.next()
	}
	k.mu.Unlock()
	if seen {
		k.changed()
	}
}

// Presence is how a user is there now; offline for somebody never seen since the start.
func (k *Keeper) Presence(user matrix.UserID) Presence {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.presence[user]
	if p == nil {
		return Presence{User: user, State: Offline}
	}
	return p.show(user, k.Now())
}

// PresenceSince are the users whose presence changed after a counter; with counter 0, all
// who have been here since the start. Whoever shows it to somebody leaves out those with
// whom that user shares no room.
func (k *Keeper) PresenceSince(counter uint64) []Presence {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []Presence
	for user, p := range k.presence {
		if p.changed > counter {
			all = append(all, p.show(user, k.Now()))
		}
	}
	return all
}

func (p *presence) show(user matrix.UserID, now time.Time) Presence {
	out := Presence{User: user, State: p.state, Status: p.status, CurrentlyActive: p.state == Online}
	if !p.active.IsZero() {
		out.LastActiveAgo = max(0, now.Sub(p.active).Milliseconds())
	}
	return out
}

// expirePresence lets the idle become unavailable and the gone offline. The caller holds mu.
func (k *Keeper) expirePresence(now time.Time) (next time.Time, any bool) {
	for _, p := range k.presence {
		if p.state == Offline {
			continue
		}
		state := p.state
		due := p.active.Add(idleAfter)
		if p.state == Online && !due.After(now) {
			state = Unavailable
		}
		waits := state == Online
		if p.syncs == 0 {
			gone := p.synced.Add(offlineAfter)
			if !gone.After(now) {
				state, waits, p.chosen = Offline, false, false
			} else if !waits || gone.Before(due) {
				due, waits = gone, true
			}
		}
		if state != p.state {
			p.state, p.changed = state, k.next()
		}
		if waits && (!any || due.Before(next)) {
			next, any = due, true
		}
	}
	return next, any
}
