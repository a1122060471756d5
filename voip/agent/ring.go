package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// Errors of Ring.
var (
	// ErrRinging says that the board rings already, or did a moment ago.
	ErrRinging = errors.New("the board is ringing already")
	// ErrNobody says that there is nobody to ring.
	ErrNobody = errors.New("there is nobody to ring: set ring_people, or claim the house")
	// ErrStopped says that the board does not run.
	ErrStopped = errors.New("the board is not running")
)

// RingRequest says whom to ring and how. What is left out is as the settings say.
type RingRequest struct {
	People  []matrix.UserID
	Mode    RingMode
	Timeout time.Duration // for each
	button  bool          // somebody at the board rings
}

// RingMode says in what order people are rung.
type RingMode string

// The modes.
const (
	RingAll    RingMode = "all"     // all at once
	RingInTurn RingMode = "in turn" // one after the other
)

// ring is a visitor who waits for somebody.
type ring struct {
	began    time.Time
	timeout  time.Duration
	waiting  []matrix.UserID // still to be called
	inTurn   bool
	calls    []*activeCall   // that ring
	reached  []matrix.UserID // who was called or told
	answered bool
	button   bool // somebody at the board rings, who knows that it calls
	starting bool // calls are being placed; so that one that fails at once does not end the ring
	picture  *posted
}

// Ring calls the people of the ring list. It returns when the calls have been placed; the
// errors are ErrRinging, ErrNobody and ErrStopped. In quiet times it leaves a message
// instead. It may be called from anywhere while Run runs.
func (a *Agent) Ring(ctx context.Context, r RingRequest) error {
	result := make(chan error, 1)
	if !a.later(ctx, func(ctx context.Context) { result <- a.startRing(ctx, r) }) {
		return fmt.Errorf("%w: %w", ErrStopped, ctx.Err())
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrStopped, ctx.Err())
	}
}

// startRing begins a ring. Only one goes on at a time, and one who presses twice is one
// visitor.
func (a *Agent) startRing(ctx context.Context, req RingRequest) error {
	settings := a.Settings.Current()
	now := a.Now()
	if a.ringing != nil || !a.rangAt.IsZero() && now.Sub(a.rangAt) < settings.RingPause {
		return ErrRinging
	}
	people := req.People
	if len(people) == 0 {
		people = a.ringPeople(ctx)
	}
	if len(people) == 0 {
		return ErrNobody
	}
	a.rangAt = now
	r := &ring{began: now, button: req.button, timeout: settings.RingTimeout, inTurn: settings.RingInTurn}
	if req.Timeout > 0 {
		r.timeout = min(max(req.Timeout, minRingTimeout), maxRingTimeout)
	}
	if req.Mode != "" {
		r.inTurn = req.Mode == RingInTurn
	}
	for _, user := range people {
		if user != a.Self && !slices.Contains(r.waiting, user) && len(r.waiting) < MaxPeople {
			r.waiting = append(r.waiting, user)
		}
	}
	a.ringing = r
	a.Log.Info("somebody rings", "people", len(r.waiting), "quiet", settings.quiet(now))
	a.takePicture(ctx, func(ctx context.Context, p *posted) {
		r.picture = p
		for _, user := range r.reached {
			a.show(ctx, user, p, "Somebody rings.")
		}
	})
	if settings.quiet(now) {
		for len(r.waiting) > 0 {
			if room, ok := a.roomOfNext(ctx, r); ok {
				a.say(ctx, room, "Somebody rings. It is a quiet time, so I do not call.")
			}
		}
		a.ringing = nil
		return nil
	}
	a.ringNext(ctx, r)
	return nil
}

// ringPeople are those on the ring list, or the owner.
func (a *Agent) ringPeople(ctx context.Context) []matrix.UserID {
	if people := a.Settings.Current().RingPeople; len(people) > 0 {
		return people
	}
	owner, err := a.House.Owner(ctx)
	if err != nil {
		a.Log.Error("the owner cannot be found", "error", err)
	}
	if owner == "" {
		return nil
	}
	return []matrix.UserID{owner}
}

