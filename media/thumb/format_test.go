package thumb

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"runtime"
	"testing"
)

// exif is an APP1 segment's contents with an orientation.
func exif(order binary.AppendByteOrder, orientation uint16) []byte {
	b := []byte("Exif\x00\x00II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		b = []byte("Exif\x00\x00MM\x00*")
	}
	b = order.AppendUint32(b, 8) // where the first directory is
	b = order.AppendUint16(b, 2)
	for _, entry := range [][2]uint16{{0x010f, 7}, {0x0112, orientation}} {
		b = order.AppendUint16(b, entry[0])
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, entry[1])
		b = order.AppendUint16(b, 0)
	}
	return b
}

// photo is a JPEG of 60 × 40 pixels, red in its upper left quarter and blue elsewhere,
// with an APP1 segment.
func photo(t testing.TB, segment []byte) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, 60, 40))
	for y := range 40 {
		for x := range 60 {
			c := color.RGBA{0, 0, 0xff, 0xff}
			if x < 30 && y < 20 {
				c = color.RGBA{0xff, 0, 0, 0xff}
			}
			p.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	if segment == nil {
		return raw
	}
	out := append([]byte(nil), raw[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(segment)+2))
	out = append(out, segment...)
	return append(out, raw[2:]...)
}

func TestPhotosAreTurned(t *testing.T) {
	// Which corner is red once the picture stands right.
	for orientation, corner := range map[uint16]image.Point{
		1: {0, 0}, 2: {1, 0}, 3: {1, 1}, 4: {0, 1}, 5: {0, 0}, 6: {1, 0}, 7: {1, 1}, 8: {0, 1}, 0: {0, 0}, 9: {0, 0},
	} {
		for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
			for _, crop := range []bool{false, true} {
				small, kind, err := Make(bytes.NewReader(photo(t, exif(order, orientation))), Size{Width: 20, Height: 20, Crop: crop})
				if err != nil || kind != "image/jpeg" {
					t.Fatalf("%d: %v", orientation, err)
				}
				p, err := jpeg.Decode(bytes.NewReader(small))
				if err != nil {
					t.Fatal(err)
				}
				want := image.Pt(30, 20)
				if orientation >= 5 && orientation <= 8 {
					want = image.Pt(20, 30)
				}
				if crop {
					want = image.Pt(20, 20)
				}
				if p.Bounds().Size() != want {
					t.Errorf("%d %s: %v, want %v", orientation, name, p.Bounds().Size(), want)
				}
				for _, at := range []image.Point{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
					r, _, b, _ := p.At(at.X*(want.X-5)+2, at.Y*(want.Y-5)+2).RGBA()
					if red := r > b; red != (at == corner) {
						t.Errorf("%d %s crop %t: red at %v is %t", orientation, name, crop, at, red)
					}
				}
			}
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add(exif(binary.LittleEndian, 6))
	f.Add(exif(binary.BigEndian, 9))
	f.Add([]byte("Exif\x00\x00II*\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, segment []byte) {
		if o := Orientation(segment); o < 0 || o > 8 {
			t.Error(o)
		}
	})
}

// moving is a GIF of 100 × 80 pixels.
func moving(t testing.TB, frames int) []byte {
	t.Helper()
	g := &gif.GIF{LoopCount: 3}
	for i := range frames {
		frame := image.NewPaletted(image.Rect(0, 0, 100, 80), color.Palette{color.Black, color.White, color.Transparent})
		frame.SetColorIndex(i%100, 0, 1)
		g.Image, g.Delay, g.Disposal = append(g.Image, frame), append(g.Delay, 7), append(g.Disposal, byte(i%4))
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMovingPictures(t *testing.T) {
	raw := moving(t, 5)
	small, kind, err := Make(bytes.NewReader(raw), Size{Width: 32, Height: 32, Animated: true})
	if err != nil || kind != "image/gif" {
		t.Fatal(kind, err)
	}
	g, err := gif.DecodeAll(bytes.NewReader(small))
	if err != nil || len(g.Image) != 5 || g.Delay[0] != 7 || g.LoopCount != 3 || g.Config.Width != 40 {
		t.Errorf("%d frames, %+v, %v", len(g.Image), g.Config, err)
	}
	still, kind, err := Make(bytes.NewReader(raw), Size{Width: 32, Height: 32})
	if err != nil || kind == "image/gif" || len(still) == 0 {
		t.Error(kind, err)
	}
	// One that is small enough must not move either, if that is not wanted.
	if _, kind, err := Make(bytes.NewReader(raw), Size{Width: 800, Height: 600}); err != nil || kind == "image/gif" {
		t.Error(kind, err)
	}
	if _, kind, err := Make(bytes.NewReader(raw), Size{Width: 800, Height: 600, Animated: true}); !errors.Is(err, ErrSmallEnough) || kind != "image/gif" {
		t.Error(kind, err)
	}
	// One of a single frame is a picture as others are.
	if _, kind, err := Make(bytes.NewReader(moving(t, 1)), Size{Width: 800, Height: 600}); !errors.Is(err, ErrSmallEnough) || kind != "image/gif" {
		t.Error(kind, err)
	}
	// Of too many frames, the first has to do.
	if _, kind, err := Make(bytes.NewReader(moving(t, maxFrames+1)), Size{Width: 32, Height: 32, Animated: true}); err != nil || kind == "image/gif" {
		t.Error(kind, err)
	}
}

func TestMovingPNG(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 10, 10))); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	control := []byte("acTL\x00\x00\x00\x02\x00\x00\x00\x00")
	chunk := binary.BigEndian.AppendUint32(nil, 8)
	chunk = append(chunk, control...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(control))
	const head = 8 + 25
	apng := append(append(append([]byte(nil), raw[:head]...), chunk...), raw[head:]...)
	info, err := Inspect(bytes.NewReader(apng))
	if err != nil || !info.Animated {
		t.Fatalf("%+v %v", info, err)
	}
	still, kind, err := Make(bytes.NewReader(apng), Size{Width: 32, Height: 32})
	if err != nil || kind != "image/png" || bytes.Contains(still, []byte("acTL")) {
		t.Error(kind, err)
	}
}

// tinyWebP is a lossless picture of one pixel.
const tinyWebP = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="

// wide is a moving picture on a canvas of 100 × 100 pixels, so that its thumbnail is smaller.
func wide(file []byte) []byte {
	wider := bytes.Clone(file)
	canvas := bytes.Index(wider, []byte("VP8X")) + 12
	wider[canvas], wider[canvas+3] = 99, 99
	return wider
}

func TestWebP(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(tinyWebP)
	if err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(bytes.NewReader(raw))
	if err != nil || info.Type != "image/webp" || info.Width != 1 || info.Height != 1 || info.Animated {
		t.Errorf("%+v %v", info, err)
	}
	// The same as the one frame of a moving picture.
	frame := append(make([]byte, 16), raw[12:]...)
	body := []byte("WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00ANMF")
	body = binary.LittleEndian.AppendUint32(body, uint32(len(frame)))
	body = append(body, frame...)
	file := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)))
	file = append(file, body...)
	info, err = Inspect(bytes.NewReader(file))
	if err != nil || !info.Animated {
		t.Fatalf("%+v %v", info, err)
	}
	if _, kind, err := Make(bytes.NewReader(file), Size{Width: 32, Height: 32}); err != nil || kind == "image/webp" {
		t.Error(kind, err)
	}
	// What cannot be made to move stands still (spec: content repository, animated).
	for name, picture := range map[string][]byte{"moving": wide(file), "still": raw} {
		for _, animated := range []bool{true, false} {
			_, kind, err := Make(bytes.NewReader(picture), Size{Width: 32, Height: 32, Animated: animated})
			if name == "still" && errors.Is(err, ErrSmallEnough) {
				continue
			}
			if err != nil || kind != "image/jpeg" && kind != "image/png" {
				t.Errorf("%s, animated %v: %q, %v", name, animated, kind, err)
			}
		}
	}
	// A small canvas with a huge frame.
	huge := bytes.Clone(file)
	at := bytes.Index(huge, []byte("VP8L"))
	binary.LittleEndian.PutUint32(huge[at+9:], 0x3fff|0x3fff<<14)
	if _, err := Inspect(bytes.NewReader(huge)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// jpegHead is a JPEG's header that claims a size.
func jpegHead(marker byte, width, height uint16, factors byte) []byte {
	b := []byte{0xff, 0xd8, 0xff, marker, 0, 17, 8}
	b = binary.BigEndian.AppendUint16(b, height)
	b = binary.BigEndian.AppendUint16(b, width)
	b = append(b, 3, 1, factors, 0, 2, 0x11, 0, 3, 0x11, 0)
	return append(b, 0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0)
}

func TestWhatDecodingWouldNeed(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"a photo of 48 million pixels":      {jpegHead(0xc0, 8000, 6000, 0x22), nil},
		"the same, without less colour":     {jpegHead(0xc0, 8000, 6000, 0x11), ErrTooLarge},
		"12 million in passes":              {jpegHead(0xc2, 4000, 3000, 0x22), nil},
		"48 million in passes":              {jpegHead(0xc2, 8000, 6000, 0x22), ErrTooLarge},
		"as large as can be":                {jpegHead(0xc0, 65535, 65535, 0x11), ErrTooLarge},
		"a picture of 50,000 × 50,000":      {bomb(50000, 50000), ErrTooLarge},
		"GIF that claims as much as it can": {[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), ErrTooLarge},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Inspect(bytes.NewReader(c.raw))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: looking at it took %d bytes", name, n)
		}
	}
}

