package clip

import (
	"errors"
	"fmt"
)

// maxParameterSet is the longest sequence parameter set that is read, in bytes.
const maxParameterSet = 1024

// errSPS says that a sequence parameter set ends too early or makes no sense.
var errSPS = errors.New("clip: the sequence parameter set of the H.264 makes no sense")

// bits reads a parameter set bit by bit. After its end it gives zeros and remembers it.
type bits struct {
	data []byte
	at   int
	over bool
}

func (b *bits) one() uint {
	if b.at >= 8*len(b.data) {
		b.over = true
		return 0
	}
	v := b.data[b.at/8] >> (7 - b.at%8) & 1
	b.at++
	return uint(v)
}

func (b *bits) many(n int) (v uint) {
	for range n {
		v = v<<1 | b.one()
	}
	return v
}

// ue is an Exp-Golomb number of up to 32 bits. spec: ITU-T H.264 section 9.1
func (b *bits) ue() uint {
	zeros := 0
	for b.one() == 0 {
		if zeros++; b.over || zeros > 31 {
			b.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + b.many(zeros)
}

// se is a signed one.
func (b *bits) se() int {
	v := int(b.ue())
	if v&1 == 1 {
		return (v + 1) / 2
	}
	return -v / 2
}

// spsSize reads the size of the picture from a sequence parameter set.
// spec: ITU-T H.264 section 7.3.2.1.1
func spsSize(nal []byte) (width, height int, err error) {
	if len(nal) < 4 || len(nal) > maxParameterSet {
		return 0, 0, errSPS
	}
	b := &bits{data: unescape(nal[1:])}
	profile := b.many(8)
	b.many(16) // constraints, level
	b.ue()     // its number
	chroma, separate := uint(1), false
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = b.ue(); chroma == 3 {
			separate = b.one() == 1
		}
		b.ue()  // bit depths
		b.ue()  //
		b.one() // lossless
		if b.one() == 1 {
			skipScaling(b, chroma)
		}
	}
	b.ue() // frame numbers
	switch b.ue() {
	case 0:
		b.ue()
	case 1:
		b.one()
		b.se()
		b.se()
		n := b.ue()
		if n > 255 {
			return 0, 0, errSPS
		}
		for range n {
			b.se()
		}
	}
	b.ue()  // reference frames
	b.one() // gaps
	w, h := b.ue()+1, b.ue()+1
	if w > MaxSide/16 || h > MaxSide/16 {
		return 0, 0, errSPS
	}
	fields := 2 - b.one() // a frame of two fields has twice the lines
	if fields == 2 {
		b.one()
	}
	b.one()
	width, height = int(16*w), int(16*h*fields)
	if b.one() == 1 {
		stepX, stepY := 1, int(fields)
		if chroma == 1 && !separate {
			stepX, stepY = 2, 2*stepY
		} else if chroma == 2 && !separate {
			stepX = 2
		}
		left, right, top, bottom := b.ue(), b.ue(), b.ue(), b.ue()
		if left > MaxSide || right > MaxSide || top > MaxSide || bottom > MaxSide {
			return 0, 0, errSPS
		}
		width -= stepX * int(left+right)
		height -= stepY * int(top+bottom)
	}
	if b.over || chroma > 3 || width <= 0 || height <= 0 || height > MaxSide {
		return 0, 0, fmt.Errorf("%w: %d×%d", errSPS, width, height)
	}
	return width, height, nil
}

// skipScaling passes over the scaling lists. spec: ITU-T H.264 section 7.3.2.1.1.1
func skipScaling(b *bits, chroma uint) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if b.one() == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := 8, 8
		for range size {
			if next != 0 {
				next = (last + b.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
}

// unescape takes out the bytes that keep start codes from appearing in a unit.
// spec: ITU-T H.264 section 7.3.1
func unescape(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, x := range nal {
		if zeros >= 2 && x == 3 {
			zeros = 0
			continue
		}
		if zeros++; x != 0 {
			zeros = 0
		}
		out = append(out, x)
	}
	return out
}
