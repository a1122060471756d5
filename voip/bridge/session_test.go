package bridge

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// connect has the peer call the board.
func connect(t testing.TB, s *Session, p *peer) {
	t.Helper()
	accept(t, s, p)
	wait[call.Connected](t, s)
}

func accept(t testing.TB, s *Session, p *peer) string {
	t.Helper()
	answer, err := s.Accept(context.Background(), p.offer())
	if err != nil {
		t.Fatal(err)
	}
	p.take(webrtc.SDPTypeAnswer, answer)
	return answer
}

const (
	both = webrtc.RTPTransceiverDirectionSendrecv
	send = webrtc.RTPTransceiverDirectionSendonly
)

func TestCallFromPeer(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	answer := accept(t, s, p)
	if !strings.Contains(answer, "a=candidate:") || !strings.Contains(answer, "typ host tcptype passive") {
		t.Errorf("the answer lacks candidates:\n%s", answer)
	}
	wait[call.Connected](t, s)
	p.more("audio", 10)
	p.more("video", 10)
	if got := <-m.heard; got != device.Opus {
		t.Errorf("the loudspeaker was given %s", got)
	}
	until(t, "the peer's pictures", func() bool { return s.Stats().VideoReceived > 3 })
	p.mu.Lock()
	if len(p.streams) != 1 || !p.streams[s.StreamID()] {
		t.Errorf("streams %v, want only %s", p.streams, s.StreamID())
	}
	if ext := p.last["video"].GetExtensionIDs(); len(ext) == 0 {
		t.Error("no playout delay on the picture")
	}
	p.mu.Unlock()
	st := s.Stats()
	if st.AudioCodec != "opus" || st.VideoCodec != "VP8" || st.AudioSent == 0 || st.VideoSent == 0 ||
		st.AudioReceived == 0 || st.Connected <= 0 || st.Speaker.Packets == 0 {
		t.Errorf("%+v", st)
	}
	late := p.offer()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if m.cameras.Load()+m.microphones.Load() != 0 {
		t.Error("devices are open after the call")
	}
	if _, err := s.Accept(context.Background(), late); err == nil {
		t.Error("a closed session took an offer")
	}
	s.AddCandidates([]call.Candidate{{}})
	s.Order(call.CloseMedia{})
}

