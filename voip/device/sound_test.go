package device

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestG711(t *testing.T) {
	// Rows of the standard's tables, scaled to 16 bits. spec: ITU-T G.711 tables 1a to 2b
	for _, tc := range []struct {
		name   string
		decode func(byte) int16
		from   byte
		row    [16]int16
	}{
		{"µ-law", decodeULaw, 0x00, [16]int16{-32124, -31100, -30076, -29052, -28028, -27004, -25980, -24956, -23932, -22908, -21884, -20860, -19836, -18812, -17788, -16764}},
		{"µ-law", decodeULaw, 0x80, [16]int16{32124, 31100, 30076, 29052, 28028, 27004, 25980, 24956, 23932, 22908, 21884, 20860, 19836, 18812, 17788, 16764}},
		{"µ-law", decodeULaw, 0xF0, [16]int16{120, 112, 104, 96, 88, 80, 72, 64, 56, 48, 40, 32, 24, 16, 8, 0}},
		{"A-law", decodeALaw, 0x00, [16]int16{-5504, -5248, -6016, -5760, -4480, -4224, -4992, -4736, -7552, -7296, -8064, -7808, -6528, -6272, -7040, -6784}},
		{"A-law", decodeALaw, 0xF0, [16]int16{688, 656, 752, 720, 560, 528, 624, 592, 944, 912, 1008, 976, 816, 784, 880, 848}},
		{"A-law", decodeALaw, 0xD0, [16]int16{88, 72, 120, 104, 24, 8, 56, 40, 216, 200, 248, 232, 152, 136, 184, 168}},
	} {
		for i, want := range tc.row {
			if got := tc.decode(tc.from + byte(i)); got != want {
				t.Errorf("%s %#02x is %d, not %d", tc.name, int(tc.from)+i, got, want)
			}
		}
	}
	for i := range 256 {
		c := byte(i)
		if got := encodeULaw(decodeULaw(c)); got != c && c != 0x7F { // 0x7F is the other zero
			t.Errorf("µ-law %#02x comes back as %#02x", c, got)
		}
		if got := encodeALaw(decodeALaw(c)); got != c {
			t.Errorf("A-law %#02x comes back as %#02x", c, got)
		}
	}
	// Every sample comes back within half a step of its segment, or clipped.
	for s := math.MinInt16; s <= math.MaxInt16; s++ {
		for name, back := range map[string]int16{"µ": decodeULaw(encodeULaw(int16(s))), "A": decodeALaw(encodeALaw(int16(s)))} {
			limit := 8 + math.Abs(float64(s))/32
			if math.Abs(float64(s)-float64(back)) > limit+1 {
				t.Fatalf("%s-law: %d comes back as %d", name, s, back)
			}
		}
	}
}

