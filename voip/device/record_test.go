//go:build cgo

package device

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"

	"porchlight/voip/clip"
)

// parsed is a WebM file read back.
func parsed(t *testing.T, data []byte) webm.Segment {
	t.Helper()
	var file struct {
		Header  webm.EBMLHeader `ebml:"EBML"`
		Segment webm.Segment    `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(bytes.NewReader(data), &file); err != nil {
		t.Fatal("the film does not parse:", err)
	}
	return file.Segment
}

func blocks(s webm.Segment, track uint64) (data [][]byte) {
	for _, c := range s.Cluster {
		for _, x := range c.SimpleBlock {
			if x.TrackNumber == track {
				data = append(data, x.Data...)
			}
		}
	}
	return data
}

// TestRecord: a film of the test picture and tone, while somebody watches: both get the
// same frames, so there is one encoder.
func TestRecord(t *testing.T) {
	b := testBoard(t)
	ctx := within(t, 30*time.Second)
	watcher, err := b.OpenVideo(ctx, VP8)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	seen, done := map[string]bool{}, make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		for {
			f, err := watcher.ReadFrame(watching)
			if err != nil {
				return
			}
			seen[string(f.Data)] = true
		}
	}()
	const length = 1500 * time.Millisecond
	file, err := b.Record(ctx, length)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	<-done
	if file.Type != "video/webm" || file.Width != 640 || file.Height != 480 || file.Length < length*8/10 || file.Length > 2*length {
		t.Errorf("the film is %s, %d×%d, %s", file.Type, file.Width, file.Height, file.Length)
	}
	s := parsed(t, file.Data)
	if len(s.Tracks.TrackEntry) != 2 || s.Tracks.TrackEntry[0].CodecID != "V_VP8" || s.Tracks.TrackEntry[1].CodecID != "A_OPUS" {
		t.Fatalf("tracks %+v", s.Tracks)
	}
	pictures, packets := blocks(s, 1), blocks(s, 2)
	if len(pictures) < 12 || len(packets) < 50 {
		t.Errorf("%d pictures and %d packets of sound are too few", len(pictures), len(packets))
	}
	for i, p := range pictures[:len(pictures)-2] { // the last ones may not have been read by the watcher
		if !seen[string(p)] {
			t.Errorf("picture %d of the film is not what the watcher got", i)
			break
		}
	}
}

// TestRemember: a film begins before it was asked for.
func TestRemember(t *testing.T) {
	b := testBoard(t)
	ctx := within(t, 30*time.Second)
	const keep = time.Second
	remembering, forget := context.WithCancel(ctx)
	defer forget()
	ended := make(chan error, 1)
	go func() { ended <- b.Remember(remembering, true, true, keep) }()
	clock, err := b.OpenVideo(ctx, VP8)
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()
	for full := false; !full; {
		if _, err := clock.ReadFrame(ctx); err != nil {
			t.Fatal("nothing is remembered: ", err)
		}
		b.mu.Lock()
		r := b.memory.video
		b.mu.Unlock()
		if r == nil {
			continue
		}
		r.mu.Lock()
		full = len(r.kept) > 0 && time.Since(r.kept[0].at) > keep
		r.mu.Unlock()
	}
	file, err := b.Record(ctx, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if file.Length < keep+400*time.Millisecond || file.Length > keep+2*keptKeyEvery+2*time.Second {
		t.Errorf("the film lasts %s", file.Length)
	}
	s := parsed(t, file.Data)
	first := s.Cluster[0].SimpleBlock[0]
	if first.TrackNumber != 1 || !first.Keyframe || first.Timecode != 0 {
		t.Errorf("the film begins with track %d, key frame %t, at %d ms", first.TrackNumber, first.Keyframe, first.Timecode)
	}
	forget()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error("Remember:", err)
	}
	if b.memory.video != nil || b.memory.audio != nil {
		t.Error("it remembers for ever")
	}
}

// TestRememberWithoutMotion: a camera in whose picture nobody can look for motion stays off.
func TestRememberWithoutMotion(t *testing.T) {
	b := testBoard(t)
	b.video.raw = nil
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := b.Remember(ctx, true, false, time.Second); !errors.Is(err, context.DeadlineExceeded) || b.memory.video != nil || b.video.active() != "" {
		t.Errorf("the camera runs for the memory alone: %v", err)
	}
}

func TestRecordRefuses(t *testing.T) {
	ctx := within(t, 20*time.Second)
	b := run(t, Config{Camera: None, Microphone: None, Loudspeaker: None})
	if _, err := b.Record(ctx, time.Second); !errors.Is(err, ErrUnsupported) {
		t.Error("without devices:", err)
	}
	deaf := run(t, Config{Camera: None, Microphone: Test, Loudspeaker: None})
	if file, err := deaf.Record(ctx, 300*time.Millisecond); err != nil || file.Type != "audio/webm" {
		t.Errorf("without a camera: %s, %v", file.Type, err)
	}
	deaf.recordings = maxRecordings
	if _, err := deaf.Record(ctx, time.Second); !errors.Is(err, ErrBusy) {
		t.Error("one too many:", err)
	}
	deaf.recordings = 0
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := deaf.Record(short, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("given up:", err)
	}
	if deaf.recordings != 0 {
		t.Error("a recording that was given up still counts")
	}
}

func TestReel(t *testing.T) {
	start := time.Now()
	// Every 100 ms a frame of 100 bytes; k is a key frame.
	feed := func(r *reel, kinds string) (asked int) {
		for i, kind := range kinds {
			f := EncodedFrame{Data: make([]byte, 100), Key: kind == 'k', Duration: 100 * time.Millisecond}
			if r.add(moment{f, start.Add(time.Duration(i) * 100 * time.Millisecond)}) {
				asked++
			}
		}
		return asked
	}
	for _, tt := range []struct {
		name  string
		keep  time.Duration
		send  string
		kept  int // frames
		asked int // key frames
	}{
		{"nothing is kept", 0, "kfff", 0, 0},
		{"waits for a key frame", time.Second, "ffkf", 2, 0},
		{"the oldest goes when the next reaches back far enough", 200 * time.Millisecond, "kffkffk", 4, 0},
		{"but not before", time.Second, "kffkffk", 7, 0},
		{"sound is dropped one by one", 300 * time.Millisecond, "kkkkkkkk", 4, 0},
		{"a key frame is asked for", time.Hour, "k" + "ffffffffffffffffffffff", 23, 3},
	} {
		r := &reel{keep: tt.keep}
		if asked := feed(r, tt.send); len(r.kept) != tt.kept || asked != tt.asked || r.size != 100*tt.kept {
			t.Errorf("%s: %d frames of %d bytes, %d key frames asked for", tt.name, len(r.kept), r.size, asked)
		}
	}
	r := &reel{keep: time.Hour}
	for i := range 40 {
		r.add(moment{EncodedFrame{Data: make([]byte, 100_000), Key: true}, start.Add(time.Duration(i) * time.Second)})
	}
	if r.size > maxKeptBytes || len(r.kept) < 15 {
		t.Errorf("%d frames of %d bytes are kept", len(r.kept), r.size)
	}
	to := r.join()
	for i := range 200 {
		r.add(moment{EncodedFrame{Data: make([]byte, 100_000), Key: true}, start.Add(time.Duration(i) * time.Second)})
	}
	if _, over, err := r.state(to); !over || err != nil || to.size > maxFilmBytes {
		t.Errorf("a film of %d bytes is over: %t, %v", to.size, over, err)
	}
}

func TestDevelop(t *testing.T) {
	asked := time.Now()
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	frames := func(first, step int, n int) (all []moment) {
		for i := range n {
			all = append(all, moment{EncodedFrame{Data: []byte{1}, Duration: ms(step), Key: i == 0 || step == 20}, asked.Add(ms(first + i*step))})
		}
		return all
	}
	at := func(f []clip.Frame) (all []time.Duration) {
		for _, x := range f {
			all = append(all, x.At)
		}
		return all
	}
	for _, tt := range []struct {
		name         string
		video, audio []moment
		wantVideo    []time.Duration
		wantAudio    []time.Duration
		length       time.Duration
	}{
		{"nothing was remembered", frames(300, 100, 2), frames(270, 20, 4), []time.Duration{0, ms(100)}, []time.Duration{ms(10), ms(30)}, ms(200)},
		{"both were", frames(-200, 100, 2), frames(-230, 20, 4), []time.Duration{0, ms(100)}, []time.Duration{ms(10), ms(30)}, ms(200)},
		{"only the sound was", frames(100, 100, 2), frames(-40, 20, 3), []time.Duration{ms(140), ms(240)}, []time.Duration{0, ms(20), ms(40)}, ms(340)},
		{"for longer than asked for", nil, frames(-120, 20, 3), nil, []time.Duration{0, ms(20)}, ms(40)},
		{"only sound", nil, frames(50, 20, 2), nil, []time.Duration{0, ms(20)}, ms(40)},
		{"it was quiet", nil, frames(50, 400, 2), nil, []time.Duration{0, ms(400)}, ms(420)},
		{"only pictures", frames(50, 100, 2), nil, []time.Duration{0, ms(100)}, nil, ms(200)},
	} {
		f := develop(asked, asked.Add(-ms(100)), tt.video, tt.audio)
		if !slices.Equal(at(f.Video), tt.wantVideo) || !slices.Equal(at(f.Audio), tt.wantAudio) || f.Length != tt.length {
			t.Errorf("%s: pictures at %v, sound at %v, %s", tt.name, at(f.Video), at(f.Audio), f.Length)
		}
	}
}
