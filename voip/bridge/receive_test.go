package bridge

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// spec: voip streams: what is not listed is ignored; without metadata the first stream counts.
func TestHeeds(t *testing.T) {
	listed := map[string]call.Stream{"b": {Purpose: call.PurposeUserMedia}}
	for _, c := range []struct {
		name   string
		listed map[string]call.Stream
		stream string
		want   bool
	}{
		{"no metadata, the first", nil, "a", true},
		{"no metadata, another", nil, "b", false},
		{"no metadata, none", nil, "", false},
		{"listed", listed, "b", true},
		{"not listed", listed, "a", false},
		{"no stream", listed, "", false},
		{"nothing is listed", map[string]call.Stream{}, "a", false},
	} {
		s := &Session{}
		s.heeds("a") // came first
		s.listed = c.listed
		if got := s.heeds(c.stream); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// Sound of a stream that the peer's metadata does not list is not played, until it does.
func TestStreamsThatAreNotListed(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	s.Order(call.PeerStreams{Streams: map[string]call.Stream{"other": {Purpose: call.PurposeUserMedia}}})
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	until(t, "the peer's sound", func() bool { return s.Stats().AudioReceived > 10 })
	if n := s.Stats().Speaker.Packets; n != 0 {
		t.Errorf("%d packets of a stream that is not listed were played", n)
	}
	s.Order(call.PeerStreams{Streams: map[string]call.Stream{"peer": {Purpose: call.PurposeUserMedia}}})
	<-m.heard
}

// A peer may send sound without having said under which SSRC, as nheko often does in its answers:
// the payload type tells where it belongs.
//
// spec: RFC 9143 9.2
func TestStreamsThatAreNotDeclared(t *testing.T) {
	for _, c := range []struct {
		name  string
		video []device.VideoCodec
		sends []string
	}{
		{"sound alone", nil, []string{webrtc.MimeTypeOpus}},
		{"sound, and it only watches", []device.VideoCodec{device.VP8}, []string{webrtc.MimeTypeOpus}},
		{"sound and pictures", []device.VideoCodec{device.VP8}, []string{webrtc.MimeTypeOpus, webrtc.MimeTypeVP8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			m := newMedia()
			m.video = c.video
			s := open(t, m, nil)
			p := newPeer(t, false)
			offer, err := s.Offer(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			for _, mime := range c.sends {
				p.talk(mime, both)
			}
			p.take(webrtc.SDPTypeOffer, offer)
			answer, err := p.pc.CreateAnswer(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ApplyAnswer(undeclared(p.local(answer))); err != nil {
				t.Fatal(err)
			}
			wait[call.Connected](t, s)
			until(t, "the peer's sound", func() bool { return s.Stats().Speaker.Packets > 3 })
			if got := <-m.heard; got != device.Opus {
				t.Errorf("the loudspeaker was given %s", got)
			}
			if len(c.sends) > 1 {
				until(t, "the peer's pictures", func() bool { return s.Stats().VideoReceived > 3 })
			}
			p.more("audio", 5)
		})
	}
}

// undeclared is a description without its streams' names and numbers, and without the
// header extension that would tell in each packet where it belongs.
func undeclared(sdp string) string {
	var out strings.Builder
	for line := range strings.Lines(sdp) {
		if !strings.HasPrefix(line, "a=ssrc") && !strings.HasPrefix(line, "a=msid") && !strings.HasPrefix(line, "a=extmap:") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// manyStreams gives each packet of a peer an SSRC of its own.
type manyStreams struct {
	interceptor.NoOp
	last atomic.Uint32
}

func (m *manyStreams) NewInterceptor(string) (interceptor.Interceptor, error) { return m, nil }

func (m *manyStreams) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, how interceptor.Attributes) (int, error) {
		own := *h
		own.SSRC = m.last.Add(1)
		return w.Write(&own, payload, how)
	})
}

// A peer that begins a stream with each packet loses its call, before it takes all memory.
func TestTooManyStreams(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	var registry interceptor.Registry
	registry.Add(&manyStreams{})
	p := newPeerWith(t, false, webrtc.Configuration{}, webrtc.WithInterceptorRegistry(&registry))
	p.talk(webrtc.MimeTypeOpus, both)
	answer, err := s.Accept(t.Context(), undeclared(p.offer()))
	if err != nil {
		t.Fatal(err)
	}
	p.take(webrtc.SDPTypeAnswer, answer)
	wait[call.MediaFailed](t, s)
	if n := s.Stats().AudioReceived; n > maxTracks {
		t.Errorf("%d streams were listened to, %d are the limit", n, maxTracks)
	}
}