func TestCallToPeer(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := newPeer(t, false)
	offer, err := s.Offer(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	p.take(webrtc.SDPTypeOffer, offer)
	p.talk(webrtc.MimeTypeOpus, both)
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyAnswer(p.local(answer)); err != nil {
		t.Fatal(err)
	}
	wait[call.Connected](t, s)
	p.more("audio", 5)
	p.more("video", 5)
	// And once more, within the call.
	if offer, err = s.Offer(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	p.take(webrtc.SDPTypeOffer, offer)
	if answer, err = p.pc.CreateAnswer(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyAnswer(p.local(answer)); err != nil {
		t.Fatal(err)
	}
	p.more("video", 5)
}

// Orders and reports are what an agent has to pass on between voip/call and here.
func TestOrders(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	s.Order(call.ApplyOffer{SDP: p.offer()})
	d := wait[call.LocalDescription](t, s)
	if d.Description.Type != call.Answer || d.StreamID != s.StreamID() {
		t.Errorf("%+v", d)
	}
	end := wait[call.LocalCandidates](t, s)
	if n := len(end.Candidates); n == 0 || !end.Candidates[n-1].End() {
		t.Errorf("candidates without an end: %+v", end)
	}
	p.take(webrtc.SDPTypeAnswer, d.Description.SDP)
	wait[call.Connected](t, s)
	s.Order(call.ApplyOffer{SDP: "v=0\r\nm=audio"})
	wait[call.OfferFailed](t, s)
	p.more("audio", 5)
	s.Order(call.CloseMedia{})
	for range s.Events() {
	}
}

func TestHoldAndResume(t *testing.T) {
	checkLeaks(t)
	for _, hold := range []string{"sendonly", "inactive"} {
		t.Run(hold, func(t *testing.T) {
			m := newMedia()
			s := open(t, m, nil)
			p := newPeer(t, false)
			p.talk(webrtc.MimeTypeOpus, both)
			p.talk(webrtc.MimeTypeVP8, both)
			connect(t, s, p)
			p.more("video", 5)
			want := map[string]string{"sendonly": "a=recvonly", "inactive": "a=inactive"}[hold]
			held := strings.ReplaceAll(p.offer(), "a=sendrecv", "a="+hold)
			answer, err := s.Renegotiate(context.Background(), held)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(answer, want+"\r\n") != 2 || strings.Contains(answer, "a=sendrecv") {
				t.Errorf("%s was answered with\n%s", hold, answer)
			}
			if m.cameras.Load()+m.microphones.Load() != 0 {
				t.Error("devices are open on hold")
			}
			p.take(webrtc.SDPTypeAnswer, answer)
			answer, err = s.Renegotiate(context.Background(), p.offer())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(answer, "a=sendrecv\r\n") != 2 {
				t.Errorf("resuming was answered with\n%s", answer)
			}
			p.take(webrtc.SDPTypeAnswer, answer)
			p.more("video", 5)
			p.more("audio", 5)
		})
	}
}

func TestUpgradeToVideo(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	answer := accept(t, s, p)
	if strings.Contains(answer, "m=video") || m.cameras.Load() != 0 {
		t.Error("a voice call has a picture")
	}
	wait[call.Connected](t, s)
	p.more("audio", 5)
	p.talk(webrtc.MimeTypeVP8, both)
	answer = accept(t, s, p)
	if strings.Count(answer, "a=sendrecv\r\n") != 2 {
		t.Errorf("the upgrade was answered with\n%s", answer)
	}
	p.more("video", 5)
}

// spec: MSC2746 introduce m.call.negotiate: ICE restarts
func TestICERestart(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.more("audio", 5)
	again, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Renegotiate(context.Background(), p.local(again))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer, "a=candidate:") {
		t.Errorf("no new candidates:\n%s", answer)
	}
	p.take(webrtc.SDPTypeAnswer, answer)
	if c := wait[call.LocalCandidates](t, s).Candidates; len(c) == 0 || !c[len(c)-1].End() {
		t.Errorf("no end of candidates: %v", c)
	}
	p.more("audio", 50)
}

// A phone over plain HTTP has no microphone to give: it watches and listens.
func TestReceiveOnly(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	p.listen(webrtc.RTPCodecTypeAudio)
	p.listen(webrtc.RTPCodecTypeVideo)
	answer := accept(t, s, p)
	if strings.Count(answer, "a=sendonly\r\n") != 2 {
		t.Errorf("answered with\n%s", answer)
	}
	wait[call.Connected](t, s)
	p.more("video", 5)
	p.more("audio", 5)
}

func TestSendOnly(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypePCMU, send)
	answer := accept(t, s, p)
	if !strings.Contains(answer, "a=recvonly\r\n") || m.microphones.Load() != 0 {
		t.Errorf("answered with\n%s", answer)
	}
	wait[call.Connected](t, s)
	if got := <-m.heard; got != device.PCMU {
		t.Errorf("heard %s", got)
	}
}

// Without a codec in common the section is answered, and nothing is sent in it.
func TestNoCommonCodec(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	m.video = []device.VideoCodec{"theora"}
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	connect(t, s, p)
	p.more("audio", 5)
	if st := s.Stats(); st.VideoCodec != "" || m.cameras.Load() != 0 {
		t.Errorf("%+v", st)
	}
}

func TestPrefersTheDevicesOrder(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	m.video = []device.VideoCodec{device.H264, device.VP8}
	m.audio = []device.AudioCodec{device.PCMA}
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	accept(t, s, p)
	if st := s.Stats(); st.VideoCodec != "H264" || st.AudioCodec != "PCMA" {
		t.Errorf("%+v", st)
	}
}

func TestCandidatesBeforeDescription(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	var bare []string
	mid := "0"
	for line := range strings.Lines(p.offer()) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok {
			s.AddCandidates([]call.Candidate{{Candidate: "candidate:" + c, Mid: &mid}})
			continue
		}
		bare = append(bare, line)
	}
	s.AddCandidates([]call.Candidate{{Candidate: "candidate:rubbish", Mid: &mid}, {}})
	answer, err := s.Accept(context.Background(), strings.Join(bare, ""))
	if err != nil {
		t.Fatal(err)
	}
	p.take(webrtc.SDPTypeAnswer, answer)
	wait[call.Connected](t, s)
}

