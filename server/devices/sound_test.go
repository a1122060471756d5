//go:build guest

package devices

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rate is that of all sound that these tests look at, in samples per second.
const rate = 48000

// clear is the share of the power that a tone has in sound that arrived whole. The test
// tone pauses for a tenth of each second.
const clear = 0.7

// tone is what a piece of sound mostly consists of.
type tone struct {
	hz    float64
	share float64 // of all the sound's power
	level float64 // of all the sound, as RMS in dB below full scale
}

func (t tone) String() string {
	return fmt.Sprintf("%.1f Hz with %.0f %% of the power at %.1f dBFS", t.hz, 100*t.share, t.level)
}

// loudestTone finds the strongest frequency between 100 and 3000 Hz, good to 1 Hz.
func loudestTone(pcm []int16) tone {
	// What is averaged does not fold down as what is left out would.
	samples := make([]float64, len(pcm)/fold)
	var power float64
	for i := range samples {
		for _, s := range pcm[i*fold : (i+1)*fold] {
			samples[i] += float64(s) / fold
		}
		power += samples[i] * samples[i]
	}
	if len(samples) == 0 || power == 0 {
		return tone{level: -120}
	}
	n := float64(len(samples))
	// A tenth of a second tells frequencies apart that are 10 Hz apart; then all of it. It must
	// not be the one in which the tone pauses.
	hz, _ := strongest(loudest(samples, rate/fold/10), 100, 3000, 10)
	hz, most := strongest(samples, hz-10, hz+10, 1)
	return tone{hz: hz, share: min(1, 2*most/n/power), level: 10 * math.Log10(power/n/math.MaxInt16/math.MaxInt16)}
}

// loudest is the part of n samples that has the most power.
func loudest(samples []float64, n int) (part []float64) {
	most := -1.0
	for chunk := range slices.Chunk(samples, min(n, len(samples))) {
		power := 0.0
		for _, s := range chunk {
			power += s * s
		}
		if power > most {
			part, most = chunk, power
		}
	}
	return part
}

// fold is how many samples loudestTone makes one of: so few are enough for its frequencies.
const fold = 4

// strongest finds the frequency with the most power, by Goertzel's algorithm.
func strongest(samples []float64, from, to, step float64) (hz, most float64) {
	for f := from; f <= to; f += step {
		c := 2 * math.Cos(2*math.Pi*f*fold/rate)
		var a, b float64
		for _, s := range samples {
			a, b = s+c*a-b, a
		}
		if p := a*a + b*b - c*a*b; p > most {
			hz, most = f, p
		}
	}
	return hz, most
}

// is says whether the sound is mostly a tone of that frequency, within 2 %, and loud enough.
func (t tone) is(hz, share float64) bool {
	return math.Abs(t.hz-hz) <= hz*0.02 && t.share > share && t.level > -40
}

// sine gives a tone without end, at -12 dB below full scale, as 16 bits little-endian.
type sine struct {
	hz       float64
	rate     int
	channels int
	n        int
	rest     []byte
}

func (s *sine) Read(p []byte) (int, error) {
	for len(s.rest) < len(p) {
		v := uint16(int16(math.MaxInt16 / 4 * math.Sin(2*math.Pi*s.hz*float64(s.n)/float64(s.rate))))
		s.n++
		for range s.channels {
			s.rest = binary.LittleEndian.AppendUint16(s.rest, v)
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// program is an aplay or arecord that runs.
type program struct {
	cmd    *exec.Cmd
	errors bytes.Buffer
	done   chan error
}

func run(t *testing.T, in io.Reader, out io.Writer, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(name, args...), done: make(chan error, 1)}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, &p.errors
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() && p.errors.Len() > 0 {
			t.Logf("%s: %s", name, p.errors.String())
		}
	})
	return p
}

// began waits until the program works; false if it ended before, and if not it is stopped.
func (p *program) began(works func() bool) bool {
	ok := until(func() bool {
		select {
		case err := <-p.done:
			p.done <- err // for who stops it
			return true
		default:
			return works()
		}
	}) && works()
	if !ok {
		p.stop()
	}
	return ok
}

