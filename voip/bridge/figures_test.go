package bridge

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// The figures of calls as a table, at the end of the benchmarks. The second column is what
// was measured when the parts were chosen, on two shared cores at 2 to 3 GHz, with a browser
// as the other side where it says so: something to compare with, not a limit.
type figures struct {
	rows [][3]string
}

// reference figures, by the name of the figure.
var references = map[string]string{
	"offer to connected":            "42 to 175 ms (browser)",
	"offer to first picture":        "84 to 491 ms (browser)",
	"sound at the mouth to the ear": "nobody publishes one for small boards",
}

func (f *figures) set(name, format string, args ...any) {
	row := [3]string{name, fmt.Sprintf(format, args...), references[name]}
	if i := slices.IndexFunc(f.rows, func(r [3]string) bool { return r[0] == name }); i >= 0 {
		f.rows[i] = row
		return
	}
	f.rows = append(f.rows, row)
}

func (f *figures) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nfigure of calls\there\treference")
	for _, r := range f.rows {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r[0], r[1], r[2])
	}
	t.Flush()
}

// cpu is what this process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is what is in use after everything unused is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// testHouse is a running board of test devices, and a bridge on the loopback interface.
func testHouse(b *testing.B) *Bridge {
	b.Helper()
	d, err := device.New(device.Config{Camera: device.Test, Microphone: device.Test, Loudspeaker: device.MeterOnly})
	if err != nil {
		b.Fatal(err)
	}
	bridge, err := New(Config{Media: d, Interfaces: []string{"lo"}, Loopback: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 2)
	go func() { ran <- d.Run(ctx) }()
	go func() { ran <- bridge.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ran; err != nil {
				b.Error(err)
			}
		}
	})
	return bridge
}

// pair has two boards call each other: one offers, the other answers, as two houses would.
func pair(b *testing.B, one, two *Bridge) (*Session, *Session) {
	b.Helper()
	a, err := one.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	z, err := two.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	offer, err := a.Offer(context.Background(), false)
	if err != nil {
		b.Fatal(err)
	}
	answer, err := z.Accept(context.Background(), offer)
	if err != nil {
		b.Fatal(err)
	}
	if err := a.ApplyAnswer(answer); err != nil {
		b.Fatal(err)
	}
	return a, z
}

// BenchmarkCalls fills the table.
func BenchmarkCalls(b *testing.B) {
	var f figures
	defer f.print(os.Stdout)
	one, two := testHouse(b), testHouse(b)
	b.Run("setup", func(b *testing.B) {
		var connected, first times
		for b.Loop() {
			begin := time.Now()
			a, z := pair(b, one, two)
			wait[call.Connected](b, a)
			connected = append(connected, time.Since(begin))
			until(b, "a picture", func() bool { return z.Stats().VideoReceived > 0 })
			first = append(first, time.Since(begin))
			closeBoth(b, a, z)
		}
		f.set("offer to connected", "%s (median of %d)", connected.median(), len(connected))
		f.set("offer to first picture", "%s", first.median())
	})
	b.Run("running", func(b *testing.B) {
		const stretch = 3 * time.Second
		for range b.N {
			idle := heap()
			a, z := pair(b, one, two)
			wait[call.Connected](b, a)
			measure := func() float64 {
				before, begin := cpu(b), time.Now()
				time.Sleep(stretch)
				return 100 * float64(cpu(b)-before) / float64(time.Since(begin))
			}
			time.Sleep(time.Second)
			call := measure()
			inCall := heap()
			f.set("one call, both ways", "%.1f %% of a core, both ends together (2 cameras coded, 2 listened to)", call)
			f.set("memory of a call", "%d kB, both ends together", (int64(inCall)-int64(idle))/1000)
			const more = 3
			var viewers []*peer
			var sessions []*Session
			for range more {
				s, err := one.Open(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				p := newPeer(b, false)
				p.listen(webrtc.RTPCodecTypeAudio)
				p.listen(webrtc.RTPCodecTypeVideo)
				connect(b, s, p)
				viewers, sessions = append(viewers, p), append(sessions, s)
			}
			time.Sleep(time.Second)
			f.set("each further viewer", "%.1f %% of a core, both ends together (the coding is shared)", (measure()-call)/more)
			f.set("memory of each further session", "%d kB, both ends together", (int64(heap())-int64(inCall))/more/1000)
			for i := range viewers {
				viewers[i].close()
				if err := sessions[i].Close(); err != nil {
					b.Error(err)
				}
			}
			closeBoth(b, a, z)
		}
	})
	b.Run("mouth to ear", func(b *testing.B) {
		var all times
		for b.Loop() {
			all = append(all, mouthToEar(b, one, two)...)
		}
		f.set("sound at the mouth to the ear", "%s (median of %d), %s (the slowest of twenty)", all.median(), len(all), all.at(0.95))
	})
}

func closeBoth(b *testing.B, sessions ...*Session) {
	for _, s := range sessions {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
}

// mouthToEar measures how long after the test tone begins at one board, once a second after
// a pause, it is heard at the other: coding, network, jitter buffer and decoding.
func mouthToEar(b *testing.B, one, two *Bridge) (all times) {
	a, z := pair(b, one, two)
	defer closeBoth(b, a, z)
	wait[call.Connected](b, a)
	mouth, err := one.cfg.Media.(*device.Board).OpenSound(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer mouth.Close()
	loud := func(pcm []int16) bool { return slices.Max(pcm) > 1000 }
	var spoke atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		quiet := false
		for {
			block, err := mouth.ReadSound(ctx)
			if err != nil {
				return
			}
			if quiet && loud(block) {
				spoke.Store(time.Now().UnixNano())
			}
			quiet = !loud(block)
		}
	}()
	// The meter looks at 100 ms: right after the pause its level has fallen by some dB, and
	// it rises with the first sound. So it is watched for its rise.
	var last float64
	falling, until := false, time.Now().Add(6*time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(until) {
		<-tick.C
		level := z.Stats().Speaker.Level
		if level < last-0.01 {
			falling = true
		}
		if at := spoke.Load(); falling && level > last+0.3 && level < -21 && at > 0 {
			falling = false
			if d := time.Since(time.Unix(0, at)); d < 800*time.Millisecond {
				all = append(all, d)
				spoke.Store(0)
			}
		}
		last = level
	}
	return all
}

type times []time.Duration

func (t times) at(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(share*float64(len(sorted)-1))].Round(100 * time.Microsecond)
}

func (t times) median() time.Duration { return t.at(0.5) }
