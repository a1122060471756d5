package device

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tape is a loudspeaker that keeps what it is given. Songs and callers play on it at the
// same time.
type tape struct {
	mu     sync.Mutex
	pcm    []int16
	closed int
}

func (p *tape) play(pcm []int16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pcm = append(p.pcm, pcm...)
	return true
}

// heard is all that was played so far.
func (p *tape) heard() []int16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pcm[:len(p.pcm):len(p.pcm)]
}

func (p *tape) close() error {
	p.closed++
	return nil
}

// even is a song that stands still at a value.
type even struct {
	value int16
	left  int // samples
}

func (s *even) Read(block []int16) (int, error) {
	n := min(len(block), s.left)
	for i := range n {
		block[i] = s.value
	}
	if s.left -= n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// playing plays tunes on a board with a tape, in virtual time.
func playing(t *testing.T, test func(t *testing.T, b *Board, p *tape)) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Config{Camera: None, Microphone: None, Loudspeaker: None})
		if err != nil {
			t.Fatal(err)
		}
		p := &tape{}
		b.speaker = func(context.Context) (player, error) { return p, nil }
		go b.Run(t.Context())
		test(t, b, p)
		if p.closed != 1 {
			t.Errorf("the loudspeaker was closed %d times", p.closed)
		}
	})
}

func (p *tape) seconds() float64 { return float64(len(p.heard())) / soundRate }

func TestPlayLoops(t *testing.T) {
	for _, tt := range []struct {
		name    string
		tune    Tune
		seconds float64
		opened  int
	}{
		{"once", Tune{}, 2, 1},
		{"once, with more time than it takes", Tune{For: time.Minute}, 2, 1},
		{"again and again", Tune{Loop: true, For: 5 * time.Second}, 5, 3},
		{"cut short", Tune{For: time.Second}, 1, 1},
	} {
		playing(t, func(t *testing.T, b *Board, p *tape) {
			opened := 0
			tt.tune.Volume = func() float64 { return 1 }
			tt.tune.Open = func() (Song, error) {
				opened++
				return &even{1000, 2 * soundRate}, nil
			}
			if err := b.Play(t.Context(), tt.tune); err != nil {
				t.Fatal(err)
			}
			if d := p.seconds(); math.Abs(d-tt.seconds) > songSwell.Seconds()+0.1 || opened != tt.opened {
				t.Errorf("%s: it played for %.2f s and was begun %d times", tt.name, d, opened)
			}
		})
	}
	playing(t, func(t *testing.T, b *Board, p *tape) {
		err := b.Play(t.Context(), Tune{Loop: true, Volume: func() float64 { return 1 }, Open: func() (Song, error) { return &even{}, nil }})
		if err != nil || len(p.heard()) != 0 {
			t.Errorf("a song of no length: %v, %d samples", err, len(p.heard()))
		}
	})
}

