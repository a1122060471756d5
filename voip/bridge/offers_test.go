package bridge

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// Sections that the board cannot have are refused at their place, wherever that is, and
// the others go on; later descriptions keep the places.
func TestOddSections(t *testing.T) {
	checkLeaks(t)
	odd := map[string]string{
		"text":    "m=text 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:odd\r\na=rtpmap:98 t140/1000\r\na=sendrecv\r\n",
		"slides":  "m=application 9 UDP/TLS/BFCP *\r\nc=IN IP4 0.0.0.0\r\na=mid:odd\r\na=floorctrl:c-s\r\n",
		"nothing": "m=message 9 TCP/MSRP *\r\na=mid:odd\r\n",
	}
	for name, section := range odd {
		for place := range 3 {
			t.Run(name+string(rune('0'+place)), func(t *testing.T) {
				s := open(t, newMedia(), nil)
				p := newPeer(t, false)
				p.talk(webrtc.MimeTypeOpus, both)
				p.talk(webrtc.MimeTypeVP8, send)
				for range 2 {
					answer, err := s.Accept(context.Background(), insertSection(p.offer(), section, place))
					check(t, err)
					p.take(webrtc.SDPTypeAnswer, removeSection(t, answer, place))
				}
				wait[call.Connected](t, s)
				p.more("audio", 5)
				until(t, "the peer's pictures", func() bool { return s.Stats().VideoReceived > 3 })
				if s.Stats().VideoSent != 0 {
					t.Error("pictures were sent where none are wanted")
				}
				offer, err := s.Offer(context.Background(), false)
				check(t, err)
				p.take(webrtc.SDPTypeOffer, removeSection(t, offer, place))
				made, err := p.pc.CreateAnswer(nil)
				check(t, err)
				check(t, s.ApplyAnswer(insertSection(p.local(made), strings.Replace(section, " 9 ", " 0 ", 1), place)))
				p.more("audio", 5)
			})
		}
	}
}

// insertSection puts a section in before the one at place.
func insertSection(sdp, section string, place int) string {
	parts := regexp.MustCompile(`(?m)^m=`).Split(sdp, -1)
	out := parts[0]
	for i, rest := range parts[1:] {
		if i == place {
			out += section
		}
		out += "m=" + rest
	}
	if place >= len(parts)-1 {
		out += section
	}
	return out
}

// removeSection takes it out again, which has to be refused there.
func removeSection(t *testing.T, sdp string, place int) string {
	t.Helper()
	parts := regexp.MustCompile(`(?m)^m=`).Split(sdp, -1)
	if len(parts) != 4 {
		t.Fatalf("%d sections, want 3:\n%s", len(parts)-1, sdp)
	}
	if odd := parts[place+1]; !strings.Contains(odd, "a=mid:odd\r\n") || !regexp.MustCompile(`^\w+ 0 `).MatchString(odd) {
		t.Fatalf("section %d is not the refused one: %s", place, odd)
	}
	out := parts[0]
	for i, rest := range parts[1:] {
		if i != place {
			out += "m=" + rest
		}
	}
	return out
}

