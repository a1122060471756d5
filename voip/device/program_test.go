package device

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// squareFilm is two seconds of H.264, 15 pictures a second, made by x264: on gray a white
// square goes from left to right by four pixels a picture.
const squareFilm = "testdata/square.h264"

// squareIsAt is where the square begins in a picture of it; -1 if there is none.
func squareIsAt(pic *image.YCbCr) int {
	y := 60 * pic.Rect.Dy() / 120
	for x := range pic.Rect.Dx() {
		if pic.Y[pic.YOffset(x, y)] > 130 {
			return x * 160 / pic.Rect.Dx()
		}
	}
	return -1
}

// What a camera's H.264 shows is seen from the next key frame on, picture by picture.
func TestH264Decoder(t *testing.T) {
	if !haveH264Decoder {
		t.Skip("this build cannot decode H.264")
	}
	film, err := os.ReadFile(squareFilm)
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
	for n := 0; ; n++ {
		unit := units.next(true)
		if unit == nil {
			if n != 30 {
				t.Errorf("%d pictures, not 30", n)
			}
			break
		}
		pic, err := dec.decode(unit)
		if err != nil || pic == nil {
			t.Fatalf("picture %d: %v, %v", n, pic, err)
		}
		if at := squareIsAt(pic); pic.Rect != image.Rect(0, 0, 160, 120) || at < 10+4*n-1 || at > 10+4*n+1 {
			t.Errorf("picture %d of %v: the square is at %d", n, pic.Rect, at)
		}
	}
	if _, err := dec.decode([]byte("no H.264 at all")); err == nil {
		if pic, _ := dec.decode(nil); pic != nil {
			t.Error("a picture of nothing")
		}
	}
}

// A command runs as long as somebody watches, with all that it starts, and is told what is
// wanted. What it gives in H.264 others have as VP8, plain pictures and snapshots, all at once.
func TestProgramCamera(t *testing.T) {
	folder := t.TempDir()
	note := filepath.Join(folder, "note")
	film, err := filepath.Abs(squareFilm)
	if err != nil {
		t.Fatal(err)
	}
	b := run(t, Config{
		Camera: "h264: (echo $$ $WIDTH $HEIGHT $FPS $BITRATE > " + note + "; while cat " + film + "; do sleep 0.05; done)",
		Width:  320, Height: 240, FPS: 10, Bitrate: 300_000, Microphone: None, Loudspeaker: None,
	})
	ctx := within(t, 20*time.Second)
	if _, err := os.Stat(note); err == nil {
		t.Fatal("it runs though nobody watches")
	}
	cam, err := b.OpenVideo(ctx, H264)
	if err != nil {
		t.Fatal(err)
	}
	f, err := cam.ReadFrame(ctx)
	if err != nil || !f.Key {
		t.Fatalf("%+v, %v", f, err)
	}
	if haveH264Decoder {
		sees(t, ctx, b)
	}
	told, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(told))
	if len(words) != 5 || !slices.Equal(words[1:], []string{"320", "240", "10", "300000"}) {
		t.Fatalf("the command was told %q", told)
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := cam.Close(); err != nil {
		t.Fatal(err)
	}
	b.video.mu.Lock()
	r := b.video.running
	b.video.mu.Unlock()
	if r != nil {
		<-r.done
	}
	for alive := inGroup(t, pid); len(alive) > 0; alive = inGroup(t, pid) {
		if ctx.Err() != nil {
			t.Fatalf("processes go on: %v", alive)
		}
		runtime.Gosched() // what was killed is about to end
	}
}

// inGroup lists the processes of a group that run, by what the kernel says of them.
func inGroup(t *testing.T, group int) (running []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		t.Skip("this system does not tell of its processes")
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent group …
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" && fields[0] != "X" {
			running = append(running, string(stat))
		}
	}
	return running
}

