package agent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// activeCall is a call that is going on. Only Run's goroutine touches it.
type activeCall struct {
	key     callKey
	state   call.State
	session Session
	timers  map[call.Timer]*time.Timer
	answer  *time.Timer // until the board answers by itself
	rule    AnswerRule  // of a call that the board answered by itself
	auto    bool        // it did
	// announced: nobody at the board has agreed to it, so the tone is heard and the owner told.
	announced bool
	crossed   bool              // it crossed a call of ours, which gave way
	ring      *ring             // that it is part of; nil: it came in
	from      matrix.UserID     // who called the board; empty: the board called
	surplus   bool              // there are too many others, so it is refused
	streams   *call.PeerStreams // the peer's metadata; nil: none came
	deaf      bool              // the peer's sound is not played
	limit     *time.Timer       // ends the call; nil: nothing does
	dialled   []rune            // the digits that may become the door's code
	noted     bool              // in the journal
	over      bool
}

// callEvent hands an event to its call; an invite begins one.
func (a *Agent) callEvent(ctx context.Context, e Event) {
	content, err := call.Parse(e.Type, e.Content)
	if err != nil {
		if a.noise.allow(e.Sender, a.Now()) {
			a.Log.Info("a malformed call event is ignored", "type", e.Type, "room", e.Room, "sender", e.Sender, "error", err)
		}
		return
	}
	key := callKey{e.Room, call.IDOf(content)}
	c, verdict := a.calls[key], call.NoGlare
	if c == nil {
		invite, ok := content.(*call.Invite)
		if !ok || e.Sender == a.Self {
			return // of a call that ended, or that was never ours
		}
		if c = a.begin(ctx, key, e); c == nil {
			return
		}
		var ours *activeCall
		verdict, ours = a.glare(ctx, e, invite)
		if c.crossed = verdict == call.TakeTheirs; c.crossed {
			c.announced = ours.announced // the tone is heard for it already
		}
	}
	a.step(ctx, c, call.Event{Sender: e.Sender, Age: e.Age, Content: content})
	if verdict == call.KeepOurs {
		a.step(ctx, c, call.Ignore{})
	}
}

// glare settles what becomes of a call of ours to somebody who calls us at the same time.
//
// spec: MSC2746 glare
func (a *Agent) glare(ctx context.Context, e Event, invite *call.Invite) (call.Verdict, *activeCall) {
	if e.Age >= time.Duration(invite.Lifetime)*time.Millisecond {
		return call.NoGlare, nil // it does not ring any more
	}
	for key, ours := range a.calls {
		if key.room != e.Room {
			continue
		}
		verdict := ours.state.Glare(e.Sender, invite)
		if verdict == call.TakeTheirs {
			a.Log.Info("two calls crossed and theirs is taken", "room", e.Room, "peer", e.Sender)
			a.ringAnswered(ctx, ours)
			a.step(ctx, ours, call.GlareLost{})
		}
		if verdict != call.NoGlare {
			return verdict, ours
		}
	}
	return call.NoGlare, nil
}

// begin makes room for a call that comes in; nil if it is none of the board's business, or
// there are too many to answer it even with a refusal.
func (a *Agent) begin(ctx context.Context, key callKey, e Event) *activeCall {
	surplus := a.surplus(e.Sender)
	taken := !surplus && (a.mayCall(ctx, e.Sender) || a.callsTo(e.Sender, e.Room))
	if !taken && !a.refused.left(e.Sender, a.Now()) || !a.forUs(ctx, e) {
		return nil
	}
	if !taken {
		a.refused.allow(e.Sender, a.Now())
	}
	party, err := call.NewID(a.Random)
	if err != nil {
		a.Log.Error("no party ID can be made", "error", err)
		return nil
	}
	c := &activeCall{
		key: key, timers: map[call.Timer]*time.Timer{}, from: e.Sender, surplus: surplus,
		state: call.Start(call.Config{Role: call.Callee, Self: a.Self, CallID: key.id, PartyID: party}),
	}
	a.calls[key] = c
	return c
}

// surplus says whether somebody, or all together, have more calls that wait to be answered than
// the board keeps track of.
func (a *Agent) surplus(sender matrix.UserID) bool {
	theirs, all := 0, 0
	for _, c := range a.calls {
		if c.from == "" || c.session != nil {
			continue
		}
		if all++; c.from == sender {
			theirs++
		}
	}
	return theirs >= maxIncoming || all >= maxIncomingInAll
}

// callsTo says whether the board calls somebody in a room, so that theirs may cross.
func (a *Agent) callsTo(user matrix.UserID, room matrix.RoomID) bool {
	for key, c := range a.calls {
		if key.room == room && c.ring != nil && c.state.Peer() == user {
			return true
		}
	}
	return false
}

// occupied is how many calls are up or are being placed.
func (a *Agent) occupied() (n int) {
	for _, c := range a.calls {
		if c.session != nil || c.from == "" {
			n++
		}
	}
	return n
}

// forUs: a call to the board by name, or one in a room of two. A call among others that
// merely share a room with the board is theirs.
//
// spec: client-server API, voice over IP: calls in public rooms are ignored
func (a *Agent) forUs(ctx context.Context, e Event) bool {
	var invite struct {
		Invitee matrix.UserID `json:"invitee"`
	}
	named := json.Unmarshal(e.Content, &invite) == nil && invite.Invitee != ""
	if named && invite.Invitee != a.Self {
		return false
	}
	in, err := a.House.Audience(ctx, e.Room)
	if err != nil {
		a.Log.Error("the members of a room cannot be read", "room", e.Room, "error", err)
		return false
	}
	return !in.Public && (named || in.Joined <= 2)
}

