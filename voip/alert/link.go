package alert

import "time"

// LinkVerdict is what a look at a connection leads to.
type LinkVerdict uint8

// The verdicts.
const (
	LinkNothing LinkVerdict = iota
	LinkLost                // it has been gone for long enough
	LinkBack                // it has been back for long enough
)

// Link follows whether a connection is there. One that flaps is gone or back once, when it
// has settled. One goroutine may use it.
type Link struct {
	// Hold is how long a change has to last to count.
	Hold time.Duration

	lost     bool
	changing bool      // it looks the other way than lost says
	since    time.Time // since when
	gone     time.Time // since when it has been lost
	back     time.Time // up to when it was
}

// Add takes a look: whether the connection is there at a time.
func (l *Link) Add(up bool, at time.Time) LinkVerdict {
	if up != l.lost {
		l.changing = false
		return LinkNothing
	}
	if !l.changing {
		l.changing, l.since = true, at
	}
	if at.Sub(l.since) < l.Hold {
		return LinkNothing
	}
	l.lost, l.changing = !up, false
	if l.lost {
		l.gone = l.since
		return LinkLost
	}
	l.back = l.since
	return LinkBack
}

// Gone is since when the connection has been gone, or was gone last, and for how long by
// the time at hand or when it came back.
func (l *Link) Gone(now time.Time) (since time.Time, d time.Duration) {
	if l.lost {
		return l.gone, now.Sub(l.gone)
	}
	return l.gone, l.back.Sub(l.gone)
}