// ringNext calls everybody who waits to be called, or in turn the next one. When there is
// nobody left and no call rings, the ring was missed.
func (a *Agent) ringNext(ctx context.Context, r *ring) {
	r.starting = true
	for len(r.waiting) > 0 && !r.answered {
		if r.inTurn && len(r.calls) > 0 {
			break
		}
		user := r.waiting[0]
		room, ok := a.roomOfNext(ctx, r)
		if ok {
			a.place(ctx, r, user, room)
		}
	}
	r.starting = false
	if len(r.calls) == 0 && len(r.waiting) == 0 {
		a.endRing(ctx, r)
	}
}

// roomOfNext takes the next of those who wait, and finds the room to reach them.
func (a *Agent) roomOfNext(ctx context.Context, r *ring) (matrix.RoomID, bool) {
	user := r.waiting[0]
	r.waiting = r.waiting[1:]
	room, ok := a.ownRoom(ctx, user)
	if !ok {
		return "", false
	}
	r.reached = append(r.reached, user)
	if r.picture != nil {
		a.post(ctx, room, *r.picture, "Somebody rings.")
	}
	return room, true
}

// place calls one person. spec: MSC2746 add invitee field
func (a *Agent) place(ctx context.Context, r *ring, user matrix.UserID, room matrix.RoomID) {
	if a.occupied() >= a.maxCalls() {
		a.Log.Warn("somebody is not called, since there are too many calls", "user", user)
		return
	}
	id, err := call.NewID(a.Random)
	party, err2 := call.NewID(a.Random)
	if err := errors.Join(err, err2); err != nil {
		a.Log.Error("no call ID can be made", "error", err)
		return
	}
	c := &activeCall{
		key: callKey{room, id}, timers: map[call.Timer]*time.Timer{}, ring: r,
		state: call.Start(call.Config{Role: call.Caller, Self: a.Self, CallID: id, PartyID: party, Invitee: user, Lifetime: r.timeout}),
	}
	a.calls[c.key] = c
	r.calls = append(r.calls, c)
	a.step(ctx, c, call.Place{})
}

// ringAnswered hears that somebody answered: the first one wins, and nobody else is called
// any more.
func (a *Agent) ringAnswered(ctx context.Context, c *activeCall) {
	r := c.ring
	if r == nil || r.answered {
		return
	}
	r.answered, r.waiting = true, nil
	peer := c.state.Peer()
	others := slices.DeleteFunc(slices.Clone(r.calls), func(x *activeCall) bool { return x == c })
	r.calls = []*activeCall{c}
	a.unasked(ctx, r, c)
	a.Log.Info("the ring is answered", "by", peer, "after", a.Now().Sub(r.began))
	for _, other := range others {
		a.step(ctx, other, call.HangUp{Reason: call.AnsweredElsewhere})
	}
	for _, user := range r.reached {
		if user != peer {
			a.tell(ctx, user, fmt.Sprintf("%s answered.", peer))
		}
	}
	a.ringing = nil
}

// unasked has the tone heard and the owner told if a ring that was begun from afar makes a call:
// nobody at the board has agreed to it.
func (a *Agent) unasked(ctx context.Context, r *ring, c *activeCall) {
	if r.button || c.announced {
		return
	}
	c.announced = true
	a.privacyTone(ctx)
}

// ringEnded hears that a call of a ring is over.
func (a *Agent) ringEnded(ctx context.Context, c *activeCall) {
	r := c.ring
	if r == nil {
		return
	}
	r.calls = slices.DeleteFunc(r.calls, func(x *activeCall) bool { return x == c })
	if !r.answered && !r.starting && a.ringing == r && len(r.calls) == 0 && ctx.Err() == nil {
		a.ringNext(ctx, r)
	}
}

// endRing tells those who were called of a visitor whom nobody answered.
func (a *Agent) endRing(ctx context.Context, r *ring) {
	a.ringing = nil
	if r.answered {
		return
	}
	text := fmt.Sprintf("Somebody rang at %s and nobody answered.", r.began.Format("15:04"))
	a.Log.Info("a ring was missed", "rang", r.began)
	for _, user := range r.reached {
		a.show(ctx, user, r.picture, text)
	}
}

// stopRing gives a ring up when the board stops.
func (a *Agent) stopRing() {
	if r := a.ringing; r != nil {
		r.waiting, a.ringing = nil, nil
	}
}