// An offer that is grouped in other ways, or whose sections have no names, or are in no
// bundle, is taken as far as one connection goes.
func TestOddGroups(t *testing.T) {
	checkLeaks(t)
	replace := func(pattern, by string) func(string) string {
		return func(sdp string) string { return regexp.MustCompile(pattern).ReplaceAllString(sdp, by) }
	}
	for _, c := range []struct {
		name   string
		change func(string) string
		kinds  string // that are taken
	}{
		{"lip synchronisation first", replace(`a=group:BUNDLE`, "a=group:LS 0 1\r\na=group:BUNDLE"), "audio video"},
		{"no bundle", replace(`a=group:BUNDLE.*\r\n`, ""), "audio"},
		{"no bundle, no names", replace(`a=(group:BUNDLE|mid:).*\r\n`, ""), "audio"},
		{"no bundle, the first section ended", func(sdp string) string {
			return strings.Replace(replace(`a=group:BUNDLE.*\r\n`, "")(sdp), "m=audio 9", "m=audio 0", 1)
		}, "video"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, newMedia(), nil)
			p := newPeer(t, false)
			p.talk(webrtc.MimeTypeOpus, both)
			p.listen(webrtc.RTPCodecTypeVideo)
			offer := c.change(p.offer())
			for range 2 {
				answer, err := s.Accept(context.Background(), offer)
				check(t, err)
				sections, err := parseSDP(answer)
				check(t, err)
				kinds := ""
				for _, at := range sections[1:] {
					if !at.off {
						kinds += at.kind + " "
						if !strings.Contains(strings.Join(at.lines, "\n"), "a=candidate:") && kinds == at.kind+" " {
							t.Errorf("no candidates in the first section that is taken:\n%s", answer)
						}
					}
				}
				if strings.TrimSpace(kinds) != c.kinds || len(sections) != 3 {
					t.Errorf("%q was taken, want %q", kinds, c.kinds)
				}
				if strings.Contains(answer, "a=group:BUNDLE") != strings.Contains(offer, "a=group:BUNDLE") ||
					strings.Contains(answer, "a=mid:") != strings.Contains(offer, "a=mid:") {
					t.Errorf("bundle or names are not as in the offer:\n%s", answer)
				}
			}
		})
	}
}

// What cannot be taken at all fails at once, so that the caller need not wait.
func TestHopelessOffers(t *testing.T) {
	checkLeaks(t)
	sdp := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
		"a=fingerprint:sha-256 0D:8B:7F:3E:61:0C:5F:7A:C4:41:57:BD:62:E7:2A:DB:71:A3:56:88:D6:0F:9F:3C:25:E5:5C:0A:8E:21:13:37\r\n"
	for name, offer := range map[string]string{
		"empty": "", "no section": sdp, "junk": "\x00", "text only": sdp + "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:0\r\na=rtpmap:98 t140/1000\r\n",
		"a codec that nobody has": sdp + "m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:0\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtpmap:98 AV1/90000\r\n",
		"ended":                   sdp + "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=setup:actpass\r\na=rtcp-mux\r\n",
	} {
		s := open(t, newMedia(), nil)
		s.Order(call.ApplyOffer{SDP: offer})
		if f := wait[call.OfferFailed](t, s); f.Reason == "" {
			t.Errorf("%s: no reason", name)
		}
	}
}

// A section that the peer has ended, and one that it offers in its place: picture and sound
// go on in that.
func TestSectionOfferedAgain(t *testing.T) {
	checkLeaks(t)
	for _, kind := range []string{"video", "audio"} {
		t.Run(kind, func(t *testing.T) {
			m := newMedia()
			s := open(t, m, nil)
			p := newPeer(t, false)
			mimes := map[string]string{"audio": webrtc.MimeTypeOpus, "video": webrtc.MimeTypeVP8}
			other := map[string]string{"audio": "video", "video": "audio"}[kind]
			p.talk(mimes[other], both)
			p.talk(mimes[kind], both)
			connect(t, s, p)
			p.more(kind, 5)
			for range 3 {
				offer := p.offer()
				at := strings.LastIndex(offer, "m="+kind+" 9")
				ended := offer[:at] + strings.Replace(offer[at:], "m="+kind+" 9", "m="+kind+" 0", 1)
				answer, err := s.Accept(context.Background(), ended)
				check(t, err)
				p.take(webrtc.SDPTypeAnswer, answer)
				if open := map[string]int32{"audio": m.microphones.Load(), "video": m.cameras.Load()}; open[kind] != 0 || open[other] != 1 {
					t.Errorf("open devices after the end of the section: %v", open)
				}
				p.talk(mimes[kind], both)
				// Pion, as the peer, does not end sections.
				offer = p.offer()
				offer = strings.Replace(offer, "m="+kind+" 9", "m="+kind+" 0", strings.Count(offer, "m="+kind+" 9")-1)
				answer, err = s.Accept(context.Background(), offer)
				check(t, err)
				sections, err := parseSDP(answer)
				check(t, err)
				if last := sections[len(sections)-1]; last.kind != kind || last.off || last.dir != sends|receives {
					t.Fatalf("it is answered with\n%s", answer)
				}
				p.take(webrtc.SDPTypeAnswer, answer)
				p.more(kind, 5)
				p.more(other, 5)
			}
		})
	}
}

