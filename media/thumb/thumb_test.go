package thumb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

func encoded(t testing.TB, format string, width, height int, opaque bool) []byte {
	t.Helper()
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range picture.Pix {
		picture.Pix[i] = byte(i * 7)
		if opaque && i%4 == 3 {
			picture.Pix[i] = 0xff
		}
	}
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		err = png.Encode(&b, picture)
	case "jpeg":
		err = jpeg.Encode(&b, picture, nil)
	case "gif":
		err = gif.Encode(&b, picture, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		width, height int
		want          Size
		got           image.Point // zero: small enough
	}{
		{400, 200, Size{100, 100, false, false}, image.Pt(200, 100)},
		{200, 400, Size{100, 100, false, false}, image.Pt(100, 200)},
		{400, 200, Size{100, 50, false, false}, image.Pt(100, 50)},
		{400, 200, Size{96, 96, true, false}, image.Pt(96, 96)},
		{50, 200, Size{96, 96, true, false}, image.Pt(50, 50)},
		{50, 20, Size{96, 96, false, false}, image.Point{}},
		{400, 20, Size{96, 96, false, false}, image.Point{}},
		{96, 96, Size{96, 96, true, false}, image.Point{}},
		{333, 100, Size{32, 32, false, false}, image.Pt(107, 32)},
	} {
		for _, format := range []string{"png", "jpeg", "gif"} {
			small, _, err := Make(bytes.NewReader(encoded(t, format, c.width, c.height, true)), c.want)
			if c.got == (image.Point{}) {
				if !errors.Is(err, ErrSmallEnough) {
					t.Errorf("%s %+v: %v", format, c, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %+v: %v", format, c, err)
				continue
			}
			config, _, err := image.DecodeConfig(bytes.NewReader(small))
			if err != nil || config.Width != c.got.X || config.Height != c.got.Y {
				t.Errorf("%s %+v: %d × %d, %v", format, c, config.Width, config.Height, err)
			}
		}
	}
}

func TestTransparencyStays(t *testing.T) {
	_, kind, err := Make(bytes.NewReader(encoded(t, "png", 100, 100, false)), Size{10, 10, true, false})
	if err != nil || kind != "image/png" {
		t.Errorf("%s %v", kind, err)
	}
}

// bomb is a PNG header that claims a huge picture.
func bomb(width, height uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	header = binary.BigEndian.AppendUint32(header, height)
	header = append(header, 8, 6, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(header)-4))
	b = append(b, header...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(header))
}

func TestHugePicturesAreNotDecoded(t *testing.T) {
	for _, c := range []struct{ width, height uint32 }{{60000, 60000}, {50000, 50000}, {5200, 5200}, {1, 1 << 30}} {
		if _, _, err := Make(bytes.NewReader(bomb(c.width, c.height)), Size{10, 10, false, false}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v", c, err)
		}
	}
	for _, raw := range []string{"", "GIF89a", string(bomb(100, 100)), "plain text"} {
		if _, _, err := Make(bytes.NewReader([]byte(raw)), Size{10, 10, false, false}); !errors.Is(err, ErrNoPicture) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzMake(f *testing.F) {
	for _, format := range []string{"png", "jpeg", "gif"} {
		f.Add(encoded(f, format, 20, 10, true), 5, 5, true)
	}
	f.Add(bomb(9, 9), 1, 2048, false)
	f.Fuzz(func(t *testing.T, raw []byte, width, height int, crop bool) {
		if c, _, err := image.DecodeConfig(bytes.NewReader(raw)); err == nil && c.Width*c.Height > 1<<20 {
			return // keeps the fuzzer quick
		}
		want := Size{1 + int(uint(width)%MaxSide), 1 + int(uint(height)%MaxSide), crop, len(raw)%2 == 0}
		small, kind, err := Make(bytes.NewReader(raw), want)
		if err == nil && (len(small) == 0 || kind == "") {
			t.Error("no error and no picture")
		}
	})
}