func TestReadingThatFails(t *testing.T) {
	errSlow := errors.New("too slow")
	raw := encoded(t, "png", 300, 300, true)
	for _, n := range []int{0, 10, 100, len(raw) / 2} {
		if _, _, err := Make(&failing{bytes.NewReader(raw), n, errSlow}, Size{Width: 32, Height: 32}); !errors.Is(err, errSlow) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// failing is over after some bytes.
type failing struct {
	*bytes.Reader
	left int
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, f.err
	}
	n, err := f.Reader.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

func TestStandardSizes(t *testing.T) {
	for want, got := range map[Size]Size{
		{Width: 32, Height: 32, Crop: true}:                 {Width: 32, Height: 32, Crop: true},
		{Width: 40, Height: 40, Crop: true, Animated: true}: {Width: 96, Height: 96, Crop: true, Animated: true},
		{Width: 40, Height: 20, Crop: true}:                 {Width: 40, Height: 20, Crop: true},
		{Width: 320, Height: 200}:                           {Width: 320, Height: 240},
		{Width: 320, Height: 241}:                           {Width: 640, Height: 480},
		{Width: 800, Height: 600}:                           {Width: 800, Height: 600},
		{Width: 801, Height: 600}:                           {Width: 801, Height: 600},
		{Width: 9999, Height: 1, Crop: true}:                {Width: MaxSide, Height: 1, Crop: true},
	} {
		if s := Standard(want); s != got {
			t.Errorf("%+v: %+v", want, s)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(photo(f, exif(binary.BigEndian, 3)))
	f.Add(moving(f, 2))
	f.Add(bomb(60000, 1))
	f.Add(jpegHead(0xc2, 9, 9, 0x41))
	if raw, err := base64.StdEncoding.DecodeString(tinyWebP); err == nil {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := Inspect(bytes.NewReader(raw))
		if err == nil && (info.Width <= 0 || info.Height <= 0 || info.Width*info.Height > MaxPixels || len(info.Type) < len("image/x")) {
			t.Errorf("%+v", info)
		}
	})
}