// The board's own offers say which H.264 they mean, and name nothing that is never sent.
func TestOwnOffers(t *testing.T) {
	checkLeaks(t)
	for _, c := range []struct{ camera, names, h264 string }{
		{"VP8", "VP8", ""}, {"640028 VP8", "H264 VP8", "640028"}, {"640028", "H264", "640028"}, {"42c028 VP8", "H264 VP8", "42e028"},
		{"? VP8", "VP8", ""}, {"?", "H264", "42e01f"},
	} {
		m := promiseCase{camera: c.camera}.media()
		s := open(t, m, nil)
		offer, err := s.Offer(context.Background(), false)
		check(t, err)
		sections, err := parseSDP(offer)
		check(t, err)
		at, _ := live(sections, "video")
		for _, codec := range []string{"H264", "VP8"} {
			if at.names(codec) != strings.Contains(c.names, codec) {
				t.Errorf("camera %s: the offer has %s: %v", c.camera, codec, at.names(codec))
			}
		}
		for _, f := range at.coded("H264") {
			if fmtp := at.about("fmtp", f); !strings.HasSuffix(fmtp, "profile-level-id="+c.h264) || !strings.Contains(fmtp, "packetization-mode=1") {
				t.Errorf("camera %s: H.264 is offered as %q", c.camera, fmtp)
			}
		}
	}
}

// A peer that answers the board's offer with less than that is not left in the belief that
// it will see something; nor is one whose board's camera fails.
func TestLacksAreTold(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	s.Order(call.CreateOffer{})
	d := wait[call.LocalDescription](t, s)
	if d.Lacks != (call.Lacks{}) {
		t.Errorf("the offer lacks %+v", d.Lacks)
	}
	p := newPeer(t, false)
	p.take(webrtc.SDPTypeOffer, d.Description.SDP)
	p.talk(webrtc.MimeTypeOpus, both)
	made, err := p.pc.CreateAnswer(nil)
	check(t, err)
	answer := strings.Replace(p.local(made), "m=video 9", "m=video 0", 1)
	s.Order(call.ApplyAnswer{SDP: answer})
	if got := wait[call.Lacks](t, s); got != (call.Lacks{Video: true}) {
		t.Errorf("after an answer without pictures it lacks %+v", got)
	}

	broken := newMedia()
	broken.fail = errors.New("unplugged")
	broken.failing = "video"
	s = open(t, broken, nil)
	p = newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	s.Order(call.ApplyOffer{SDP: p.offer()})
	d = wait[call.LocalDescription](t, s)
	p.take(webrtc.SDPTypeAnswer, d.Description.SDP)
	if d.Lacks.Video { // it had failed already when the answer was made
		return
	}
	if got := wait[call.Lacks](t, s); got != (call.Lacks{Video: true}) {
		t.Errorf("with a broken camera it lacks %+v", got)
	}
}

// Who comes to a camera with rare key frames gets all since the last one, however long that
// is: the first picture that is sent stands for itself.
func TestJoinsLongGroup(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	m.video, m.past = []device.VideoCodec{device.H264}, 300 // 20 seconds at the usual rate, and no key frame to come
	s := open(t, m, nil)
	p := newPeer(t, false)
	var first []byte
	p.see = func(kind string, pkt *rtp.Packet, _ interceptor.Attributes) {
		if kind == "video" && first == nil {
			first = pkt.Payload
		}
	}
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeH264, both)
	offer := p.offer()
	answer, err := s.Accept(context.Background(), offer)
	check(t, err)
	until(t, "the camera's past to be read", func() bool { return m.cameras.Load() == 1 && m.read.Load() >= 300 })
	p.take(webrtc.SDPTypeAnswer, answer)
	p.more("video", 900) // three packets each
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind := first[0] & 0x1f; kind != 24 { // the parameter sets, in one packet
		t.Errorf("the first packet of pictures begins with %x", first[:4])
	}
	until(t, "the pictures to be counted", func() bool { return s.Stats().VideoSent >= 300 })
}
