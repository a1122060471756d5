package bridge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

func TestH264Picture(t *testing.T) {
	for _, id := range []string{"42c01e", "4d401e", "640028"} {
		f, ok := device.ReadH264Format(h264Picture(id, true))
		if !ok || f.ID() != id || f.Need != min(f.Level, 30) || f.Reorders || f.Interlaced {
			t.Errorf("%s is %+v, %v", id, f, ok)
		}
	}
}

// Payload types of H.264 as peers offer them, by a short name.
var h264Offers = map[string]string{
	"base":     "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
	"plain":    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
	"strict":   "packetization-mode=1;profile-level-id=42e01f",
	"tiny":     "packetization-mode=1;profile-level-id=42e00a",
	"main":     "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
	"high":     "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
	"high-c":   "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f",
	"whole":    "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
	"high-w":   "packetization-mode=0;profile-level-id=640028",
	"no-mode":  "profile-level-id=42e01f",
	"nothing":  "",
	"nonsense": "packetization-mode=1;profile-level-id=zz",
}

// promiseCase is an offer, and a board that answers it.
type promiseCase struct {
	codecs    string // of the offer's pictures, the first first
	camera    string // what the board's camera gives
	direction webrtc.RTPTransceiverDirection
	bundle    bool
	videoTop  bool // the pictures stand before the sound
}

func (c promiseCase) String() string {
	return fmt.Sprintf("offer %s %s bundle=%v first=%v camera %s", c.codecs, c.direction, c.bundle, c.videoTop, c.camera)
}

// promiseCases are all codecs with all cameras, and a sample of the rest.
func promiseCases(short bool) (all []promiseCase) {
	offers := []string{
		"VP8", "base", "high-c", "base high-c", "high-c base", "VP8 base", "base VP8", "high VP8", "whole", "nothing", "no-mode",
		"whole base", "whole VP8", "high-w", "strict", "tiny", "tiny VP8", "main", "plain base", "nonsense VP8", "nonsense", "high main",
	}
	cameras := []string{"VP8", "42c01e VP8", "42c028", "640028 VP8", "640028", "4d4028", "? VP8", "?", "none"}
	for _, o := range offers {
		for _, c := range cameras {
			all = append(all, promiseCase{o, c, both, true, false})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	rest := 120
	if short {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all, rest = all[:30], 30
	}
	directions := []webrtc.RTPTransceiverDirection{
		both, send, webrtc.RTPTransceiverDirectionRecvonly, webrtc.RTPTransceiverDirectionInactive,
	}
	for range rest {
		all = append(all, promiseCase{
			offers[random.IntN(len(offers))], cameras[random.IntN(len(cameras))], directions[random.IntN(len(directions))],
			random.IntN(3) > 0, random.IntN(2) == 0,
		})
	}
	return all
}

// media is the board of the case.
func (c promiseCase) media() *fakeMedia {
	m := newMedia()
	m.video = nil
	for name := range strings.FieldsSeq(c.camera) {
		switch name {
		case "none":
		case "VP8":
			m.video = append(m.video, device.VP8)
		default:
			m.video = append(m.video, device.H264)
			m.h264 = name
		}
	}
	return m
}

// offeringPeer is the peer of the case; it knows nothing but what it offers.
func (c promiseCase) offeringPeer(t testing.TB) *peer {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	var m webrtc.MediaEngine
	check(t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}}, webrtc.RTPCodecTypeAudio))
	pt := webrtc.PayloadType(96)
	for name := range strings.FieldsSeq(c.codecs) {
		mime, fmtp := webrtc.MimeTypeVP8, ""
		if name != "VP8" {
			mime, fmtp = webrtc.MimeTypeH264, h264Offers[name]
		}
		check(t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp}}, webrtc.RTPCodecTypeVideo))
		check(t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: pt + 1, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", pt)}}, webrtc.RTPCodecTypeVideo))
		pt += 2
	}
	return newPeerOn(t, settings, &m, webrtc.Configuration{})
}

// seenVideo is what came of the board's pictures.
type seenVideo struct {
	mu      sync.Mutex
	payload uint8
	packets int
	format  device.H264Format // of the stream, if it is H.264
	largest int
}

// What an answer says of the board's pictures (that there are some, in which codec, in which
// form of it, and what the stream metadata says) is what is sent, for all that may be offered.
func TestPromises(t *testing.T) {
	checkLeaks(t)
	slots := make(chan struct{}, 6)
	t.Run("offers", func(t *testing.T) {
		for _, c := range promiseCases(testing.Short()) {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				c.check(t)
			})
		}
	})
}