// TestPlayFades: the volume holds, changes at once, and goes away slowly at the end.
func TestPlayFades(t *testing.T) {
	playing(t, func(t *testing.T, b *Board, p *tape) {
		began, volume := time.Now(), func(at time.Duration) float64 {
			if at < 5*time.Second {
				return 1
			}
			return 0.5
		}
		err := b.Play(t.Context(), Tune{
			For: 20 * time.Second, Fade: 10 * time.Second, Volume: func() float64 { return volume(time.Since(began)) },
			Open: func() (Song, error) { return &even{10000, 100 * soundRate}, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		at := func(s float64) int16 { return p.heard()[min(len(p.heard())-1, int(s*soundRate))] }
		for s, want := range map[float64]int16{0: 0, 2: 10000, 9: 2500, 15: 1250, 100: 0} {
			if got := at(s); math.Abs(float64(got-want)) > 40 {
				t.Errorf("after %g s it is at %d, want %d", s, got, want)
			}
		}
		jump := 0
		pcm := p.heard()
		for i, x := range pcm[1:] {
			jump = max(jump, int(math.Abs(float64(x-pcm[i]))))
		}
		if jump > 10 {
			t.Errorf("it jumps by %d, which clicks", jump)
		}
	})
}

func TestPlayStops(t *testing.T) {
	playing(t, func(t *testing.T, b *Board, p *tape) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := b.Play(ctx, Tune{Volume: func() float64 { return 1 }, Open: func() (Song, error) { return &even{10000, 100 * soundRate}, nil }})
		if !errors.Is(err, context.DeadlineExceeded) || math.Abs(p.seconds()-3.5) > 0.1 || math.Abs(float64(p.heard()[len(p.heard())-1])) > 10 {
			t.Errorf("%v after %.2f s, at %d", err, p.seconds(), p.heard()[len(p.heard())-1])
		}
	})
}

// TestPlayGivesWay: a caller's voice goes first, a caller's silence does not, and the
// privacy tone is heard alone.
func TestPlayGivesWay(t *testing.T) {
	playing(t, func(t *testing.T, b *Board, p *tape) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- b.Play(ctx, Tune{Volume: func() float64 { return 1 }, Open: func() (Song, error) { return &even{10000, 1000 * soundRate}, nil }})
		}()
		time.Sleep(2 * time.Second)
		s, err := b.OpenSpeaker(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		packet := AudioPacket{Codec: PCMU, Source: 1}
		say := func(sample byte, packets int) (songs, voices int) {
			synctest.Wait()
			from := len(p.heard())
			for range packets {
				packet.Payload = slices.Repeat([]byte{sample, sample ^ 0x80}, 80)
				if err := s.Write(packet); err != nil {
					t.Fatal(err)
				}
				packet.Sequence++
				packet.Timestamp += 160
				time.Sleep(PacketDuration)
			}
			synctest.Wait()
			for _, x := range p.heard()[from:] {
				if x > 0 && x <= 10000 {
					songs++
				}
				if x < 0 {
					voices++
				}
			}
			return songs / blockSamples, voices / blockSamples
		}
		if songs, voices := say(0xff, 50); songs < 45 || voices != 0 {
			t.Errorf("beside silence %d packets of song and %d of voice are heard", songs, voices)
		}
		if songs, voices := say(0x80, 50); songs > 30 || voices < 20 { // one sign of two is counted as a song
			t.Errorf("beside a voice %d packets of song and %d of voice are heard", songs, voices)
		}
		time.Sleep(200 * time.Millisecond) // what had not been played yet is heard, and fades
		synctest.Wait()
		before := len(p.heard())
		time.Sleep(floorHold - 300*time.Millisecond)
		synctest.Wait()
		if slices.ContainsFunc(p.heard()[before:], func(x int16) bool { return x != 0 }) {
			t.Error("it goes on too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(p.heard()) == before || p.heard()[len(p.heard())-1] != 10000 {
			t.Error("it does not go on")
		}
		chimed := make(chan error, 1)
		before = len(p.heard())
		go func() { chimed <- b.Chime(t.Context()) }()
		if err := <-chimed; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		heard := p.heard()[before:]
		if over := len(heard) - len(chimeSound()); over < 0 || over > 3*blockSamples {
			t.Errorf("%d samples are heard with a privacy tone of %d", len(heard), len(chimeSound()))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestPlayRefuses(t *testing.T) {
	b := run(t, Config{Camera: None, Microphone: None, Loudspeaker: MeterOnly})
	if err := b.Play(t.Context(), Tune{}); !errors.Is(err, ErrUnsupported) {
		t.Error("without a loudspeaker:", err)
	}
	wrong := errors.New("no such song")
	p := &tape{}
	b.shared, b.speaker = false, func(context.Context) (player, error) { return p, nil }
	if err := b.Play(t.Context(), Tune{Open: func() (Song, error) { return nil, wrong }}); !errors.Is(err, wrong) || p.closed != 0 {
		t.Error("without a song:", err)
	}
}
