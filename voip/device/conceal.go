package device

import "math"

// Concealing a loss where the codec cannot: the last period of the sound goes on, and fades.
// The idea is that of ITU-T G.711 Appendix I; lengths are in samples at soundRate.
const (
	concealHistory = soundRate * 40 / 1000
	// A period is looked for between these lengths: 400 to 66 Hz.
	concealShort, concealLong = soundRate / 400, soundRate / 66
	concealTemplate           = soundRate * 12 / 1000 // what has to be like one period before
	concealStep               = 6                     // the first look is at every so-manieth sample
	concealFull               = soundRate * 20 / 1000 // goes on as loud
	concealFade               = soundRate * 60 / 1000 // and is gone so much later
	concealJoin               = soundRate * 10 / 1000 // into what comes after the loss
)

// concealer remembers the sound of one stream and makes up what is missing.
type concealer struct {
	past   []int16 // up to concealHistory, the newest last
	period []int16 // that is repeated; empty while nothing is missing
	made   int     // samples made up since something came
	out    []int16
}

// heard takes what was decoded. After a loss its beginning is blended with what was made up,
// in place.
func (c *concealer) heard(pcm []int16) {
	if len(c.period) > 0 {
		n := min(concealJoin, len(pcm))
		for i, made := range c.next(n) {
			w := float64(i) / float64(n)
			pcm[i] = int16(w*float64(pcm[i]) + (1-w)*float64(made))
		}
		c.period, c.made = nil, 0
	}
	c.remember(pcm)
}

func (c *concealer) remember(pcm []int16) {
	c.past = append(c.past, pcm...)
	if over := len(c.past) - concealHistory; over > 0 {
		c.past = append(c.past[:0], c.past[over:]...)
	}
}

// conceal makes up n samples, valid until the next call.
func (c *concealer) conceal(n int) []int16 {
	if len(c.period) == 0 {
		length := c.periodLength()
		if length == 0 {
			c.out = append(c.out[:0], make([]int16, n)...)
			return c.out
		}
		c.period = append([]int16(nil), c.past[len(c.past)-length:]...)
	}
	return c.next(n)
}

// next goes on repeating the period.
func (c *concealer) next(n int) []int16 {
	c.out = c.out[:0]
	for range n {
		gain := 1 - float64(c.made-concealFull)/concealFade
		s := float64(c.period[c.made%len(c.period)]) * min(max(gain, 0), 1)
		c.out = append(c.out, int16(math.Round(s)))
		c.made++
	}
	return c.out
}

// periodLength is the shift by which the end of the past is most like what was before it; 0
// if there is too little.
func (c *concealer) periodLength() int {
	if len(c.past) < concealLong+concealTemplate {
		return 0
	}
	best, found := -math.MaxFloat64, 0
	for lag := concealShort; lag <= concealLong; lag += concealStep {
		if l := c.likeness(lag, concealStep); l > best {
			best, found = l, lag
		}
	}
	best = -math.MaxFloat64
	for lag := max(found-concealStep, concealShort); lag <= min(found+concealStep, concealLong); lag++ {
		if l := c.likeness(lag, 1); l > best {
			best, found = l, lag
		}
	}
	return found
}

// likeness is the normalised correlation of the end of the past with what was lag before.
func (c *concealer) likeness(lag, step int) float64 {
	var cross, energy float64
	for i := len(c.past) - concealTemplate; i < len(c.past); i += step {
		then := float64(c.past[i-lag])
		cross += float64(c.past[i]) * then
		energy += then * then
	}
	if energy == 0 {
		return 0
	}
	return cross / math.Sqrt(energy)
}