// tone is n samples of a sine of the given RMS level.
func tone(rate int, hz, level float64, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(math.Sqrt2 * math.MaxInt16 * math.Pow(10, level/20) * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

func TestResampler(t *testing.T) {
	for _, tc := range []struct {
		from, to int
		hz       float64
		gone     bool // above what the lower rate can carry
	}{
		{48000, 8000, 440, false}, {8000, 48000, 440, false}, {44100, 48000, 1000, false}, {48000, 44100, 1000, false},
		{16000, 48000, 3000, false}, {48000, 16000, 3000, false}, {48000, 8000, 3000, false}, {32000, 48000, 440, false},
		{48000, 48000, 440, false}, {48000, 8000, 6000, true}, {48000, 16000, 12000, true},
	} {
		r := newResampler(tc.from, tc.to)
		in := tone(tc.from, tc.hz, -20, tc.from)
		var out []int16
		for block := range slices.Chunk(in, tc.from/50) {
			before := len(out)
			out = r.process(out, block)
			if n := len(out) - before; tc.from%tc.to == 0 && n != tc.to/50 {
				t.Fatalf("%d→%d: a block became %d samples", tc.from, tc.to, n)
			}
		}
		if d := len(out) - tc.to; d < -1 || d > 1 {
			t.Errorf("%d→%d: a second became %d samples", tc.from, tc.to, len(out))
		}
		// Measure the second half, at the meter's rate.
		var l loudness
		scaled := float64(tc.to) / soundRate
		l.add(out[len(out)/2:])
		level, hz := l.level(), l.toneHz()*scaled
		if tc.gone {
			if level > -60 {
				t.Errorf("%d→%d: %.0f Hz left at %.1f dBFS", tc.from, tc.to, tc.hz, level)
			}
			continue
		}
		if math.Abs(level+20) > 0.5 && len(out)/2 >= meterSamples {
			t.Errorf("%d→%d: %.0f Hz at %.2f dBFS", tc.from, tc.to, tc.hz, level)
		}
		if math.Abs(hz-tc.hz) > tc.hz/100 {
			t.Errorf("%d→%d: %.0f Hz became %.1f", tc.from, tc.to, tc.hz, hz)
		}
	}
}

func TestLoudness(t *testing.T) {
	var l loudness
	if l.level() != SilenceLevel || l.toneHz() != 0 {
		t.Error("silence:", l.level(), l.toneHz())
	}
	for _, hz := range []float64{100, 440, 1000, 3400} {
		l.add(tone(soundRate, hz, -30, meterSamples+77))
		if math.Abs(l.level()+30) > 0.1 || math.Abs(l.toneHz()-hz) > 1 {
			t.Errorf("%.0f Hz at -30 dBFS was measured as %.1f at %.2f", hz, l.toneHz(), l.level())
		}
	}
	square := make([]int16, meterSamples)
	for i := range square {
		square[i] = math.MaxInt16
	}
	if l.add(square); math.Abs(l.level()) > 0.001 {
		t.Error("full scale is", l.level())
	}
}

func TestToneHasNoClicks(t *testing.T) {
	pcm := make([]int16, soundRate)
	fillTone(pcm, 0)
	peak := 0
	for i := range pcm {
		d := int(pcm[(i+1)%soundRate]) - int(pcm[i])
		peak = max(peak, d, -d)
	}
	if steepest := 4634 * 2 * math.Pi * toneHz / soundRate; float64(peak) > steepest+2 {
		t.Errorf("a step of %d where a sine has %.0f", peak, steepest)
	}
	if slices.Max(pcm[soundRate-toneGapSamples:]) != 0 {
		t.Error("the gap is not silent")
	}
}

func TestSoundCards(t *testing.T) {
	dev, proc := t.TempDir(), t.TempDir()
	for _, name := range []string{"controlC0", "pcmC0D0p", "pcmC0D1p", "pcmC1D0p", "pcmC2D0p", "pcmC2D0c", "pcmC10D0c", "timer", "pcmC0D0x", "pcmC-1D0c", "seq"} {
		if err := os.WriteFile(filepath.Join(dev, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for card, id := range map[string]string{"card0": "vc4hdmi0\n", "card1": "Headphones\n", "card2": "Device\n"} {
		if err := os.Mkdir(filepath.Join(proc, card), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, card, "id"), []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("card2", filepath.Join(proc, "Device")); err != nil {
		t.Fatal(err)
	}
	names := func(cards []soundCard) (s []string) {
		for _, c := range cards {
			s = append(s, c.String()+" "+c.name)
		}
		return s
	}
	if got := names(listSoundCards(dev, proc, true)); !slices.Equal(got, []string{"hw:2,0 Device", "hw:1,0 Headphones", "hw:0,0 vc4hdmi0", "hw:0,1 vc4hdmi0"}) {
		t.Errorf("loudspeakers: %q", got)
	}
	if got := names(listSoundCards(dev, proc, false)); !slices.Equal(got, []string{"hw:2,0 Device", "hw:10,0 "}) {
		t.Errorf("microphones: %q", got)
	}
	if got := listSoundCards(filepath.Join(dev, "none"), proc, false); got != nil {
		t.Errorf("without sound: %v", got)
	}
	// A card that was another number when it was found.
	for _, c := range []struct {
		was  soundCard
		want string
	}{
		{soundCard{card: 7, playback: true, name: "Device"}, "hw:2,0"},
		{soundCard{card: 2, playback: true, name: "Device"}, "hw:2,0"},
		{soundCard{card: 1, name: "Device"}, "hw:2,0"},
		{soundCard{card: 1, device: 1, name: "Device"}, "hw:1,1"},
		{soundCard{card: 7, name: "Headphones"}, "hw:7,0"}, // it hears nothing
		{soundCard{card: 7, playback: true, name: "Other"}, "hw:7,0"},
	} {
		if got := c.was.again(dev, proc).String(); got != c.want {
			t.Errorf("%+v is %s now, want %s", c.was, got, c.want)
		}
	}
	for name, want := range map[string]string{
		"hw:1,0": "hw:1,0", "hw:3": "hw:3,0", "hw:Device": "hw:2,0", "hw:Device,1": "hw:2,1", "hw:0,12": "hw:0,12",
		"": "", "hw:": "", "1,0": "", "hw:a,b": "", "hw:1,": "hw:1,0", "hw:1,0,0": "", "hw:../x,0": "", "hw:-1,0": "", "hw:1,0x": "",
	} {
		c, err := parseHW(name, proc)
		if want == "" && err == nil || want != "" && (err != nil || c.String() != want) {
			t.Errorf("%q is %v, %v; not %q", name, c, err, want)
		}
	}
	// A card that comes back has its name still.
	was := soundCard{card: 7, playback: true, name: "Device"}
	if now := was.again(dev, proc); now.card != 2 || now.path("/") != "/pcmC2D0p" {
		t.Errorf("the card that was 7 is found at %s", now)
	}
	gone := soundCard{card: 7, playback: true, name: "Gone"}
	if now := gone.again(dev, proc); now != gone {
		t.Errorf("a card that is gone is found at %s", now)
	}
}

func TestPCMFormat(t *testing.T) {
	for _, tc := range []struct {
		format pcmFormat
		data   []byte
		pcm    []int16
	}{
		{pcmFormat{channels: 1, bytes: 2}, []byte{0x34, 0x12, 0xFF, 0xFF}, []int16{0x1234, -1}},
		{pcmFormat{channels: 2, bytes: 2}, []byte{0x34, 0x12, 0x34, 0x12}, []int16{0x1234}},
		{pcmFormat{channels: 1, bytes: 4}, []byte{0, 0, 0x34, 0x12, 0, 0, 0, 0x80}, []int16{0x1234, math.MinInt16}},
		{pcmFormat{channels: 2, bytes: 4}, []byte{0, 0, 0xFE, 0xFF, 0, 0, 0xFE, 0xFF}, []int16{-2}},
	} {
		if got := tc.format.decode(nil, append(bytes.Clone(tc.data), 0)); !slices.Equal(got, tc.pcm) {
			t.Errorf("%+v: decoded %v", tc.format, got)
		}
		if got := tc.format.encode(nil, tc.pcm); !bytes.Equal(got, tc.data) {
			t.Errorf("%+v: encoded %v", tc.format, got)
		}
	}
	stereo := pcmFormat{channels: 2, bytes: 2}
	if got := stereo.decode(nil, []byte{0, 0x40, 0, 0x20}); !slices.Equal(got, []int16{0x3000}) {
		t.Errorf("two channels were mixed to %v", got)
	}
}

// fakePlayer takes what a Speaker plays.
type fakePlayer struct {
	room   int
	blocks [][]int16
	closed bool
}

func (p *fakePlayer) play(pcm []int16) bool {
	p.blocks = append(p.blocks, slices.Clone(pcm))
	return len(p.blocks) <= p.room
}

func (p *fakePlayer) close() error {
	p.closed = true
	return nil
}

func TestSpeakerPlays(t *testing.T) {
	p := &fakePlayer{room: 4}
	closed := 0
	s := newEar(p)
	s.done = func() { closed++ }
	for range 10 {
		if err := s.hear(PCMA, bytes.Repeat([]byte{0xD5}, 160)); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.Meter(); m.Packets < 7 || int(m.Dropped) != len(p.blocks)-p.room || len(p.blocks) < 7 || len(p.blocks[0]) != blockSamples {
		t.Errorf("%+v, %d blocks of %d", m, len(p.blocks), len(p.blocks[0]))
	}
	first, again := s.Close(), s.Close()
	if first != nil || again != nil || !p.closed || closed != 1 {
		t.Error("Close", p.closed, closed)
	}
}

func TestVolume(t *testing.T) {
	var v volume
	for _, tc := range []struct{ percent, want int }{{100, 10000}, {50, 5000}, {0, 0}, {200, 20000}, {400, math.MaxInt16}, {-5, 0}, {9999, math.MaxInt16}} {
		v.set(tc.percent)
		block := []int16{10000, -10000}
		v.apply(block)
		if int(block[0]) != tc.want || int(block[1]) > -tc.want || int(block[1]) < -tc.want-1 {
			t.Errorf("at %d %%: %v", tc.percent, block)
		}
	}
	// A caller is heard at the board as loud as it was set, and measured as loud as they are.
	p := &fakePlayer{room: 1000}
	s := newEar(p)
	s.volume = &v
	v.set(10)
	for _, packet := range coded(t, PCMA, 440, 30) {
		if err := s.hear(PCMA, packet); err != nil {
			t.Fatal(err)
		}
	}
	if played, heard := levelOf(p.blocks[20]), s.Meter().Level; math.Abs(played+40) > 0.5 || math.Abs(heard+20) > 0.5 {
		t.Errorf("played at %.1f dBFS, measured at %.1f", played, heard)
	}
}

func FuzzSpeaker(f *testing.F) {
	for _, codec := range []byte{0, 1, 2} {
		f.Add(codec, []byte{0xFC, 0xFF, 0xFE})
		f.Add(codec, []byte{0x78, 0x07, 0xC9, 0x79, 0xC8, 0xC9, 0x57, 0xC0, 0xA2, 0x12})
		f.Add(codec, bytes.Repeat([]byte{0x0B}, 60))
		f.Add(codec, []byte{0x03, 0x41, 0x05, 1, 2, 3, 4, 5, 6})
	}
	f.Fuzz(func(t *testing.T, codec byte, payload []byte) {
		s := newEar(nil)
		c := []AudioCodec{Opus, PCMU, PCMA}[codec%3]
		// Thrice: the decoder keeps a state between packets.
		taken := 0
		for range 3 {
			if err := s.hear(c, payload); err == nil {
				taken++
			}
		}
		s.wait(20)
		if m := s.Meter(); int(m.Packets) > taken || math.IsNaN(m.Level) || m.Level > 0.01 {
			t.Errorf("%+v", m)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkMeter(b *testing.B) {
	var l loudness
	l.add(tone(soundRate, 440, -20, meterSamples))
	for b.Loop() {
		l.level()
		l.toneHz()
	}
}

func BenchmarkResample48to8(b *testing.B) {
	r := newResampler(soundRate, g711Rate)
	in := tone(soundRate, 440, -20, blockSamples)
	var out []int16
	for b.Loop() {
		out = r.process(out[:0], in)
	}
}

func BenchmarkOpus20ms(b *testing.B) {
	if !haveOpusEncoder {
		b.Skip("this build has no Opus encoder")
	}
	enc, err := newOpusEncoder()
	if err != nil {
		b.Fatal(err)
	}
	defer enc.close()
	block := make([]int16, blockSamples)
	fillTone(block, 0)
	var packet []byte
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			if packet, err = enc.encode(block); err != nil {
				b.Fatal(err)
			}
		}
		// The references are of the encoder without loss repair and the decoder in pure Go.
		b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms(reference:0.1-0.2)")
	})
	b.Run("decode, even out and meter", func(b *testing.B) {
		s := newEar(nil)
		for b.Loop() {
			if err := s.hear(Opus, packet); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms(reference:0.06-0.22)")
	})
}
