package device

import (
	"fmt"
	"sync"
	"time"

	"github.com/pion/opus"
)

// Bounds of what a caller may send in one packet.
const (
	maxPayload = 1500 // bytes: what fits an Ethernet frame
	// maxPacketSamples is the longest Opus packet: 120 ms. spec: RFC 6716 section 2.1.4
	maxPacketSamples = soundRate * 120 / 1000
	g711Rate         = 8000
)

// player is a loudspeaker that takes blocks of sound at soundRate. play never
// blocks and says whether the block was taken.
type player interface {
	play(pcm []int16) bool
	close() error
}

// speaker implements Speaker. Without a player it only measures.
type speaker struct {
	now    func() time.Time
	player player
	done   func()            // told once when the speaker is closed
	heard  func(pcm []int16) // told what is played; may be nil

	mu     sync.Mutex
	closed bool
	opus   *opus.Decoder
	from8k *resampler
	pcm    []int16 // the last packet, at soundRate
	narrow []int16 // the last G.711 packet, at g711Rate
	sound  loudness
	meter  Meter
}

func newSpeaker(now func() time.Time, p player, done func()) *speaker {
	return &speaker{now: now, player: p, done: done}
}

// Write implements Speaker.
func (s *speaker) Write(codec AudioCodec, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	pcm, err := s.decode(codec, payload)
	if err != nil {
		s.meter.Failed++
		return err
	}
	s.meter.Packets++
	s.meter.At = s.now()
	s.sound.add(pcm)
	if s.player == nil {
		return nil
	}
	if s.heard != nil {
		s.heard(pcm)
	}
	if !s.player.play(pcm) {
		s.meter.Dropped++
	}
	return nil
}

// decode returns the sound of one packet at soundRate, valid until the next call.
func (s *speaker) decode(codec AudioCodec, payload []byte) ([]int16, error) {
	if len(payload) == 0 || len(payload) > maxPayload {
		return nil, fmt.Errorf("device: audio packet of %d bytes", len(payload))
	}
	switch codec {
	case Opus:
		return s.decodeOpus(payload)
	case PCMU:
		return s.decodeG711(payload, decodeULaw), nil
	case PCMA:
		return s.decodeG711(payload, decodeALaw), nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnsupported, codec)
}

func (s *speaker) decodeG711(payload []byte, decode func(byte) int16) []int16 {
	if s.from8k == nil {
		s.from8k = newResampler(g711Rate, soundRate)
	}
	s.narrow = s.narrow[:0]
	for _, b := range payload {
		s.narrow = append(s.narrow, decode(b))
	}
	s.pcm = s.from8k.process(s.pcm[:0], s.narrow)
	return s.pcm
}

// decodeOpus decodes one packet. The decoder is another's parser of bytes from
// the network: if it panics the packet is lost and the decoder replaced, not the call.
func (s *speaker) decodeOpus(payload []byte) (pcm []int16, err error) {
	if s.opus == nil {
		d, err := opus.NewDecoderWithOutput(soundRate, 1)
		if err != nil {
			return nil, fmt.Errorf("device: Opus decoder: %w", err)
		}
		s.opus = &d
	}
	defer func() {
		if r := recover(); r != nil {
			s.opus = nil
			pcm, err = nil, fmt.Errorf("device: Opus packet broke the decoder: %v", r)
		}
	}()
	if cap(s.pcm) < maxPacketSamples {
		s.pcm = make([]int16, maxPacketSamples)
	}
	n, err := s.opus.DecodeToInt16(payload, s.pcm[:maxPacketSamples])
	if err != nil {
		return nil, fmt.Errorf("device: Opus packet: %w", err)
	}
	return s.pcm[:n], nil
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
	m := s.meter
	m.Level, m.ToneHz = s.sound.level(), s.sound.toneHz()
	return m
}

// Close implements Speaker.
func (s *speaker) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.player != nil {
		err = s.player.close()
	}
	s.done()
	return err
}
