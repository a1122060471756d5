package bridge

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
)

// A peer of which nothing comes any more counts as lost, though ICE says that all is well; one
// that comes back does not, nor one of which nothing is expected.
func TestSilentPeer(t *testing.T) {
	checkLeaks(t)
	var shift atomic.Int64
	s := open(t, newMedia(), func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
	})
	var packets atomic.Uint32
	s.silence.mu.Lock()
	s.silence.count = func() (uint32, bool) { return packets.Load(), true }
	s.silence.mu.Unlock()
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	pass := func(d time.Duration) {
		shift.Add(int64(d))
		s.listen()
	}
	quiet := func(when string) {
		t.Helper()
		select {
		case e := <-s.Events():
			switch e.Report.(type) {
			case call.Connected, call.Disconnected:
				t.Errorf("%s: %T", when, e.Report)
			}
		default:
		}
		if s.silent() {
			t.Errorf("%s: it counts as lost", when)
		}
	}
	pass(0)
	pass(2 * maxSilence)
	quiet("one that has never sent anything")
	packets.Store(100)
	pass(time.Second)
	pass(maxSilence - 2*time.Second)
	quiet("a short pause")
	pass(3 * time.Second)
	wait[call.Disconnected](t, s)
	packets.Store(101)
	pass(time.Second)
	wait[call.Connected](t, s)
	s.mu.Lock()
	s.wanted, s.peerSends = nil, false // on hold by both
	s.mu.Unlock()
	pass(2 * maxSilence)
	pass(2 * maxSilence)
	quiet("on hold")
}

// The path's packets are counted as they come.
func TestReceivedPackets(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	if n, ok := s.received(); ok {
		t.Errorf("%d packets before there is a connection", n)
	}
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.more("audio", 3)
	before, _ := s.received()
	until(t, "more packets", func() bool { n, ok := s.received(); return ok && n > before+3 })
}