// sees has VP8, plain pictures and a snapshot of a camera that is in use in H.264.
func sees(t *testing.T, ctx context.Context, b *Board) {
	t.Helper()
	other, err := b.OpenVideo(ctx, VP8)
	if err != nil {
		t.Fatal("VP8 of an H.264 camera:", err)
	}
	defer other.Close()
	for i := range 3 {
		f, err := other.ReadFrame(ctx)
		if err != nil || i == 0 && !f.Key || len(f.Data) == 0 {
			t.Fatalf("VP8 frame %d: %d bytes, %v, %v", i, len(f.Data), f.Key, err)
		}
	}
	pictures, err := b.OpenPictures(ctx)
	if err != nil {
		t.Fatal("pictures of an H.264 camera:", err)
	}
	defer pictures.Close()
	pic, err := pictures.ReadPicture(ctx)
	if err != nil || squareIsAt(pic) < 9 {
		t.Fatalf("%v, %v", pic, err)
	}
	data, width, height, err := b.Snapshot(ctx)
	if err != nil || width != 160 || height != 120 {
		t.Fatalf("a snapshot of %d×%d: %v", width, height, err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}

// A command that ends or says nothing is a camera that failed, with its last words.
func TestProgramCameraFails(t *testing.T) {
	b := run(t, Config{Camera: "mjpeg: echo 'no such camera' >&2; exit 3", Microphone: None, Loudspeaker: None})
	if !haveVP8 {
		t.Skip("this build cannot make VP8 of it")
	}
	ctx := within(t, 10*time.Second)
	cam, err := b.OpenVideo(ctx, VP8)
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	if _, err := cam.ReadFrame(ctx); err == nil || !strings.Contains(err.Error(), "no such camera") {
		t.Error(err)
	}
}

// A command that writes JPEG pictures is a camera.
func TestMJPEGProgram(t *testing.T) {
	if !haveVP8 {
		t.Skip("this build cannot make VP8 of it")
	}
	file := filepath.Join(t.TempDir(), "picture.jpeg")
	if err := os.WriteFile(file, coloursJPEG(t, image.YCbCrSubsampleRatio422, 162, 122), 0o600); err != nil {
		t.Fatal(err)
	}
	b := run(t, Config{Camera: "mjpeg: while cat " + file + "; do sleep 0.02; done", Microphone: None, Loudspeaker: None})
	if !slices.Equal(b.VideoCodecs(), []VideoCodec{VP8}) {
		t.Fatal(b.VideoCodecs(), b.Describe())
	}
	ctx := within(t, 20*time.Second)
	_, width, height, err := b.Snapshot(ctx)
	if err != nil || width != 162 || height != 122 {
		t.Errorf("a snapshot of %d×%d: %v", width, height, err)
	}
}

func smallJPEG(t testing.TB, gray uint8) []byte {
	t.Helper()
	pic := image.NewGray(image.Rect(0, 0, 16, 16))
	for i := range pic.Pix {
		pic.Pix[i] = gray
	}
	pic.SetGray(3, 3, color.Gray{Y: 255 - gray})
	var out bytes.Buffer
	if err := jpeg.Encode(&out, pic, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Pictures are cut out of a stream in whatever pieces it comes, also with a thumbnail inside
// and rubbish between them.
func TestJPEGSplitter(t *testing.T) {
	one, two := smallJPEG(t, 10), smallJPEG(t, 200)
	// An APP1 segment with a whole picture in it.
	thumbnail := slices.Concat(one[:2], []byte{0xFF, 0xE1, byte((len(two) + 2) >> 8), byte(len(two) + 2)}, two, one[2:])
	filled := slices.Concat(one[:2], []byte{0xFF, 0xFF}, one[2:])
	for _, c := range []struct {
		name string
		in   []byte
		want [][]byte
	}{
		{"one", one, [][]byte{one}},
		{"two", slices.Concat(one, two), [][]byte{one, two}},
		{"rubbish around", slices.Concat([]byte("--boundary\r\n\xFF\x00"), one, []byte("\r\n--boundary\r\n"), two, []byte{0xFF}), [][]byte{one, two}},
		{"a thumbnail inside", slices.Concat(thumbnail, two), [][]byte{thumbnail, two}},
		{"filled up", slices.Concat(filled, two), [][]byte{filled, two}},
		{"cut short, then another", slices.Concat(one[:len(one)-20], two), nil},
		{"nothing", nil, nil},
		{"half of one", one[:len(one)/2], nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 100, 1 << 20} {
				var s jpegSplitter
				var got [][]byte
				for piece := range slices.Chunk(c.in, size) {
					if err := s.add(piece); err != nil {
						t.Fatal(err)
					}
					for p := s.next(); p != nil; p = s.next() {
						got = append(got, slices.Clone(p))
					}
				}
				if c.want == nil && c.name == "cut short, then another" {
					continue // whatever comes of it, it has ended
				}
				if !slices.EqualFunc(got, c.want, bytes.Equal) {
					t.Errorf("in pieces of %d: %d pictures", size, len(got))
				}
			}
		})
	}
	var s jpegSplitter
	if err := s.add(slices.Concat(one, two, one[:9])); err != nil {
		t.Fatal(err)
	}
	if got := s.newest(); !bytes.Equal(got, two) {
		t.Errorf("the newest has %d bytes", len(got))
	}
	var failed error
	for range 100 {
		if failed = s.add(bytes.Repeat([]byte{0xFF, 0xE0, 0xFF, 0xFF}, 1<<18)); failed != nil {
			break
		}
	}
	if failed == nil && len(s.buf) > 2*maxAccessUnit {
		t.Errorf("%d bytes are kept", len(s.buf))
	}
}

func FuzzJPEGSplitter(f *testing.F) {
	one := smallJPEG(f, 10)
	f.Add(slices.Concat(one, one), uint8(7))
	f.Add([]byte{0xFF, markerSOI, 0xFF, markerSOI, 0xFF, 0xE1, 0, 0, 0xFF, markerEOI}, uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		var s jpegSplitter
		total := 0
		for piece := range slices.Chunk(in, max(1, int(size))) {
			if err := s.add(piece); err != nil {
				t.Fatal(err)
			}
			for p := s.next(); p != nil; p = s.next() {
				if total += len(p); !bytes.HasPrefix(p, []byte{0xFF, markerSOI}) || !bytes.HasSuffix(p, []byte{0xFF, markerEOI}) {
					t.Fatalf("% x is no picture", p)
				}
			}
		}
		if total+len(s.buf) > len(in) {
			t.Fatalf("%d bytes of %d", total+len(s.buf), len(in))
		}
	})
}

// What decoding a small picture costs.
func BenchmarkH264Decoder(b *testing.B) {
	if !haveH264Decoder {
		b.Skip("this build cannot decode H.264")
	}
	film, err := os.ReadFile(squareFilm)
	if err != nil {
		b.Fatal(err)
	}
	dec, err := newH264Decoder()
	if err != nil {
		b.Fatal(err)
	}
	defer dec.close()
	var units [][]byte
	var split unitSplitter
	if err := split.add(film); err != nil {
		b.Fatal(err)
	}
	for u := split.next(true); u != nil; u = split.next(true) {
		units = append(units, u)
	}
	n := 0
	for b.Loop() {
		if _, err := dec.decode(units[n%len(units)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
