package device

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// ear is a Speaker that is fed packet by packet and keeps its own time: each packet is
// 20 ms later than the one before.
type ear struct {
	*speaker
	clock time.Time
	rtpCounter
}

func newEar(p player) *ear {
	e := &ear{clock: time.Unix(1_700_000_000, 0)}
	e.speaker = newSpeaker(func() time.Time { return e.clock }, p, func() {})
	return e
}

// hear takes the next packet and lets its time pass.
func (e *ear) hear(codec AudioCodec, payload []byte) error {
	err := e.Write(e.packet(codec, payload))
	e.wait(1)
	return err
}

// wait lets blocks of time pass in which nothing comes.
func (e *ear) wait(blocks int) {
	for range blocks {
		e.clock = e.clock.Add(PacketDuration)
		e.tick(e.clock)
	}
}

// rtpCounter numbers packets as a sender does.
type rtpCounter struct {
	seq   uint16
	ticks uint32
}

func (c *rtpCounter) packet(codec AudioCodec, payload []byte) AudioPacket {
	p := AudioPacket{Codec: codec, Sequence: c.seq, Timestamp: c.ticks, Payload: payload}
	c.seq++
	c.ticks += uint32(clockRate(codec) / 50)
	return p
}

// coded is a tone as n packets of a codec.
func coded(t testing.TB, codec AudioCodec, hz float64, n int) (packets [][]byte) {
	t.Helper()
	if codec != Opus {
		law := map[AudioCodec]func(int16) byte{PCMU: encodeULaw, PCMA: encodeALaw}[codec]
		for block := range slices.Chunk(tone(g711Rate, hz, -20, n*g711Rate/50), g711Rate/50) {
			packets = append(packets, encodeG711(block, law))
		}
		return packets
	}
	if !haveOpusEncoder {
		t.Skip("this build has no Opus encoder")
	}
	enc, err := newOpusEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer enc.close()
	if err := enc.setLoss(0.2); err != nil {
		t.Fatal(err)
	}
	for block := range slices.Chunk(tone(soundRate, hz, -20, n*blockSamples), blockSamples) {
		data, err := enc.encode(block)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, data)
	}
	return packets
}

// network says of each packet whether it gets lost, and how late it comes.
type network struct {
	loss   float64
	jitter time.Duration // at most
	drift  float64       // by how much the sender's clock is faster
}

