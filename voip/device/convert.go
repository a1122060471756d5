package device

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"sync"
)

// errBadPicture says that what the camera sent is no picture. The next may be.
var errBadPicture = errors.New("device: broken picture")

// yuyvToI420 converts a picture of interleaved 4:2:2 samples, as large as dst,
// whose sides are even. Every other line's colour is left out.
func yuyvToI420(dst *image.YCbCr, src []byte, width int) error {
	w, h := dst.Rect.Dx(), dst.Rect.Dy()
	if len(src) < 2*width*h || width < w {
		return fmt.Errorf("%w: %d bytes of YUYV for %d×%d", errBadPicture, len(src), width, h)
	}
	for y := range h {
		line := src[2*width*y : 2*width*y+2*w]
		luma := dst.Y[y*dst.YStride : y*dst.YStride+w]
		for x := range luma {
			luma[x] = line[2*x]
		}
		if y%2 != 0 {
			continue
		}
		cb, cr := dst.Cb[y/2*dst.CStride:], dst.Cr[y/2*dst.CStride:]
		for x := range w / 2 {
			cb[x], cr[x] = line[4*x+1], line[4*x+3]
		}
	}
	return nil
}

// rangeTables map JPEG's full range of 0 to 255 to video's: 16 to 235 for luma,
// 16 to 240 for colour.
var rangeTables = sync.OnceValue(func() (t struct{ luma, chroma [256]byte }) {
	for i := range 256 {
		t.luma[i] = byte(lumaBlack + (i*(lumaWhite-lumaBlack)+127)/255)
		t.chroma[i] = byte(16 + (i*(240-16)+127)/255)
	}
	return t
})

// decodeMJPEG decodes one picture of a motion JPEG stream of width×height into
// dst, which may be smaller by a pixel to have even sides.
func decodeMJPEG(dst *image.YCbCr, data []byte, width, height int) error {
	data = withHuffmanTables(data)
	// Look before decoding: the bytes are the camera's, and the size is theirs to claim.
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %v", errBadPicture, err)
	}
	if cfg.Width != width || cfg.Height != height || (cfg.ColorModel != color.YCbCrModel && cfg.ColorModel != color.GrayModel) {
		return fmt.Errorf("%w: JPEG of %d×%d for %d×%d", errBadPicture, cfg.Width, cfg.Height, width, height)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %v", errBadPicture, err)
	}
	switch img := img.(type) {
	case *image.YCbCr:
		fromFullRange(dst, img)
	case *image.Gray:
		grayFromFullRange(dst, img)
	default:
		return fmt.Errorf("%w: JPEG decoded to %T", errBadPicture, img)
	}
	return nil
}

func fromFullRange(dst, src *image.YCbCr) {
	t := rangeTables()
	w, h := dst.Rect.Dx(), dst.Rect.Dy()
	for y := range h {
		in, out := src.Y[y*src.YStride:], dst.Y[y*dst.YStride:y*dst.YStride+w]
		for x := range out {
			out[x] = t.luma[in[x]]
		}
	}
	for y := 0; y < h; y += 2 {
		cb, cr := dst.Cb[y/2*dst.CStride:], dst.Cr[y/2*dst.CStride:]
		for x := 0; x < w; x += 2 {
			i := src.COffset(src.Rect.Min.X+x, src.Rect.Min.Y+y)
			cb[x/2], cr[x/2] = t.chroma[src.Cb[i]], t.chroma[src.Cr[i]]
		}
	}
}

func grayFromFullRange(dst *image.YCbCr, src *image.Gray) {
	t := rangeTables()
	w := dst.Rect.Dx()
	for y := range dst.Rect.Dy() {
		in, out := src.Pix[y*src.Stride:], dst.Y[y*dst.YStride:y*dst.YStride+w]
		for x := range out {
			out[x] = t.luma[in[x]]
		}
	}
	paint(dst.Cb, 128)
	paint(dst.Cr, 128)
}

// JPEG markers. spec: ITU-T T.81 table B.1
const (
	markerSOI = 0xD8
	markerDHT = 0xC4
	markerSOS = 0xDA
)

// withHuffmanTables gives a JPEG the standard Huffman tables if it has none:
// many cameras leave them out of motion JPEG, as everyone knows them.
func withHuffmanTables(data []byte) []byte {
	if len(data) < 4 || data[0] != 0xFF || data[1] != markerSOI {
		return data
	}
	at := 2
	for at+4 <= len(data) && data[at] == 0xFF {
		switch data[at+1] {
		case markerDHT:
			return data
		case markerSOS:
			tables := standardHuffmanTables()
			out := make([]byte, 0, len(data)+len(tables))
			return append(append(append(out, data[:at]...), tables...), data[at:]...)
		}
		at += 2 + int(data[at+2])<<8 + int(data[at+3])
	}
	return data
}

// standardHuffmanTables is the DHT segment of ITU-T T.81 annex K.3. The standard
// library's encoder uses exactly these tables, so one of its pictures has them.
var standardHuffmanTables = sync.OnceValue(func() []byte {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, image.NewYCbCr(image.Rect(0, 0, 8, 8), image.YCbCrSubsampleRatio420), nil); err != nil {
		return nil // a buffer takes all; without tables the picture just does not decode
	}
	data := buf.Bytes()
	for at := 2; at+4 <= len(data) && data[at] == 0xFF; {
		next := at + 2 + int(data[at+2])<<8 + int(data[at+3])
		if data[at+1] == markerDHT && next <= len(data) {
			return data[at:next]
		}
		at = next
	}
	return nil
})
