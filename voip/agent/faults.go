package agent

import (
	"context"
	"fmt"
	"time"
)

const (
	// faultLook is how often it is asked for faults of a camera or microphone that does not
	// watch.
	faultLook = 15 * time.Second
	// faultHold is how long one that fails a second time has to work again until people are
	// told so; it doubles with each time up to maxFaultHold, and is forgotten when it has not
	// failed for faultMemory. That it has failed is told at once, so that people are never
	// left in the belief that it works; a loose cable does not fill the room all the same.
	faultHold    = time.Minute
	maxFaultHold = 10 * time.Minute
	faultMemory  = time.Hour
)

// fault is the state of a camera or microphone. Only Run's goroutine touches it.
type fault struct {
	name   string
	err    error     // what is wrong with it; nil: nothing
	times  int       // how often it has come and gone
	told   bool      // people believe that it has failed
	toldAt time.Time // when they were told last that it has
	hold   time.Duration
}

// lookAfter asks a sense that does not watch for faults until changed is closed.
func (a *Agent) lookAfter(ctx context.Context, changed <-chan struct{}, s sense) {
	look := time.NewTicker(faultLook)
	defer look.Stop()
	for {
		a.sensed(ctx, s.name, s.fault())
		select {
		case <-look.C:
		case <-changed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// sensed hears how it goes with a camera or microphone, and tells people when it fails and
// when it works again.
func (a *Agent) sensed(ctx context.Context, name string, err error) {
	a.later(ctx, func(ctx context.Context) {
		f := a.faults[name]
		if f == nil {
			f = &fault{name: name}
			a.faults[name] = f
		}
		before := f.err
		if f.err = err; (before == nil) == (err == nil) {
			return
		}
		f.times++
		if err != nil {
			a.Log.Error("a sense has failed", "sense", name, "error", err)
			a.tellFault(ctx, f)
			return
		}
		a.Log.Info("a sense works again", "sense", name)
		if f.hold == 0 {
			a.tellGood(ctx, f)
			return
		}
		times := f.times
		time.AfterFunc(f.hold, func() {
			a.later(ctx, func(ctx context.Context) {
				if f.times == times { // it has not failed meanwhile
					a.tellGood(ctx, f)
				}
			})
		})
	})
}

// tellFault tells of a fault of which people do not know.
func (a *Agent) tellFault(ctx context.Context, f *fault) {
	if f.told {
		return
	}
	switch {
	case f.toldAt.IsZero() || a.Now().Sub(f.toldAt) > faultMemory:
		f.hold = 0
	case f.hold == 0:
		f.hold = faultHold
	default:
		f.hold = min(2*f.hold, maxFaultHold)
	}
	f.told, f.toldAt = true, a.Now()
	a.warnOfFault(ctx, fmt.Sprintf("The %s has failed: you cannot rely on it now. (%s)", f.name, sentence(f.err)))
}

// tellGood takes it back.
func (a *Agent) tellGood(ctx context.Context, f *fault) {
	f.told = false
	a.warnOfFault(ctx, fmt.Sprintf("The %s works again.", f.name))
}

// warnOfFault tells people also in quiet times: whoever relies on the board has to know.
func (a *Agent) warnOfFault(ctx context.Context, text string) {
	if a.Settings.Current().FaultAlert {
		a.warn(ctx, text)
	}
}
