package congestion

import (
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// numberURI is the header extension in which packets have their number.
// spec: draft-holmer-rmcat-transport-wide-cc-extensions-01, 2
const numberURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

const (
	// back is the share of what arrives that is sent when the queue grows, so that it empties.
	back = 0.85
	// pace is how much the rate rises in a second on a line that carries all.
	pace = 0.12
	// slowly is the share of it while some packets get lost.
	slowly = 0.25
	// ahead is how far above what arrives the rate may rise: there may be a line for more,
	// but nothing has tried it.
	ahead = 1.5
	// between is the least time between two steps down: the first one has to be felt.
	between = 300 * time.Millisecond
	// longestStep bounds the rise after a silence.
	longestStep = time.Second
)

// Config is what an Estimator is made of.
type Config struct {
	// Start, Min and Max are rates in bits per second: the first, and the bounds.
	Start, Min, Max int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Estimator knows what the line of one peer connection carries. It is an interceptor, whose
// place is next to the network: after what numbers the packets, repeats them and holds them
// back. It may be used by several goroutines.
type Estimator struct {
	interceptor.NoOp
	cfg Config

	mu      sync.Mutex
	history history
	queue   queue
	losses  losses
	arrive  arrivals
	newest  time.Time // that the newest packet which arrived was sent
	told    bool      // by the peer, when packets arrive
	rate    float64
	stepped time.Time // the last time the rate was looked at
	lowered time.Time
}

// New returns an Estimator.
func New(cfg Config) *Estimator {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Estimator{cfg: cfg, rate: float64(cfg.Start)}
}

// Rate is what the line carries, in bits per second, RTP headers included. It is Start until
// the peer has told something.
func (e *Estimator) Rate() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int(e.rate)
}

// BindLocalStream implements interceptor.Interceptor.
func (e *Estimator) BindLocalStream(info *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	id := uint8(0)
	for _, x := range info.RTPHeaderExtensions {
		if x.URI == numberURI {
			id = uint8(x.ID)
		}
	}
	if id == 0 {
		return next
	}
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		var x rtp.TransportCCExtension
		if x.Unmarshal(h.GetExtension(id)) == nil { // else it has no number, and nobody tells of it
			e.mu.Lock()
			e.history.add(x.TransportSequence, h.MarshalSize()+len(payload), e.cfg.Now())
			e.mu.Unlock()
		}
		return next.Write(h, payload, a)
	})
}

// BindRTCPReader implements interceptor.Interceptor.
func (e *Estimator) BindRTCPReader(next interceptor.RTCPReader) interceptor.RTCPReader {
	return interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := next.Read(b, a)
		if err != nil {
			return n, a, err
		}
		if a == nil {
			a = interceptor.Attributes{}
		}
		packets, err := a.GetRTCPPackets(b[:n])
		if err != nil {
			return n, a, err
		}
		for _, p := range packets {
			if f, ok := p.(*rtcp.TransportLayerCC); ok {
				e.feedback(f)
			}
		}
		return n, a, nil
	})
}

// Lost takes what a peer that does not tell when packets arrive says of them: which share
// was lost, from 0 to 1, since it last said so.
func (e *Estimator) Lost(share float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.told {
		e.losses.count(share)
		e.step(free, true)
	}
}

// feedback takes what the peer says about when packets arrived. What it says of packets that
// were never sent, or twice, changes nothing.
func (e *Estimator) feedback(f *rtcp.TransportLayerCC) {
	e.mu.Lock()
	defer e.mu.Unlock()
	some := false
	err := e.history.feedback(f, func(p *packet) {
		some = true
		e.queue.add(p)
		e.arrive.add(p)
		if p.sent.After(e.newest) {
			e.newest = p.sent
		}
	})
	if err != nil || !some {
		return // what it said before the fault is noted; a peer that goes on like this has no rate
	}
	e.told = true
	counted := false
	e.history.judge(e.newest, func(p *packet) {
		counted = e.losses.add(p) || counted
	})
	e.step(e.queue.state(), counted)
}

// step moves the rate. e.mu is held.
func (e *Estimator) step(s state, counted bool) {
	now := e.cfg.Now()
	passed := min(now.Sub(e.stepped), longestStep)
	if e.stepped.IsZero() {
		passed = 0
	}
	e.stepped = now
	arrives := float64(e.arrive.rate())
	switch {
	case now.Sub(e.lowered) < between:
		return
	case counted && e.losses.much() > 0:
		e.rate *= 1 - e.losses.much()/2
		e.lowered = now
	case s == overuse && arrives > 0:
		if to := back * arrives; to < e.rate {
			e.rate = to
			e.lowered = now
		}
	case s == free && e.losses.much() == 0:
		rise := pace * passed.Seconds()
		if e.losses.share > littleLoss {
			rise *= slowly
		}
		to := e.rate * (1 + rise)
		if e.told {
			to = min(to, ahead*arrives)
		}
		e.rate = max(e.rate, to)
	}
	e.rate = min(max(e.rate, float64(e.cfg.Min)), float64(e.cfg.Max))
}
