package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/device"
	"porchlight/voip/pionlog"
)

// lines is a virtual network between the board and some peers. It lives in a synctest
// bubble, so that a minute passes in no time.
type lines struct {
	t      *testing.T
	router *vnet.Router
	board  *vnet.Net
	random *rand.Rand
}

// line is the way to one peer: it carries so many bits a second and loses some packets.
type line struct {
	host *vnet.Net
	rate *vnet.TBFQueue
	loss atomic.Int64 // packets of a thousand
	// delay is beside lineDelay.
	delay *vnet.DelayFilter
}

const (
	boardIP = "10.0.0.1"
	// lineQueue is what waits before a line at most, in bytes; lineBurst passes at once.
	lineQueue, lineBurst = 40_000, 4000
	// lineDelay is that of each way.
	lineDelay = 20 * time.Millisecond
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLines(t *testing.T) *lines {
	t.Helper()
	l := &lines{t: t, random: rand.New(rand.NewPCG(1, 2))}
	var err error
	l.router, err = vnet.NewRouter(&vnet.RouterConfig{
		CIDR: "10.0.0.0/24", MinDelay: lineDelay, LoggerFactory: pionlog.New(slog.New(slog.DiscardHandler)),
	})
	check(t, err)
	l.board, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{boardIP}})
	check(t, err)
	check(t, l.router.AddNet(l.board))
	return l
}

// add makes the line to a peer.
func (l *lines) add(ip string, bitsPerSecond int) *line {
	l.t.Helper()
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{ip}})
	check(l.t, err)
	to := &line{host: host, rate: vnet.NewTBFQueue(bitsPerSecond, lineBurst, lineQueue)}
	queue, err := vnet.NewQueue(host, to.rate)
	check(l.t, err)
	to.delay, err = vnet.NewDelayFilter(queue)
	check(l.t, err)
	check(l.t, l.router.AddNet(to.delay))
	l.router.AddChunkFilter(func(c vnet.Chunk) bool {
		return !strings.HasPrefix(c.DestinationAddr().String(), ip+":") || l.random.Int64N(1000) >= to.loss.Load()
	})
	l.t.Cleanup(func() {
		check(l.t, to.delay.Close())
		check(l.t, queue.Close())
	})
	return to
}

// start has the network carry packets.
func (l *lines) start() {
	l.t.Helper()
	check(l.t, l.router.Start())
	l.t.Cleanup(func() { check(l.t, l.router.Stop()) })
}

// lineMedia has a camera for all viewers, whose frames are as large as its bit rate wants
// them. It follows the viewer who takes least.
type lineMedia struct {
	*fakeMedia
	fixed int // bits per second whatever is wished; 0: as wished

	mu    sync.Mutex
	wants map[*lineVideo]int
}

func (m *lineMedia) OpenVideo(context.Context, device.VideoCodec) (device.VideoStream, error) {
	return &lineVideo{m: m, tick: time.NewTicker(time.Second / 15)}, nil
}

func (m *lineMedia) rate() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	rate := DefaultVideoBitrate
	for _, w := range m.wants {
		rate = min(rate, w)
	}
	if m.fixed > 0 {
		return m.fixed
	}
	return rate
}

type lineVideo struct {
	m    *lineMedia
	tick *time.Ticker
	n    int
	key  atomic.Bool
}

func (v *lineVideo) ReadFrame(ctx context.Context) (device.EncodedFrame, error) {
	select {
	case <-v.tick.C:
	case <-ctx.Done():
		return device.EncodedFrame{}, ctx.Err()
	}
	size := v.m.rate() / 8 / 15
	key := v.key.Swap(false) || v.n == 0
	if key {
		size *= 4
	}
	v.n++
	return device.EncodedFrame{Data: bytes.Repeat([]byte{0x10}, size), Duration: time.Second / 15, Key: key}, nil
}
func (v *lineVideo) RequestKeyFrame() { v.m.keys.Add(1); v.key.Store(true) }
func (v *lineVideo) SetBitrate(b int) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	if delete(v.m.wants, v); b > 0 {
		v.m.wants[v] = b
	}
}
func (v *lineVideo) Codec() device.VideoCodec { return device.VP8 }
func (v *lineVideo) Close() error             { v.tick.Stop(); return nil }

// house is a board on the network.
func (l *lines) house(m Media) *Bridge {
	l.t.Helper()
	b, err := New(Config{Media: m, NoTCP: true, net: l.board})
	check(l.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- b.Run(ctx) }()
	l.t.Cleanup(func() {
		cancel()
		check(l.t, <-ran)
	})
	return b
}