// Only the TCP port is reachable for this peer.
func TestTCP(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, true)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.more("audio", 5)
}

// spec: MSC2746 add DTMF
func TestDTMF(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	track := &rawTrack{}
	if _, err := p.pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	connect(t, s, p)
	until(t, "the peer's connection", func() bool { return p.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	pt := track.payloadType(telephoneEvent)
	sent := uint16(0)
	write := func(payloadType uint8, ts uint32, payload []byte) {
		t.Helper()
		sent++
		h := rtp.Header{Version: 2, PayloadType: payloadType, SequenceNumber: sent, Timestamp: ts,
			SSRC: uint32(track.bound.SSRC())}
		if _, err := track.bound.WriteStream().WriteRTP(&h, payload); err != nil {
			t.Fatal(err)
		}
	}
	write(track.payloadType(webrtc.MimeTypePCMU), 0, make([]byte, 160))
	for i, digit := range []byte{1, 10, 10} {
		for range 3 {
			write(pt, uint32(160*(i+1)), []byte{digit, 10, 0, 160})
		}
	}
	write(pt, 9999, []byte{200, 0, 0, 0}) // no such tone
	write(pt, 9999, []byte{1})            // broken
	var got string
	for len(got) < 3 {
		select {
		case e := <-s.Events():
			if e.Digit != 0 {
				got += string(e.Digit)
			}
		case <-time.After(patience):
			t.Fatalf("digits %q, %+v", got, s.Stats())
		}
	}
	if n := s.Stats().Digits; got != "1**" || n != 3 {
		t.Errorf("digits %q, counted %d", got, n)
	}
}

// rawTrack leaves the packets to the test, payload type included, so that digits
// can be put between packets of sound.
type rawTrack struct {
	bound  webrtc.TrackLocalContext
	codecs []webrtc.RTPCodecParameters
}

func (r *rawTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	r.bound, r.codecs = c, c.CodecParameters()
	return r.codecs[0], nil
}
func (r *rawTrack) Unbind(webrtc.TrackLocalContext) error { return nil }
func (r *rawTrack) ID() string                            { return "audio" }
func (r *rawTrack) RID() string                           { return "" }
func (r *rawTrack) StreamID() string                      { return "peer" }
func (r *rawTrack) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeAudio }

func (r *rawTrack) payloadType(mime string) uint8 {
	for _, c := range r.codecs {
		if strings.EqualFold(c.MimeType, mime) {
			return uint8(c.PayloadType)
		}
	}
	return 0
}

func TestKeyFrames(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeVP8, both)
	connect(t, s, p)
	p.more("video", 3)
	p.mu.Lock()
	ssrc := p.last["video"].SSRC
	p.mu.Unlock()
	for range 5 {
		if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a key frame", func() bool { return m.keys.Load() > 0 })
	p.more("video", 10)
	if n := m.keys.Load(); n > 2 {
		t.Errorf("%d key frames at once", n)
	}
	// A peer may say itself what it can take.
	if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 300_000, SSRCs: []uint32{ssrc}}}); err != nil {
		t.Fatal(err)
	}
	until(t, "a lower bit rate", func() bool { return m.bitrate.Load() == 300_000-audioShare })
}

