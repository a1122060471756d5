package device

import (
	"context"
	"image"
	"time"
)

// testPicture is the stand-in for a camera: coloured bars, a square that moves
// across them, the time of day in large digits and the time bar.
type testPicture struct {
	pic  *image.YCbCr
	now  func() time.Time
	tick *time.Ticker
	n    int
}

func newTestPicture(width, height, fps int, now func() time.Time) *testPicture {
	return &testPicture{
		pic:  image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420),
		now:  now,
		tick: time.NewTicker(time.Second / time.Duration(fps)),
	}
}

func (p *testPicture) next(ctx context.Context) (*image.YCbCr, time.Time, error) {
	select {
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	case at := <-p.tick.C:
		drawTestPicture(p.pic, p.n, p.now())
		p.n++
		return p.pic, at, nil
	}
}

func (p *testPicture) pace(every time.Duration) { p.tick.Reset(every) }

func (p *testPicture) spent() time.Duration { return 0 }

func (p *testPicture) close() error {
	p.tick.Stop()
	return nil
}

// bars are the colours of the background: luma, blue and red difference.
var bars = [...][3]byte{{180, 128, 128}, {162, 44, 142}, {131, 156, 44}, {112, 72, 58}, {84, 184, 198}, {65, 100, 212}, {35, 212, 114}}

// drawTestPicture draws picture number n, made at t.
func drawTestPicture(pic *image.YCbCr, n int, t time.Time) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	for i, c := range bars {
		fill(pic, image.Rect(i*w/len(bars), 0, (i+1)*w/len(bars), h), c)
	}
	side := h / 6
	x, y := bounce(n*w/120, w-side), bounce(n*h/200, h-h/16-side)+h/16
	fill(pic, image.Rect(x, y, x+side, y+side), [3]byte{lumaWhite, 128, 128})
	drawTimeBar(pic, t)
	drawText(pic, t.Format("15:04:05.000"))
}

// bounce turns an ever growing number into one that goes from 0 to limit and back.
func bounce(n, limit int) int {
	if limit <= 0 {
		return 0
	}
	n %= 2 * limit
	return min(n, 2*limit-n)
}

// drawText writes digits, colons and points in white on black across the middle.
func drawText(pic *image.YCbCr, text string) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	const cell = glyphWidth + 1
	dot := w / (cell * (len(text) + 1)) // pixels per dot of the font
	if dot == 0 {
		return
	}
	left, top := (w-dot*cell*len(text))/2, h/2-dot*glyphHeight/2
	fillGray(pic, image.Rect(left-dot, top-dot, left+dot*cell*len(text), top+dot*(glyphHeight+1)), lumaBlack)
	for i := range len(text) {
		for row, dots := range glyph(text[i]) {
			for col := range glyphWidth {
				if dots>>(glyphWidth-1-col)&1 == 1 {
					x, y := left+dot*(i*cell+col), top+dot*row
					fillGray(pic, image.Rect(x, y, x+dot, y+dot), lumaWhite)
				}
			}
		}
	}
}

func fillGray(pic *image.YCbCr, r image.Rectangle, luma byte) { fill(pic, r, [3]byte{luma, 128, 128}) }

// fill paints a rectangle in one colour.
func fill(pic *image.YCbCr, r image.Rectangle, c [3]byte) {
	r = r.Intersect(pic.Rect)
	if r.Empty() {
		return
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		i := pic.YOffset(r.Min.X, y)
		paint(pic.Y[i:i+r.Dx()], c[0])
	}
	for y := r.Min.Y; y < r.Max.Y; y += 2 {
		i, j := pic.COffset(r.Min.X, y), pic.COffset(r.Max.X-1, y)
		paint(pic.Cb[i:j+1], c[1])
		paint(pic.Cr[i:j+1], c[2])
	}
}

func paint(row []byte, v byte) {
	for i := range row {
		row[i] = v
	}
}

const glyphWidth, glyphHeight = 5, 7

// glyph is the shape of a character, a row in each byte, the left dot in bit 4.
func glyph(c byte) [glyphHeight]byte {
	switch {
	case c >= '0' && c <= '9':
		return digits[c-'0']
	case c == ':':
		return [glyphHeight]byte{0, 0b00100, 0b00100, 0, 0b00100, 0b00100, 0}
	case c == '.':
		return [glyphHeight]byte{5: 0b01100, 6: 0b01100}
	}
	return [glyphHeight]byte{}
}

var digits = [10][glyphHeight]byte{
	{0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110},
	{0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110},
	{0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111},
	{0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110},
	{0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010},
	{0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110},
	{0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110},
	{0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000},
	{0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110},
	{0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100},
}
