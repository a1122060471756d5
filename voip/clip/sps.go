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

// SPS is what a sequence parameter set says of a stream of H.264.
type SPS struct {
	// Profile, Constraints and Level are the three bytes of RFC 6184's profile-level-id.
	Profile, Constraints, Level byte
	Width, Height               int  // of the picture, in pixels
	Frames                      int  // that may be referred to
	Interlaced                  bool // pictures may be made of two fields
	// Reorder is how many pictures may come before one that is shown earlier; -1: the
	// stream does not say.
	Reorder int
}

// ParseSPS reads a sequence parameter set, without its start code. The error says that it
// makes no sense.
//
// spec: ITU-T H.264 sections 7.3.2.1.1 and E.1.1
func ParseSPS(nal []byte) (SPS, error) {
	if len(nal) < 4 || len(nal) > maxParameterSet {
		return SPS{}, errSPS
	}
	b := &bits{data: unescape(nal[1:])}
	out := SPS{Profile: byte(b.many(8)), Constraints: byte(b.many(8)), Level: byte(b.many(8)), Reorder: -1}
	b.ue() // its number
	chroma, separate := uint(1), false
	switch out.Profile {
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
			return SPS{}, errSPS
		}
		for range n {
			b.se()
		}
	case 2:
		out.Reorder = 0 // shown in the order of coding
	}
	out.Frames = int(min(b.ue(), 255))
	b.one() // gaps
	if err := out.readSize(b, chroma, separate); err != nil {
		return SPS{}, err
	}
	if out.Reorder < 0 && b.one() == 1 {
		out.readUsability(b)
	}
	return out, nil
}

// readSize reads the size of the picture.
func (s *SPS) readSize(b *bits, chroma uint, separate bool) error {
	w, h := b.ue()+1, b.ue()+1
	if w > MaxSide/16 || h > MaxSide/16 {
		return errSPS
	}
	fields := 2 - b.one() // a frame of two fields has twice the lines
	if fields == 2 {
		s.Interlaced = true
		b.one()
	}
	b.one()
	s.Width, s.Height = int(16*w), int(16*h*fields)
	if b.one() == 1 {
		stepX, stepY := 1, int(fields)
		if chroma == 1 && !separate {
			stepX, stepY = 2, 2*stepY
		} else if chroma == 2 && !separate {
			stepX = 2
		}
		left, right, top, bottom := b.ue(), b.ue(), b.ue(), b.ue()
		if left > MaxSide || right > MaxSide || top > MaxSide || bottom > MaxSide {
			return errSPS
		}
		s.Width -= stepX * int(left+right)
		s.Height -= stepY * int(top+bottom)
	}
	if b.over || chroma > 3 || s.Width <= 0 || s.Height <= 0 || s.Height > MaxSide {
		return fmt.Errorf("%w: %d×%d", errSPS, s.Width, s.Height)
	}
	return nil
}

// readUsability reads how far pictures are reordered, which stands at the end of what is
// said about the use of the stream. spec: ITU-T H.264 section E.1.1
func (s *SPS) readUsability(b *bits) {
	const extendedShape = 255
	if b.one() == 1 && b.many(8) == extendedShape { // of the pixels
		b.many(32)
	}
	if b.one() == 1 { // overscan
		b.one()
	}
	if b.one() == 1 { // the kind of signal
		b.many(4)
		if b.one() == 1 {
			b.many(24)
		}
	}
	if b.one() == 1 { // where colour is
		b.ue()
		b.ue()
	}
	if b.one() == 1 { // timing
		b.many(32)
		b.many(32)
		b.one()
	}
	network := skipDecoder(b)
	if slices := skipDecoder(b); network || slices {
		b.one()
	}
	b.one()
	if b.one() == 0 {
		return
	}
	b.one()
	b.ue()
	b.ue()
	b.ue()
	b.ue()
	if n := b.ue(); !b.over && n <= maxReorder {
		s.Reorder = int(n)
	}
}

// maxReorder is the most pictures that a stream may hold back. spec: ITU-T H.264 section E.2.1
const maxReorder = 16

// skipDecoder passes over what is said of a hypothetical decoder, and says whether anything
// is. spec: ITU-T H.264 section E.1.2
func skipDecoder(b *bits) bool {
	if b.one() == 0 {
		return false
	}
	n := b.ue()
	b.many(8)
	for range min(n, 31) + 1 {
		b.ue()
		b.ue()
		b.one()
	}
	b.many(20)
	return true
}

// Bidirectional says whether a NAL unit is a slice of a picture that may be predicted from
// one shown after it, which then comes before it. spec: ITU-T H.264 section 7.4.3
func Bidirectional(nal []byte) bool {
	const slice, sliceB, sliceBOnly, most = 1, 1, 6, 16
	if len(nal) < 2 || nal[0]&0x1F != slice {
		return false
	}
	b := &bits{data: unescape(nal[1:min(len(nal), most)])}
	b.ue()
	t := b.ue()
	return !b.over && (t == sliceB || t == sliceBOnly)
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
