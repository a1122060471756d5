package device

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"porchlight/voip/clip"
)

// The format is what the stream itself states, and can be stated otherwise without another
// byte of the stream being touched.
func TestH264Format(t *testing.T) {
	for _, tt := range []struct {
		file, id string
		want     H264Format
	}{
		{squareFilm, "42c00c", H264Format{66, 0xc0, 12, 12, false, false}},
		{reorderedFilm, "4d400a", H264Format{77, 0x40, 10, 10, false, true}},
	} {
		data, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := ReadH264Format(data)
		if !ok || got != tt.want || got.ID() != tt.id {
			t.Errorf("%s: %+v, %v, want %+v", tt.file, got, ok, tt.want)
		}
		before := bytes.Clone(data)
		other := WithH264Format(data, 0xe0, 31)
		if !bytes.Equal(before, data) {
			t.Errorf("%s was changed in place", tt.file)
		}
		changed := 0
		for i := range data {
			if data[i] != other[i] {
				changed++
			}
		}
		if len(other) != len(data) || changed != 2*countUnits(data, nalSPS) {
			t.Errorf("%s: %d bytes of %d were changed", tt.file, changed, len(data))
		}
		if got, _ := ReadH264Format(other); got.ID() != tt.id[:2]+"e01f" {
			t.Errorf("%s: now it is %s", tt.file, got.ID())
		}
	}
	for _, junk := range []string{"", "x", "\x00\x00\x01", "\x00\x00\x01\x67", "\x00\x00\x01\x67\x42\xc0", "\x00\x00\x01\x67\x00\x00\x00\x01\x67"} {
		if got, ok := ReadH264Format([]byte(junk)); ok {
			t.Errorf("%q is %+v", junk, got)
		}
		if got := WithH264Format([]byte(junk), 1, 2); string(got) != junk {
			t.Errorf("%q became %q", junk, got)
		}
	}
}

func countUnits(data []byte, kind byte) (n int) {
	for _, nal := range splitAnnexB(data) {
		if nalType(nal) == kind {
			n++
		}
	}
	return n
}

func TestNeededLevel(t *testing.T) {
	for _, tt := range []struct {
		width, height, frames int
		stated, want          byte
	}{
		{160, 120, 1, 40, 11}, {320, 240, 1, 40, 20}, {640, 480, 1, 40, 30}, {1280, 720, 1, 40, 31},
		{1920, 1080, 4, 40, 40}, {1920, 1080, 16, 52, 51}, {640, 480, 1, 30, 30}, {640, 480, 1, 20, 20}, {8000, 8000, 1, 52, 52},
	} {
		if got := neededLevel(clip.SPS{Width: tt.width, Height: tt.height, Frames: tt.frames, Level: tt.stated}); got != tt.want {
			t.Errorf("%+v needs level %d", tt, got)
		}
	}
}

// reorderedFilm is squareFilm's picture with two B-frames between any other two pictures.
const reorderedFilm = "testdata/reordered.h264"

// lines counts what is logged at or above a level.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *lines) with(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// A camera whose pictures come in another order than they are shown is found out, the owner
// is told once, and callers get it in another way, or none.
func TestReorderedCamera(t *testing.T) {
	film, err := filepath.Abs(reorderedFilm)
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	b := run(t, Config{
		Camera: "h264: while cat " + film + "; do sleep 0.05; done", Width: 160, Height: 120,
		Microphone: None, Loudspeaker: None, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ctx := within(t, 20*time.Second)
	if got := b.VideoCodecs(); !slices.Contains(got, H264) {
		t.Fatalf("before it runs: %v", got)
	}
	for range 3 {
		cam, err := b.OpenVideo(ctx, H264)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := cam.ReadFrame(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := cam.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.VideoCodecs(); slices.Contains(got, H264) || haveH264Decoder != slices.Contains(got, VP8) {
		t.Errorf("afterwards: %v", got)
	}
	if n := log.with("B-frames"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
	if n := strings.Count(strings.Join(b.Describe(), "\n"), "B-frames"); n != 1 {
		t.Errorf("the description tells of it %d times", n)
	}
	if err := b.CameraFault(); (err == nil) != haveH264Decoder {
		t.Errorf("the fault is %v", err)
	}
}

// What a camera's reordered pictures show is seen in the order in which they are shown.
func TestH264DecoderReorders(t *testing.T) {
	if !haveH264Decoder {
		t.Skip("this build cannot decode H.264")
	}
	film, err := os.ReadFile(reorderedFilm)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := newH264Decoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.close()
	var units unitSplitter
	if err := units.add(film); err != nil {
		t.Fatal(err)
	}
	var at []int
	for unit := units.next(true); unit != nil; unit = units.next(true) {
		pic, err := dec.decode(unit)
		if err != nil {
			t.Fatal(err)
		}
		if pic != nil {
			at = append(at, squareIsAt(pic))
		}
	}
	if len(at) < 25 || !slices.IsSorted(at) {
		t.Errorf("the square is at %v", at)
	}
}

// Who has lost frames of a camera that makes no key frames on request gets what came since
// the last one, without waiting for the next, and not too often.
func TestHubReplaysTheLost(t *testing.T) {
	h := newH264Hub()
	n := 0
	publish := func(count int) {
		for range count {
			h.publish(EncodedFrame{Data: []byte(fmt.Sprint(n, " ")), Duration: 60 * time.Millisecond, Key: n == 0})
			n++
		}
	}
	take := func(v *viewer) (got string) {
		for {
			f, ok, err := v.pop()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return got
			}
			got += string(f.Data)
		}
	}
	lost, other := h.add(func(*viewer) {}), h.add(func(*viewer) {})
	publish(4)
	if got := take(lost) + take(other); got != "0 1 2 3 0 1 2 3 " {
		t.Fatalf("to begin with: %q", got)
	}
	now := time.Unix(1e9, 0)
	ask := func() {
		videoViewer{lost}.RequestKeyFrame()
		if !h.takeKeyRequest(now) {
			t.Fatal("the request did not come")
		}
		h.replayLost(now)
		publish(1)
	}
	ask()
	if got := take(lost) + take(other); got != "0 1 2 3 4 4 " {
		t.Errorf("after a request: %q", got)
	}
	now = now.Add(keyFrameInterval)
	ask()
	if got := take(lost) + take(other); got != "5 5 " {
		t.Errorf("soon after: %q", got)
	}
	now = now.Add(replayInterval)
	ask()
	if got := take(lost) + take(other); got != "0 1 2 3 4 5 6 6 " {
		t.Errorf("later: %q", got)
	}
	for range 2 * lost.depth { // it falls behind
		publish(1)
	}
	if !lost.astray {
		t.Fatal("it has not lost anything")
	}
	take(lost)
	now = now.Add(replayInterval)
	if !h.takeKeyRequest(now) {
		t.Fatal("there was no request")
	}
	h.replayLost(now)
	if got := take(lost); !strings.HasPrefix(got, "0 1 2 ") || !strings.HasSuffix(got, fmt.Sprint(n-1, " ")) {
		t.Errorf("after it had fallen behind: %q", got)
	}
}
