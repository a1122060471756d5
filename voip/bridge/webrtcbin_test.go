package bridge

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
)

// webrtcbinOffer is what GStreamer's webrtcbin makes of a pipeline such as nheko's: payload
// types as it likes (these are ones that the board has for others), codecs in capitals, no
// feedback but for key frames, no header extensions, streams named beside their sources only.
const webrtcbinOffer = `v=0
o=- 4391062431854710943 0 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-options:trickle
a=group:BUNDLE audio0 video1
a=extmap-allow-mixed
m=audio 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:t5i7KmH+JdFoPnMeWfJhGBDfxP2dKIPE
a=ice-pwd:F0gHBd0l5rB2TJmS6DxRCvqdkq2ymXrn
a=rtcp-mux
a=rtcp-rsize
a=sendrecv
a=rtpmap:96 OPUS/48000/2
a=fmtp:96 sprop-maxcapturerate=48000;sprop-stereo=0
a=ssrc:2766413480 msid:user3344942761@host-c94b42a3 webrtctransceiver0
a=ssrc:2766413480 cname:user3344942761@host-c94b42a3
a=mid:audio0
a=fingerprint:sha-256 0D:8B:7F:3E:61:0C:5F:7A:C4:41:57:BD:62:E7:2A:DB:71:A3:56:88:D6:0F:9F:3C:25:E5:5C:0A:8E:21:13:37
a=rtcp-mux-only
m=video 0 UDP/TLS/RTP/SAVPF 97
c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:t5i7KmH+JdFoPnMeWfJhGBDfxP2dKIPE
a=ice-pwd:F0gHBd0l5rB2TJmS6DxRCvqdkq2ymXrn
a=bundle-only
a=rtcp-mux
a=rtcp-rsize
a=sendrecv
a=rtpmap:97 VP8/90000
a=rtcp-fb:97 nack pli
a=framerate:30
a=ssrc:1085673894 msid:user3344942761@host-c94b42a3 webrtctransceiver1
a=ssrc:1085673894 cname:user3344942761@host-c94b42a3
a=mid:video1
a=fingerprint:sha-256 0D:8B:7F:3E:61:0C:5F:7A:C4:41:57:BD:62:E7:2A:DB:71:A3:56:88:D6:0F:9F:3C:25:E5:5C:0A:8E:21:13:37
a=rtcp-mux-only
`

// sectionsOf are the lines of each media section, by kind.
func sectionsOf(t *testing.T, sdp string) map[string]string {
	t.Helper()
	sections, err := parseSDP(sdp)
	check(t, err)
	byKind := map[string]string{}
	for _, s := range sections {
		byKind[s.kind] = strings.Join(append(s.lines, s.dir.line()), "\n") + "\n"
	}
	return byKind
}

func TestAnswersWebrtcbin(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	answer, err := s.Accept(context.Background(), strings.ReplaceAll(webrtcbinOffer, "\n", "\r\n"))
	check(t, err)
	got := sectionsOf(t, answer)
	for kind, want := range map[string][]string{
		"":      {"a=group:BUNDLE audio0 video1\n"},
		"audio": {"m=audio 9 UDP/TLS/RTP/SAVPF 96\n", "a=rtpmap:96 OPUS/48000/2\n", "a=mid:audio0\n", "a=rtcp-mux\n", "a=setup:active\n", "a=sendrecv\n", "a=candidate:"},
		"video": {"m=video 9 UDP/TLS/RTP/SAVPF 97\n", "a=rtpmap:97 VP8/90000\n", "a=mid:video1\n", "a=rtcp-mux\n", "a=setup:active\n", "a=sendrecv\n", "a=rtcp-fb:97 nack pli\n"},
	} {
		for _, line := range want {
			if !strings.Contains(got[kind], line) {
				t.Errorf("%q is not in the answer's section %q:\n%s", line, kind, got[kind])
			}
		}
	}
	if m := regexp.MustCompile(`a=(extmap:|rtcp-fb:\d+ (transport-cc|goog-remb|nack$)|rtpmap:\d+ rtx).*`).FindString(answer); m != "" {
		t.Errorf("the answer has %q, which was not offered", m)
	}
	for kind, want := range map[string]uint8{"audio": 96, "video": 97} {
		tr := s.senders[kind].track
		tr.mu.Lock()
		if tr.header.PayloadType != want {
			t.Errorf("%s is sent as %d, not %d", kind, tr.header.PayloadType, want)
		}
		tr.mu.Unlock()
	}
}