// call has a peer at the end of a line call the board. With repeats it can take lost packets
// again in a stream of their own.
func (l *lines) call(b *Bridge, to *line, repeats bool) (*Session, *peer) {
	l.t.Helper()
	s, err := b.Open(context.Background())
	check(l.t, err)
	var settings webrtc.SettingEngine
	settings.SetNet(to.host)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var m webrtc.MediaEngine
	if repeats {
		check(l.t, m.RegisterDefaultCodecs())
	} else {
		check(l.t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}}, webrtc.RTPCodecTypeVideo))
		check(l.t, m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}}, webrtc.RTPCodecTypeAudio))
	}
	p := newPeerOn(l.t, settings, &m, webrtc.Configuration{})
	p.talk(webrtc.MimeTypeOpus, both)
	p.talk(webrtc.MimeTypeVP8, both)
	connect(l.t, s, p)
	return s, p
}

// rates looks at what a session's picture may take once a second.
func rates(s *Session, seconds int) (list []int) {
	for range seconds {
		time.Sleep(time.Second)
		list = append(list, s.Stats().Bitrate)
	}
	return list
}

// mean is that of the last n.
func mean(list []int, n int) int {
	sum := 0
	for _, x := range list[len(list)-n:] {
		sum += x
	}
	return sum / n
}

// The bit rate falls to what the line carries, soon, and comes back with the line; little
// loss does not lower it, much does.
func TestFollowsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines(t)
		to := l.add("10.0.0.2", 2_000_000)
		l.start()
		m := &lineMedia{fakeMedia: newMedia(), wants: map[*lineVideo]int{}}
		s, _ := l.call(l.house(m), to, false)
		step := func(what string, seconds, tail, least, most int) {
			t.Helper()
			list := rates(s, seconds)
			got := mean(list, tail)
			t.Logf("%-28s %6d bit/s  %v", what, got, list)
			if got < least || got > most {
				t.Errorf("%s: the picture takes %d bit/s, not %d to %d", what, got, least, most)
			}
		}
		step("a line of 2 Mbit/s", 5, 3, DefaultVideoBitrate, DefaultVideoBitrate)
		to.rate.SetRate(250_000)
		step("250 kbit/s", 3, 1, 100_000, 250_000)
		step("250 kbit/s, later", 20, 15, 140_000, 240_000)
		to.rate.SetRate(2_000_000)
		step("2 Mbit/s again", 20, 3, DefaultVideoBitrate, DefaultVideoBitrate)
		to.loss.Store(10)
		step("1 % lost", 10, 5, 400_000, DefaultVideoBitrate)
		to.loss.Store(200)
		step("20 % lost", 10, 3, DefaultMinVideoBitrate, 200_000)
		to.loss.Store(0)
		step("nothing lost", 25, 3, DefaultVideoBitrate, DefaultVideoBitrate)
	})
}

// Wireless networks deliver unevenly. That alone must not lower the picture for long.
func TestUnevenLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines(t)
		to := l.add("10.0.0.2", 5_000_000)
		l.start()
		m := &lineMedia{fakeMedia: newMedia(), wants: map[*lineVideo]int{}}
		s, _ := l.call(l.house(m), to, false)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			random := rand.New(rand.NewPCG(3, 4))
			for ctx.Err() == nil {
				to.delay.SetDelay(time.Duration(random.Int64N(int64(30 * time.Millisecond))))
				pause(ctx, 40*time.Millisecond)
			}
		}()
		list := rates(s, 40)
		got := mean(list, 35)
		t.Logf("%d bit/s  %v", got, list)
		if got < DefaultVideoBitrate*3/4 {
			t.Errorf("the picture takes %d bit/s, though the line carries ten times the most", got)
		}
	})
}

// On a line that carries less than the least the picture leaves frames out: what is sent
// fits, sound gets through, and pictures keep coming.
func TestThinsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines(t)
		to := l.add("10.0.0.2", 220_000)
		l.start()
		// Like a camera with an encoder of its own that cannot be told.
		m := &lineMedia{fakeMedia: newMedia(), wants: map[*lineVideo]int{}, fixed: DefaultVideoBitrate}
		s, p := l.call(l.house(m), to, false)
		time.Sleep(10 * time.Second)
		count := func() (audio, video int, sent Stats) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.packets["audio"], p.packets["video"], s.Stats()
		}
		a0, v0, before := count()
		const seconds = 20
		time.Sleep(seconds * time.Second)
		a1, v1, after := count()
		frames, audio := after.VideoSent-before.VideoSent, after.AudioSent-before.AudioSent
		bits := (v1 - v0) * 8 * 1100 / seconds
		t.Logf("%d frames sent, %d left out; about %d bit/s of pictures arrive; %d of %d packets of sound; %d key frames",
			frames, after.Thinned-before.Thinned, bits, a1-a0, audio, m.keys.Load())
		if frames < seconds || after.Thinned == before.Thinned {
			t.Errorf("%d frames in %d seconds, %d left out", frames, seconds, after.Thinned-before.Thinned)
		}
		if bits > 220_000 {
			t.Errorf("%d bit/s", bits)
		}
		if lost := 1 - float64(a1-a0)/float64(audio); lost > 0.1 {
			t.Errorf("%.0f %% of the sound got lost", 100*lost)
		}
	})
}

