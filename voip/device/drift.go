package device

import "math"

// The loudspeaker's card has a clock of its own, which is never quite that of the system by
// which sound is handed to it. Some 50 ppm either way fill or drain the card's buffer by a
// packet every few minutes, which is heard as a click or a gap. So each block is made a few
// samples longer or shorter, as what waits becomes less or more.

const (
	// driftPart is the part of what is too much or too little that a block makes good, and
	// driftMost the most that it does, as a part of the block: half a percent.
	driftPart, driftMost = 200, 200
	// driftSmooth is how many blocks the average goes over: single ones are late or early.
	driftSmooth = 50
)

// drift decides how long blocks are to be. It is for one goroutine.
type drift struct {
	known   bool
	waiting float64 // samples that wait for the card, on average
	last    int16   // the last sample handed on
	out     []int16
}

// fit makes a block longer or shorter, where waiting samples wait for the card and want are
// to. The result is valid until the next call.
func (d *drift) fit(block []int16, waiting, want int) []int16 {
	if !d.known {
		d.known, d.waiting = true, float64(want)
	}
	d.waiting += (float64(waiting) - d.waiting) / driftSmooth
	most := len(block) / driftMost
	n := len(block) + min(max(int(float64(want)-d.waiting)/driftPart, -most), most)
	if n == len(block) {
		d.last = block[len(block)-1]
		return block
	}
	if cap(d.out) < n {
		d.out = make([]int16, 2*n)
	}
	d.out = d.out[:n]
	stretch(d.out, d.last, block)
	d.last = block[len(block)-1]
	return d.out
}

// reset forgets, as after the card has run dry.
func (d *drift) reset() { d.known = false }

// stretch plays src, before which came a sample, in the time of dst.
func stretch(dst []int16, before int16, src []int16) {
	if len(src) == len(dst) {
		copy(dst, src)
		return
	}
	step := float64(len(src)) / float64(len(dst))
	sample := func(k int) float64 {
		if k < 0 {
			return float64(before)
		}
		return float64(src[min(k, len(src)-1)])
	}
	for i := range dst {
		x := float64(i+1)*step - 1
		k := int(math.Floor(x))
		w := x - float64(k)
		dst[i] = int16(math.Round(sample(k)*(1-w) + sample(k+1)*w))
	}
}
