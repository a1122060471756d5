package agent

import (
	"context"
	"crypto/subtle"
	"slices"
	"time"

	"porchlight/server/matrix"
)

const (
	// doorPause is the least time between two openings.
	doorPause = 5 * time.Second
	// confirmTime is how long the question whether to open waits for its answer.
	confirmTime = 30 * time.Second
	// maxWrongCodes is how many wrong codes may be dialled in wrongCodeTime, by all
	// callers together; then no code is taken until the time is over.
	maxWrongCodes = 5
	wrongCodeTime = 15 * time.Minute
)

// doorGuard limits how often the door is opened, and how often a code can be guessed.
type doorGuard struct {
	opened time.Time
	wrong  []time.Time
}

// mayOpen says whether the door is opened again already.
func (g *doorGuard) mayOpen(now time.Time) bool {
	if !g.opened.IsZero() && now.Sub(g.opened) < doorPause {
		return false
	}
	g.opened = now
	return true
}

// mayGuess says whether a code is looked at.
func (g *doorGuard) mayGuess(now time.Time) bool {
	g.wrong = slices.DeleteFunc(g.wrong, func(t time.Time) bool { return now.Sub(t) >= wrongCodeTime })
	return len(g.wrong) < maxWrongCodes
}

// opens says whether this user may open the door by a message.
func (a *Agent) opens(ctx context.Context, user matrix.UserID) bool {
	return a.isOwner(ctx, user) || slices.Contains(a.Settings.Current().DoorPeople, user)
}

// commandOpen opens the door, or asks first.
func (a *Agent) commandOpen(ctx context.Context, r *request, rest string) {
	r.may = a.opens
	switch {
	case a.Door == nil:
		a.reply(ctx, r, "There is no door that I could open.")
	case !a.opens(ctx, r.Sender):
		a.Log.Warn("somebody who may not open the door asked for it", "sender", r.Sender)
		a.reply(ctx, r, "You may not open the door. The owner of the house decides who may.")
	case rest != "":
		a.reply(ctx, r, "Write just \"open\".")
	case a.Settings.Current().DoorConfirm:
		a.asked[r.Sender] = a.Now().Add(confirmTime)
		a.reply(ctx, r, "Shall I open the door? Write \"yes\" within 30 seconds.")
	default:
		a.openDoor(ctx, r, "by a message")
	}
}

// commandYes confirms what the board asked about. An old question is forgotten.
func (a *Agent) commandYes(ctx context.Context, r *request, _ string) {
	r.may = a.opens
	until, ok := a.asked[r.Sender]
	delete(a.asked, r.Sender)
	if !ok || a.Now().After(until) || a.Now().Add(-r.Age).After(until) || !a.opens(ctx, r.Sender) {
		a.reply(ctx, r, "I did not ask anything, or it is too long ago.")
		return
	}
	a.openDoor(ctx, r, "by a message")
}

// openDoor opens the door, and writes into the control room who did it.
func (a *Agent) openDoor(ctx context.Context, r *request, how string) {
	if !a.door.mayOpen(a.Now()) {
		a.reply(ctx, r, "The door was opened a moment ago.")
		return
	}
	pulse := a.Settings.Current().DoorPulse
	a.Log.Info("the door is opened", "by", r.Sender, "how", how)
	a.reply(ctx, r, "I open the door.")
	a.note(ctx, r.Room, string(r.Sender)+" opened the door "+how+".")
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		if err := a.Door.OpenDoor(ctx, pulse); err != nil {
			return func(ctx context.Context) { a.fail(ctx, r, err) }
		}
		return nil
	})
}

// dialled takes a digit of a call: the last ones may be the door's code. "*" begins anew.
func (a *Agent) dialled(ctx context.Context, c *activeCall, digit rune) {
	code := a.Settings.Current().DoorCode
	if c.over || a.Door == nil || code == "" {
		return
	}
	if digit < '0' || digit > '9' {
		c.dialled = nil
		return
	}
	c.dialled = append(c.dialled, digit)
	if len(c.dialled) < len(code) {
		return
	}
	guess := string(c.dialled)
	c.dialled = nil
	peer := c.state.Peer()
	if !a.door.mayGuess(a.Now()) {
		a.Log.Warn("a code was dialled after too many wrong ones", "peer", peer)
		return
	}
	if subtle.ConstantTimeCompare([]byte(guess), []byte(code)) != 1 {
		a.door.wrong = append(a.door.wrong, a.Now())
		a.Log.Warn("a wrong code was dialled", "peer", peer)
		if !a.door.mayGuess(a.Now()) {
			a.note(ctx, "", "Too many wrong codes for the door were dialled, the last by "+string(peer)+". For a while I take none.")
		}
		return
	}
	a.openDoor(ctx, a.inCall(c), "by its code in a call")
}
