package agent

import (
	"context"
	"fmt"
	"time"

	"porchlight/voip/call"
)

// limitWarning is how long before a call is hung up its people are told.
const limitWarning = 30 * time.Second

// maxCalls is how many calls the board takes at once.
func (a *Agent) maxCalls() int {
	if a.MaxCalls > 0 {
		return a.MaxCalls
	}
	return a.Settings.Current().Viewers
}

// limit ends a call that is up when its time is over, so that one that somebody forgot does
// not keep camera and microphone live.
func (a *Agent) limit(ctx context.Context, c *activeCall) {
	settings := a.Settings.Current()
	most := settings.CallLimit
	if c.state.Role() == call.Caller {
		most = settings.RingLimit
	}
	if most == 0 || c.limit != nil {
		return
	}
	over := func(ctx context.Context) {
		if !c.over {
			a.reply(ctx, a.inCall(c), fmt.Sprintf("I hang up: calls last %s at most.", most))
			a.step(ctx, c, call.HangUp{})
		}
	}
	if most <= 2*limitWarning {
		c.limit = time.AfterFunc(most, func() { a.later(ctx, over) })
		return
	}
	c.limit = time.AfterFunc(most-limitWarning, func() {
		a.later(ctx, func(ctx context.Context) {
			if c.over {
				return
			}
			a.reply(ctx, a.inCall(c), fmt.Sprintf("I hang up in %s: calls last %s at most.", limitWarning, most))
			c.limit = time.AfterFunc(limitWarning, func() { a.later(ctx, over) })
		})
	})
}
