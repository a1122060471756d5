package device

import (
	"context"
	"math"
	"time"
)

// All sound inside the package is mono, 16 bits, at soundRate.
const (
	soundRate    = 48000
	blockSamples = soundRate / 50 // the samples of PacketDuration
)

// The test tone: its frequency, its RMS level, and how much of each second is silent.
const (
	toneHz         = 440
	toneLevel      = -20.0 // dBFS
	toneGapSamples = soundRate / 10
)

// testTone is the stand-in for a microphone: a tone that pauses for 100 ms at
// the end of each second. Both ends of the pause are zero crossings.
type testTone struct {
	n     int // number of the next sample
	block []int16
	clock *time.Timer
	due   time.Time // when the next block is complete
}

func newTestTone() *testTone {
	now := time.Now()
	return &testTone{block: make([]int16, blockSamples), clock: time.NewTimer(PacketDuration), due: now.Add(PacketDuration)}
}

// next waits until a block's time has passed and returns the block, which is
// valid until the next call.
func (t *testTone) next(ctx context.Context) ([]int16, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case now := <-t.clock.C:
		t.due = t.due.Add(PacketDuration)
		if now.Sub(t.due) > 10*PacketDuration {
			t.due = now // the machine stood still: do not send the past in one burst
		}
		t.clock.Reset(time.Until(t.due))
	}
	fillTone(t.block, t.n)
	t.n = (t.n + len(t.block)) % soundRate
	return t.block, nil
}

func (t *testTone) close() error {
	t.clock.Stop()
	return nil
}

// fillTone writes the samples from number n on.
func fillTone(block []int16, n int) {
	amplitude := math.Sqrt2 * math.MaxInt16 * math.Pow(10, toneLevel/20)
	for i := range block {
		k := (n + i) % soundRate
		block[i] = 0
		if k < soundRate-toneGapSamples {
			block[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*toneHz*float64(k)/soundRate)))
		}
	}
}
