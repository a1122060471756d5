package device

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// talk is something like speech: a buzz with formants that swells and fades.
func talk(seconds int) []int16 {
	pcm := make([]int16, seconds*soundRate)
	phase := 0.0
	for i := range pcm {
		at := float64(i) / soundRate
		hz := 120 + 20*math.Sin(2*math.Pi*1.5*at)
		phase += 2 * math.Pi * hz / soundRate
		sum := 0.0
		for k := 1.0; k*hz < 3500; k++ {
			formant := math.Exp(-math.Pow((k*hz-600)/250, 2)) + 0.5*math.Exp(-math.Pow((k*hz-1400)/300, 2)) + 0.05
			sum += formant * math.Sin(k*phase)
		}
		pcm[i] = int16(3000 * sum * math.Pow(math.Sin(math.Pi*3*at), 2))
	}
	return pcm
}

// echoRoom is a way from loudspeaker to microphone: a delay and a hall that dies away.
type echoRoom struct {
	past    []float64
	taps    []float64
	delay   int
	written int
}

func newEchoRoom(delay time.Duration) *echoRoom {
	r := &echoRoom{past: make([]float64, soundRate), delay: int(samplesOf(delay))}
	random := rand.New(rand.NewPCG(3, 1))
	for i := range soundRate * 60 / 1000 {
		if i%16 == 0 { // a reflection now and then
			r.taps = append(r.taps, 0.5*math.Exp(-float64(i)/(soundRate*0.012))*(2*random.Float64()-1))
		}
	}
	r.taps[0] = 0.4
	return r
}

// echo is what of a block reaches the microphone.
func (r *echoRoom) echo(block []int16) []int16 {
	out := make([]int16, len(block))
	for i, s := range block {
		r.past[r.written%len(r.past)] = float64(s)
		sum := 0.0
		for k, tap := range r.taps {
			if n := r.written - r.delay - 16*k; n >= 0 {
				sum += tap * r.past[n%len(r.past)]
			}
		}
		out[i] = clampInt16(float32(sum))
		r.written++
	}
	return out
}

// TestEchoCanceller: a voice is played and comes back through a room. After some seconds
// little of it is left, while somebody who speaks at the board is heard.
func TestEchoCanceller(t *testing.T) {
	if !haveEchoCanceller {
		t.Skip("this build has no echo canceller")
	}
	const seconds = 12
	far := talk(seconds)
	b := &Board{}
	if err := b.SetEcho(EchoCancel); err != nil {
		t.Fatal(err)
	}
	if b.duck.on {
		t.Error("the microphone is turned down as well")
	}
	now := time.Unix(1_700_000_000, 0)
	remover := &echoRemover{path: &b.echo, now: func() time.Time { return now }}
	defer remover.close()
	room := newEchoRoom(90 * time.Millisecond) // through two cards and the air
	random := rand.New(rand.NewPCG(1, 2))
	near := tone(soundRate, 1000, -30, soundRate)
	var before, after, spoken []int16
	for n := range seconds * 50 {
		block := far[n*blockSamples : (n+1)*blockSamples]
		// Blocks are given to the card and taken from it unevenly.
		b.echo.played(block, now.Add(time.Duration(random.IntN(10))*time.Millisecond))
		heard := room.echo(block)
		speaks := n >= 11*50 // somebody at the board, in the last second
		for i := range heard {
			heard[i] += int16(random.IntN(7) - 3)
			if speaks {
				heard[i] += near[(n*blockSamples+i)%soundRate]
			}
		}
		now = now.Add(PacketDuration)
		if n >= 6*50 && !speaks {
			before = append(before, heard...)
		}
		if err := remover.remove(heard); err != nil {
			t.Fatal(err)
		}
		switch {
		case speaks && n >= 11*50+10:
			spoken = append(spoken, heard...)
		case n >= 6*50 && !speaks:
			after = append(after, heard...)
		}
	}
	erle := levelOf(before) - levelOf(after)
	t.Logf("echo %.1f dBFS, after the canceller %.1f dBFS: %.1f dB less; a voice of -30 dBFS at the board is heard at %.1f", levelOf(before), levelOf(after), erle, levelOf(spoken))
	if erle < 20 {
		t.Errorf("the echo is only %.1f dB weaker", erle)
	}
	if l := levelOf(spoken); l < -40 {
		t.Errorf("who speaks at the board is heard at %.1f dBFS", l)
	}
	// Switched off, nothing is changed.
	if err := b.SetEcho(EchoOff); err != nil {
		t.Fatal(err)
	}
	block := tone(soundRate, 440, -20, blockSamples)
	if err := remover.remove(block); err != nil || levelOf(block) < -20.1 {
		t.Errorf("switched off: %v, %.1f dBFS", err, levelOf(block))
	}
	if err := b.SetEcho("loud"); err == nil {
		t.Error("there is no such way")
	}
}

func BenchmarkEchoCanceller20ms(b *testing.B) {
	if !haveEchoCanceller {
		b.Skip("this build has no echo canceller")
	}
	path := &echoPath{on: true}
	now := time.Unix(1_700_000_000, 0)
	r := &echoRemover{path: path, now: func() time.Time { return now }}
	defer r.close()
	block := tone(soundRate, 440, -20, blockSamples)
	for b.Loop() {
		path.played(block, now)
		now = now.Add(PacketDuration)
		if err := r.remove(block); err != nil {
			b.Fatal(err)
		}
	}
}
