package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// nal makes NAL units with start codes: "S" an SPS, "P" a PPS, "A" a
// delimiter, "i" a key picture's first slice, "I" a further one of it, "f" and
// "F" the same of other pictures.
func nals(kinds string) (stream []byte) {
	for _, k := range kinds {
		stream = append(stream, 0, 0, 0, 1)
		stream = append(stream, map[rune][]byte{
			'S': {0x67, 0x42, 0xC0, 0x1E}, 'P': {0x68, 0xCE, 0x3C, 0x80}, 'A': {0x09, 0xF0},
			'i': {0x65, 0x88, 0x84}, 'I': {0x65, 0x40, 0x12}, 'f': {0x41, 0x9A, 0x02}, 'F': {0x41, 0x41, 0x02},
		}[k]...)
	}
	return stream
}

func TestSplitAnnexB(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"abc", nil},
		{"\x00\x00\x01", nil},
		{"\x00\x00\x01a", []string{"a"}},
		{"\x00\x00\x00\x01ab\x00\x00\x01c\x00\x00\x00\x01d\x00\x00", []string{"ab", "c", "d"}},
		{"junk\x00\x00\x01a\x00\x00\x01\x00\x00\x01b", []string{"a", "b"}},
		{"\x00\x00\x01a\x00\x00", []string{"a"}},
	} {
		var got []string
		for _, u := range splitAnnexB([]byte(tc.in)) {
			got = append(got, string(u))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q became %q", tc.in, got)
		}
	}
}

func TestParameterSets(t *testing.T) {
	var s parameterSets
	for _, tc := range []struct {
		in, out string
		key     bool
	}{
		{"i", "i", true}, // none known yet
		{"SPi", "SPi", true},
		{"f", "f", false},
		{"i", "SPi", true},
		{"AiI", "SPAiI", true},
		{"SP", "SP", false},
	} {
		data, key := s.complete(nals(tc.in))
		if !bytes.Equal(data, nals(tc.out)) || key != tc.key {
			t.Errorf("%s became %x, %v", tc.in, data, key)
		}
	}
}

func TestUnitSplitter(t *testing.T) {
	units := []string{"SPi", "f", "fF", "Af", "SPiI", "f"}
	stream := nals(strings.Join(units, ""))
	for _, step := range []int{1, 2, 3, 7, 1000} {
		var s unitSplitter
		var got [][]byte
		for chunk := range slices.Chunk(stream, step) {
			if err := s.add(chunk); err != nil {
				t.Fatal(err)
			}
			for u := s.next(false); u != nil; u = s.next(false) {
				got = append(got, u)
			}
		}
		if u := s.next(true); u != nil {
			got = append(got, u)
		}
		if len(got) != len(units) || s.pending() {
			t.Fatalf("in steps of %d: %d units", step, len(got))
		}
		for i, u := range got {
			if !bytes.Equal(u, nals(units[i])) {
				t.Errorf("in steps of %d: unit %d is %x", step, i, u)
			}
		}
	}
	var s unitSplitter
	if s.add(make([]byte, maxAccessUnit+1)) == nil {
		t.Error("took a unit without end")
	}
	if s.add(nals("SP")) != nil || s.next(true) != nil {
		t.Error("parameter sets alone are no picture")
	}
}

func FuzzAnnexB(f *testing.F) {
	f.Add(nals("SPiffAiI"), 5)
	f.Add([]byte{0, 0, 1, 0, 0, 1, 0x65}, 1)
	f.Add([]byte{0, 0, 0, 1, 0x41, 0x9A, 0, 0, 1, 0x41}, 3)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		var sets parameterSets
		sets.complete(data)
		var s unitSplitter
		var all []byte
		for chunk := range slices.Chunk(data, max(1, min(step, 1000))) {
			if err := s.add(chunk); err != nil {
				return
			}
			for u := s.next(false); u != nil; u = s.next(false) {
				all = append(all, u...)
			}
		}
		all = append(all, s.next(true)...)
		if rest := append(all, s.buf...); !bytes.Equal(rest, data) {
			t.Errorf("bytes were lost: %x became %x", data, rest)
		}
	})
}

