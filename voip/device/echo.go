package device

import (
	"fmt"
	"sync"
	"time"
)

// Echo is what is done against callers hearing themselves.
type Echo string

// The ways.
const (
	EchoOff  Echo = "off"  // nothing: for devices that cancel echo themselves
	EchoDuck Echo = "duck" // the microphone is turned down while a voice is played
	// EchoCancel takes the echo out, so that both can speak at once. The sound is up to
	// 8 kHz then, and a slow board has work to do.
	EchoCancel Echo = "cancel"
)

const (
	// echoRate is what the canceller works at: a third of the work of the full rate. One
	// block is PacketDuration.
	echoRate  = 16000
	echoBlock = echoRate / 50
	// echoTail is how long an echo may last, the way through both cards' buffers included.
	echoTail = echoRate * 300 / 1000
	// echoSlack is by how much the times of what is played and heard may be uneven before
	// they are put straight.
	echoSlack = echoRate * 60 / 1000
	// echoMemory is how much of what was played is kept.
	echoMemory = echoRate
)

// canceller is an echo canceller; speexCanceller is one.
type canceller interface {
	cancel(heard, played []int16) []int16
	close()
}

// SetEcho chooses what is done against echo, at once. It has no effect where nothing is
// played. A build without a canceller turns the microphone down instead, and says so by an
// error that wraps ErrUnsupported.
func (b *Board) SetEcho(e Echo) error {
	switch e {
	case EchoOff, EchoDuck, EchoCancel:
	default:
		return fmt.Errorf("device: echo can be off, duck or cancel, not %q", e)
	}
	cancel := e == EchoCancel && haveEchoCanceller
	b.duck.mu.Lock()
	b.duck.on = e != EchoOff && !cancel
	b.duck.mu.Unlock()
	b.echo.mu.Lock()
	b.echo.on = cancel
	b.echo.mu.Unlock()
	if e == EchoCancel && !cancel {
		return fmt.Errorf("%w: this build has no echo canceller, so the microphone is turned down instead", ErrUnsupported)
	}
	return nil
}

// echoPath knows what was played when, for the canceller. Times are in samples at echoRate.
type echoPath struct {
	mu     sync.Mutex
	on     bool
	begin  time.Time
	ring   [echoMemory]int16
	end    int64 // up to which is in the ring
	heard  int64 // up to which the microphone's sound has been worked on
	narrow []int16
	down   *resampler // what is played; guarded by mu
}

// at is a moment in samples. mu is held.
func (p *echoPath) at(now time.Time) int64 {
	if p.begin.IsZero() {
		p.begin = now
	}
	return int64(now.Sub(p.begin)) * echoRate / int64(time.Second)
}

// follow moves a place that ought to be at now: steadily, or at once if it is far off. Blocks
// come unevenly, but none is lost or doubled for that.
func follow(place, now int64) int64 {
	if d := now - place; d > echoSlack || d < -echoSlack {
		return now
	}
	return place
}

// played takes what the loudspeaker's card is given at now.
func (p *echoPath) played(pcm []int16, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		return
	}
	if p.down == nil {
		p.down = newResampler(soundRate, echoRate)
	}
	p.narrow = p.down.process(p.narrow[:0], pcm)
	at := follow(p.end, p.at(now))
	for ; p.end < at; p.end++ {
		p.ring[p.end%echoMemory] = 0 // nothing was played
	}
	p.end = at
	for _, s := range p.narrow {
		p.ring[p.end%echoMemory] = s
		p.end++
	}
}

// reference fills ref with what was played up to now; false if the canceller is off.
func (p *echoPath) reference(ref []int16, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		return false
	}
	from := follow(p.heard, p.at(now)-int64(len(ref)))
	p.heard = from + int64(len(ref))
	for i := range ref {
		ref[i] = 0
		if n := from + int64(i); n >= 0 && n < p.end && n >= p.end-echoMemory {
			ref[i] = p.ring[n%echoMemory]
		}
	}
	return true
}

// echoRemover is the microphone's end of an echoPath. It is for one goroutine.
type echoRemover struct {
	path     *echoPath
	now      func() time.Time
	dec      canceller
	down, up *resampler
	ref      [echoBlock]int16
	narrow   []int16
	wide     []int16
}

// remove takes the echo out of a block at soundRate, in place.
func (r *echoRemover) remove(block []int16) error {
	if !r.path.reference(r.ref[:], r.now()) {
		r.close()
		return nil
	}
	if r.dec == nil {
		dec, err := newCanceller()
		if err != nil {
			return fmt.Errorf("device: echo canceller: %w", err)
		}
		r.dec, r.down, r.up = dec, newResampler(soundRate, echoRate), newResampler(echoRate, soundRate)
	}
	r.narrow = r.down.process(r.narrow[:0], block)
	r.wide = r.up.process(r.wide[:0], r.dec.cancel(r.narrow, r.ref[:]))
	copy(block, r.wide)
	return nil
}

func (r *echoRemover) close() {
	if r.dec != nil {
		r.dec.close()
		r.dec = nil
	}
}
