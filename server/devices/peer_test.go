//go:build guest

package devices

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/opus"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"porchlight/voip/device"
	"porchlight/voip/device/devicetest"
)

const (
	// peerTone is what the peer says, in hertz: the test tone of voip/device.
	peerTone = 440
	// freeze is how long a picture may stand still without being one.
	freeze = 500 * time.Millisecond
	// How many packets the peer waits for one that is late. A picture has some ten, a
	// second of sound fifty.
	latePictures, lateSound = 64, 10
)

// peer is who calls the board: as much of a browser as pion and libvpx are together.
type peer struct {
	t       *testing.T
	client  *client
	id      string // of the call
	pc      *webrtc.PeerConnection
	up      chan struct{} // closed when connected
	stop    context.CancelFunc
	working sync.WaitGroup

	mu     sync.Mutex
	seen   sight
	heard  hearing
	latest [][]byte // the last second's packets of sound
	state  webrtc.PeerConnectionState
}

// sight is what was seen.
type sight struct {
	frames, changed int // decoded; different from the one before
	broken          int // frames that could not be decoded
	keys            int // asked for
	bytes           int
	freezes         int
	longest         time.Duration // between two pictures
	at              time.Time     // of the last picture
	picture         *image.YCbCr  // the last one
	coded           []byte        // in its place, of H.264, which nothing here decodes
}

// hearing is what was heard.
type hearing struct {
	packets, bytes int
	lost           int // packets that never came, or too late
	gaps           int // stretches of those
}

// call calls the board from its owner's room and waits until the call is up.
func (c *client) call(t *testing.T) *peer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.txn++
	p := &peer{t: t, client: c, id: fmt.Sprintf("call%d", c.txn), up: make(chan struct{}), stop: cancel}
	p.connect()
	tones := p.addTone()
	if _, err := p.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	p.say("invite", map[string]any{"lifetime": 60000, "offer": map[string]string{"type": "offer", "sdp": p.pc.LocalDescription().SDP}})
	var answer struct {
		CallID string `json:"call_id"`
		Party  string `json:"party_id"`
		Answer struct {
			SDP string `json:"sdp"`
		} `json:"answer"`
	}
	e := c.wait(t, "an answer to the call", func(e event) bool { return e.Type == "m.call.answer" })
	if err := json.Unmarshal(e.Content, &answer); err != nil || answer.CallID != p.id {
		t.Fatalf("the answer is %s: %v", e.Content, err)
	}
	p.say("select_answer", map[string]any{"selected_party_id": answer.Party})
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.Answer.SDP}); err != nil {
		t.Fatal(err)
	}
	p.working.Go(func() { p.talk(ctx, tones) })
	t.Cleanup(p.hangUp)
	select {
	case <-p.up:
	case <-time.After(patience):
		t.Fatal("the call was answered, but there is no connection")
	}
	return p
}

// say sends an event of the call. spec: MSC2746
func (p *peer) say(kind string, content map[string]any) {
	p.t.Helper()
	content["call_id"], content["party_id"], content["version"] = p.id, "peer", "1"
	p.client.send("m.call."+kind, content)
}

func (p *peer) connect() {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	var engine webrtc.MediaEngine
	var registry interceptor.Registry
	err := engine.RegisterDefaultCodecs()
	if err == nil {
		err = webrtc.RegisterDefaultInterceptors(&engine, &registry)
	}
	if err == nil {
		p.pc, err = webrtc.NewAPI(webrtc.WithMediaEngine(&engine), webrtc.WithSettingEngine(settings),
			webrtc.WithInterceptorRegistry(&registry)).NewPeerConnection(webrtc.Configuration{})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.state != s && s == webrtc.PeerConnectionStateConnected {
			select {
			case <-p.up:
			default:
				close(p.up)
			}
		}
		p.state = s
	})
	p.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			if track.Codec().MimeType == webrtc.MimeTypeH264 {
				p.watchH264(track)
				return
			}
			p.watch(track)
			return
		}
		p.listen(track)
	})
}

func (p *peer) addTone() *webrtc.TrackLocalStaticSample {
	p.t.Helper()
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "peer")
	if err == nil {
		_, err = p.pc.AddTransceiverFromTrack(track)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return track
}

// talk says the peer's words over and over until ctx ends.
func (p *peer) talk(ctx context.Context, track *webrtc.TrackLocalStaticSample) {
	tick := time.NewTicker(device.PacketDuration)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := track.WriteSample(media.Sample{Data: p.client.words[n%len(p.client.words)], Duration: device.PacketDuration}); err != nil {
			return // the call is over
		}
	}
}

// rehearse makes what a peer says: a second of the test tone in Opus. In a call there is no
// time for it, as the emulated machine is slow and the board has to do the same.
func rehearse(t *testing.T) (packets [][]byte) {
	t.Helper()
	mouth, err := device.New(device.Config{Camera: device.None, Loudspeaker: device.None, Microphone: device.Test})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- mouth.Run(ctx) }()
	defer func() { <-ended }()
	defer cancel()
	stream, err := mouth.OpenAudio(ctx, device.Opus)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for len(packets) < int(time.Second/device.PacketDuration) {
		packet, err := stream.ReadPacket(ctx)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, packet.Data)
	}
	return packets
}

