package thumb

import (
	"bytes"
	"image"
	"image/color"
	"image/color/palette"
	stddraw "image/draw"
	"image/gif"
	"io"

	"golang.org/x/image/draw"
)

const (
	// maxFrames is of how many frames a thumbnail moves; beyond, it is the first.
	maxFrames = 256
	// maxFramePixels is how many pixels all frames may have together: a byte for each.
	maxFramePixels = 40_000_000
	// maxDrawn is how many pixels all frames of the thumbnail may have together: each is
	// compared with all colours.
	maxDrawn = 8_000_000
)

// colours are those of every moving thumbnail; the first is none.
var colours = append(color.Palette{color.Transparent}, palette.Plan9[:255]...)

// animate makes a GIF smaller, frame by frame.
func animate(r io.Reader, from image.Rectangle, to image.Point) ([]byte, string, error) {
	watched := &watcher{r: r}
	source, err := gif.DecodeAll(watched)
	switch {
	case watched.err != nil:
		return nil, "", watched.err
	case err != nil || len(source.Image) == 0:
		return nil, "", ErrNoPicture
	}
	canvas := image.NewRGBA(image.Rect(0, 0, source.Config.Width, source.Config.Height))
	small := image.NewRGBA(image.Rectangle{Max: to})
	out := &gif.GIF{LoopCount: source.LoopCount}
	var before *image.RGBA
	for n, frame := range source.Image {
		disposal := byte(gif.DisposalNone)
		if n < len(source.Disposal) {
			disposal = source.Disposal[n]
		}
		if disposal == gif.DisposalPrevious {
			before = image.NewRGBA(canvas.Rect)
			copy(before.Pix, canvas.Pix)
		}
		stddraw.Draw(canvas, frame.Bounds(), frame, frame.Bounds().Min, stddraw.Over)
		draw.ApproxBiLinear.Scale(small, small.Rect, canvas, from, draw.Src, nil)
		drawn := image.NewPaletted(small.Rect, colours)
		stddraw.Draw(drawn, drawn.Rect, small, image.Point{}, stddraw.Src)
		out.Image = append(out.Image, drawn)
		out.Delay = append(out.Delay, source.Delay[n])
		// Each frame is whole, so the one before has to go.
		out.Disposal = append(out.Disposal, gif.DisposalBackground)
		switch disposal {
		case gif.DisposalBackground:
			stddraw.Draw(canvas, frame.Bounds(), image.Transparent, image.Point{}, stddraw.Src)
		case gif.DisposalPrevious:
			canvas = before
		}
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, out); err != nil {
		return nil, "", err
	}
	return b.Bytes(), "image/gif", nil
}