// Lost packets are sent again, in their own stream.
func TestLostPacketsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, _ := withLoss(t, false)
		missing, first, last := 0, uint16(0xffff), uint16(0)
		for n := range seen {
			first, last = min(first, n), max(last, n)
		}
		for n := first; n < last; n++ {
			if !seen[n] {
				missing++
			}
		}
		all := int(last - first)
		t.Logf("%d of %d packets are missing", missing, all)
		if all < 100 || missing > all/40 {
			t.Errorf("%d of %d packets are missing, though lost ones are repeated", missing, all)
		}
	})
}

// A peer that offers it gets them in a stream of their own (RTX), from which it can tell
// them from late ones.
func TestRepeatsHaveTheirOwnStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, repeated := withLoss(t, true); repeated < 5 {
			t.Errorf("%d packets came in the stream of repeats", repeated)
		}
	})
}

// withLoss has a call in which a tenth of the packets is lost for some seconds, and returns
// the numbers of those of the picture that came, and how many came in a stream of repeats.
func withLoss(t *testing.T, repeats bool) (seen map[uint16]bool, repeated int) {
	l := newLines(t)
	to := l.add("10.0.0.2", 2_000_000)
	l.start()
	m := &lineMedia{fakeMedia: newMedia(), wants: map[*lineVideo]int{}}
	_, p := l.call(l.house(m), to, repeats)
	seen = map[uint16]bool{}
	p.mu.Lock()
	p.see = func(kind string, pkt *rtp.Packet, how interceptor.Attributes) {
		if kind == "video" {
			seen[pkt.SequenceNumber] = true
			if how.Get(webrtc.AttributeRtxSsrc) != nil {
				repeated++
			}
		}
	}
	p.mu.Unlock()
	to.loss.Store(100)
	time.Sleep(4 * time.Second)
	to.loss.Store(0)
	time.Sleep(2 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.see = nil
	return seen, repeated
}

// dyingMedia has a camera that fails again and again, after a while each time.
type dyingMedia struct {
	*lineMedia
	lives func(n int) time.Duration // of the camera when it is opened for the n-th time

	mu     sync.Mutex
	begin  time.Time
	opened []time.Duration
}

func (m *dyingMedia) OpenVideo(ctx context.Context, codec device.VideoCodec) (device.VideoStream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begin.IsZero() {
		m.begin = time.Now()
	}
	m.opened = append(m.opened, time.Since(m.begin).Round(time.Second))
	v, err := m.lineMedia.OpenVideo(ctx, codec)
	return &dyingVideo{v, time.Now().Add(m.lives(len(m.opened)))}, err
}

type dyingVideo struct {
	device.VideoStream
	end time.Time
}

func (v *dyingVideo) ReadFrame(ctx context.Context) (device.EncodedFrame, error) {
	if !time.Now().Before(v.end) {
		return device.EncodedFrame{}, errors.New("the camera is gone")
	}
	return v.VideoStream.ReadFrame(ctx)
}

// A camera that fails in a call is opened again, less and less often, and soon again once it
// has worked for a while.
func TestReopensWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines(t)
		to := l.add("10.0.0.2", 2_000_000)
		l.start()
		m := &dyingMedia{lineMedia: &lineMedia{fakeMedia: newMedia(), wants: map[*lineVideo]int{}}, lives: func(n int) time.Duration {
			if n == 7 {
				return 11 * time.Second
			}
			return 0
		}}
		l.call(l.house(m), to, false)
		time.Sleep(80 * time.Second)
		m.mu.Lock()
		defer m.mu.Unlock()
		if got, want := fmt.Sprint(m.opened), "[0s 2s 6s 14s 30s 46s 1m2s 1m15s 1m19s]"; got != want {
			t.Errorf("opened at %s, not %s", got, want)
		}
	})
}