// watch decodes the board's picture until the track ends.
func (p *peer) watch(track *webrtc.TrackRemote) {
	decoder, err := devicetest.NewVP8Decoder()
	if err != nil {
		p.t.Error(err)
		return
	}
	defer decoder.Close()
	frames := samplebuilder.New(latePictures, &codecs.VP8Packet{}, track.Codec().ClockRate)
	var asked time.Time
	askKey := func() {
		if time.Since(asked) < time.Second {
			return
		}
		asked = time.Now()
		p.mu.Lock()
		p.seen.keys++
		p.mu.Unlock()
		_ = p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}) // it will be asked again
	}
	whole := false // nothing is missing since the last key frame
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return // the call is over
		}
		p.mu.Lock()
		p.seen.bytes += len(packet.Payload)
		p.mu.Unlock()
		frames.Push(packet)
		for f := frames.Pop(); f != nil; f = frames.Pop() {
			key := len(f.Data) > 0 && f.Data[0]&1 == 0
			whole = key || whole && f.PrevDroppedPackets == 0
			if !whole {
				askKey()
				continue
			}
			picture, err := decoder.Decode(f.Data)
			p.see(picture, err)
			if err != nil {
				whole = false
				askKey()
			}
		}
	}
}

// watchH264 takes the board's pictures as they are until the track ends.
func (p *peer) watchH264(track *webrtc.TrackRemote) {
	frames := samplebuilder.New(latePictures, &codecs.H264Packet{}, track.Codec().ClockRate)
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return // the call is over
		}
		frames.Push(packet)
		for f := frames.Pop(); f != nil; f = frames.Pop() {
			p.mu.Lock()
			p.seen.bytes += len(f.Data)
			p.seen.frames++
			if !bytes.Equal(p.seen.coded, f.Data) {
				p.seen.changed++
			}
			p.seen.coded, p.seen.at = f.Data, time.Now()
			p.mu.Unlock()
		}
	}
}

// see takes a picture that was decoded.
func (p *peer) see(picture *image.YCbCr, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.seen.broken++
		return
	}
	now := time.Now()
	if !p.seen.at.IsZero() {
		gap := now.Sub(p.seen.at)
		p.seen.longest = max(p.seen.longest, gap)
		if gap > freeze {
			p.seen.freezes++
		}
	}
	p.seen.frames++
	if p.seen.picture == nil || differ(p.seen.picture, picture) {
		p.seen.changed++
	}
	p.seen.at, p.seen.picture = now, picture
}

// differ says whether two pictures differ by more than a codec's noise.
func differ(a, b *image.YCbCr) bool {
	if len(a.Y) != len(b.Y) {
		return true
	}
	pixels := 0
	for i := range a.Y {
		if math.Abs(float64(a.Y[i])-float64(b.Y[i])) > 40 {
			pixels++
		}
	}
	return pixels > 10
}

// listen takes the board's sound until the track ends.
func (p *peer) listen(track *webrtc.TrackRemote) {
	packets := samplebuilder.New(lateSound, &codecs.OpusPacket{}, track.Codec().ClockRate)
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return // the call is over
		}
		packets.Push(packet)
		for s := packets.Pop(); s != nil; s = packets.Pop() {
			p.hear(packet, s)
		}
	}
}

func (p *peer) hear(packet *rtp.Packet, s *media.Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard.packets++
	p.heard.bytes += len(packet.Payload)
	p.latest = append(p.latest, s.Data)
	if second := int(time.Second / device.PacketDuration); len(p.latest) > second {
		p.latest = p.latest[len(p.latest)-second:]
	}
	if s.PrevDroppedPackets > 0 && p.heard.packets > 1 {
		p.heard.lost += int(s.PrevDroppedPackets)
		p.heard.gaps++
	}
}

// last is the latest sound of so many milliseconds. It is decoded only now, since that
// takes an emulated machine long.
func (p *peer) last(ms int) []int16 {
	p.mu.Lock()
	packets := p.latest[max(0, len(p.latest)-ms/int(device.PacketDuration.Milliseconds())):]
	p.mu.Unlock()
	decoder, err := opus.NewDecoderWithOutput(rate, 1)
	if err != nil {
		p.t.Fatal(err)
	}
	var sound []int16
	pcm := make([]int16, rate*120/1000)
	for _, packet := range packets {
		n, err := decoder.DecodeToInt16(packet, pcm)
		if err != nil {
			p.t.Fatal("the board's sound does not decode:", err)
		}
		sound = append(sound, pcm[:n]...)
	}
	return sound
}

// senses are what the peer has seen and heard so far, and whether it is connected.
func (p *peer) senses() (sight, hearing, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen, p.heard, p.state == webrtc.PeerConnectionStateConnected
}

// picture is what was seen last.
func (p *peer) picture() image.Image {
	s, _, _ := p.senses()
	return s.picture
}

// reset begins anew to count what is seen and heard.
func (p *peer) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.heard = sight{picture: p.seen.picture}, hearing{}
}

// sees waits for so many more pictures that differ from one another.
func (p *peer) sees(t *testing.T, n int) {
	t.Helper()
	before, _, _ := p.senses()
	if !until(func() bool { s, _, _ := p.senses(); return s.changed-before.changed >= n }) {
		s, _, _ := p.senses()
		t.Fatalf("%d pictures and %d of them different came, not %d", s.frames-before.frames, s.changed-before.changed, n)
	}
}

// hears waits for so many more packets of sound.
func (p *peer) hears(t *testing.T, n int) {
	t.Helper()
	_, before, _ := p.senses()
	if !until(func() bool { _, h, _ := p.senses(); return h.packets-before.packets >= n }) {
		_, h, _ := p.senses()
		t.Fatalf("%d packets of sound came, not %d", h.packets-before.packets, n)
	}
}

// hangUp ends the call; it may be called twice.
func (p *peer) hangUp() {
	if p.pc.ConnectionState() == webrtc.PeerConnectionStateClosed {
		return
	}
	p.stop()
	p.say("hangup", map[string]any{"reason": "user_hangup"})
	if err := p.pc.GracefulClose(); err != nil {
		p.t.Error(err)
	}
	p.working.Wait()
}
