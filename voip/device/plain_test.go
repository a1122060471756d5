package device

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSnapshot(t *testing.T) {
	if !haveVP8 {
		t.Skip("this build has no test picture")
	}
	var live []bool
	var mu sync.Mutex
	b := run(t, Config{Camera: Test, Microphone: Test, Loudspeaker: MeterOnly, Live: func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		live = append(live, on)
	}})
	ctx := within(t, 20*time.Second)
	before := time.Now()
	data, w, h, err := b.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pic, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil || w != defaultWidth || h != defaultHeight || pic.Bounds().Dx() != w || pic.Bounds().Dy() != h {
		t.Fatalf("a picture of %d×%d, %v", w, h, err)
	}
	gray := func(x, y int) byte { r, _, _, _ := pic.At(x, y).RGBA(); return byte(r >> 8) }
	if at, ok := ReadTimeBar(gray, w, h); !ok || at.Before(before.Add(-time.Second)) || at.After(time.Now()) {
		t.Errorf("the picture was made at %v, %t", at, ok)
	}
	// Beside a viewer, who goes on undisturbed.
	v, err := b.OpenVideo(ctx, VP8)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if f, err := v.ReadFrame(ctx); err != nil || !f.Key || f.picture != nil {
		t.Fatalf("first frame: key %t, %v", f.Key, err)
	}
	if _, _, _, err := b.Snapshot(ctx); err != nil {
		t.Error("while somebody watches:", err)
	}
	if _, err := v.ReadFrame(ctx); err != nil {
		t.Error("after a snapshot:", err)
	}
	mu.Lock()
	defer mu.Unlock()
	// Between the two it is off for a moment, unless the viewer came sooner than the end.
	if !slices.Equal(live, []bool{true, false, true}) && !slices.Equal(live, []bool{true}) {
		t.Errorf("the light went %v", live)
	}
}

// A viewer who joins a camera that gave only plain pictures begins with a key frame.
func TestViewerJoinsPlainPictures(t *testing.T) {
	if !haveVP8 {
		t.Skip("this build has no test picture")
	}
	b := testBoard(t)
	ctx := within(t, 20*time.Second)
	s, err := b.OpenPictures(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, err := s.ReadPicture(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.ReadPicture(ctx)
	if err != nil || bytes.Equal(first.Y, second.Y) {
		t.Errorf("two pictures are the same, %v", err)
	}
	v, err := b.OpenVideo(ctx, VP8)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if f, err := v.ReadFrame(ctx); err != nil || !f.Key {
		t.Errorf("first frame: key %t, %v", f.Key, err)
	}
	if got := b.VideoCodecs(); len(got) != 1 || got[0] != VP8 {
		t.Errorf("codecs %v", got)
	}
}

func TestPlainSound(t *testing.T) {
	b := testBoard(t)
	ctx := within(t, 20*time.Second)
	s, err := b.OpenSound(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var heard loudness
	for range 10 {
		block, err := s.ReadSound(ctx)
		if err != nil || len(block) != blockSamples {
			t.Fatalf("%d samples, %v", len(block), err)
		}
		heard.add(block)
	}
	if hz, level := heard.toneHz(), heard.level(); math.Abs(hz-toneHz) > 5 || math.Abs(level-toneLevel) > 1 {
		t.Errorf("heard %.0f Hz at %.1f dBFS", hz, level)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.ReadSound(ctx); !errors.Is(err, ErrClosed) {
		t.Error("closed:", err)
	}
}

func TestNothingToSee(t *testing.T) {
	b := run(t, Config{Camera: None, Microphone: None, Loudspeaker: None})
	ctx := context.Background()
	_, _, _, err1 := b.Snapshot(ctx)
	_, err2 := b.OpenPictures(ctx)
	_, err3 := b.OpenSound(ctx)
	for _, err := range []error{err1, err2, err3, b.Chime(ctx)} {
		if !errors.Is(err, ErrUnsupported) {
			t.Error("without devices:", err)
		}
	}
}

// record is a loudspeaker in memory.
type record struct {
	mu     sync.Mutex
	pcm    []int16
	closed int
}

func (r *record) play(pcm []int16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pcm = append(r.pcm, pcm...)
	return true
}

func (r *record) heard() []int16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pcm)
}

func (r *record) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	return nil
}

func TestChime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened []*record
		b := &Board{cfg: Config{Now: time.Now}, jobs: make(chan func(context.Context)), closed: make(chan struct{}), duck: ducker{now: time.Now}, floor: floor{now: time.Now}}
		go b.Run(t.Context())
		b.speaker = func(context.Context) (player, error) {
			opened = append(opened, &record{})
			return opened[len(opened)-1], nil
		}
		if err := b.Chime(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(opened) != 1 || opened[0].closed != 1 || len(opened[0].pcm) != 2*soundRate*18/100 {
			t.Fatalf("%d loudspeakers, %+v", len(opened), len(opened[0].pcm))
		}
		var heard loudness
		heard.add(opened[0].pcm[soundRate/25 : soundRate/25+meterSamples])
		if hz := heard.toneHz(); math.Abs(hz-chimeHigh) > 10 {
			t.Errorf("the first note is of %.0f Hz", hz)
		}
		// In the place of a caller it plays on the same loudspeaker, which stays open.
		s, err := b.OpenSpeaker(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Chime(context.Background()); err != nil || len(opened) != 2 || opened[1].closed != 0 {
			t.Errorf("beside a caller: %v, %d opened", err, len(opened))
		}
		chimeOverVoice(t, b, s, opened[1])
		if _, err := b.OpenSpeaker(context.Background()); !errors.Is(err, ErrBusy) {
			t.Error("a second caller:", err)
		}
		if err := s.Close(); err != nil || opened[1].closed != 1 {
			t.Errorf("after the caller: %v, closed %d times", err, opened[1].closed)
		}
		if _, err := b.OpenSpeaker(context.Background()); err != nil {
			t.Error("the next caller:", err)
		}
	})
}

