// Package thumb makes small pictures of large ones. It is pure: bytes in, bytes out.
//
// What a picture needs to be decoded is reckoned from its header first, so that a small
// file that claims a huge picture costs nothing. Whoever wants a bound on the time gives a
// reader that fails when it is over.
package thumb

import (
	"bytes"
	"errors"
	"image"
	_ "image/gif" // a decoder
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // a decoder
)

const (
	// MaxPixels is the largest picture that is decoded.
	MaxPixels = 50_000_000
	// MaxBytes is how much memory the decoded picture may need.
	MaxBytes = 100 << 20
	// MaxSide is the largest width and height of a thumbnail in pixels.
	MaxSide = 2048
	// smoothPixels is up to which width of the thumbnail times height of the picture the
	// better way of scaling is used: it takes 32 bytes for each.
	smoothPixels = 1 << 20
	// quality of the JPEG that is made.
	quality = 85
)

// The reasons for which there is no thumbnail.
var (
	// ErrNoPicture: the content is no picture that can be decoded.
	ErrNoPicture = errors.New("the content is no picture that can be made smaller")
	// ErrTooLarge: the picture has more than MaxPixels or needs more than MaxBytes.
	ErrTooLarge = errors.New("the picture is too large to be made smaller")
	// ErrSmallEnough: the picture is not larger than the thumbnail would be; it serves itself.
	ErrSmallEnough = errors.New("the picture is small enough as it is")
)

// Size is the wanted size of a thumbnail in pixels.
type Size struct {
	Width, Height int
	// Crop cuts the picture to the wanted shape; otherwise it keeps its own.
	Crop bool
	// Animated keeps the picture moving if it does. Otherwise it stands still.
	Animated bool
}

// standard are the sizes that a server should have (spec: content repository,
// thumbnails), and for small ones both methods.
var standard = []Size{
	{Width: 32, Height: 32, Crop: true}, {Width: 96, Height: 96, Crop: true},
	{Width: 32, Height: 32}, {Width: 96, Height: 96}, {Width: 320, Height: 240}, {Width: 640, Height: 480}, {Width: 800, Height: 600},
}

// Standard is the smallest standard size that covers what is wanted, or else what is
// wanted, but not more than MaxSide.
func Standard(want Size) Size {
	for _, s := range standard {
		sameShape := !s.Crop || want.Width == want.Height
		if s.Crop == want.Crop && sameShape && want.Width <= s.Width && want.Height <= s.Height {
			s.Animated = want.Animated
			return s
		}
	}
	want.Width, want.Height = min(want.Width, MaxSide), min(want.Height, MaxSide)
	return want
}

// Make reads a JPEG, PNG, GIF or WebP picture and returns a smaller one that covers the
// wanted size, turned as its EXIF orientation says: JPEG, or PNG if parts of it are
// transparent, or GIF if it is to move. The error is one of those above, or what reading
// returns; with ErrSmallEnough, contentType is the picture's own.
func Make(r io.ReadSeeker, want Size) (picture []byte, contentType string, err error) {
	info, err := Inspect(r)
	if err != nil {
		return nil, "", err
	}
	width, height := info.Width, info.Height
	if info.sideways() {
		width, height = height, width
	}
	from, to := plan(width, height, want)
	// Only GIFs can be made smaller and go on moving; of the others the first frame is taken
	// (spec: content repository, animated).
	moves := info.Type == "image/gif" && info.Animated && want.Animated
	same := to == from.Size() && from.Dx() == width && from.Dy() == height
	if same && (!info.Animated || want.Animated) {
		return nil, info.Type, ErrSmallEnough
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, "", err
	}
	if moves && info.frames*to.X*to.Y <= maxDrawn && info.framePixels <= maxFramePixels && info.frames <= maxFrames {
		return animate(r, from, to)
	}
	source, err := decode(r, info)
	if err != nil {
		return nil, "", err
	}
	return still(source, from, to, info.Orientation)
}

// decode tells what is wrong with the picture from what is wrong with reading it.
func decode(r io.Reader, info Info) (image.Image, error) {
	watched := &watcher{r: r}
	var source image.Image
	var err error
	if info.Type == "image/webp" && info.Animated {
		source, err = firstOfWebP(watched)
	} else {
		source, _, err = image.Decode(watched)
	}
	switch {
	case watched.err != nil:
		return nil, watched.err
	case err != nil:
		return nil, ErrNoPicture
	}
	return source, nil
}

// watcher remembers what went wrong with reading.
type watcher struct {
	r   io.Reader
	err error
}

// Read reads on.
func (w *watcher) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// still scales a part of a picture, and turns it. from and to are of the turned picture.
func still(source image.Image, from image.Rectangle, to image.Point, orientation int) ([]byte, string, error) {
	if orientation >= 5 {
		from = image.Rect(from.Min.Y, from.Min.X, from.Max.Y, from.Max.X)
		to = image.Pt(to.Y, to.X)
	}
	small := image.NewRGBA(image.Rectangle{Max: to})
	scale(small, source, from.Add(source.Bounds().Min))
	small = turn(small, orientation)
	var out bytes.Buffer
	if small.Opaque() {
		err := jpeg.Encode(&out, small, &jpeg.Options{Quality: quality})
		return out.Bytes(), "image/jpeg", err
	}
	err := png.Encode(&out, small)
	return out.Bytes(), "image/png", err
}

func scale(to *image.RGBA, source image.Image, from image.Rectangle) {
	var how draw.Scaler = draw.ApproxBiLinear
	if to.Rect.Dx()*from.Dy() <= smoothPixels {
		how = draw.BiLinear
	}
	how.Scale(to, to.Bounds(), source, from, draw.Src, nil)
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
