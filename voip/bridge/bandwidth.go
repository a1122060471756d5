package bridge

import (
	"context"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"

	"porchlight/voip/congestion"
	"porchlight/voip/device"
)

// How the picture's bit rate follows the line: voip/congestion tells what the line to a peer
// carries. A peer may say itself what it can take at most, too (REMB).

const (
	// audioShare is what of the line's estimate is left to the sound and its headers, in
	// bits per second. It comes first: a call without pictures is one, the reverse is not.
	audioShare = 45_000
	// headroom lets the estimate rise somewhat above what is ever sent, so that a line which
	// carries the ceiling well is not taken for one that just does.
	headroom = 1.25
	// rembTime is how long a peer's own word on what it can take holds.
	rembTime = 10 * time.Second
	// paceFactor is how much faster than the line's rate the packets of a picture follow each
	// other. A key frame sent at once would fill a slow line's queue, with the sound behind.
	// Lines that carry the ceiling get each picture at once: that is 100 ms sooner.
	paceFactor = 2
	// thinKeyInterval is the least time between two key frames that are asked for only
	// because a line cannot keep up: all viewers pay for them.
	thinKeyInterval = 3 * time.Second
)

// estimators makes what knows the lines of peer connections. Bridge.Run alone makes those, so
// that newest is the one of the connection that was made last. It is an interceptor.Factory,
// and has to come before what repeats lost packets, which then stays within the rate.
type estimators struct {
	cfg    Config
	newest *congestion.Estimator
}

// NewInterceptor implements interceptor.Factory.
func (e *estimators) NewInterceptor(string) (interceptor.Interceptor, error) {
	e.newest = congestion.New(congestion.Config{
		Start: min(e.cfg.VideoBitrate, DefaultVideoBitrate) + audioShare,
		Min:   e.cfg.MinVideoBitrate + audioShare,
		Max:   int(headroom*float64(e.cfg.VideoBitrate)) + audioShare,
		Now:   e.cfg.Now,
	})
	return e.newest, nil
}

// feedback takes what the peer says about our packets.
func (s *Session) feedback(p rtcp.Packet) {
	switch p := p.(type) {
	case *rtcp.TransportLayerCC: // the estimator has seen it
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		s.mu.Lock()
		s.remb, s.rembAt = int(p.Bitrate), s.b.cfg.Now()
		s.mu.Unlock()
	case *rtcp.ReceiverReport:
		s.lost(p.Reports)
	default:
		return
	}
	s.follow()
}

// lost notes the loss of our streams.
func (s *Session) lost(reports []rtcp.ReceptionReport) {
	for _, r := range reports {
		loss := float64(r.FractionLost) / 256
		s.mu.Lock()
		snd := s.sending[r.SSRC]
		if snd != nil && snd.kind == "video" {
			s.stats.Loss = loss
		}
		s.mu.Unlock()
		if snd != nil {
			snd.setLoss(loss)
		}
		if snd != nil && snd.kind == "video" {
			s.estimator.Lost(loss)
		}
	}
}

// follow tells the camera what the line carries for the picture.
func (s *Session) follow() {
	s.mu.Lock()
	before, snd := s.stats.Bitrate, s.picture
	rate := s.allowed()
	// Each change costs all viewers; a step of a few percent is noise.
	if d := rate - before; d != 0 && d > -before/32 && d < before/32 && rate != s.b.cfg.VideoBitrate {
		rate = before
	}
	s.stats.Bitrate = rate
	s.mu.Unlock()
	if rate != before && snd != nil {
		snd.setBitrate(s.wish(rate))
	}
}

// allowed is what the picture may take now, in bits per second. s.mu is held.
func (s *Session) allowed() int {
	rate := s.estimator.Rate() - audioShare
	if s.remb > 0 && s.b.cfg.Now().Sub(s.rembAt) < rembTime {
		rate = min(rate, s.remb-audioShare)
	}
	return min(max(rate, s.b.cfg.MinVideoBitrate), s.b.cfg.VideoBitrate)
}

// wish is a rate as device.VideoStream takes it: 0 for no wish.
func (s *Session) wish(rate int) int {
	if rate >= s.b.cfg.VideoBitrate {
		return 0
	}
	return rate
}

func (snd *sender) setBitrate(rate int) {
	snd.mu.Lock()
	defer snd.mu.Unlock()
	if snd.video != nil {
		snd.video.SetBitrate(rate)
	}
}

// setLoss tells the microphone's encoder how much of what it sends gets lost.
func (snd *sender) setLoss(loss float64) {
	snd.mu.Lock()
	defer snd.mu.Unlock()
	if snd.audio != nil {
		snd.audio.SetLoss(loss)
	}
}

// budget keeps what one viewer is sent within what the line carries, where the encoder does
// not do so: it is shared with viewers on better lines, or is a camera's own that cannot be
// told. Then whole pictures are left out, from one on up to a key frame, so that nothing
// piles up on the way. It is for one goroutine.
type budget struct {
	bits  float64 // may be spent; what is owed is below zero
	at    time.Time
	owed  time.Duration // length of the pictures left out since the last one sent
	short bool          // until there is a key frame that can be paid
}

const (
	// budgetSave is the most that is saved up and budgetDebt the most that is owed, as the
	// time in which the line carries it. A key frame is several times as large as the rest.
	budgetSave = time.Second
	budgetDebt = 700 * time.Millisecond
)

// take says whether a frame may be sent on a line of rate bits per second, and whether a key
// frame is needed to go on. A rate of 0 is no bound.
func (b *budget) take(now time.Time, rate int, f *device.EncodedFrame) (send, wantKey bool) {
	if rate == 0 {
		b.bits, b.at = 0, now
		if b.short && !f.Key {
			b.owed += f.Duration
			return false, true
		}
	} else {
		save, debt := float64(rate)*budgetSave.Seconds(), float64(rate)*budgetDebt.Seconds()
		if b.at.IsZero() {
			b.at = now
		}
		b.bits = min(b.bits+float64(rate)*now.Sub(b.at).Seconds(), save)
		b.at = now
		switch {
		case b.short && (b.bits < 0 || !f.Key):
			b.owed += f.Duration
			return false, b.bits >= 0
		case b.bits < -debt:
			b.short = true
			b.owed += f.Duration
			return false, false
		}
		b.bits -= float64(8 * len(f.Data))
	}
	b.short = false
	f.Duration += b.owed
	b.owed = 0
	return true, false
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
