package device

import (
	"cmp"
	"slices"
	"time"
)

// The jitter buffer. Packets come unevenly; how unevenly is measured, and all are played as
// much later as the latest few need, no more. Everything is in samples at soundRate.
const (
	jitterLeast = jitterSpare
	jitterFirst = soundRate * 40 / 1000 // until enough is known
	jitterMost  = soundRate * 250 / 1000
	// jitterSpare is added to what was measured: what is played is asked for in blocks, so
	// that the end of one has to be there when its beginning is played.
	jitterSpare = blockSamples + soundRate*2/1000
	// jitterPart of the packets are to come in time, as of the last jitterWindow packets or
	// jitterMemory.
	jitterPart   = 0.97
	jitterWindow = 256
	jitterMemory = 10 * time.Second
	// jitterKnown packets have to be there before what was measured counts.
	jitterKnown = 25
	// maxWaiting is how many packets wait at most, and farAway beyond what a timestamp is
	// taken for that of another stream.
	maxWaiting = 64
	farAway    = 2 * soundRate
	// sourcePause is how long a stream has to be silent before another one takes its place,
	// and allLate how many packets in a row that come too late begin a stream anew: its time
	// has moved.
	sourcePause = 500 * time.Millisecond
	allLate     = 10
)

// waiting is a packet in the buffer.
type waiting struct {
	AudioPacket
	at int64 // its first sample, counted on over the timestamps' wrapping
}

// jitterBuffer puts the packets of one stream in order and tells when each is to be played.
type jitterBuffer struct {
	begin   time.Time
	streams int         // begun so far
	packets []waiting   // by time
	last    AudioPacket // the one with the latest time
	lastAt  int64
	transit []transit // of the last packets, in the order of their coming
	sorted  []int64
	base    int64 // the least transit
	delay   int64 // beyond it
	lateRun int   // packets in a row that came too late
	counts  jitterCounts
}

// transit is how much later a packet came than its timestamp says; only differences count.
type transit struct {
	came    time.Time
	samples int64
}

// jitterCounts is what a jitter buffer and its player count, in packets.
type jitterCounts struct {
	lost, late, recovered, twice, overflow uint64
}

func samplesOf(d time.Duration) int64 { return int64(d) * soundRate / int64(time.Second) }

// put takes a packet that came at now. played is the time up to which is played already.
func (b *jitterBuffer) put(p AudioPacket, now time.Time, played int64) {
	at := b.unwrap(p)
	switch n := len(b.transit); {
	case n == 0:
		b.restart(now)
		at = 0
	case p.Source != b.last.Source && now.Sub(b.transit[n-1].came) < sourcePause:
		b.counts.overflow++
		return
	default:
		off := samplesOf(now.Sub(b.begin)) - at - b.base
		if p.Source != b.last.Source || off > farAway || off < -farAway || at < played && b.lateRun >= allLate {
			b.restart(now)
			at = 0
		}
	}
	if len(b.transit) == 0 {
		played = at
	}
	if len(b.transit) == 0 || at > b.lastAt {
		b.last, b.lastAt = p, at
	}
	b.measure(now, at)
	if at < played {
		b.counts.late++
		b.lateRun++
		return
	}
	b.lateRun = 0
	i, found := slices.BinarySearchFunc(b.packets, at, func(w waiting, at int64) int { return cmp.Compare(w.at, at) })
	switch {
	case found:
		b.counts.twice++
	case len(b.packets) >= maxWaiting:
		b.counts.overflow++
	default:
		b.packets = slices.Insert(b.packets, i, waiting{p, at})
	}
}

// restart forgets everything of the stream before.
func (b *jitterBuffer) restart(now time.Time) {
	*b = jitterBuffer{begin: now, delay: jitterFirst, streams: b.streams + 1, counts: b.counts}
}

// unwrap is a packet's time, counted from the last packet's.
func (b *jitterBuffer) unwrap(p AudioPacket) int64 {
	scale := int64(soundRate / clockRate(p.Codec))
	return b.lastAt + int64(int32(p.Timestamp-b.last.Timestamp))*scale
}

// measure follows how unevenly packets come.
func (b *jitterBuffer) measure(now time.Time, at int64) {
	b.transit = append(b.transit, transit{now, samplesOf(now.Sub(b.begin)) - at})
	old := 0
	for len(b.transit)-old > jitterWindow || now.Sub(b.transit[old].came) > jitterMemory {
		old++
	}
	b.transit = b.transit[:copy(b.transit, b.transit[old:])]
	b.sorted = b.sorted[:0]
	for _, t := range b.transit {
		b.sorted = append(b.sorted, t.samples)
	}
	slices.Sort(b.sorted)
	b.base = b.sorted[0]
	delay := b.sorted[int(float64(len(b.sorted)-1)*jitterPart)] - b.base + jitterSpare
	if len(b.sorted) < jitterKnown {
		delay = max(delay, jitterFirst)
	}
	b.delay = min(max(delay, jitterLeast), jitterMost)
}

// due is the time that is to be played at now.
func (b *jitterBuffer) due(now time.Time) int64 {
	return samplesOf(now.Sub(b.begin)) - b.base - b.delay
}

// next is the first packet that waits, nil if none does.
func (b *jitterBuffer) next() *waiting {
	if len(b.packets) == 0 {
		return nil
	}
	return &b.packets[0]
}

// drop takes the first packet out.
func (b *jitterBuffer) drop() { b.packets = slices.Delete(b.packets, 0, 1) }
