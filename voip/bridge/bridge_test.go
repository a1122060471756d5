package bridge

import (
	"bytes"
	"context"
	"encoding/hex"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

var _ Media = (*device.Board)(nil)

// patience is how long a test waits for an event before it gives up.
const patience = 20 * time.Second

// fakeMedia is a board whose camera and microphone tick.
type fakeMedia struct {
	video   []device.VideoCodec
	audio   []device.AudioCodec
	fail    error  // of every Open
	failing string // if not empty, of the Open of this kind only
	h264    string // the profile-level-id of its H.264, which begins with a key frame of that
	past    int    // so many pictures are there at once

	cameras, microphones atomic.Int32 // open now
	keys, read           atomic.Int32 // read: pictures
	bitrate              atomic.Int32
	loss                 atomic.Int32           // of the sound, in 256ths
	heard                chan device.AudioCodec // codecs of what the loudspeaker was given
}

func newMedia() *fakeMedia {
	return &fakeMedia{
		video: []device.VideoCodec{device.VP8}, audio: []device.AudioCodec{device.Opus, device.PCMU},
		heard: make(chan device.AudioCodec, 1),
	}
}

func (m *fakeMedia) VideoCodecs() []device.VideoCodec { return m.video }
func (m *fakeMedia) AudioCodecs() []device.AudioCodec { return m.audio }

func (m *fakeMedia) OpenVideo(_ context.Context, c device.VideoCodec) (device.VideoStream, error) {
	if m.fail != nil && m.failing != "audio" {
		return nil, m.fail
	}
	m.cameras.Add(1)
	v := &fakeVideo{fakeStream: newStream(&m.cameras), m: m, codec: c}
	v.past = m.past
	return v, nil
}

func (m *fakeMedia) OpenAudio(_ context.Context, c device.AudioCodec) (device.AudioStream, error) {
	if m.fail != nil && m.failing != "video" {
		return nil, m.fail
	}
	m.microphones.Add(1)
	return &fakeAudio{newStream(&m.microphones), m, c}, nil
}

func (m *fakeMedia) OpenSpeaker(context.Context) (device.Speaker, error) {
	return &fakeSpeaker{heard: m.heard}, nil
}

type fakeStream struct {
	tick *time.Ticker
	open *atomic.Int32
	n    int
	past int
}

func newStream(open *atomic.Int32) *fakeStream {
	return &fakeStream{tick: time.NewTicker(device.PacketDuration), open: open}
}

func (s *fakeStream) next(ctx context.Context, size int) (device.EncodedFrame, error) {
	if s.n >= s.past {
		select {
		case <-s.tick.C:
		case <-ctx.Done():
			return device.EncodedFrame{}, ctx.Err()
		}
	}
	s.n++
	return device.EncodedFrame{Data: bytes.Repeat([]byte{0x10}, size), Duration: device.PacketDuration, Key: s.n == 1}, nil
}

func (s *fakeStream) Close() error {
	s.tick.Stop()
	s.open.Add(-1)
	return nil
}

type fakeVideo struct {
	*fakeStream
	m     *fakeMedia
	codec device.VideoCodec
}

func (v *fakeVideo) ReadFrame(ctx context.Context) (device.EncodedFrame, error) {
	f, err := v.next(ctx, 3000)
	v.m.read.Add(1)
	if err == nil && v.codec == device.H264 {
		f.Data = h264Picture(v.m.h264, f.Key)
	}
	return f, err
}

// h264Picture is a picture of VGA as Annex B that only its parameter sets are real of.
func h264Picture(id string, key bool) []byte {
	start := []byte{0, 0, 0, 1}
	slice := append([]byte{0x41}, bytes.Repeat([]byte{0x9a}, 3000)...)
	if !key {
		return append(start, slice...)
	}
	slice[0] = 0x65
	if id == "?" {
		return append(start, slice...) // without any
	}
	if id == "" {
		id = "42c01e"
	}
	head, err := hex.DecodeString(id)
	if err != nil {
		panic(err)
	}
	bits := "1" // the number of the set
	if head[0] >= 100 {
		bits += "010" + "1" + "1" + "0" + "0" // 4:2:0, 8 bits, no scaling lists
	}
	bits += "1" + "011" + "010" + "0"                                 // frame numbers, shown as coded, one reference, no gaps
	bits += "00000101000" + "000011110" + "1" + "1" + "0" + "0" + "1" // 40 by 30 macroblocks
	for len(bits)%8 != 0 {
		bits += "0"
	}
	sps := append([]byte{0x67}, head...)
	for ; bits != ""; bits = bits[8:] {
		b, err := strconv.ParseUint(bits[:8], 2, 8)
		if err != nil {
			panic(err)
		}
		sps = append(sps, byte(b))
	}
	return slices.Concat(start, sps, start, []byte{0x68, 0xce, 0x38, 0x80}, start, slice)
}
func (v *fakeVideo) RequestKeyFrame()         { v.m.keys.Add(1) }
func (v *fakeVideo) SetBitrate(b int)         { v.m.bitrate.Store(int32(b)) }
func (v *fakeVideo) Codec() device.VideoCodec { return v.codec }

type fakeAudio struct {
	*fakeStream
	m     *fakeMedia
	codec device.AudioCodec
}

func (a *fakeAudio) ReadPacket(ctx context.Context) (device.EncodedFrame, error) {
	return a.next(ctx, 60)
}
func (a *fakeAudio) SetLoss(fraction float64) { a.m.loss.Store(int32(fraction * 256)) }
func (a *fakeAudio) Codec() device.AudioCodec { return a.codec }

type fakeSpeaker struct {
	heard   chan device.AudioCodec
	packets atomic.Uint64
}

func (s *fakeSpeaker) Write(p device.AudioPacket) error {
	s.packets.Add(1)
	select {
	case s.heard <- p.Codec:
	default:
	}
	return nil
}
func (s *fakeSpeaker) Level() (float64, time.Time) { return device.SilenceLevel, time.Time{} }
func (s *fakeSpeaker) Meter() device.Meter         { return device.Meter{Packets: s.packets.Load()} }
func (s *fakeSpeaker) Close() error                { return nil }

// open is a running bridge on the loopback interface and one session of it.
func open(t testing.TB, m *fakeMedia, change func(*Config)) *Session {
	t.Helper()
	cfg := Config{Media: m, Interfaces: []string{"lo"}, Loopback: true}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	s, err := b.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wait reads events until one of type T comes.
func wait[T call.Input](t testing.TB, s *Session) T {
	t.Helper()
	for {
		select {
		case e, ok := <-s.Events():
			if !ok {
				t.Fatalf("the session ended before %T", *new(T))
			}
			if in, ok := e.Report.(T); ok {
				return in
			}
		case <-time.After(patience):
			t.Fatalf("no %T", *new(T))
		}
	}
}

// peer is the other end: a browser, as far as pion can be one.
type peer struct {
	t     testing.TB
	pc    *webrtc.PeerConnection
	audio *webrtc.TrackLocalStaticSample
	video *webrtc.TrackLocalStaticSample

	mu      sync.Mutex
	packets map[string]int // received, by kind
	news    chan struct{}  // something was received
	streams map[string]bool
	last    map[string]*rtp.Packet
	see     func(kind string, p *rtp.Packet, how interceptor.Attributes) // each packet; may be nil
	stop    chan struct{}
	talking sync.WaitGroup
}

func newPeer(t testing.TB, tcp bool) *peer {
	t.Helper()
	return newPeerWith(t, tcp, webrtc.Configuration{})
}

func newPeerWith(t testing.TB, tcp bool, config webrtc.Configuration, more ...func(*webrtc.API)) *peer {
	t.Helper()
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	if tcp {
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	return newPeerOn(t, settings, &m, config, more...)
}

func newPeerOn(t testing.TB, settings webrtc.SettingEngine, m *webrtc.MediaEngine, config webrtc.Configuration, more ...func(*webrtc.API)) *peer {
	t.Helper()
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 126, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: telephoneEvent, ClockRate: 8000, SDPFmtpLine: "0-15"}}, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: playoutDelayURI}, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	options := append([]func(*webrtc.API){webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(settings)}, more...)
	pc, err := webrtc.NewAPI(options...).NewPeerConnection(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, pc: pc, packets: map[string]int{}, news: make(chan struct{}, 1), streams: map[string]bool{},
		last: map[string]*rtp.Packet{}, stop: make(chan struct{})}
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, how, err := tr.ReadRTP()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.packets[tr.Kind().String()]++
			p.streams[tr.StreamID()] = true
			p.last[tr.Kind().String()] = pkt
			if p.see != nil {
				p.see(tr.Kind().String(), pkt, how)
			}
			p.mu.Unlock()
			select {
			case p.news <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *peer) close() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	p.talking.Wait()
	if err := p.pc.GracefulClose(); err != nil {
		p.t.Log(err)
	}
}

