package device

import (
	"context"
	"errors"
	"image"
	"log/slog"
	"testing"
	"time"
)

// slowBoard is a camera, an encoder and a clock that all go by the same virtual time: coding
// a picture takes as long as it has pixels.
type slowBoard struct {
	t        *testing.T
	now      time.Time
	end      time.Time
	perPixel func(at time.Duration) float64 // nanoseconds
	begin    time.Time
	every    time.Duration
	taken    time.Time // of the last picture given out
	pic      *image.YCbCr
	oldest   time.Duration // by how much a picture was old when it was coded
	widths   []int         // of the pictures coded
	times    []time.Duration
}

var errScriptOver = errors.New("the script is over")

// next gives the newest of the pictures that a camera takes every frame.
func (b *slowBoard) next(context.Context) (*image.YCbCr, time.Time, error) {
	due := b.taken.Add(b.every)
	if b.now.Before(due) {
		b.now = due
	}
	const frame = time.Second / 15
	b.taken = b.begin.Add(b.now.Sub(b.begin) / frame * frame)
	if b.now.After(b.end) {
		return nil, time.Time{}, errScriptOver
	}
	return b.pic, b.taken, nil
}
func (b *slowBoard) pace(every time.Duration) { b.every = every }
func (b *slowBoard) spent() time.Duration     { return 0 }
func (b *slowBoard) close() error             { return nil }

type slowEncoder struct {
	*slowBoard
	width, height int
	begun         bool
}

func (e *slowEncoder) encode(pic *image.YCbCr, _ time.Duration, _ bool) ([]byte, bool, error) {
	if pic.Rect.Dx() != e.width || pic.Rect.Dy() != e.height {
		e.t.Errorf("an encoder for %d×%d was given %v", e.width, e.height, pic.Rect)
	}
	at := e.now.Sub(e.begin)
	e.oldest = max(e.oldest, e.now.Sub(e.taken))
	e.now = e.now.Add(time.Duration(float64(e.width*e.height) * e.perPixel(at)))
	e.widths, e.times = append(e.widths, e.width), append(e.times, at)
	first := !e.begun
	e.begun = true
	return []byte{1}, first, nil
}
func (e *slowEncoder) setBitrate(int) error { return nil }
func (e *slowEncoder) close()               {}

// TestSlowBoard: pictures get smaller and then fewer as far as the board needs it, none is
// old when it is coded, and all comes back when the board has time again.
func TestSlowBoard(t *testing.T) {
	const vga = 640 * 480
	ms := func(perVGA float64) float64 { return perVGA * 1e6 / vga }
	begin := time.Unix(1_700_000_000, 0)
	for _, tc := range []struct {
		name           string
		cost           func(at time.Duration) float64
		width          int // half way
		least          int // pictures a second then
		again, atWidth int // pictures a second and width at the end
	}{
		{"fast", func(time.Duration) float64 { return ms(5) }, 640, 14, 14, 640},
		{"a little slow", func(time.Duration) float64 { return ms(60) }, 480, 13, 13, 480},
		{"slow", func(time.Duration) float64 { return ms(120) }, 320, 13, 13, 320},
		{"very slow", func(time.Duration) float64 { return ms(300) }, 320, 7, 7, 320},
		{"hopeless", func(time.Duration) float64 { return ms(1000) }, 320, 3, 3, 320},
		{"slow for a minute", func(at time.Duration) float64 {
			if at < time.Minute {
				return ms(120)
			}
			return ms(10)
		}, 320, 13, 14, 640},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &slowBoard{
				t: t, now: begin, begin: begin, end: begin.Add(2 * time.Minute), perPixel: tc.cost,
				every: time.Second / 15, pic: image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420),
			}
			h := newHub(string(VP8), true, 10_000)
			v := h.add(func(*viewer) {})
			p := &vp8Producer{in: b, vp8Coder: vp8Coder{
				hub: h, bitrate: 500_000, frame: time.Second / 15, now: func() time.Time { return b.now }, log: slog.New(slog.DiscardHandler),
				make: func(width, height int) (pictureEncoder, error) {
					return &slowEncoder{slowBoard: b, width: width, height: height}, nil
				},
			}}
			if err := p.run(t.Context()); !errors.Is(err, errScriptOver) {
				t.Fatal(err)
			}
			in := func(from, to time.Duration) (pictures int, last int) {
				for i, at := range b.times {
					if at >= from && at < to {
						pictures, last = pictures+1, b.widths[i]
					}
				}
				return pictures / int((to-from)/time.Second), last
			}
			changes := 0
			for i := 1; i < len(b.widths); i++ {
				if b.widths[i] != b.widths[i-1] {
					changes++
				}
			}
			n, width := in(50*time.Second, time.Minute)
			again, atEnd := in(110*time.Second, 2*time.Minute)
			t.Logf("after a minute %d wide, %d/s; at the end %d wide, %d/s; %d changes; the oldest picture was %s old", width, n, atEnd, again, changes, b.oldest)
			if width != tc.width || n < tc.least || atEnd != tc.atWidth || again < tc.again {
				t.Errorf("want %d wide and %d/s, at the end %d wide and %d/s", tc.width, tc.least, tc.atWidth, tc.again)
			}
			if b.oldest >= time.Second/15 {
				t.Errorf("a picture was %s old when it was coded", b.oldest)
			}
			if changes > 16 {
				t.Errorf("the size changed %d times", changes)
			}
			var length time.Duration
			for {
				f, ok, _ := v.pop()
				if !ok {
					break
				}
				length += f.Duration
			}
			if d := length - 2*time.Minute; d < -3*time.Second || d > time.Second {
				t.Errorf("the frames last %s", length)
			}
		})
	}
}

func TestScale(t *testing.T) {
	pic := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	for y := range 480 {
		for x := range 640 {
			pic.Y[pic.YOffset(x, y)] = byte(x * 255 / 639)
			pic.Cb[pic.COffset(x, y)] = byte(y * 255 / 479)
			pic.Cr[pic.COffset(x, y)] = 77
		}
	}
	var s scaler
	if s.scale(pic, 640, 480) != pic {
		t.Error("a picture of the right size was copied")
	}
	for _, e := range efforts[1:] {
		w, h := e.size(640, 480)
		small := s.scale(pic, w, h)
		if small.Rect.Dx() != w || small.Rect.Dy() != h {
			t.Fatalf("%v", small.Rect)
		}
		for _, at := range [][2]int{{0, 0}, {w / 2, h / 3}, {w - 1, h - 1}} {
			x, y := at[0], at[1]
			luma, blue := int(small.Y[small.YOffset(x, y)]), int(small.Cb[small.COffset(x, y)])
			if d := luma - x*255/(w-1); d < -2 || d > 2 {
				t.Errorf("%d×%d: luma %d at %v", w, h, luma, at)
			}
			if d := blue - y*255/(h-1); d < -3 || d > 3 {
				t.Errorf("%d×%d: blue %d at %v", w, h, blue, at)
			}
			if red := small.Cr[small.COffset(x, y)]; red != 77 {
				t.Errorf("%d×%d: red %d at %v", w, h, red, at)
			}
		}
	}
}

func BenchmarkScale(b *testing.B) {
	pic := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	var s scaler
	for b.Loop() {
		s.scale(pic, 480, 360)
	}
}
