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
	state   string // what others see: of what follows
	status  string
	active  time.Time // when the user last did something
	boosted bool      // the user has done so since a device last became unavailable
	chosen  string    // Unavailable or Offline by the user's own word, or empty
	devices map[matrix.DeviceID]*here
	changed uint64
}

// here is how a device is there, by the set_presence of its /sync.
type here struct {
	state  string
	syncs  map[string]int // that are open, by their set_presence
	open   int            // of all of them
	synced time.Time      // when the last one ended
}

// gone is when a device without an open /sync does not count any more.
func (h *here) gone() time.Time { return h.synced.Add(offlineAfter) }

// counts says whether a device is there at all.
func (h *here) counts(now time.Time) bool {
	return h.state != Offline && (h.open > 0 || h.gone().After(now))
}

// collate is a user's presence by all devices: the one in use decides (spec: presence).
func (p *presence) collate(now time.Time) string {
	there, online := false, false
	for _, h := range p.devices {
		if h.counts(now) {
			there, online = true, online || h.state == Online
		}
	}
	switch {
	case !there || p.chosen == Offline:
		return Offline
	case p.chosen == Unavailable || !p.active.Add(idleAfter).After(now):
		return Unavailable
	case online || p.boosted:
		return Online
	}
	return Unavailable
}

// act notes that the user did something just now.
func (p *presence) act(now time.Time) {
	p.active, p.boosted = now, true
	if p.chosen == Unavailable {
		p.chosen = ""
	}
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

// SetPresence is a user's own word, from one of their devices. A nil status leaves the message
// as it is. Unavailable lasts until the user does something, offline until the user says
// otherwise. The error is M_INVALID_PARAM for a state that there is not.
func (k *Keeper) SetPresence(user matrix.UserID, device matrix.DeviceID, state string, status *string) error {
	if err := checkPresence(state); err != nil {
		return err
	}
	if status != nil && len(*status) > maxStatus {
		return matrix.InvalidParam(fmt.Sprintf("a status message may have at most %d bytes", maxStatus))
	}
	k.mu.Lock()
	p := k.of(user)
	before := *p
	now := k.Now()
	h := p.device(device)
	h.synced = now
	p.chosen = ""
	if state == Online {
		h.state = Online
		p.act(now)
	} else {
		p.active, p.boosted, p.chosen = now, false, state
		if h.state == Offline {
			h.state = Unavailable // there, but no more than that
		}
	}
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
	p.act(k.Now())
	k.note(p, before)
}

// Connect notes that a /sync of a user's device begins; state is its set_presence, empty for
// online. done is to be called when it ends. The error is M_INVALID_PARAM.
func (k *Keeper) Connect(user matrix.UserID, device matrix.DeviceID, state string) (done func(), err error) {
	if state == "" {
		state = Online
	}
	if err := checkPresence(state); err != nil {
		return nil, err
	}
	k.mu.Lock()
	if state == Offline && (k.presence[user] == nil || k.presence[user].devices[device] == nil) {
		k.mu.Unlock()
		return func() {}, nil // the client does not want to be seen, and was not
	}
	p := k.of(user)
	before := *p
	now := k.Now()
	h := p.device(device)
	was := Offline
	if h.counts(now) {
		was = h.state
	}
	h.syncs[state]++
	h.open++
	p.turn(h, was, state, now)
	k.note(p, before)
	return func() {
		k.mu.Lock()
		h.syncs[state]--
		h.open--
		h.synced = k.Now()
		k.mu.Unlock()
		k.changedDeadline()
	}, nil
}

// turn notes what a device says of itself, and was before. Of several requests at a time, one
// that says online counts.
func (p *presence) turn(h *here, was, state string, now time.Time) {
	if state != Online && h.syncs[Online] > 0 {
		return
	}
	h.state = state
	switch {
	case state == Online && was != Online:
		p.active = now // (spec: presence, last active ago)
	case state == Unavailable && was == Online:
		p.boosted = false // what was done before was before that
	}
	if p.active.IsZero() {
		p.active = now
	}
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
		p = &presence{state: Offline, devices: map[matrix.DeviceID]*here{}}
		k.presence[user] = p
	}
	return p
}

// device finds or makes the entry of a user's device.
func (p *presence) device(id matrix.DeviceID) *here {
	h := p.devices[id]
	if h == nil {
		h = &here{state: Offline, syncs: map[string]int{}}
		p.devices[id] = h
	}
	return h
}

// note numbers what others can see of a change, and lets go of mu, which the caller holds.
func (k *Keeper) note(p *presence, before presence) {
	p.state = p.collate(k.Now())
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
	wait := func(until time.Time) {
		if until.After(now) && (!any || until.Before(next)) {
			next, any = until, true
		}
	}
	for _, p := range k.presence {
		for id, h := range p.devices {
			switch {
			case h.open > 0:
			case h.gone().After(now):
				wait(h.gone())
			default:
				delete(p.devices, id)
			}
		}
		if len(p.devices) == 0 && p.chosen == Unavailable {
			p.chosen = ""
		}
		if state := p.collate(now); state != p.state {
			p.state, p.changed = state, k.next()
		}
		if p.state == Online {
			wait(p.active.Add(idleAfter))
		}
	}
	return next, any
}
