package congestion

import "time"

const (
	// lossTime and lossPackets are what the share of the lost is counted over, at least both.
	lossTime    = 500 * time.Millisecond
	lossPackets = 30
	// muchLoss lowers the rate, littleLoss leaves it alone. Between them it rises more slowly:
	// a radio loses some whatever is sent, a full line without a queue more with every step.
	// spec: draft-ietf-rmcat-gcc-02, 6
	muchLoss, littleLoss = 0.10, 0.02
)

// losses counts which share of the packets gets lost.
type losses struct {
	sent, lost int
	since      time.Time // that the first of them was sent
	last       float64   // the share in the last full count
	share      float64   // the mean of the last ones, of which the newest counts most
}

// add takes a packet whose fate is sealed, and says whether a count is full.
func (l *losses) add(p *packet) bool {
	if p.fate == unknown {
		return false
	}
	if l.sent == 0 {
		l.since = p.sent
	}
	l.sent++
	if p.fate == missing {
		l.lost++
	}
	if l.sent < lossPackets || p.sent.Sub(l.since) < lossTime {
		return false
	}
	l.count(float64(l.lost) / float64(l.sent))
	return true
}

// count takes the share of a full count.
func (l *losses) count(share float64) {
	*l = losses{last: share, share: (l.share + share) / 2}
}

// much is the share that got lost, if both the last count and those before say that it is
// much, otherwise 0. Either alone may be chance.
func (l *losses) much() float64 {
	if m := min(l.last, l.share); m > muchLoss {
		return m
	}
	return 0
}

// arrivalTime is the time over which it is counted what arrives.
const arrivalTime = 500 * time.Millisecond

// arrivals counts what arrives.
type arrivals struct {
	packets []packet // of the last arrivalTime, by the time they came
	bytes   int
}

func (a *arrivals) add(p *packet) {
	at := len(a.packets)
	for at > 0 && a.packets[at-1].came > p.came {
		at--
	}
	a.packets = append(a.packets, packet{})
	copy(a.packets[at+1:], a.packets[at:])
	a.packets[at] = *p
	a.bytes += p.size
	newest := a.packets[len(a.packets)-1].came
	for newest-a.packets[0].came > arrivalTime || len(a.packets) > remembered {
		a.bytes -= a.packets[0].size
		a.packets = a.packets[1:]
	}
}

// rate is what arrives, in bits per second; 0 while too little is known.
func (a *arrivals) rate() int {
	if len(a.packets) < neighbours {
		return 0
	}
	span := max(a.packets[len(a.packets)-1].came-a.packets[0].came, arrivalTime/2)
	return int(float64(8*a.bytes) / span.Seconds())
}