// The microphone's encoder hears how much of the sound gets lost.
func TestLossOfSound(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.more("audio", 3)
	p.mu.Lock()
	ssrc := p.last["audio"].SSRC
	p.mu.Unlock()
	if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{
		Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: 64}}}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the loss", func() bool { return m.loss.Load() == 64 })
}

func TestMediaFailed(t *testing.T) {
	checkLeaks(t)
	m := newMedia()
	m.fail = errors.New("unplugged")
	s := open(t, m, nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	accept(t, s, p)
	wait[call.MediaFailed](t, s)
}

func TestPeerVanishes(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.close()
	wait[call.Disconnected](t, s)
}

func TestTooManySessions(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), func(c *Config) { c.MaxSessions = 1 })
	if _, err := s.b.Open(context.Background()); !errors.Is(err, ErrBusy) {
		t.Errorf("a second session: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "a free place", func() bool {
		again, err := s.b.Open(context.Background())
		return err == nil && again.Close() == nil
	})
}

func TestHostileDescriptions(t *testing.T) {
	checkLeaks(t)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	good := p.offer()
	s := open(t, newMedia(), nil)
	for _, offer := range []string{
		"", "v=0", "m=audio", "m=audio 9 X", strings.Repeat("x", call.MaxSDPBytes+1),
		good[:len(good)/2], strings.ReplaceAll(good, "a=mid:0\r\n", ""),
		strings.ReplaceAll(good, "a=ice-ufrag", "a=x"), strings.ReplaceAll(good, "a=fingerprint", "a=x"),
		good + strings.Repeat("m=audio 9 X 0\r\n", maxSections),
		strings.ReplaceAll(good, "opus/48000/2", "opus/abc"), strings.ReplaceAll(good, "m=audio", "m=text"),
	} {
		if _, err := s.Accept(context.Background(), offer); err == nil && offer != good {
			continue // odd, but pion made sense of it
		}
	}
	// Whatever it was: another session is not harmed.
	again, err := s.b.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := again.Accept(context.Background(), good)
	if err != nil {
		t.Fatal(err)
	}
	p.take(webrtc.SDPTypeAnswer, answer)
	wait[call.Connected](t, again)
}

// BenchmarkConnect is the time from Accept to the connection.
func BenchmarkConnect(b *testing.B) {
	m := newMedia()
	first := open(b, m, nil)
	for b.Loop() {
		b.StopTimer()
		s, err := first.b.Open(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		p := newPeer(b, false)
		p.talk(webrtc.MimeTypeOpus, both)
		p.talk(webrtc.MimeTypeVP8, both)
		offer := p.offer()
		b.StartTimer()
		answer, err := s.Accept(context.Background(), offer)
		if err != nil {
			b.Fatal(err)
		}
		p.take(webrtc.SDPTypeAnswer, answer)
		wait[call.Connected](b, s)
		b.StopTimer()
		p.close()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// What is withheld is not sent, and its device stays off.
func TestWithhold(t *testing.T) {
	m := newMedia()
	s := open(t, m, nil)
	s.Withhold(false, true)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	connect(t, s, p)
	p.more("audio", 10)
	if st := s.Stats(); st.VideoCodec != "" || st.VideoSent != 0 || st.AudioSent == 0 || m.cameras.Load() != 0 {
		t.Errorf("%+v, %d cameras", st, m.cameras.Load())
	}
}

// Who is only to listen is received, for the digits' sake, and not played.
func TestDeafen(t *testing.T) {
	m := newMedia()
	s := open(t, m, nil)
	s.Deafen()
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.more("audio", 10)
	if st := s.Stats(); st.AudioReceived == 0 || st.AudioSent == 0 || st.Speaker.Packets != 0 {
		t.Errorf("%+v", st)
	}
}
