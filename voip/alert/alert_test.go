package alert

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

var nursery = SoundConfig{
	Level: -35, Attack: time.Second, Hold: 400 * time.Millisecond, Release: 2 * time.Second,
	Pause: time.Minute, Dead: 5 * time.Second,
}

// stretch is a kind of sound and how long it lasts.
type stretch struct {
	sound func(n int) float64 // sample number n, from -1 to 1
	d     time.Duration
}

func tone(hz, amplitude float64) func(int) float64 {
	return func(n int) float64 { return amplitude * math.Sin(2*math.Pi*hz*float64(n)/SoundRate) }
}

// cry is a voice of 450 Hz with overtones.
func cry(amplitude float64) func(int) float64 {
	a, b, c := tone(450, amplitude/2), tone(900, amplitude/3), tone(1800, amplitude/6)
	return func(n int) float64 { return a(n) + b(n) + c(n) }
}

func noise(amplitude float64) func(int) float64 {
	r := rand.New(rand.NewPCG(1, 2))
	return func(int) float64 { return amplitude * (2*r.Float64() - 1) }
}

func still(int) float64 { return 0 }

// hear plays stretches in blocks of 20 ms and returns the verdicts, with the seconds.
func hear(s *Sound, stretches ...stretch) (verdicts []SoundVerdict, at []time.Duration) {
	const block = SoundRate / 50
	n := 0
	for _, st := range stretches {
		for range int(st.d / (20 * time.Millisecond)) {
			pcm := make([]int16, block)
			for i := range pcm {
				pcm[i] = int16(math.Round(math.MaxInt16 * st.sound(n+i)))
			}
			n += block
			t := time.Duration(n) * time.Second / SoundRate
			if v := s.Add(pcm, start.Add(t)); v != SoundNothing {
				verdicts, at = append(verdicts, v), append(at, t)
			}
		}
	}
	return verdicts, at
}

func repeat(n int, s ...stretch) (all []stretch) {
	for range n {
		all = append(all, s...)
	}
	return all
}

func TestSound(t *testing.T) {
	hush := stretch{noise(0.001), 3 * time.Second}
	cough := stretch{noise(0.3), 300 * time.Millisecond}
	tests := []struct {
		name   string
		sounds []stretch
		want   []SoundVerdict
	}{
		{"a quiet room", repeat(10, hush), nil},
		{"a cry", []stretch{hush, {cry(0.2), 2 * time.Second}, hush}, []SoundVerdict{SoundAlarm}},
		{"a cry with breaths", append([]stretch{hush}, repeat(3, stretch{cry(0.2), 500 * time.Millisecond}, stretch{noise(0.001), 300 * time.Millisecond})...), []SoundVerdict{SoundAlarm}},
		{"a soft cry", []stretch{hush, {cry(0.005), 5 * time.Second}}, nil},
		{"a cough", []stretch{hush, cough, hush}, nil},
		{"coughs", append([]stretch{hush}, repeat(4, cough, stretch{noise(0.001), 1500 * time.Millisecond})...), nil},
		{"a lorry", []stretch{hush, {tone(60, 0.5), 5 * time.Second}}, nil},
		{"a hiss", []stretch{hush, {tone(12000, 0.5), 5 * time.Second}}, nil},
		{"two cries within the pause", []stretch{hush, {cry(0.2), 2 * time.Second}, hush, hush, {cry(0.2), 2 * time.Second}}, []SoundVerdict{SoundAlarm}},
		{"two cries beyond the pause", append(append([]stretch{{cry(0.2), 2 * time.Second}}, repeat(21, hush)...), stretch{cry(0.2), 2 * time.Second}), []SoundVerdict{SoundAlarm, SoundAlarm}},
		{"a dead microphone", []stretch{hush, {still, 20 * time.Second}}, []SoundVerdict{SoundDead}},
		{"one that comes back", []stretch{hush, {still, 6 * time.Second}, hush, {still, 6 * time.Second}}, []SoundVerdict{SoundDead, SoundBack, SoundDead}},
		{"gaps", repeat(10, hush, stretch{still, time.Second}), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, at := hear(NewSound(nursery), tt.sounds...)
			if !slices.Equal(got, tt.want) {
				t.Errorf("heard %v at %v, want %v", got, at, tt.want)
			}
		})
	}
}

func TestSoundAttack(t *testing.T) {
	_, at := hear(NewSound(nursery), stretch{cry(0.2), 3 * time.Second})
	if len(at) != 1 || at[0] < time.Second || at[0] > 1200*time.Millisecond {
		t.Errorf("told after %v, want about a second", at)
	}
	s := NewSound(nursery)
	if got := s.Level(); got != Silence {
		t.Errorf("a new one hears %v dBFS", got)
	}
	hear(s, stretch{tone(1000, math.Sqrt2*0.1), time.Second})
	if got := s.Level(); math.Abs(got+20) > 0.5 {
		t.Errorf("a tone of -20 dBFS is heard as %.1f", got)
	}
	if s.Add(nil, start) != SoundNothing {
		t.Error("an empty block is something")
	}
}

