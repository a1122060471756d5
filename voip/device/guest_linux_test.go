//go:build guest

package device

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// These tests need the devices of the virtual machine that firmware/guest starts: a sound
// card that hears what it plays, and a camera.
const (
	guestLoudspeaker = "hw:Spk,0"
	guestMicrophone  = "hw:Spk,1" // hears that loudspeaker
	guestCamera      = "/dev/video0"
)

func TestRealSound(t *testing.T) {
	b := run(t, Config{Camera: None, Microphone: guestMicrophone, Loudspeaker: guestLoudspeaker})
	t.Log(strings.Join(b.Describe(), "\n"))
	ctx := within(t, 60*time.Second)
	for _, codec := range b.AudioCodecs() {
		t.Run(string(codec), func(t *testing.T) { hearOneself(ctx, t, b, codec) })
	}
}

// hearOneself plays a tone and listens for it, lets the card run dry, and plays again.
func hearOneself(ctx context.Context, t *testing.T, b *Board, codec AudioCodec) {
	mouth, err := b.OpenSpeaker(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer mouth.Close()
	if _, err := b.OpenSpeaker(ctx); !errors.Is(err, ErrBusy) {
		t.Error("a second speaker:", err)
	}
	ear, err := b.OpenAudio(ctx, codec)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	heard := newEar(nil)
	var said rtpCounter
	for _, hz := range []float64{440, 1000} {
		// Speaking keeps a time of its own: in silence few packets are heard.
		packets := tonePackets(hz, 64)
		spoken, failed := make(chan struct{}), make(chan error, 1)
		go func() {
			defer close(spoken)
			tick := time.NewTicker(PacketDuration)
			defer tick.Stop()
			for _, packet := range packets { // the card runs dry before and after
				<-tick.C
				if err := mouth.Write(said.packet(PCMU, packet)); err != nil {
					failed <- err
					return
				}
			}
		}()
		loud := Meter{Level: -120}
		for speaking := true; speaking; {
			listen(ctx, t, ear, heard)
			if m := heard.Meter(); math.Abs(m.Level+20) < 2 {
				loud = m
			}
			select {
			case <-spoken:
				speaking = false
			default:
			}
		}
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		// What comes in bursts is played a little faster or slower, until the buffers hold
		// what they should.
		if math.Abs(loud.ToneHz-hz) > hz/40 {
			t.Errorf("%.0f Hz was heard as %+v", hz, loud)
		}
		for quiet := time.Duration(0); quiet < 800*time.Millisecond; {
			quiet += listen(ctx, t, ear, heard)
		}
		if m := heard.Meter(); m.Level > -60 {
			t.Errorf("after the sound: %+v", m)
		}
	}
	// An emulated machine stumbles, and then sends in bursts.
	if m := mouth.Meter(); m.Dropped > 20 {
		t.Errorf("played: %+v", m)
	}
}

// tonePackets is a tone as n packets of PCMU.
func tonePackets(hz float64, n int) (packets [][]byte) {
	pcm := tone(g711Rate, hz, -20, n*g711Rate/50)
	for i := range n {
		packets = append(packets, encodeG711(pcm[i*g711Rate/50:(i+1)*g711Rate/50], encodeULaw))
	}
	return packets
}

// listen hears the next packet, and says for how long it stands.
func listen(ctx context.Context, t *testing.T, mic AudioStream, heard *ear) time.Duration {
	t.Helper()
	p, err := mic.ReadPacket(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for missed := p.Duration - PacketDuration; missed > 0; missed -= PacketDuration {
		heard.ticks += uint32(clockRate(mic.Codec()) / 50) // it was quiet
		heard.wait(1)
	}
	if err := heard.hear(mic.Codec(), p.Data); err != nil {
		t.Fatal(err)
	}
	return p.Duration
}

func TestRealCamera(t *testing.T) {
	b := run(t, Config{Camera: guestCamera, Microphone: None, Loudspeaker: None})
	t.Log(strings.Join(b.Describe(), "\n"))
	ctx := within(t, 60*time.Second)
	for _, codec := range b.VideoCodecs() {
		for range 2 { // it must start again after it stopped
			cam, err := b.OpenVideo(ctx, codec)
			if err != nil {
				t.Fatal(err)
			}
			var length time.Duration
			start := time.Now()
			for i := range 20 {
				f, err := cam.ReadFrame(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 && !f.Key {
					t.Error("the first frame is no key frame")
				}
				length += f.Duration
			}
			took := time.Since(start)
			t.Logf("%s: 20 frames of %v in %v", codec, length, took)
			if length < took/2 || length > 2*took+time.Second {
				t.Error("the frames' durations do not add up")
			}
			if err := cam.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
