package device

import "math"

// meterSamples is the stretch of sound that a meter looks at: 100 ms.
const meterSamples = soundRate / 10

// loudness remembers the last 100 ms of a sound.
type loudness struct {
	ring [meterSamples]int16
	at   int // where the next sample goes; also the oldest
}

func (l *loudness) add(pcm []int16) {
	for _, s := range pcm {
		l.ring[l.at] = s
		l.at = (l.at + 1) % meterSamples
	}
}

// rms is the root mean square of the stretch, in units of a sample.
func (l *loudness) rms() float64 {
	var sum float64
	for _, s := range l.ring {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / meterSamples)
}

// level is the RMS in dBFS.
func (l *loudness) level() float64 {
	r := l.rms()
	if r == 0 {
		return SilenceLevel
	}
	return max(SilenceLevel, 20*math.Log10(r/math.MaxInt16))
}

// toneHz estimates the dominant frequency from the rising zero crossings. Only
// those count before which the sound fell well below zero, so that a little
// noise on a slow wave makes none.
func (l *loudness) toneHz() float64 {
	low := -l.rms() / 2
	if low > -8 {
		return 0 // silence, or what a codec makes of it
	}
	var first, last float64
	crossings, armed := 0, false
	prev := float64(l.ring[l.at])
	for i := 1; i < meterSamples; i++ {
		s := float64(l.ring[(l.at+i)%meterSamples])
		if s < low {
			armed = true
		}
		if armed && prev < 0 && s >= 0 {
			last = float64(i) - s/(s-prev)
			if crossings == 0 {
				first = last
			}
			crossings++
			armed = false
		}
		prev = s
	}
	if crossings < 2 {
		return 0
	}
	return float64(crossings-1) * soundRate / (last - first)
}
