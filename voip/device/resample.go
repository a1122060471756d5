package device

import "math"

// resamplerZeros is the number of zero crossings of the filter on either side:
// more is a sharper filter and a longer delay.
const resamplerZeros = 12

// resampler changes the sampling rate of a mono stream by a windowed-sinc
// filter, so that what the lower rate cannot carry is taken out and not folded
// back. It delays the sound by resamplerZeros samples of the lower rate.
type resampler struct {
	up, down int         // output rate : input rate in lowest terms
	taps     [][]float32 // the filter for each of the up positions between two input samples
	past     []float32   // input not yet used up
	phase    int         // position of the next output after past[0], in 1/up of an input sample
}

// newResampler makes a resampler between two rates in hertz.
func newResampler(from, to int) *resampler {
	d := gcd(from, to)
	r := &resampler{up: to / d, down: from / d}
	if r.up == r.down {
		return r
	}
	// In units of input samples the filter is as much wider as the output is slower.
	stretch := max(1, float64(from)/float64(to))
	half := int(math.Ceil(resamplerZeros * stretch))
	cutoff := 0.92 / stretch // of half the input rate; the rest is the filter's slope
	r.taps = make([][]float32, r.up)
	for p := range r.taps {
		r.taps[p] = sincTaps(half, cutoff, float64(p)/float64(r.up))
	}
	r.past = make([]float32, 2*half-1)
	return r
}

// sincTaps is a low pass of 2·half taps for an output that lies the fraction
// frac after tap half-1, with unit gain.
func sincTaps(half int, cutoff, frac float64) []float32 {
	taps := make([]float32, 2*half)
	sum := 0.0
	for i := range taps {
		x := float64(i-half+1) - frac
		sinc := 1.0
		if x != 0 {
			sinc = math.Sin(math.Pi*x*cutoff) / (math.Pi * x * cutoff)
		}
		w := sinc * (0.5 + 0.5*math.Cos(math.Pi*x/float64(half+1)))
		taps[i] = float32(w)
		sum += w
	}
	for i := range taps {
		taps[i] /= float32(sum)
	}
	return taps
}

// process takes some input and appends the output that it completes to dst.
func (r *resampler) process(dst, in []int16) []int16 {
	if r.up == r.down {
		return append(dst, in...)
	}
	for _, s := range in {
		r.past = append(r.past, float32(s))
	}
	n := len(r.taps[0])
	at := 0
	for at+n <= len(r.past) {
		var sum float32
		window := r.past[at : at+n]
		for i, t := range r.taps[r.phase] {
			sum += t * window[i]
		}
		dst = append(dst, clampInt16(sum))
		r.phase += r.down
		at += r.phase / r.up
		r.phase %= r.up
	}
	// The filter is longer than any step, so at is within what there is.
	r.past = r.past[:copy(r.past, r.past[at:])]
	return dst
}

func clampInt16(v float32) int16 {
	return int16(math.Round(float64(max(math.MinInt16, min(math.MaxInt16, v)))))
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