// talk adds a track that sends every 20 ms.
func (p *peer) talk(mime string, d webrtc.RTPTransceiverDirection) *webrtc.RTPTransceiver {
	p.t.Helper()
	kind, _, _ := strings.Cut(mime, "/")
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, kind, "peer")
	if err != nil {
		p.t.Fatal(err)
	}
	tr, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: d})
	if err != nil {
		p.t.Fatal(err)
	}
	if kind == "audio" {
		p.audio = track
	} else {
		p.video = track
	}
	p.talking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := track.WriteSample(media.Sample{Data: make([]byte, 80), Duration: 20 * time.Millisecond}); err != nil {
					return
				}
			case <-p.stop:
				return
			}
		}
	})
	return tr
}

func (p *peer) listen(kind webrtc.RTPCodecType) {
	p.t.Helper()
	if _, err := p.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		p.t.Fatal(err)
	}
}

// offer is complete with candidates.
func (p *peer) offer() string {
	p.t.Helper()
	o, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.local(o)
}

func (p *peer) local(d webrtc.SessionDescription) string {
	p.t.Helper()
	done := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		p.t.Fatal(err)
	}
	<-done
	return p.pc.LocalDescription().SDP
}

func (p *peer) take(kind webrtc.SDPType, sdp string) {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		p.t.Fatalf("%v\n%s", err, sdp)
	}
}

