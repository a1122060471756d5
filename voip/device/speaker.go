package device

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// player is a loudspeaker that takes blocks of sound at soundRate. play never
// blocks and says whether the block was taken.
type player interface {
	play(pcm []int16) bool
	close() error
}

// maxCatchUp is how much a speaker plays at once after it was kept waiting; what is beyond
// it is left out.
const maxCatchUp = 200 * time.Millisecond

// speaker implements Speaker. Without a player it only measures.
type speaker struct {
	now    func() time.Time
	player player
	done   func()            // told once when the speaker is closed
	heard  func(pcm []int16) // told what is played; may be nil
	volume *volume           // may be nil
	quit   context.CancelFunc
	ended  chan struct{} // closed when run has ended; nil if it was never begun

	mu      sync.Mutex
	closed  bool
	playout playout
	dropped uint64 // blocks that the player did not take
	at      time.Time
	sound   loudness
}

func newSpeaker(now func() time.Time, p player, done func()) *speaker {
	return &speaker{now: now, player: p, done: done}
}

// begin has spawn run the speaker.
func (s *speaker) begin(ctx context.Context, spawn func(context.Context, func(context.Context)) error) error {
	own, quit := context.WithCancel(context.Background())
	ended := make(chan struct{})
	err := spawn(ctx, func(ctx context.Context) {
		defer close(ended)
		stop := context.AfterFunc(ctx, quit)
		defer stop()
		s.run(own)
	})
	if err != nil {
		quit()
		return err
	}
	s.quit, s.ended = quit, ended
	return nil
}

// run plays a block every PacketDuration until ctx ends.
func (s *speaker) run(ctx context.Context) {
	due := s.now()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-wake.C:
		case <-ctx.Done():
			return
		}
		now := s.now()
		if d := now.Sub(due); d > maxCatchUp || d < -maxCatchUp {
			due = now // the machine stood still, or its clock was set
		}
		for ; !due.After(now); due = due.Add(PacketDuration) {
			s.tick(due)
		}
		wake.Reset(due.Sub(now))
	}
}

// tick plays what is to be played at a time.
func (s *speaker) tick(at time.Time) {
	s.mu.Lock()
	block := s.playout.tick(at)
	if block == nil {
		s.sound.add(make([]int16, blockSamples))
		s.mu.Unlock()
		return
	}
	s.sound.add(block)
	s.mu.Unlock()
	// Only tick changes block.
	if s.player == nil {
		return
	}
	if s.volume != nil {
		s.volume.apply(block)
	}
	if s.heard != nil {
		s.heard(block)
	}
	if !s.player.play(block) {
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
	}
}

// Write implements Speaker.
func (s *speaker) Write(p AudioPacket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(p.Payload) == 0 || len(p.Payload) > maxPayload:
		s.playout.failed++
		return fmt.Errorf("device: audio packet of %d bytes", len(p.Payload))
	case p.Codec != Opus && p.Codec != PCMU && p.Codec != PCMA:
		s.playout.failed++
		return fmt.Errorf("%w: %q", ErrUnsupported, p.Codec)
	}
	s.at = s.now()
	s.playout.put(p, s.at)
	return nil
}

// Level implements Speaker.
func (s *speaker) Level() (float64, time.Time) {
	m := s.Meter()
	return m.Level, m.At
}

// Meter implements Speaker.
func (s *speaker) Meter() Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.playout
	c := p.jitter.counts
	return Meter{
		Level: s.sound.level(), ToneHz: s.sound.toneHz(), At: s.at,
		Packets: p.packets, Failed: p.failed, Lost: c.lost, Recovered: c.recovered,
		Dropped: c.late + c.twice + c.overflow + s.dropped, Concealed: p.made,
		Delay: time.Duration(p.jitter.delay) * time.Second / soundRate,
	}
}

// Close implements Speaker.
func (s *speaker) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	if s.ended != nil {
		s.quit()
		<-s.ended
	}
	s.playout.close()
	var err error
	if s.player != nil {
		err = s.player.close()
	}
	s.done()
	return err
}
