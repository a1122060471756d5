package bridge

import (
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
)

const (
	// silenceLook is how often it is looked whether anything comes of the peer.
	silenceLook = 2 * time.Second
	// maxSilence is how long nothing but ICE's own packets may come of a peer that has sent
	// others, until the connection counts as lost. What it is sent it has to report about
	// every few seconds, also while it is muted. spec: RFC 3550 section 6.2
	maxSilence = 20 * time.Second
)

// silence notices a peer whose media has stopped for good on a connection that stands: a
// client that has gone on to another one, or a program that hangs.
type silence struct {
	mu      sync.Mutex
	count   func() (packets uint32, ok bool) // that have come by the path in use, but for ICE's
	packets uint32                           // at the last look
	heard   bool                             // some have come since the connection stands
	last    time.Time                        // when that was so
	dead    bool                             // it was reported as lost
}

// received counts the packets that have come by the path in use.
func (s *Session) received() (uint32, bool) {
	for _, t := range s.pc.GetTransceivers() {
		if t.Receiver() == nil || t.Receiver().Transport() == nil {
			continue
		}
		stats, ok := t.Receiver().Transport().ICETransport().GetSelectedCandidatePairStats()
		return stats.PacketsReceived, ok
	}
	return 0, false
}

// listen looks whether anything comes of the peer, if there is anything to be expected.
func (s *Session) listen() {
	s.mu.Lock()
	expected := s.peerSends || len(s.wanted) > 0
	s.mu.Unlock()
	q := &s.silence
	q.mu.Lock()
	packets, ok := q.count()
	now := s.b.cfg.Now()
	var report call.Input
	switch {
	case !ok || s.pc.ConnectionState() != webrtc.PeerConnectionStateConnected:
		q.heard, q.packets = false, packets // its end is told by the connection itself
	case q.last.IsZero():
		q.packets, q.last = packets, now // the handshake's
	case packets != q.packets:
		q.packets, q.last, q.heard = packets, now, true
		if q.dead {
			q.dead, report = false, call.Connected{}
		}
	case !expected || !q.heard:
		q.last = now
	case !q.dead && now.Sub(q.last) >= maxSilence:
		q.dead, report = true, call.Disconnected{}
	}
	q.mu.Unlock()
	if report != nil {
		s.log.Info("bridge: the peer's media has stopped or goes on", "stopped", report == call.Input(call.Disconnected{}))
		s.report(report)
	}
}

// silent says whether the peer counts as lost though the connection stands.
func (s *Session) silent() bool {
	s.silence.mu.Lock()
	defer s.silence.mu.Unlock()
	return s.silence.dead
}
