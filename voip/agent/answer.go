package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// isOwner says whether a user owns the house. Owners may do all that the settings let others
// do: a list of others must not lock them out.
func (a *Agent) isOwner(ctx context.Context, user matrix.UserID) bool {
	owner, err := a.House.Owner(ctx)
	if err != nil {
		a.Log.Error("the owner cannot be found", "error", err)
	}
	return err == nil && owner != "" && owner == user
}

// mayCall says whether the board takes this user's calls: the owner's, and of those that the
// setting names, or whom the house was started with.
func (a *Agent) mayCall(ctx context.Context, user matrix.UserID) bool {
	if a.isOwner(ctx, user) {
		return true
	}
	if allow := a.Settings.Current().Allow; len(allow) > 0 {
		return slices.Contains(allow, user)
	}
	may, err := a.House.MayCall(ctx, user)
	if err != nil {
		a.Log.Error("it cannot be told who may call, so nobody may", "error", err)
	}
	return may && err == nil
}

// rung decides about a call that comes in: those who may not call are rejected, beyond
// the most calls the board is busy, and others are answered as the settings say.
func (a *Agent) rung(ctx context.Context, c *activeCall, r call.Ring) {
	settings := a.Settings.Current()
	rule := settings.answers(r.Peer)
	c.deaf = settings.ListenOnly
	if until, ok := a.listens[r.Peer]; ok && a.Now().Before(until) && !rule.Never {
		rule = AnswerRule{Who: r.Peer, Audio: true}
		c.deaf = true
	}
	delete(a.listens, r.Peer)
	may := c.crossed || a.mayCall(ctx, r.Peer)
	quiet := settings.quiet(a.Now())
	a.Log.Info("a call comes in", "room", c.key.room, "peer", r.Peer, "video", r.Video, "allowed", may, "quiet", quiet)
	decide := func(in call.Input) {
		a.helpers.Go(func() { a.report(ctx, report{call: c, input: in}) })
	}
	switch {
	case !may:
		decide(call.Refuse{})
	case c.surplus || len(a.live) >= a.maxCalls():
		decide(call.HangUp{Reason: call.UserBusy})
	case c.crossed:
		decide(call.Accept{}) // we were calling them
	case rule.Never || quiet:
		// It rings until the button is pressed or its time is over.
	default:
		c.answer = time.AfterFunc(rule.After, func() {
			a.later(ctx, func(ctx context.Context) { a.answerByItself(ctx, c, rule) })
		})
	}
}

// answerByItself takes a call that nobody at the board has agreed to, and lets them hear.
func (a *Agent) answerByItself(ctx context.Context, c *activeCall, rule AnswerRule) {
	if c.over || c.state.Phase() != call.Ringing {
		return
	}
	c.auto, c.announced, c.rule = true, true, rule
	a.privacyTone(ctx)
	a.step(ctx, c, call.Accept{})
}

// privacyTone lets whoever is near the board hear that they are seen or heard.
func (a *Agent) privacyTone(ctx context.Context) {
	if !a.Settings.Current().PrivacyTone || a.Devices == nil {
		return
	}
	a.helpers.Go(func() {
		if err := a.Devices.Chime(ctx); err != nil && ctx.Err() == nil {
			a.Log.Warn("the privacy tone could not be played", "error", err)
		}
	})
}

// announce writes into the control room who looks in though nobody at the board has agreed to
// it, so that it can be read later.
func (a *Agent) announce(ctx context.Context, c *activeCall) {
	if !c.announced {
		return
	}
	what := "watching and listening"
	switch {
	case !c.auto: // both are sent
	case !c.rule.Video:
		what = "listening"
	case !c.rule.Audio:
		what = "watching"
	}
	text, r := fmt.Sprintf("%s is %s.", c.state.Peer(), what), a.inCall(c)
	if !a.note(ctx, "", text) {
		a.reply(ctx, r, text)
	}
	if c.deaf {
		a.reply(ctx, r, "What you say is not played here.")
	}
}

// press is the ring button: it answers a call that rings at the board, or else rings.
func (a *Agent) press(ctx context.Context) {
	for _, c := range a.calls {
		if c.state.Phase() == call.Ringing {
			a.step(ctx, c, call.Accept{})
			return
		}
	}
	if err := a.startRing(ctx, RingRequest{button: true}); err != nil {
		a.Log.Info("the button was pressed and nobody is rung", "why", err)
	}
}

// Press tells the board that its button was pressed. It may be called from anywhere, and
// returns at once.
func (a *Agent) Press() {
	select {
	case a.jobs <- a.press:
	default:
		a.Log.Warn("the button was pressed faster than the board can follow")
	}
}
