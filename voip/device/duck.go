package device

import (
	"math"
	"sync"
	"time"
)

// Half-duplex ducking: while the loudspeaker plays somebody's voice the microphone is
// turned down, so that they do not hear themselves. It stands in for an echo canceller.
const (
	// duckLevel in dBFS is what counts as a voice.
	duckLevel = -45.0
	// duckHold is how long the microphone stays down behind it: the loudspeaker's queue,
	// and the echo of the room.
	duckHold = 300 * time.Millisecond
	duckGain = 0.06 // -24 dB
	// duckRamp is the samples in which the gain goes all the way.
	duckRamp = soundRate / 50
)

// ducker knows what was played and turns the microphone down.
type ducker struct {
	now func() time.Time

	mu    sync.Mutex
	on    bool
	until time.Time
	up    float64 // how far the gain is up, from 0 to 1; the microphone's alone
	begun bool
}

// audible says whether somebody is heard in a block.
func audible(pcm []int16) bool {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return len(pcm) > 0 && math.Sqrt(sum/float64(len(pcm))) >= math.MaxInt16*math.Pow(10, duckLevel/20)
}

// played hears what the loudspeaker is given.
func (d *ducker) played(pcm []int16) {
	if !audible(pcm) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = d.now().Add(time.Duration(len(pcm))*time.Second/soundRate + duckHold)
}

// apply turns a block of the microphone down, if it has to be.
func (d *ducker) apply(block []int16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	down := d.on && d.now().Before(d.until)
	if !d.begun {
		d.up, d.begun = 1, true
	}
	if !down && d.up == 1 {
		return
	}
	step := 1.0 / duckRamp
	if down {
		step = -step
	}
	for i, s := range block {
		d.up = min(max(d.up+step, 0), 1)
		block[i] = int16(math.Round(float64(s) * (duckGain + (1-duckGain)*d.up)))
	}
}
