package agent

import (
	"context"
	"fmt"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

const (
	// maxIncoming is how many calls of one person may wait to be answered, maxIncomingInAll how
	// many of all people; further ones are refused as busy.
	maxIncoming      = 3
	maxIncomingInAll = 16
	// refusals is how many calls of one person are refused within refusalTime by an answer, and
	// refusalsInAll how many of all people; after that they are passed over in silence, since
	// each answer has to be written to the disk.
	refusals      = 3
	refusalsInAll = 20
	refusalTime   = time.Minute
	// strangersTime is how long somebody who may not command is told nothing more about that.
	strangersTime  = time.Hour
	strangersInAll = 10
	// maxTallied is of how many people a limiter remembers how much they did.
	maxTallied = 64
)

// limiter lets each person have a few answers in a while, and all together some more.
type limiter struct {
	each, inAll int
	every       time.Duration

	tallies map[matrix.UserID]*tally
	all     tally
}

// tally is how many answers were given since a time.
type tally struct {
	since time.Time
	n     int
}

func (t *tally) over(now time.Time, d time.Duration) bool {
	return now.Sub(t.since) >= d || now.Before(t.since)
}

// left says whether there is an answer left for somebody.
func (l *limiter) left(user matrix.UserID, now time.Time) bool {
	if !l.all.over(now, l.every) && l.all.n >= l.inAll {
		return false
	}
	t := l.tallies[user]
	return t == nil || t.over(now, l.every) || t.n < l.each
}

// allow takes an answer for somebody; false: there is none left.
func (l *limiter) allow(user matrix.UserID, now time.Time) bool {
	if !l.left(user, now) {
		return false
	}
	if l.tallies == nil || len(l.tallies) >= maxTallied { // then the bound for all holds
		l.tallies = map[matrix.UserID]*tally{}
	}
	t := l.tallies[user]
	if t == nil {
		t = &tally{}
		l.tallies[user] = t
	}
	for _, t := range []*tally{t, &l.all} {
		if t.over(now, l.every) {
			*t = tally{since: now}
		}
		t.n++
	}
	return true
}

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