// colours is a picture of four fields, as the JPEG of a camera.
func coloursJPEG(t testing.TB, ratio image.YCbCrSubsampleRatio, w, h int) []byte {
	img := image.NewYCbCr(image.Rect(0, 0, w, h), ratio)
	for y := range h {
		for x := range w {
			c := color.YCbCr{Y: 255, Cb: 128, Cr: 128}
			if x >= w/2 {
				c = color.YCbCr{Y: 76, Cb: 85, Cr: 255} // red
			}
			img.Y[img.YOffset(x, y)], img.Cb[img.COffset(x, y)], img.Cr[img.COffset(x, y)] = c.Y, c.Cb, c.Cr
		}
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// withoutTables takes the Huffman tables out of a JPEG, as many cameras do.
func withoutTables(t testing.TB, data []byte) []byte {
	i := bytes.Index(data, []byte{0xFF, markerDHT})
	if i < 0 {
		t.Fatal("no tables")
	}
	n := 2 + int(data[i+2])<<8 + int(data[i+3])
	return slices.Delete(slices.Clone(data), i, i+n)
}

func checkColours(t *testing.T, pic *image.YCbCr, white, red [3]byte) {
	t.Helper()
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	for _, at := range []struct {
		x    int
		want [3]byte
	}{{w / 8, white}, {w * 7 / 8, red}} {
		for _, y := range []int{0, h / 2, h - 1} {
			got := [3]byte{pic.Y[pic.YOffset(at.x, y)], pic.Cb[pic.COffset(at.x, y)], pic.Cr[pic.COffset(at.x, y)]}
			for i := range got {
				if d := int(got[i]) - int(at.want[i]); d < -3 || d > 3 {
					t.Errorf("at %d,%d: %v, not %v", at.x, y, got, at.want)
				}
			}
		}
	}
}

func TestDecodeMJPEG(t *testing.T) {
	full := coloursJPEG(t, image.YCbCrSubsampleRatio420, 64, 48)
	pic := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	for name, data := range map[string][]byte{"with tables": full, "without tables": withoutTables(t, full)} {
		clear(pic.Y)
		if err := decodeMJPEG(pic, data, 64, 48); err != nil {
			t.Fatal(name, err)
		}
		checkColours(t, pic, [3]byte{235, 128, 128}, [3]byte{81, 90, 240})
	}
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio440} {
		src := image.NewYCbCr(image.Rect(0, 0, 64, 48), ratio)
		fill4 := func(x0, x1 int, c color.YCbCr) {
			for y := range 48 {
				for x := x0; x < x1; x++ {
					src.Y[src.YOffset(x, y)], src.Cb[src.COffset(x, y)], src.Cr[src.COffset(x, y)] = c.Y, c.Cb, c.Cr
				}
			}
		}
		fill4(0, 32, color.YCbCr{Y: 255, Cb: 128, Cr: 128})
		fill4(32, 64, color.YCbCr{Y: 76, Cb: 85, Cr: 255})
		fromFullRange(pic, src)
		checkColours(t, pic, [3]byte{235, 128, 128}, [3]byte{81, 90, 240})
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "half": full[:len(full)/2], "no picture": []byte("hello, world"), "another size": coloursJPEG(t, image.YCbCrSubsampleRatio420, 32, 48),
	} {
		if err := decodeMJPEG(pic, data, 64, 48); !errors.Is(err, errBadPicture) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var gray bytes.Buffer
	if err := jpeg.Encode(&gray, image.NewGray(image.Rect(0, 0, 65, 49)), nil); err != nil {
		t.Fatal(err)
	}
	if err := decodeMJPEG(pic, gray.Bytes(), 65, 49); err != nil || pic.Y[0] != 16 || pic.Cb[0] != 128 {
		t.Error("gray, with odd sides:", err, pic.Y[0], pic.Cb[0])
	}
}

func TestYUYV(t *testing.T) {
	var src []byte
	for range 48 {
		src = append(src, bytes.Repeat([]byte{235, 128, 235, 128}, 16)...)
		src = append(src, bytes.Repeat([]byte{81, 90, 81, 240}, 16)...)
	}
	pic := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	if err := yuyvToI420(pic, src, 64); err != nil {
		t.Fatal(err)
	}
	checkColours(t, pic, [3]byte{235, 128, 128}, [3]byte{81, 90, 240})
	if err := yuyvToI420(pic, src[:len(src)-1], 64); !errors.Is(err, errBadPicture) {
		t.Error("too short:", err)
	}
}

func FuzzMJPEG(f *testing.F) {
	full := coloursJPEG(f, image.YCbCrSubsampleRatio420, 64, 48)
	f.Add(full)
	f.Add(withoutTables(f, full))
	f.Add([]byte{0xFF, markerSOI, 0xFF, 0xE0, 0, 0, 0xFF, markerSOS, 0, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		pic := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
		if err := decodeMJPEG(pic, data, 64, 48); err != nil && !errors.Is(err, errBadPicture) {
			t.Error(err)
		}
	})
}

func TestTimeBar(t *testing.T) {
	for _, size := range []image.Point{{640, 480}, {320, 240}, {176, 144}, {1280, 720}, {642, 482}} {
		pic := image.NewYCbCr(image.Rectangle{Max: size}, image.YCbCrSubsampleRatio420)
		gray := func(x, y int) byte { return pic.Y[pic.YOffset(x, y)] }
		if _, ok := ReadTimeBar(gray, size.X, size.Y); ok {
			t.Error("read a bar of a black picture")
		}
		for _, ms := range []int64{0, 1, 1_800_000_000_123, 1<<42 - 1} {
			drawTestPicture(pic, int(ms%1000), time.UnixMilli(ms))
			if at, ok := ReadTimeBar(gray, size.X, size.Y); !ok || at.UnixMilli() != ms {
				t.Errorf("%v: %d was read as %d, %v", size, ms, at.UnixMilli(), ok)
			}
		}
		// One block turned is noticed.
		for i := 2; i < timeBarBlocks; i++ {
			drawTimeBar(pic, time.UnixMilli(1_800_000_000_123))
			x := (2*i + 1) * size.X / (2 * timeBarBlocks)
			luma := byte(lumaWhite)
			if gray(x, size.Y/32) > 128 {
				luma = lumaBlack
			}
			fillGray(pic, image.Rect(i*size.X/timeBarBlocks, 0, (i+1)*size.X/timeBarBlocks, size.Y/16), luma)
			if _, ok := ReadTimeBar(gray, size.X, size.Y); ok {
				t.Errorf("%v: block %d turned and not noticed", size, i)
			}
		}
	}
	if _, ok := ReadTimeBar(func(int, int) byte { return 0 }, 10, 10); ok {
		t.Error("read a bar of ten pixels")
	}
}

// program writes a shell script that stands in for rpicam-vid.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), rpicamName)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func octal(data []byte) string {
	var s strings.Builder
	for _, b := range data {
		fmt.Fprintf(&s, `\%03o`, b)
	}
	return s.String()
}

// The program's pictures arrive whole, the last one without waiting for the next.
func TestRPiCam(t *testing.T) {
	path := program(t, "printf '"+octal(nals("SPi"))+"'\nprintf '"+octal(nals("fF"))+"'\nexec sleep 60\n")
	p, err := startProgram(rpicamName, exec.Command(path))
	if err != nil {
		t.Fatal(err)
	}
	c := &h264Program{videoProgram: p}
	ctx := within(t, 10*time.Second)
	for _, want := range []string{"SPi", "fF"} {
		unit, _, err := c.next(ctx)
		if err != nil || !bytes.Equal(unit, nals(want)) {
			t.Errorf("%x, %v; not %s", unit, err, want)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := c.next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

func TestRPiCamFails(t *testing.T) {
	p, err := startProgram(rpicamName, exec.Command(program(t, "echo 'ERROR: *** no cameras available ***' >&2\nexit 255\n")))
	if err != nil {
		t.Fatal(err)
	}
	c := &h264Program{videoProgram: p}
	_, _, err = c.next(within(t, 10*time.Second))
	if err == nil || !strings.Contains(err.Error(), "ended") {
		t.Error(err)
	}
	if c.close(); !strings.Contains(c.stderr.String(), "no cameras available") {
		t.Error("its complaint is", c.stderr)
	}
	if _, err := startProgram(rpicamName, exec.Command(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("started what is not there")
	}
}

// A whole Board on the stand-in: found, described, started, read, stopped.
func TestRPiCamBoard(t *testing.T) {
	path := program(t, `case "$1" in
--list-cameras) echo "Available cameras"; echo "0 : imx219" ;;
--help) echo "  --low-latency" ;;
*) printf '`+octal(nals("SPi"))+`'; while :; do printf '`+octal(nals("f"))+`'; sleep 0.02; done ;;
esac
`)
	t.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := os.Stat("/dev/video0"); err == nil {
		t.Skip("this machine has a camera of its own")
	}
	b := run(t, Config{Microphone: None, Loudspeaker: None})
	if b.VideoCodecs()[0] != H264 || !strings.Contains(b.Describe()[0], "Raspberry Pi") {
		t.Fatal(b.VideoCodecs(), b.Describe())
	}
	ctx := within(t, 10*time.Second)
	cam, err := b.OpenVideo(ctx, H264)
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	for i := range 5 {
		f, err := cam.ReadFrame(ctx)
		if err != nil || f.Key != (i == 0) || len(splitAnnexB(f.Data)) == 0 {
			t.Fatalf("frame %d: %+v, %v", i, f, err)
		}
	}
}

func BenchmarkMJPEGVGA(b *testing.B) {
	data := coloursJPEG(b, image.YCbCrSubsampleRatio420, 640, 480)
	pic := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	for b.Loop() {
		if err := decodeMJPEG(pic, data, 640, 480); err != nil {
			b.Fatal(err)
		}
	}
}
