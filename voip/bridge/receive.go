package bridge

import (
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// tones are the digits of RFC 4733 in the order of their event numbers.
const tones = "0123456789*#ABCD"

// maxTracks is the most streams of a peer at a time. A peer may begin one with any packet,
// and each takes its memory; a person's call has two or three.
const maxTracks = 32

// lastTone is the tone that a track sent last: each is repeated in many packets
// with the same timestamp.
type lastTone struct {
	known     bool
	timestamp uint32
}

// heeds says whether a stream of the peer is played: one that its metadata lists, or where
// it sent none the first. Tracks without a stream are played only for those who know
// nothing of metadata. spec: voip streams
func (s *Session) heeds(stream string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listed != nil {
		_, ok := s.listed[stream]
		return ok
	}
	if s.first == nil {
		s.first = &stream
	}
	return *s.first == stream
}

// receive reads one stream of the peer until it ends: sound goes to the
// loudspeaker, digits become events, pictures are counted and dropped. A peer with more
// than maxTracks is no longer listened to.
func (s *Session) receive(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	defer s.tracks.Add(-1)
	if s.tracks.Add(1) > maxTracks {
		if s.flooded.CompareAndSwap(false, true) {
			s.log.Info("bridge: the peer has too many streams", "limit", maxTracks)
			s.report(call.MediaFailed{})
		}
		return
	}
	if t.Kind() == webrtc.RTPCodecTypeVideo {
		buf := make([]byte, 1600)
		for {
			if _, _, err := t.Read(buf); err != nil {
				return
			}
			s.mu.Lock()
			s.stats.VideoReceived++
			s.mu.Unlock()
		}
	}
	s.receiveAudio(t, r)
}

func (s *Session) receiveAudio(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	speaker := s.openSpeaker()
	complained := false
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.stats.AudioReceived++
		s.mu.Unlock()
		codec := codecOf(r, p.PayloadType)
		if codec == "telephone-event" {
			s.tone(t.SSRC(), p)
			continue
		}
		if speaker == nil || len(p.Payload) == 0 || !s.heeds(t.StreamID()) {
			continue
		}
		packet := device.AudioPacket{
			Codec: device.AudioCodec(codec), Source: p.SSRC, Sequence: p.SequenceNumber, Timestamp: p.Timestamp, Payload: p.Payload,
		}
		if err := speaker.Write(packet); err != nil && !complained {
			complained = true
			s.log.Info("bridge: the peer's sound cannot be played", "codec", codec, "error", err)
		}
	}
}

// openSpeaker opens the loudspeaker for the first stream of sound; a second one
// goes through the same. Without a loudspeaker the call goes on.
func (s *Session) openSpeaker() device.Speaker {
	if s.deaf.Load() {
		return nil
	}
	s.mu.Lock()
	speaker := s.speaker
	s.mu.Unlock()
	if speaker != nil {
		return speaker
	}
	speaker, err := s.b.cfg.Media.OpenSpeaker(s.ctx)
	if err != nil {
		s.log.Warn("bridge: no loudspeaker for this call", "error", err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.speaker != nil {
		// Another stream was quicker.
		if err := speaker.Close(); err != nil {
			s.log.Debug("bridge: closing the loudspeaker", "error", err)
		}
		return s.speaker
	}
	s.speaker = speaker
	return speaker
}

// codecOf is the name, as voip/device spells it, of a payload type of the stream.
func codecOf(r *webrtc.RTPReceiver, payloadType uint8) string {
	for _, c := range r.GetParameters().Codecs {
		if uint8(c.PayloadType) != payloadType {
			continue
		}
		_, name, _ := strings.Cut(c.MimeType, "/")
		for _, known := range []device.AudioCodec{device.Opus, device.PCMU, device.PCMA} {
			if strings.EqualFold(name, string(known)) {
				return string(known)
			}
		}
		return strings.ToLower(name)
	}
	return ""
}

// tone reports a digit when its first packet comes.
//
// spec: MSC2746 add DTMF; RFC 4733 2.3
func (s *Session) tone(ssrc webrtc.SSRC, p *rtp.Packet) {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(tones) {
		return
	}
	s.mu.Lock()
	last := s.digits[ssrc]
	again := last.known && last.timestamp == p.Timestamp
	s.digits[ssrc] = lastTone{true, p.Timestamp}
	if !again {
		s.stats.Digits++
	}
	s.mu.Unlock()
	if !again {
		s.post(Event{Digit: rune(tones[p.Payload[0]])})
	}
}