// caughtUp tells calls that all events are in, so that they may ring now.
func (a *Agent) caughtUp(ctx context.Context) {
	for _, c := range a.calls {
		if ctx.Err() != nil {
			return
		}
		if c.state.Phase() == call.Invited {
			a.step(ctx, c, call.CaughtUp{})
		}
	}
}

// step moves a call on and carries out what follows from it.
func (a *Agent) step(ctx context.Context, c *activeCall, in call.Input) {
	if c.over {
		return
	}
	var outputs []call.Output
	c.state, outputs = call.Step(c.state, in)
	for _, o := range outputs {
		a.carryOut(ctx, c, o)
	}
	if p := c.state.Phase(); c.state.Role() == call.Caller && (p == call.Answered || p == call.Active) {
		a.ringAnswered(ctx, c)
	}
	a.stale = true
}

func (a *Agent) carryOut(ctx context.Context, c *activeCall, o call.Output) {
	switch o := o.(type) {
	case call.Send:
		a.send(ctx, c, o.Content)
	case call.Ring:
		a.rung(ctx, c, o)
	case call.StopRinging:
		if c.answer != nil {
			c.answer.Stop()
		}
	case call.SetTimer:
		a.setTimer(ctx, c, o)
	case call.StopTimer:
		if t := c.timers[o.Timer]; t != nil {
			t.Stop()
		}
	case call.Note:
		a.Log.Info("call: "+o.Text, "room", c.key.room, "call", c.key.id)
	case call.Established:
		a.Log.Info("the call is up", "room", c.key.room, "peer", c.state.Peer(), "after", c.session.Stats().Connected)
		a.announce(ctx, c)
		a.limit(ctx, c)
	case call.Ended:
		a.ended(c, o)
		a.ringEnded(ctx, c)
	case call.PeerStreams:
		c.streams = &o
		if c.session != nil {
			c.session.Order(o)
		}
	case call.ApplyOffer, call.CreateOffer, call.ApplyAnswer, call.AddCandidates, call.CloseMedia:
		a.order(ctx, c, o)
	}
}

func (a *Agent) send(ctx context.Context, c *activeCall, content call.Content) {
	a.record(ctx, c, content)
	raw, err := json.Marshal(content)
	if err == nil {
		err = a.House.Send(ctx, c.key.room, content.EventType(), raw)
	}
	if err != nil {
		a.Log.Error("a call event could not be sent", "type", content.EventType(), "room", c.key.room, "error", err)
	}
}

// report hands something to Run's goroutine; it gives up when ctx ends.
func (a *Agent) report(ctx context.Context, r report) {
	select {
	case a.reports <- r:
	case <-ctx.Done():
	}
}

func (a *Agent) setTimer(ctx context.Context, c *activeCall, o call.SetTimer) {
	if t := c.timers[o.Timer]; t != nil {
		t.Stop()
	}
	fired := call.TimerFired{Timer: o.Timer, Seq: o.Seq}
	c.timers[o.Timer] = time.AfterFunc(o.After, func() { a.report(ctx, report{call: c, input: fired}) })
}

// order passes an order on; the first one opens the session.
func (a *Agent) order(ctx context.Context, c *activeCall, o call.Output) {
	if _, closing := o.(call.CloseMedia); closing {
		if c.session != nil {
			c.session.Order(o)
		}
		return
	}
	if c.session == nil {
		s, err := a.Bridge.Open(ctx)
		if err != nil {
			a.Log.Error("the media of a call cannot be opened", "error", err)
			var in call.Input = call.MediaFailed{}
			if errors.Is(err, call.ErrBusy) {
				in = call.HangUp{Reason: call.UserBusy}
			}
			a.helpers.Go(func() { a.report(ctx, report{call: c, input: in}) })
			return
		}
		if c.deaf {
			s.Deafen()
		}
		if c.auto {
			s.Withhold(!c.rule.Audio, !c.rule.Video)
		}
		c.session = s
		if c.streams != nil { // it came with the invite
			s.Order(*c.streams)
		}
		a.mu.Lock()
		a.live[c.key] = s
		a.mu.Unlock()
		a.helpers.Go(func() {
			for r := range s.Reports() {
				a.report(ctx, report{call: c, input: r.Input, digit: r.Digit})
			}
		})
	}
	c.session.Order(o)
}

func (a *Agent) ended(c *activeCall, o call.Ended) {
	args := []any{"room", c.key.room, "peer", c.state.Peer(), "why", o.Why}
	if c.session != nil {
		s := c.session.Stats()
		args = append(args, "heard_level_dbfs", s.HeardLevel, "video_sent", s.VideoSent, "audio_received", s.AudioReceived)
	}
	a.Log.Info("the call is over", args...)
	c.over = true
	for _, t := range c.timers {
		t.Stop()
	}
	for _, t := range []*time.Timer{c.answer, c.limit} {
		if t != nil {
			t.Stop()
		}
	}
	delete(a.calls, c.key)
	if c.noted {
		a.Journal.over(c.key)
	}
	a.mu.Lock()
	delete(a.live, c.key)
	a.mu.Unlock()
	if c.session != nil {
		a.helpers.Go(func() {
			if err := c.session.Close(); err != nil {
				a.Log.Warn("the media of a call did not end cleanly", "error", err)
			}
		})
	}
}
