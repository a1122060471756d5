// Package thumb makes small pictures of large ones. It is pure: bytes in, bytes out.
//
// The size of a picture is read before it is decoded, so that a small file that claims a
// huge picture costs nothing.
package thumb

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // a decoder
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // a decoder
)

const (
	// MaxPixels is the largest picture that is decoded: about 100 MB of memory at worst.
	MaxPixels = 25_000_000
	// MaxSide is the largest width and height of a thumbnail in pixels.
	MaxSide = 2048
	// quality of the JPEG that is made.
	quality = 85
)

// The reasons for which there is no thumbnail.
var (
	// ErrNoPicture: the content is no picture that can be decoded.
	ErrNoPicture = errors.New("the content is no picture that can be made smaller")
	// ErrTooLarge: the picture has more than MaxPixels.
	ErrTooLarge = fmt.Errorf("the picture has more than %d pixels", MaxPixels)
	// ErrSmallEnough: the picture is not larger than the thumbnail would be; it serves itself.
	ErrSmallEnough = errors.New("the picture is small enough as it is")
)

// Size is the wanted size of a thumbnail in pixels.
type Size struct {
	Width, Height int
	// Crop cuts the picture to the wanted shape; otherwise it keeps its own.
	Crop bool
}

// Make reads a JPEG, PNG, GIF or WebP picture and returns a smaller one that covers the
// wanted size, as JPEG, or as PNG if parts of it are transparent. The error is one of
// those above, or what reading returns.
func Make(r io.ReadSeeker, want Size) (picture []byte, contentType string, err error) {
	config, _, err := image.DecodeConfig(r)
	if err != nil {
		return nil, "", ErrNoPicture
	}
	if config.Width <= 0 || config.Height <= 0 {
		return nil, "", ErrNoPicture
	}
	if int64(config.Width)*int64(config.Height) > MaxPixels {
		return nil, "", ErrTooLarge
	}
	from, to := plan(config.Width, config.Height, want)
	if to.X >= from.Dx() && to.Y >= from.Dy() && from.Dx() == config.Width && from.Dy() == config.Height {
		return nil, "", ErrSmallEnough
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, "", err
	}
	source, _, err := image.Decode(r)
	if err != nil {
		return nil, "", ErrNoPicture
	}
	small := image.NewRGBA(image.Rectangle{Max: to})
	draw.ApproxBiLinear.Scale(small, small.Bounds(), source, from.Add(source.Bounds().Min), draw.Src, nil)
	var out bytes.Buffer
	if small.Opaque() {
		err = jpeg.Encode(&out, small, &jpeg.Options{Quality: quality})
		return out.Bytes(), "image/jpeg", err
	}
	err = png.Encode(&out, small)
	return out.Bytes(), "image/png", err
}

// plan says which part of a picture is taken, and how large it becomes: never larger than
// it is, and never smaller than wanted if that can be.
func plan(width, height int, want Size) (from image.Rectangle, to image.Point) {
	from = image.Rect(0, 0, width, height)
	if want.Crop {
		// The largest part in the middle that has the wanted shape.
		w, h := width, height
		if int64(width)*int64(want.Height) > int64(height)*int64(want.Width) {
			w = max(1, int(int64(height)*int64(want.Width)/int64(want.Height)))
		} else {
			h = max(1, int(int64(width)*int64(want.Height)/int64(want.Width)))
		}
		left, top := (width-w)/2, (height-h)/2
		from = image.Rect(left, top, left+w, top+h)
		return from, image.Pt(min(w, want.Width), min(h, want.Height))
	}
	if want.Width >= width || want.Height >= height {
		return from, image.Pt(width, height)
	}
	// Cover the wanted size: the side that is relatively smaller gets exactly it.
	if int64(width)*int64(want.Height) > int64(height)*int64(want.Width) {
		return from, image.Pt(ceilDiv(int64(width)*int64(want.Height), int64(height)), want.Height)
	}
	return from, image.Pt(want.Width, ceilDiv(int64(height)*int64(want.Width), int64(width)))
}

func ceilDiv(a, b int64) int { return int((a + b - 1) / b) }
