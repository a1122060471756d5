package bridge

import (
	"testing"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
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