// scene is a picture of even brightness with a bright square.
func scene(light byte, square image.Rectangle) *image.YCbCr {
	pic := image.NewYCbCr(image.Rect(0, 0, 320, 240), image.YCbCrSubsampleRatio420)
	for i := range pic.Y {
		pic.Y[i] = light
	}
	for y := square.Min.Y; y < square.Max.Y; y++ {
		for x := square.Min.X; x < square.Max.X; x++ {
			pic.Y[y*pic.YStride+x] = 220
		}
	}
	return pic
}

func TestMotion(t *testing.T) {
	walk := func(y int) (pics []*image.YCbCr) {
		for i := range 8 {
			pics = append(pics, scene(80, image.Rect(i*30, y, i*30+60, y+60)))
		}
		return pics
	}
	var same, light []*image.YCbCr
	for i := range 8 {
		same = append(same, scene(80, image.Rectangle{}))
		light = append(light, scene(byte(40+150*(i%2)), image.Rectangle{}))
	}
	blink := slices.Clone(same)
	blink[3] = scene(80, image.Rect(0, 0, 60, 60))
	blink[4], blink[5] = blink[3], blink[3]
	tests := []struct {
		name string
		pics []*image.YCbCr
		mask []Rect
		want int
	}{
		{"nothing", same, nil, 0},
		{"somebody walks", walk(100), nil, 1},
		{"in a masked part", walk(100), []Rect{{0, 30, 100, 80}}, 0},
		{"beside a masked part", walk(160), []Rect{{0, 0, 100, 50}}, 1},
		{"all masked", walk(100), []Rect{{0, 0, 100, 100}}, 0},
		{"the light changes", light, nil, 0},
		{"one jump", blink, nil, 0},
		{"a small picture", []*image.YCbCr{image.NewYCbCr(image.Rect(0, 0, 8, 8), image.YCbCrSubsampleRatio420), image.NewYCbCr(image.Rect(0, 0, 8, 8), image.YCbCrSubsampleRatio420)}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMotion(MotionConfig{Share: 0.01, Mask: tt.mask, Pause: time.Minute})
			n := 0
			for i, p := range tt.pics {
				if m.Add(p, start.Add(time.Duration(i)*300*time.Millisecond)) {
					n++
				}
			}
			if n != tt.want {
				t.Errorf("told %d times, want %d", n, tt.want)
			}
		})
	}
	m, n := NewMotion(MotionConfig{Share: 0.01, Pause: time.Second}), 0
	for i, p := range append(walk(100), walk(20)...) {
		if m.Add(p, start.Add(time.Duration(i)*300*time.Millisecond)) {
			n++
		}
	}
	if n < 3 {
		t.Errorf("after the pause it was told %d times in all", n)
	}
}

// TestSoundBesideASong: a song that the board plays is no cry, and a cry stands out from it.
func TestSoundBesideASong(t *testing.T) {
	song := func(n int) float64 { // a voice that sings, a second loud and a second soft
		x := cry(0.1)(n)
		if n/SoundRate%2 == 1 {
			x /= 2
		}
		return x
	}
	both := func(n int) float64 { return song(n) + cry(0.5)(n) }
	for _, tt := range []struct {
		name   string
		sounds []stretch
		want   int
	}{
		{"a song", []stretch{{song, 30 * time.Second}}, 0},
		{"a cry over it", []stretch{{song, 10 * time.Second}, {both, 2 * time.Second}, {song, 5 * time.Second}}, 1},
		{"a cry after a pause in it", []stretch{{song, 10 * time.Second}, {still, 2 * time.Second}, {both, 2 * time.Second}}, 1},
		{"white noise", []stretch{{noise(0.2), 20 * time.Second}}, 0},
		{"a cry over white noise", []stretch{{noise(0.05), 20 * time.Second}, {cry(0.2), 2 * time.Second}}, 1},
	} {
		s := NewSound(nursery)
		s.SetSong(true)
		if got, at := hear(s, tt.sounds...); len(got) != tt.want {
			t.Errorf("%s: %d alarms, at %v", tt.name, len(got), at)
		}
	}
	s := NewSound(nursery)
	s.SetSong(true)
	hear(s, stretch{song, 5 * time.Second})
	s.SetSong(false)
	if got, _ := hear(s, stretch{cry(0.1), 2 * time.Second}); len(got) != 1 {
		t.Error("when the song is over, the usual loudness does not count")
	}
}