// webrtcbin is a peer that describes itself as webrtcbin does.
func webrtcbin(t *testing.T, opus, vp8 webrtc.PayloadType) *peer {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	var m webrtc.MediaEngine
	check(t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: opus, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}}, webrtc.RTPCodecTypeAudio))
	check(t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: vp8, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack", Parameter: "pli"}}}}, webrtc.RTPCodecTypeVideo))
	return newPeerOn(t, settings, &m, webrtc.Configuration{})
}

// asWebrtcbin writes a description as webrtcbin would.
func asWebrtcbin(sdp string) string {
	sdp = regexp.MustCompile(`a=(msid|extmap|msid-semantic)[: ].*\r\n`).ReplaceAllString(sdp, "")
	sdp = strings.ReplaceAll(sdp, "opus/48000/2", "OPUS/48000/2")
	return strings.ReplaceAll(sdp, "a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
}

// A call of webrtcbin's stands, both ways, with the payload types that it has chosen.
func TestCallFromWebrtcbin(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := webrtcbin(t, 96, 97)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	answer, err := s.Accept(context.Background(), asWebrtcbin(p.offer()))
	check(t, err)
	p.take(webrtc.SDPTypeAnswer, answer)
	wait[call.Connected](t, s)
	p.more("audio", 10)
	p.more("video", 10)
	<-m.heard
	until(t, "the peer's pictures", func() bool { return s.Stats().VideoReceived > 3 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last["audio"].PayloadType != 96 || p.last["video"].PayloadType != 97 {
		t.Errorf("payload types %d and %d", p.last["audio"].PayloadType, p.last["video"].PayloadType)
	}
}

// The board's offer has what nheko looks for in one: a section of sound first, in each
// section a codec that it has under a dynamic payload type, and all that a section needs if
// it stands alone. Its answer has nothing but those codecs.
func TestCallToWebrtcbin(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	offer, err := s.Offer(context.Background(), false)
	check(t, err)
	if audio, video := strings.Index(offer, "m=audio"), strings.Index(offer, "m=video"); audio < 0 || video < audio {
		t.Errorf("sections of sound and pictures at %d and %d", audio, video)
	}
	got := sectionsOf(t, offer)
	payload := func(kind, codec string) string {
		t.Helper()
		m := regexp.MustCompile(`(?i)a=rtpmap:(9[6-9]|1[01]\d|12[0-7]) ` + codec + `/`).FindStringSubmatch(got[kind])
		if m == nil {
			t.Fatalf("no %s:\n%s", codec, got[kind])
		}
		return m[1]
	}
	if opus, vp8 := payload("audio", "opus"), payload("video", "vp8"); opus != "111" || vp8 != "96" {
		t.Errorf("Opus is %s, VP8 is %s", opus, vp8)
	}
	for _, kind := range []string{"audio", "video"} {
		for _, line := range []string{"a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=setup:actpass\n", "a=rtcp-mux\n", "a=sendrecv\n", "a=ssrc:"} {
			if !strings.Contains(got[kind], line) {
				t.Errorf("no %q in the section of %s:\n%s", line, kind, got[kind])
			}
		}
	}
	if !strings.Contains(got[""]+got["audio"], "a=fingerprint:sha-256 ") || !strings.Contains(got[""], "a=group:BUNDLE ") {
		t.Errorf("no fingerprint or bundle:\n%s", got[""])
	}
	p := webrtcbin(t, 111, 96) // it takes over what was offered
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	p.take(webrtc.SDPTypeOffer, offer)
	answer, err := p.pc.CreateAnswer(nil)
	check(t, err)
	check(t, s.ApplyAnswer(asWebrtcbin(p.local(answer))))
	wait[call.Connected](t, s)
	p.more("audio", 10)
	p.more("video", 10)
	<-m.heard
	until(t, "the peer's pictures", func() bool { return s.Stats().VideoReceived > 3 })
}
