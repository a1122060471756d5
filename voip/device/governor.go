package device

import (
	"image"
	"time"
)

// A board that cannot keep up makes smaller pictures, then fewer, until it can; and tries
// again later whether it can do better. It goes by the time that pictures take, so that a
// board that is busy with something else gives way, too. Nothing ever queues up: the camera
// gives its newest picture whenever one is asked for.

// effort is how much of a picture is made.
type effort struct {
	num, den int // of each side
	every    int // every so-manieth picture
}

// efforts are the steps down, the best first.
var efforts = [...]effort{{1, 1, 1}, {3, 4, 1}, {1, 2, 1}, {1, 2, 2}, {1, 2, 3}}

const (
	// tooBusy of the time between two pictures is more than a board may need for one, on
	// average: the rest is for the others. easyEnough is what the next better step may need,
	// as reckoned from what this one does.
	tooBusy, easyEnough = 0.75, 0.45
	// governorSamples pictures have to be measured before anything is decided.
	governorSamples = 12
	// governorHold is how long a step lasts before a better one is tried; twice as long after
	// each try that failed, up to governorMost.
	governorHold, governorMost = 10 * time.Second, 5 * time.Minute
)

// governor decides on the effort. It has no clock.
type governor struct {
	frame   time.Duration // between two pictures at the full rate
	level   int           // in efforts
	load    float64       // the part of the time that pictures take, on average
	samples int           // since the last change
	since   time.Time     // of the last change
	hold    time.Duration
	tried   bool // the last change was for the better
}

func (g *governor) effort() effort { return efforts[g.level] }

// took is told what a picture at a time cost. It says whether the effort has changed.
func (g *governor) took(cost time.Duration, at time.Time) bool {
	if g.since.IsZero() {
		g.since, g.hold = at, governorHold
	}
	load := float64(cost) / float64(g.frame*time.Duration(g.effort().every))
	if g.samples++; g.samples == 1 {
		g.load = load
	}
	g.load += (load - g.load) / 8
	if g.samples < governorSamples {
		return false
	}
	switch {
	case g.load > tooBusy && g.level < len(efforts)-1:
		if g.tried {
			g.hold = min(2*g.hold, governorMost)
		}
		g.change(1, at)
		return true
	case g.level > 0 && at.Sub(g.since) >= g.hold && g.load*g.dearer() < easyEnough:
		g.change(-1, at)
		return true
	case g.level == 0 && at.Sub(g.since) > governorMost:
		g.hold = governorHold // all is well
	}
	return false
}

func (g *governor) change(step int, at time.Time) {
	g.level += step
	g.samples, g.load, g.since, g.tried = 0, 0, at, step < 0
}

// dearer is by how much the next better step costs more.
func (g *governor) dearer() float64 {
	area := func(e effort) float64 { return float64(e.num*e.num) / float64(e.den*e.den*e.every) }
	return area(efforts[g.level-1]) / area(efforts[g.level])
}

// size is what a picture of a size becomes: even, as 4:2:0 needs it.
func (e effort) size(width, height int) (int, int) {
	return max(width*e.num/e.den&^1, 16), max(height*e.num/e.den&^1, 16)
}

// scaler makes pictures smaller.
type scaler struct {
	out *image.YCbCr
	// Where each column of luma and of colour comes from.
	luma, colour []place
}

// place is a sample between two others.
type place struct {
	before, after int32
	part          int32 // of the one after, in 256ths
}

// places tells where n samples come from, of which there were from.
func places(n, from int) []place {
	all := make([]place, n)
	for i := range all {
		x := min(max((2*i+1)*from*256/(2*n)-128, 0), (from-1)*256)
		all[i] = place{int32(x / 256), int32(min(x/256+1, from-1)), int32(x % 256)}
	}
	return all
}

// scale returns the picture in another size, valid until the next call; the picture itself if
// it has that size.
func (s *scaler) scale(pic *image.YCbCr, width, height int) *image.YCbCr {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	if w == width && h == height {
		return pic
	}
	if s.out == nil || s.out.Rect.Dx() != width || s.out.Rect.Dy() != height {
		s.out = image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
		s.luma, s.colour = places(width, w), places(width/2, w/2)
	}
	scalePlane(s.out.Y, s.out.YStride, s.luma, places(height, h), pic.Y, pic.YStride)
	rows := places(height/2, h/2)
	scalePlane(s.out.Cb, s.out.CStride, s.colour, rows, pic.Cb, pic.CStride)
	scalePlane(s.out.Cr, s.out.CStride, s.colour, rows, pic.Cr, pic.CStride)
	return s.out
}

// scalePlane blends the four samples around each place; down to a half that leaves none out.
func scalePlane(dst []byte, dstStride int, columns, rows []place, src []byte, srcStride int) {
	for y, at := range rows {
		upper, lower := src[int(at.before)*srcStride:], src[int(at.after)*srcStride:]
		row := dst[y*dstStride : y*dstStride+len(columns)]
		for x, c := range columns {
			top := int32(upper[c.before])*(256-c.part) + int32(upper[c.after])*c.part
			bottom := int32(lower[c.before])*(256-c.part) + int32(lower[c.after])*c.part
			row[x] = byte((top*(256-at.part) + bottom*at.part + 1<<15) >> 16)
		}
	}
}