func (c promiseCase) check(t *testing.T) {
	m := c.media()
	s := open(t, m, nil)
	p := c.offeringPeer(t)
	seen := c.watch(p)
	if !c.videoTop {
		p.talk(webrtc.MimeTypeOpus, both)
	}
	c.addVideo(p)
	if c.videoTop {
		p.talk(webrtc.MimeTypeOpus, both)
	}
	offer := p.offer()
	if !c.bundle {
		offer = regexp.MustCompile(`a=group:BUNDLE.*\r\n`).ReplaceAllString(offer, "")
	}
	if c.direction == webrtc.RTPTransceiverDirectionInactive || !c.bundle {
		offer = strings.Replace(offer, "a=recvonly", "a="+c.direction.String(), 1)
	}
	answer, err := s.Accept(context.Background(), offer)
	if err != nil {
		t.Fatal(err)
	}
	promised := c.checkAnswer(t, offer, answer)
	lacks := s.tell()
	p.take(webrtc.SDPTypeAnswer, answer)
	wait[call.Connected](t, s)
	if promised == nil || promised.dir&sends == 0 {
		if c.bundle || !c.videoTop {
			p.more("audio", 5) // meanwhile there would be pictures, too
		}
		if st := s.Stats(); st.VideoSent != 0 || st.VideoCodec != "" || m.cameras.Load() != 0 {
			t.Errorf("nothing was promised, %d pictures of %q were sent\n%s", st.VideoSent, st.VideoCodec, answer)
		}
		if receives := c.direction == both || c.direction == webrtc.RTPTransceiverDirectionRecvonly; receives && !lacks.Video {
			t.Errorf("there are no pictures, and the peer is not told so\n%s", answer)
		}
		return
	}
	if lacks.Video {
		t.Error("there are pictures, and the peer is told that there are none")
	}
	p.more("video", 8)
	seen.check(t, *promised)
}

// addVideo adds the section of pictures.
func (c promiseCase) addVideo(p *peer) {
	mime := webrtc.MimeTypeH264
	if strings.Contains(c.codecs, "VP8") { // an answer never leaves it out
		mime = webrtc.MimeTypeVP8
	}
	// Pion does not take it that a section is refused in which it sends.
	if (c.direction == both || c.direction == send) && c.bundle {
		p.talk(mime, c.direction)
		return
	}
	p.listen(webrtc.RTPCodecTypeVideo)
}

// checkAnswer holds the answer to the offer, and returns its section of pictures; nil if that
// is refused.
func (c promiseCase) checkAnswer(t *testing.T, offer, answer string) *section {
	t.Helper()
	offered, err := parseSDP(offer)
	check(t, err)
	ours, err := parseSDP(answer)
	check(t, err)
	if len(ours) != len(offered) {
		t.Fatalf("%d sections in the answer to %d", len(ours)-1, len(offered)-1)
	}
	if got := strings.Contains(answer, "a=group:BUNDLE"); got != c.bundle {
		t.Errorf("a bundle in the answer: %v", got)
	}
	taken := 0
	var video *section
	for i := 1; i < len(ours); i++ {
		o, a := offered[i], ours[i]
		if o.kind != a.kind || o.mid() != a.mid() {
			t.Fatalf("section %d is %s %q, and %s %q in the answer", i, o.kind, o.mid(), a.kind, a.mid())
		}
		if a.off {
			continue
		}
		taken++
		if a.dir&^o.dir.reverse() != 0 {
			t.Errorf("%s was answered with %s", o.dir.line(), a.dir.line())
		}
		for _, f := range a.formats() {
			if o.codec(f) == "" || !strings.EqualFold(o.codec(f), a.codec(f)) {
				t.Errorf("%s is %q in the answer, %q was offered", f, a.codec(f), o.codec(f))
			}
			was, okWas := readTerms(o.about("fmtp", f))
			is, okIs := readTerms(a.about("fmtp", f))
			if strings.EqualFold(a.codec(f), "H264") && okWas != okIs || was.profile != is.profile || was.constraints != is.constraints ||
				was.fragments != is.fragments || !was.asymmetric && (is.asymmetric || is.level > was.level) {
				t.Errorf("H.264 was offered as %q and answered as %q", o.about("fmtp", f), a.about("fmtp", f))
			}
		}
		if a.kind == "video" {
			video = &a
		}
	}
	if want := map[bool]int{true: len(ours) - 1, false: 1}[c.bundle]; taken != want {
		t.Errorf("%d sections were taken, want %d\n%s", taken, want, answer)
	}
	return video
}

// watch notes what comes of pictures.
func (c promiseCase) watch(p *peer) *seenVideo {
	v := &seenVideo{}
	p.see = func(kind string, pkt *rtp.Packet, _ interceptor.Attributes) {
		if kind != "video" {
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.payload = pkt.PayloadType
		v.packets++
		v.largest = max(v.largest, len(pkt.Payload))
		var depacketizer codecs.H264Packet
		if data, err := depacketizer.Unmarshal(pkt.Payload); err == nil {
			if f, ok := device.ReadH264Format(data); ok {
				v.format = f
			}
		}
	}
	return v
}

// check holds the pictures to what was promised.
func (v *seenVideo) check(t *testing.T, promised section) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	format := strconv.Itoa(int(v.payload))
	name := promised.codec(format)
	if name == "" {
		t.Fatalf("pictures come as %d, which the answer does not have: %v", v.payload, promised.formats())
	}
	if v.largest > payloadMTU+1 {
		t.Errorf("a packet of %d bytes", v.largest)
	}
	if name != "H264" || v.format.Profile == 0 { // or it cannot be told by the stream either
		return
	}
	terms, ok := readTerms(promised.about("fmtp", format))
	if _, fits := terms.takes(v.format); !ok || !fits {
		t.Fatalf("%s is sent under %q", v.format.ID(), promised.about("fmtp", format))
	}
	if v.format.Level > terms.level {
		t.Errorf("%s is sent under %q: the level is too high", v.format.ID(), promised.about("fmtp", format))
	}
	if v.format.Profile == terms.profile && v.format.Constraints&terms.constraints != terms.constraints {
		t.Errorf("%s is sent under %q: constraints are missing", v.format.ID(), promised.about("fmtp", format))
	}
}