// more waits until n further packets of a kind have come.
func (p *peer) more(kind string, n int) {
	p.t.Helper()
	deadline := time.After(patience)
	p.mu.Lock()
	until := p.packets[kind] + n
	p.mu.Unlock()
	for {
		p.mu.Lock()
		got := p.packets[kind]
		p.mu.Unlock()
		if got >= until {
			return
		}
		select {
		case <-p.news:
		case <-deadline:
			p.t.Fatalf("%d packets of %s, not %d", got, kind, until)
		}
	}
}

// until polls for what has no event of its own.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not reached: ", what)
		}
	}
}

// checkLeaks fails the test if goroutines of pion or of ours are left at its end.
// It has to be called first, so that its cleanup runs last.
func checkLeaks(t *testing.T) {
	t.Cleanup(func() {
		stacks := func() string {
			var b strings.Builder
			if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
				t.Error(err)
			}
			return b.String()
		}
		left := func() (blocks []string) {
			for _, s := range strings.Split(stacks(), "\n\n") {
				if strings.Contains(s, "checkLeaks") {
					continue // this one
				}
				if strings.Contains(s, "pion/") || strings.Contains(s, "voip/bridge.(") {
					blocks = append(blocks, s)
				}
			}
			return blocks
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 250 {
			runtime.Gosched()
			if len(left()) == 0 {
				return
			}
			<-tick.C
		}
		t.Errorf("goroutines are left:\n%s", strings.Join(left(), "\n\n"))
	})
}