// chimeOverVoice has a caller speak all the while: the tone is whole, and the loudspeaker gets
// no more than it plays.
func chimeOverVoice(t *testing.T, b *Board, s Speaker, to *record) {
	packet := AudioPacket{Codec: PCMU, Source: 1, Payload: bytes.Repeat([]byte{0x80, 0}, 80)}
	speak := func(packets int) {
		for range packets {
			if err := s.Write(packet); err != nil {
				t.Fatal(err)
			}
			packet.Sequence++
			packet.Timestamp += 160
			time.Sleep(PacketDuration)
			synctest.Wait()
		}
	}
	speak(25)
	from, before := time.Now(), len(to.heard())
	chimed := make(chan error, 1)
	go func() { chimed <- b.Chime(context.Background()) }()
	speak(40)
	if err := <-chimed; err != nil {
		t.Error(err)
	}
	heard := to.heard()[before:]
	if took := time.Since(from); len(heard) > int(took.Seconds()*soundRate)+2*blockSamples {
		t.Errorf("in %v with a privacy tone over a voice the loudspeaker was given %d samples", took, len(heard))
	}
	tone := chimeSound()
	for len(heard) > len(tone) && !slices.Equal(heard[:len(tone)], tone) {
		heard = heard[blockSamples:]
	}
	if len(heard) <= len(tone) {
		t.Error("the privacy tone is broken by the voice, or the voice is not heard behind it")
	}
}

func TestDucking(t *testing.T) {
	now := time.Unix(0, 0)
	d := ducker{now: func() time.Time { return now }}
	loud, soft := make([]int16, blockSamples), make([]int16, blockSamples)
	for i := range loud {
		loud[i], soft[i] = 8000, 20
	}
	after := func() int16 {
		block := make([]int16, blockSamples)
		for range 3 { // beyond the ramp
			for i := range block {
				block[i] = 10000
			}
			d.apply(block)
		}
		return block[len(block)-1]
	}
	d.played(loud)
	if got := after(); got != 10000 {
		t.Errorf("switched off, the microphone is at %d", got)
	}
	d.on = true
	if got := after(); got != 600 {
		t.Errorf("while a voice is played the microphone is at %d", got)
	}
	now = now.Add(duckHold + 2*PacketDuration)
	if got := after(); got != 10000 {
		t.Errorf("afterwards the microphone is at %d", got)
	}
	d.played(soft)
	d.played(nil)
	if got := after(); got != 10000 {
		t.Errorf("at noise the microphone is at %d", got)
	}
	// It does not click: the gain changes by little from sample to sample.
	d.played(loud)
	block := make([]int16, blockSamples)
	for i := range block {
		block[i] = 10000
	}
	d.apply(block)
	for i := 1; i < len(block); i++ {
		if step := int(block[i-1]) - int(block[i]); step < 0 || step > 20 {
			t.Fatalf("the gain jumps by %d at %d", step, i)
		}
	}
}

// A camera that gives nothing but H.264 takes single pictures while nobody watches.
func TestStillPicture(t *testing.T) {
	var file bytes.Buffer
	if err := jpeg.Encode(&file, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	var live []bool
	taken := file.Bytes()
	b := &Board{cfg: Config{Live: func(on bool) { live = append(live, on) }}, video: &feed{name: "camera"}}
	ctx := context.Background()
	if _, _, _, err := b.Snapshot(ctx); !errors.Is(err, ErrUnsupported) {
		t.Error("without the program:", err)
	}
	b.still = func(context.Context) ([]byte, error) { return taken, nil }
	data, w, h, err := b.Snapshot(ctx)
	if err != nil || w != 64 || h != 48 || !bytes.Equal(data, taken) || len(live) != 2 || !live[0] || live[1] {
		t.Errorf("%d bytes, %d×%d, %v; the light went %v", len(data), w, h, err, live)
	}
	taken = []byte("no picture")
	if _, _, _, err := b.Snapshot(ctx); err == nil {
		t.Error("what is no JPEG was taken for one")
	}
	b.video.running = &feedRun{done: make(chan struct{})}
	if _, _, _, err := b.Snapshot(ctx); !errors.Is(err, ErrBusy) {
		t.Error("in a call:", err)
	}
}
