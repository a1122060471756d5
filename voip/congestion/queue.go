package congestion

import "time"

const (
	// neighbours and neighbourhood say among which packets the least delay is looked for: so
	// many, or those sent in that time if they are more.
	neighbours    = 10
	neighbourhood = 150 * time.Millisecond
	// trendTime is the time over which the queue's growth is measured, by looks that are at
	// least lookTime apart.
	trendTime = 500 * time.Millisecond
	lookTime  = 20 * time.Millisecond
	// fewLooks are too few to tell.
	fewLooks = 5
	// growing is the growth in trendTime beyond which the line is overused, beside half of
	// what single packets are late.
	growing = 15 * time.Millisecond
	// longQueue is one that has to become shorter, and shortQueue one that is none.
	longQueue  = 100 * time.Millisecond
	shortQueue = 25 * time.Millisecond
	// emptySeconds is how long the least delay ever seen is taken for that of an empty queue.
	// After it a way that has become longer, or another's queue that stays, is nothing new.
	emptySeconds = 10
	// patience is how long a long queue may stay as it is though less is sent, until it is
	// taken for a longer way, or another's.
	patience = 1500 * time.Millisecond
)

// state is what the queue before the line does.
type state uint8

const (
	free    state = iota // there is none to speak of
	holding              // it does not grow, but is there
	overuse              // it grows
)

// queue measures what waits before the line, as the delay of packets. The clocks of both ends
// are not compared: a delay is so much above the least one seen.
type queue struct {
	recent []sample // in the order in which they were sent, the last are neighbours
	looks  []sample // the least delay then, the last trendTime of it
	least  [emptySeconds]struct {
		second int64
		delay  time.Duration
	}
	begin  time.Time // of the call
	uneven time.Duration
	stuck  time.Time // since when a long queue has not changed; zero: it has
}

// sample is a delay of packets that were sent at a time.
type sample struct {
	sent  time.Time
	delay time.Duration
}

// add takes the delay of a packet that has arrived.
func (q *queue) add(p *packet) {
	if q.begin.IsZero() {
		q.begin = p.sent
	}
	s := sample{p.sent, p.came - p.sent.Sub(q.begin)}
	at := len(q.recent)
	for at > 0 && q.recent[at-1].sent.After(s.sent) {
		at-- // it was overtaken
	}
	if late := len(q.recent) - at; late >= neighbours {
		return // says nothing about now
	}
	q.recent = append(q.recent, sample{})
	copy(q.recent[at+1:], q.recent[at:])
	q.recent[at] = s
	newest := q.recent[len(q.recent)-1].sent
	for len(q.recent) > neighbours && newest.Sub(q.recent[0].sent) > neighbourhood {
		q.recent = q.recent[1:]
	}
	q.look(newest)
}

// look notes the least delay among the neighbours.
func (q *queue) look(now time.Time) {
	shortest := sample{now, q.recent[0].delay}
	var sum time.Duration
	for _, s := range q.recent {
		shortest.delay = min(shortest.delay, s.delay)
		sum += s.delay
	}
	n := len(q.looks)
	if n > 0 && now.Sub(q.looks[n-1].sent) < lookTime {
		return
	}
	mean := sum/time.Duration(len(q.recent)) - shortest.delay
	q.uneven += (mean - q.uneven) / 16
	q.looks = append(q.looks, shortest)
	for now.Sub(q.looks[0].sent) > trendTime {
		q.looks = q.looks[1:]
	}
	second := int64(now.Sub(q.begin) / time.Second)
	if b := &q.least[second%emptySeconds]; b.second != second+1 || shortest.delay < b.delay {
		b.second, b.delay = second+1, shortest.delay
	}
}

// empty is the delay of an empty queue.
func (q *queue) empty() time.Duration {
	last := q.looks[len(q.looks)-1]
	second, least := int64(last.sent.Sub(q.begin)/time.Second), last.delay
	for _, b := range q.least {
		if b.second > 0 && second+1-b.second < emptySeconds {
			least = min(least, b.delay)
		}
	}
	return least
}

// state is what the queue does now.
func (q *queue) state() state {
	if len(q.looks) < fewLooks {
		return free
	}
	last := q.looks[len(q.looks)-1]
	waits, growth, bound := last.delay-q.empty(), q.growth(), growing+q.uneven/2
	flat := waits > longQueue+q.uneven && growth <= bound && growth > -bound/4
	if !flat {
		q.stuck = time.Time{}
	}
	switch {
	case growth > bound:
		return overuse
	case flat && q.stuck.IsZero():
		q.stuck = last.sent
		return overuse
	case flat && last.sent.Sub(q.stuck) < patience:
		return overuse
	case flat:
		for i := range q.least {
			q.least[i].delay = last.delay
		}
		return free
	case waits > shortQueue+q.uneven/2:
		return holding
	}
	return free
}

// growth is how much longer the queue gets in trendTime: the slope of the straight line that
// fits the looks best, and no more than the last of them tell, so that what is over is not
// held against the line.
func (q *queue) growth() time.Duration {
	var t, d, tt, td float64
	begin, n := q.looks[0].sent, float64(len(q.looks))
	for _, s := range q.looks {
		x, y := s.sent.Sub(begin).Seconds(), s.delay.Seconds()
		t, d, tt, td = t+x, d+y, tt+x*x, td+x*y
	}
	spread := tt - t*t/n
	if spread <= 0 {
		return 0
	}
	slope := (td - t*d/n) / spread
	if last := q.looks[len(q.looks)-1].delay; last < q.looks[len(q.looks)/2].delay {
		return min(0, time.Duration(slope*float64(trendTime)))
	}
	return time.Duration(slope * float64(trendTime))
}
