package device

import (
	"math"
	"math/rand/v2"
	"testing"
)

// hum is n samples of a voice's vowel: a fundamental and its harmonics.
func hum(hz float64, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		x := 2 * math.Pi * hz * float64(i) / soundRate
		out[i] = int16(4000*math.Sin(x) + 2500*math.Sin(2*x+1) + 1500*math.Sin(5*x+2))
	}
	return out
}

func hiss(n int) []int16 {
	random := rand.New(rand.NewPCG(1, 2))
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(random.IntN(8000) - 4000)
	}
	return out
}

// Pieces are left out and played twice without a seam in what is periodic or quiet; elsewhere
// only if it must be.
func TestSplice(t *testing.T) {
	for _, c := range []struct {
		name  string
		sound []int16
		any   bool
		found bool
	}{
		{"a tone of 440 Hz", tone(soundRate, 440, -20, 4*blockSamples), false, true},
		{"a tone of 3 kHz", tone(soundRate, 3000, -20, 4*blockSamples), false, true},
		{"a deep voice", hum(85, 4*blockSamples), false, true},
		{"a child's voice", hum(330, 4*blockSamples), false, true},
		{"silence", make([]int16, 4*blockSamples), false, true},
		{"faint hiss", quieter(hiss(4*blockSamples), 200), false, true},
		{"hiss", hiss(4 * blockSamples), false, false},
		{"hiss, if it must be", hiss(4 * blockSamples), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			steepest := steep(c.sound)
			level := levelOf(c.sound)
			check := func(what string, got []int16, n int) {
				t.Helper()
				if (n > 0) != c.found {
					t.Fatalf("%s: a piece of %d", what, n)
				}
				if s := steep(got); float64(s) > 1.3*float64(steepest)+1 {
					t.Errorf("%s: a step of %d, where the sound has %d at most", what, s, steepest)
				}
				if l := levelOf(got); n > 0 && math.Abs(l-level) > 2 {
					t.Errorf("%s: %.1f dBFS, not %.1f", what, l, level)
				}
			}
			dst := make([]int16, blockSamples)
			n := leaveOut(dst, c.sound[blockSamples:], longestPiece, c.any)
			if n == 0 {
				copy(dst, c.sound[blockSamples:])
			}
			// With what is before and after it.
			whole := append(append(append([]int16(nil), c.sound[:blockSamples]...), dst...), c.sound[2*blockSamples+n:]...)
			check("left out", whole, n)

			copy(dst, c.sound[:blockSamples])
			n = playTwice(dst, c.sound[blockSamples:], c.any)
			if n == 0 {
				copy(dst, c.sound[blockSamples:])
			}
			whole = append(append(append([]int16(nil), c.sound[:blockSamples]...), dst...), c.sound[2*blockSamples-n:]...)
			check("played twice", whole, n)
		})
	}
}

// No more is left out than is asked for, and nothing beyond what is there.
func TestSpliceWithinBounds(t *testing.T) {
	sound := hum(200, 4*blockSamples)
	dst := make([]int16, blockSamples)
	for _, c := range []struct{ there, most int }{
		{blockSamples, 1000}, {blockSamples + 100, 1000}, {blockSamples + 300, 1000}, {3 * blockSamples, 100}, {3 * blockSamples, 250}, {3 * blockSamples, 5000},
	} {
		if n := leaveOut(dst, sound[:c.there], c.most, true); n > c.most || n > c.there-blockSamples || n > longestPiece {
			t.Errorf("%+v: %d left out", c, n)
		}
	}
	if n := playTwice(dst[:50], sound[:50], true); n != 0 {
		t.Errorf("%d of 50 samples played twice", n)
	}
}

func quieter(sound []int16, by int16) []int16 {
	for i := range sound {
		sound[i] /= by
	}
	return sound
}

// steep is the largest step between two samples.
func steep(sound []int16) (most int) {
	for i := 1; i < len(sound); i++ {
		d := int(sound[i]) - int(sound[i-1])
		most = max(most, d, -d)
	}
	return most
}

func BenchmarkLeaveOut(b *testing.B) {
	sound := hum(110, 4*blockSamples)
	dst := make([]int16, blockSamples)
	for b.Loop() {
		leaveOut(dst, sound, longestPiece, false)
	}
}