// through sends packets through a network to a playout and returns what is heard.
func through(packets [][]byte, codec AudioCodec, n network, p *playout) (heard []int16) {
	random := rand.New(rand.NewPCG(7, 9))
	type arrival struct {
		at time.Duration
		AudioPacket
	}
	var all []arrival
	for i, data := range packets {
		sent := time.Duration(float64(i) * float64(PacketDuration) / (1 + n.drift))
		late := time.Duration(0)
		if n.jitter > 0 {
			late = time.Duration(random.Int64N(int64(n.jitter)))
		}
		if random.Float64() < n.loss || data == nil {
			continue
		}
		all = append(all, arrival{sent + late, AudioPacket{
			Codec: codec, Source: 5, Sequence: uint16(65500 + i), Timestamp: 4294960000 + uint32(i*clockRate(codec)/50), Payload: data,
		}})
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	begin := time.Unix(1_700_000_000, 0)
	for at := time.Duration(0); at < time.Duration(len(packets))*PacketDuration; at += PacketDuration {
		for len(all) > 0 && all[0].at <= at {
			p.put(all[0].AudioPacket, begin.Add(all[0].at))
			all = all[1:]
		}
		heard = append(heard, p.tick(begin.Add(at))...)
	}
	return heard
}

// gaps counts stretches of 10 ms that are more than 6 dB below a level, and clicks steps
// between samples that are more than thrice as steep as the tone's.
func gaps(pcm []int16, level, hz float64) (gaps, clicks int) {
	for block := range slices.Chunk(pcm, soundRate/100) {
		if levelOf(block) < level-6 {
			gaps++
		}
	}
	steepest := math.Sqrt2 * math.MaxInt16 * math.Pow(10, level/20) * 2 * math.Pi * hz / soundRate
	for i := 1; i < len(pcm); i++ {
		if d := math.Abs(float64(pcm[i]) - float64(pcm[i-1])); d > 3*steepest+10 {
			clicks++
		}
	}
	return gaps, clicks
}

// snr is how much louder a tone is than all else, in dB: in each 20 ms the best fitting sine
// is taken out, as the phase may move where sound was made up.
func snr(pcm []int16, hz float64) float64 {
	var signal, rest float64
	for block := range slices.Chunk(pcm, blockSamples) {
		// Least squares for a·sin + b·cos.
		var ss, sc, cc, xs, xc, xx float64
		for i, v := range block {
			s, c := math.Sincos(2 * math.Pi * hz * float64(i) / soundRate)
			x := float64(v)
			ss, sc, cc = ss+s*s, sc+s*c, cc+c*c
			xs, xc, xx = xs+x*s, xc+x*c, xx+x*x
		}
		det := ss*cc - sc*sc
		a, b := (xs*cc-xc*sc)/det, (xc*ss-xs*sc)/det
		power := a*xs + b*xc
		signal += power
		rest += max(xx-power, 0)
	}
	return 10 * math.Log10(signal/max(rest, 1))
}

// Sound over bad networks. What is printed is what is heard: gaps of 10 ms, clicks, and
// how far the tone stands out.
func TestPlayoutOverBadNetworks(t *testing.T) {
	const hz, seconds = 440, 20
	for _, codec := range []AudioCodec{Opus, PCMU} {
		packets := coded(t, codec, hz, seconds*50)
		for _, tc := range []struct {
			network
			gaps   int     // at most, of 2000
			snr    float64 // at least, in dB
			clicks int     // at most
		}{
			{network{}, 2, 30, 0},
			{network{jitter: 50 * time.Millisecond}, 5, 30, 5},
			{network{loss: 0.05}, 20, 15, 20},
			{network{loss: 0.20}, 60, 10, 150},
			{network{loss: 0.05, jitter: 50 * time.Millisecond}, 60, 15, 20},
			{network{loss: 0.20, jitter: 50 * time.Millisecond}, 150, 10, 150},
		} {
			p := &playout{}
			heard := through(packets, codec, tc.network, p)
			silent, clicks := gaps(heard, -20, hz)
			s := snr(heard, hz)
			c := p.jitter.counts
			t.Logf("%-4s loss %2.0f %%, jitter %2d ms: %3d gaps of 10 ms, %3d clicks, tone %4.1f dB above the rest; played %3d ms late; %d lost, %d recovered, %d too late, %d made up, %d jumps",
				codec, 100*tc.loss, tc.jitter.Milliseconds(), silent, clicks, s, p.jitter.delay*1000/soundRate, c.lost, c.recovered, c.late, p.made, p.jumps)
			if len(heard) < (seconds-1)*soundRate || silent > tc.gaps || s < tc.snr || clicks > tc.clicks {
				t.Errorf("%s: worse than %d gaps, %d clicks, %.0f dB", codec, tc.gaps, tc.clicks, tc.snr)
			}
			p.close()
		}
	}
}

// The sender's clock is never quite ours. Over two minutes it runs ahead or behind by
// some hundred milliseconds, which must neither pile up nor tear holes.
func TestPlayoutFollowsTheSendersClock(t *testing.T) {
	packets := coded(t, PCMU, 440, 2*60*50)
	for _, ppm := range []float64{-1000, 1000} {
		p := &playout{}
		heard := through(packets, PCMU, network{drift: ppm / 1e6, jitter: 5 * time.Millisecond}, p)
		heard = heard[:len(heard)-soundRate] // a sender who is ahead ends sooner
		silent, clicks := gaps(heard, -20, 440)
		ahead := p.decoded() - p.at
		t.Logf("%+.0f ppm: %d gaps, %d clicks, %.1f dB, %d made up, %d jumps, %d ms decoded", ppm, silent, clicks, snr(heard, 440), p.made, p.jumps, ahead*1000/soundRate)
		if s := snr(heard, 440); s < 30 || silent > 3 || clicks > 0 || p.jumps > 0 || p.made > 20 || len(p.jitter.packets) > 10 {
			t.Errorf("%+.0f ppm: not followed", ppm)
		}
	}
}

// Packets come out of order, twice, and much too late.
func TestJitterBuffer(t *testing.T) {
	var b jitterBuffer
	now := time.Unix(1_700_000_000, 0)
	put := func(seq int, after time.Duration, played int64) {
		b.put(AudioPacket{Codec: Opus, Sequence: uint16(seq), Timestamp: uint32(seq) * blockSamples, Payload: []byte{byte(seq)}}, now.Add(after), played)
	}
	order := func() (list []int) {
		for _, w := range b.packets {
			list = append(list, int(w.Sequence))
		}
		return list
	}
	for _, seq := range []int{10, 13, 11, 12, 13, 9} {
		put(seq, time.Duration(seq-10)*PacketDuration, -10*blockSamples)
	}
	if got := order(); fmt.Sprint(got) != "[9 10 11 12 13]" || b.counts.twice != 1 {
		t.Errorf("%v, %+v", got, b.counts)
	}
	put(8, 60*time.Millisecond, 0)
	if b.counts.late != 1 {
		t.Errorf("%+v", b.counts)
	}
	for seq := 14; seq < 14+2*maxWaiting; seq++ {
		put(seq, time.Duration(seq-10)*PacketDuration, 0)
	}
	if len(b.packets) != maxWaiting || b.counts.overflow == 0 {
		t.Errorf("%d packets, %+v", len(b.packets), b.counts)
	}
	// After a pause another stream takes its place; at once it does not.
	last := time.Duration(14+2*maxWaiting-10) * PacketDuration
	other := AudioPacket{Codec: PCMU, Source: 99, Timestamp: 5, Payload: []byte{1}}
	b.put(other, now.Add(last), 0)
	if b.last.Source == 99 {
		t.Error("another stream broke in")
	}
	b.put(other, now.Add(last+sourcePause), 0)
	if b.last.Source != 99 || len(b.packets) != 1 || b.streams != 2 {
		t.Errorf("%d packets of source %d, %d streams", len(b.packets), b.last.Source, b.streams)
	}
}

// The delay follows the jitter, both ways and within bounds.
func TestJitterDelay(t *testing.T) {
	var b jitterBuffer
	now := time.Unix(1_700_000_000, 0)
	random := rand.New(rand.NewPCG(1, 1))
	n := 0
	run := func(jitter time.Duration) time.Duration {
		for range 600 {
			late := time.Duration(0)
			if jitter > 0 {
				late = time.Duration(random.Int64N(int64(jitter)))
			}
			p := AudioPacket{Codec: Opus, Sequence: uint16(n), Timestamp: uint32(n) * blockSamples, Payload: []byte{1}}
			b.put(p, now.Add(time.Duration(n)*PacketDuration+late), math.MinInt64)
			b.packets = b.packets[:0]
			n++
		}
		return time.Duration(b.delay) * time.Second / soundRate
	}
	for _, tc := range []struct{ jitter, least, most time.Duration }{
		{0, 22 * time.Millisecond, 22 * time.Millisecond},
		{50 * time.Millisecond, 60 * time.Millisecond, 72 * time.Millisecond},
		{150 * time.Millisecond, 150 * time.Millisecond, 172 * time.Millisecond},
		{900 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond},
		{0, 22 * time.Millisecond, 22 * time.Millisecond},
	} {
		if got := run(tc.jitter); got < tc.least || got > tc.most {
			t.Errorf("a jitter of %s gives a delay of %s, not %s to %s", tc.jitter, got, tc.least, tc.most)
		}
	}
}

// A sender that stops and goes on later, with its time moved or not, is heard again soon.
func TestPlayoutGoesOnAfterAPause(t *testing.T) {
	for _, pause := range []time.Duration{100 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond, 30 * time.Second} {
		for name, moved := range map[string]bool{"time goes on": true, "time stands still": false} {
			e := newEar(nil)
			packets := coded(t, PCMA, 440, 100)
			for _, p := range packets[:50] {
				if err := e.hear(PCMA, p); err != nil {
					t.Fatal(err)
				}
			}
			e.wait(int(pause / PacketDuration))
			if moved {
				e.ticks += uint32(pause / PacketDuration * g711Rate / 50)
			}
			for _, p := range packets[50:] {
				if err := e.hear(PCMA, p); err != nil {
					t.Fatal(err)
				}
			}
			if m := e.Meter(); math.Abs(m.Level+20) > 1 || math.Abs(m.ToneHz-440) > 5 || m.Delay > 100*time.Millisecond {
				t.Errorf("%s after %s: %+v", name, pause, m)
			}
		}
	}
}

// Silence costs nothing, and the time of what follows is right.
func TestQuietIsNotSent(t *testing.T) {
	if !haveOpusEncoder {
		t.Skip("this build has no Opus encoder")
	}
	h := newHub(string(Opus), false, 1000)
	v := h.add(func(*viewer) {})
	p := &soundProducer{in: &heardSounds{blocks: slices.Concat(
		slices.Repeat([][]int16{tone(soundRate, 440, -20, blockSamples)}, 100),
		slices.Repeat([][]int16{make([]int16, blockSamples)}, 400),
		slices.Repeat([][]int16{tone(soundRate, 440, -20, blockSamples)}, 100))}, hubs: []*hub{h}}
	if err := p.run(t.Context()); err == nil {
		t.Fatal("the script never ends")
	}
	sent, length, longest := 0, time.Duration(0), time.Duration(0)
	for {
		f, ok, _ := v.pop()
		if !ok {
			break
		}
		sent++
		length += f.Duration
		longest = max(longest, f.Duration)
	}
	t.Logf("%d packets for 600 blocks, the longest pause %s", sent, longest)
	if sent > 300 || sent < 200 || length != 600*PacketDuration || longest < 200*time.Millisecond {
		t.Errorf("%d packets of %s, the longest pause %s", sent, length, longest)
	}
}

// A tone is no silence, however long it lasts: test tones and alarms have to be heard.
func TestToneIsSent(t *testing.T) {
	for i, p := range coded(t, Opus, 440, 1500) {
		if p == nil {
			t.Fatalf("block %d of a tone was left out", i)
		}
	}
}

// heardSounds is a microphone that hears what it is told.
type heardSounds struct{ blocks [][]int16 }

func (s *heardSounds) next(ctx context.Context) ([]int16, error) {
	if len(s.blocks) == 0 {
		return nil, ErrClosed
	}
	b := s.blocks[0]
	s.blocks = s.blocks[1:]
	return b, nil
}

func (s *heardSounds) close() error { return nil }

func FuzzPlayout(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 200, 100, 50})
	f.Add(bytes.Repeat([]byte{255, 0, 128}, 40))
	f.Fuzz(func(t *testing.T, script []byte) {
		p := &playout{}
		defer p.close()
		now := time.Unix(1_700_000_000, 0)
		seq, ticks := uint16(0), uint32(0)
		for len(script) > 3 {
			seq += uint16(int8(script[0]))
			ticks += uint32(int32(int8(script[1])) << (script[2] % 24))
			codec := []AudioCodec{Opus, PCMU, PCMA}[script[2]%3]
			p.put(AudioPacket{Codec: codec, Source: uint32(script[2] % 2), Sequence: seq, Timestamp: ticks, Payload: script[3:min(len(script), 40)]}, now)
			for range script[3] % 4 {
				now = now.Add(PacketDuration)
				if block := p.tick(now); block != nil && len(block) != blockSamples {
					t.Fatalf("a block of %d samples", len(block))
				}
			}
			if len(p.jitter.packets) > maxWaiting || len(p.fifo) > 2*maxPacketSamples {
				t.Fatalf("%d packets wait, %d samples are decoded", len(p.jitter.packets), len(p.fifo))
			}
			script = script[3:]
		}
	})
}
