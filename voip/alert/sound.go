package alert

import (
	"math"
	"time"
)

// SoundRate is the number of samples a second that Sound expects, mono.
const SoundRate = 48000

// Silence is the level, in dBFS, that stands for no sound at all.
const Silence = -120.0

// What is looked at to tell a cry or a call from a slammed door, a lorry or a hiss.
const (
	bandLow, bandHigh = 250.0, 4000.0 // Hz: where voices are
	bandShare         = 0.4           // the least part of the energy that has to lie there
)

// While the board itself plays a song, what counts is what stands out from it.
const (
	songLearn  = 3 * time.Second // in which the song's loudness is learnt, and nothing is told of
	songMargin = 8.0             // dB that something has to be louder than the song
	songRise   = 2.0             // dB a second by which the song is taken to be louder,
	songFall   = 0.5             // and softer
)

// SoundConfig says what is a noise worth telling of. All fields are needed.
type SoundConfig struct {
	// Level in dBFS is how loud the voices' band has to be.
	Level float64
	// Attack is how long it has to be loud, pauses left out: longer than a cough.
	Attack time.Duration
	// Hold is the longest pause, for breath, that counts as none.
	Hold time.Duration
	// Release is how long it has to be quiet after Hold until all is forgotten.
	Release time.Duration
	// Pause is the least time between two alarms.
	Pause time.Duration
	// Dead is how long the sound may be perfect digital silence. A microphone that works
	// always hears some noise.
	Dead time.Duration
}

// SoundVerdict is what a block of sound leads to.
type SoundVerdict uint8

// The verdicts.
const (
	SoundNothing SoundVerdict = iota
	SoundAlarm                // somebody cries or calls
	SoundDead                 // the microphone gives perfect silence
	SoundBack                 // it gives sound again
)

// Sound listens. Make it with NewSound; one goroutine may use it.
type Sound struct {
	cfg        SoundConfig
	high, low  biquad
	loud       time.Duration // how much of it was loud, less what was forgotten
	quiet      time.Duration // since it was loud last
	alarmed    bool          // this noise has been told of
	lastAlarm  time.Time
	zeros      time.Duration
	dead       bool
	level      float64
	everRaised bool

	song    bool
	learnt  time.Duration // how long the song has been heard
	loudest float64       // of the song, in dBFS
}

// NewSound makes a Sound that has heard nothing.
func NewSound(cfg SoundConfig) *Sound {
	return &Sound{cfg: cfg, high: highPass(bandLow), low: lowPass(bandHigh), level: Silence}
}

// Level is the loudness of the voices' band in the last block, in dBFS.
func (s *Sound) Level() float64 { return s.level }

// SetSong says whether the board itself plays a song now.
func (s *Sound) SetSong(on bool) {
	if on != s.song {
		s.song, s.learnt, s.loudest = on, 0, Silence
	}
}

// threshold is how loud the voices' band has to be in a block of a length.
func (s *Sound) threshold(length time.Duration) float64 {
	if !s.song {
		return s.cfg.Level
	}
	if s.learnt += length; s.learnt <= songLearn {
		s.loudest = max(s.loudest, s.level)
		return math.Inf(1)
	}
	limit := max(s.cfg.Level, s.loudest+songMargin)
	s.loudest += max(-songFall*length.Seconds(), min(songRise*length.Seconds(), s.level-s.loudest))
	return limit
}

// Add hears the next block, which was over at the given time.
func (s *Sound) Add(block []int16, at time.Time) SoundVerdict {
	if len(block) == 0 {
		return SoundNothing
	}
	length := time.Duration(len(block)) * time.Second / SoundRate
	var all, band float64
	zero := true
	for _, sample := range block {
		x := float64(sample)
		zero = zero && sample == 0
		y := s.low.pass(s.high.pass(x))
		all += x * x
		band += y * y
	}
	if verdict := s.alive(zero, length); verdict != SoundNothing {
		return verdict
	}
	s.level = decibels(math.Sqrt(band / float64(len(block))))
	s.count(s.level >= s.threshold(length) && band >= bandShare*all, length)
	switch {
	case s.loud == 0:
		s.alarmed = false
	case s.loud >= s.cfg.Attack && !s.alarmed:
		s.alarmed = true
		if s.everRaised && at.Sub(s.lastAlarm) < s.cfg.Pause {
			return SoundNothing
		}
		s.everRaised, s.lastAlarm = true, at
		return SoundAlarm
	}
	return SoundNothing
}

// alive follows whether the microphone gives anything.
func (s *Sound) alive(zero bool, length time.Duration) SoundVerdict {
	if !zero {
		s.zeros = 0
		if s.dead {
			s.dead = false
			return SoundBack
		}
		return SoundNothing
	}
	s.zeros += length
	if !s.dead && s.zeros >= s.cfg.Dead {
		s.dead = true
		return SoundDead
	}
	return SoundNothing
}

// count adds a block to what was loud, or forgets a part of it.
func (s *Sound) count(loud bool, length time.Duration) {
	if loud {
		s.quiet = 0
		s.loud = min(s.loud+length, s.cfg.Attack)
		return
	}
	s.quiet += length
	if s.quiet <= s.cfg.Hold {
		return
	}
	forget := s.cfg.Attack
	if s.cfg.Release > 0 {
		forget = time.Duration(float64(length) * float64(s.cfg.Attack) / float64(s.cfg.Release))
	}
	s.loud = max(0, s.loud-forget)
}

// decibels is an RMS in units of a sample as dBFS.
func decibels(rms float64) float64 {
	if rms == 0 {
		return Silence
	}
	return max(Silence, 20*math.Log10(rms/math.MaxInt16))
}

// biquad is a second-order filter, Butterworth in both uses.
type biquad struct{ b0, b1, b2, a1, a2, x1, x2, y1, y2 float64 }

func (f *biquad) pass(x float64) float64 {
	y := f.b0*x + f.b1*f.x1 + f.b2*f.x2 - f.a1*f.y1 - f.a2*f.y2
	f.x2, f.x1, f.y2, f.y1 = f.x1, x, f.y1, y
	return y
}

// highPass and lowPass follow R. Bristow-Johnson's cookbook, with Q = 1/√2.
func highPass(hz float64) biquad {
	w := 2 * math.Pi * hz / SoundRate
	cos, alpha := math.Cos(w), math.Sin(w)/math.Sqrt2
	return norm(1+alpha, biquad{b0: (1 + cos) / 2, b1: -(1 + cos), b2: (1 + cos) / 2, a1: -2 * cos, a2: 1 - alpha})
}

func lowPass(hz float64) biquad {
	w := 2 * math.Pi * hz / SoundRate
	cos, alpha := math.Cos(w), math.Sin(w)/math.Sqrt2
	return norm(1+alpha, biquad{b0: (1 - cos) / 2, b1: 1 - cos, b2: (1 - cos) / 2, a1: -2 * cos, a2: 1 - alpha})
}

func norm(a0 float64, f biquad) biquad {
	return biquad{b0: f.b0 / a0, b1: f.b1 / a0, b2: f.b2 / a0, a1: f.a1 / a0, a2: f.a2 / a0}
}