// stop ends the program and tells how often it ran dry or over.
func (p *program) stop() (xruns int) {
	_ = p.cmd.Process.Kill() // it may have ended
	err := <-p.done
	p.done <- err // for whoever stops it again
	return strings.Count(p.errors.String(), "run!!!")
}

// playBuffer is how much sound a player has in hand.
const playBuffer = 400 * time.Millisecond

// player is an aplay that runs.
type player struct {
	*program
	source *source
	rate   int // of bytes, a second
}

// source counts what is read from it.
type source struct {
	io.Reader
	bytes atomic.Int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.bytes.Add(int64(n))
	return n, err
}

// played is how much the player has taken, by the card's clock.
func (p *player) played() time.Duration {
	return time.Duration(p.source.bytes.Load()) * time.Second / time.Duration(p.rate)
}

// play plays a tone into a card that repeats it at its other end.
func play(t *testing.T, device string, hz float64, rate, channels int) *player {
	t.Helper()
	return playRaw(t, &sine{hz: hz, rate: rate, channels: channels}, device, rate, channels)
}

// playRaw is play for sound of any kind, in 16 bits little-endian. It waits until the card
// plays, since snd-aloop gives no format to whom opens it while its other end is opened.
func playRaw(t *testing.T, sound io.Reader, device string, rate, channels int) *player {
	t.Helper()
	for range 3 {
		from := &source{Reader: sound}
		p := &player{run(t, from, io.Discard, "aplay", "-q", "-D", device, "-t", "raw", "-f", "S16_LE", "-r", fmt.Sprint(rate),
			"-c", fmt.Sprint(channels), "--period-time=20000", fmt.Sprintf("--buffer-time=%d", playBuffer.Microseconds())), from, 2 * rate * channels}
		if p.began(func() bool { return p.played() > 2*playBuffer }) {
			return p
		}
		t.Logf("aplay is started again: %s", p.errors.String())
	}
	t.Fatal("the card plays nothing")
	return nil
}

// recorder keeps the last second that a card heard.
type recorder struct {
	*program
	mu    sync.Mutex
	pcm   []int16
	total int // samples heard
	loud  int // and those of them that were not silent
}

// record listens at the other end of a card that plays. It waits until it hears something, if
// only silence: see playRaw.
func record(t *testing.T, device string) *recorder {
	t.Helper()
	for range 3 {
		r := &recorder{}
		r.program = run(t, nil, r, "arecord", "-q", "-D", device, "-t", "raw", "-f", "S16_LE", "-r", fmt.Sprint(rate), "-c", "1", "--buffer-time=400000")
		if r.began(func() bool { return r.heard() > 0 }) {
			return r
		}
		t.Logf("arecord is started again: %s", r.errors.String())
	}
	t.Fatal("the card hears nothing, not even silence")
	return nil
}

// Write takes what arecord heard.
func (r *recorder) Write(p []byte) (int, error) {
	pcm := make([]int16, len(p)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(p[2*i:]))
	}
	r.add(pcm)
	return len(p), nil
}

// add takes sound; it keeps a second.
func (r *recorder) add(pcm []int16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total += len(pcm)
	for block := range slices.Chunk(pcm, rate/1000) {
		if slices.Max(block) > 100 {
			r.loud += len(block)
		}
	}
	r.pcm = append(r.pcm, pcm...)
	if over := len(r.pcm) - rate; over > 0 {
		r.pcm = append([]int16(nil), r.pcm[over:]...)
	}
}

// last is the latest sound of so many milliseconds; nothing if there is not so much yet.
func (r *recorder) last(ms int) []int16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := rate * ms / 1000
	if len(r.pcm) < n {
		return nil
	}
	return append([]int16(nil), r.pcm[len(r.pcm)-n:]...)
}

// sounded is for how long it was not silent.
func (r *recorder) sounded() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.loud) * time.Second / rate
}

func (r *recorder) heard() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// eventually listens until the tone is heard, or fails the test with what was heard last.
func eventually(t *testing.T, last func(ms int) []int16, hz float64) tone {
	t.Helper()
	var h tone
	if !until(func() bool { h = loudestTone(last(400)); return h.is(hz, clear) }) {
		t.Fatalf("no tone of %.0f Hz: heard %v last", hz, h)
	}
	return h
}

// until waits for what has no event of its own; false if it does not come about.
func until(ok func() bool) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}
