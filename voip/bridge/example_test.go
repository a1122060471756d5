package bridge_test

import (
	"context"
	"time"

	"porchlight/voip/bridge"
	"porchlight/voip/call"
)

// agent is how a call and its media are joined: one loop holds the State, and all
// that happens comes to it as an Input.
type agent struct {
	bridge  *bridge.Bridge
	session *bridge.Session
	state   call.State
	inputs  chan call.Input
	send    func(call.Content)
	dial    func(digit rune)

	established func()
}

func (a *agent) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var events <-chan bridge.Event // nil, and so silent, while there is no session
	for a.state.Phase() != call.Over {
		var in call.Input
		select {
		case in = <-a.inputs: // events of the room, decisions, timers
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.Report == nil {
				a.dial(e.Digit)
				continue
			}
			in = e.Report
		case <-ctx.Done():
			return ctx.Err()
		}
		var outputs []call.Output
		a.state, outputs = call.Step(a.state, in)
		for _, o := range outputs {
			switch o := o.(type) {
			case call.Send:
				a.send(o.Content)
			case call.Established:
				a.established()
			case call.SetTimer:
				time.AfterFunc(o.After, func() {
					select {
					case a.inputs <- call.TimerFired{Timer: o.Timer, Seq: o.Seq}:
					case <-ctx.Done(): // ends with the call
					}
				})
			case call.ApplyOffer, call.CreateOffer:
				if a.session == nil {
					s, err := a.bridge.Open(ctx)
					if err != nil {
						return err
					}
					a.session, events = s, s.Events()
				}
				a.session.Order(o)
			case call.ApplyAnswer, call.AddCandidates, call.CloseMedia:
				a.session.Order(o)
			}
		}
	}
	return nil
}

func Example() {
	// Made by the server: a running Bridge, and a call for each m.call.invite.
	_ = (&agent{}).run
}
