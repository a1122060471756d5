package device

import "math"

// Playing sound faster or slower without changing its pitch: a piece that is like the one
// beside it, as one period of a voice is like the next, is left out or played twice, and the
// seam is blended over the whole piece. Lengths are in samples at soundRate.
const (
	// A piece has one of these lengths: one period at least of what is above 66 Hz.
	shortestPiece, longestPiece = concealShort, concealLong
	// alike is the normalised correlation from which on a seam is not heard.
	alike = 0.9
	// In what is quieter than this, in dBFS, no seam is heard.
	seamQuiet = -50.0
)

// leaveOut fills dst with the beginning of src, without one piece no longer than most, and
// returns its length; 0 if there is none whose seam is not heard, unless any will do.
func leaveOut(dst, src []int16, most int, any bool) int {
	most = min(most, longestPiece, len(src)-len(dst))
	n := piece(src, nil, most, any)
	if n == 0 {
		return 0
	}
	for i := range n {
		dst[i] = blend(src[i], src[n+i], i, n)
	}
	copy(dst[n:], src[2*n:])
	return n
}

// playTwice fills dst, which still holds what was played last, with the beginning of src,
// before which its own end comes again, and returns the length of what does; 0 as leaveOut.
func playTwice(dst, src []int16, any bool) int {
	n := piece(src, dst, min(longestPiece, len(dst), len(src)), any)
	if n == 0 {
		return 0
	}
	last := append([]int16(nil), dst[len(dst)-n:]...)
	for i := range n {
		dst[i] = blend(src[i], last[i], i, n)
	}
	copy(dst[n:], src)
	return n
}

// blend goes from one sound to another.
func blend(from, to int16, i, n int) int16 {
	w := (float64(i) + 0.5) / float64(n)
	return int16(math.Round(float64(from)*(1-w) + float64(to)*w))
}

// piece is the length of the piece at the beginning of src that is most like the one beside
// it: before it, which is the end of past, or after it if there is no past. It is 0 if none
// is alike enough.
func piece(src, past []int16, most int, any bool) int {
	if past == nil {
		most = min(most, len(src)/2)
	}
	likeness := func(n, step int) float64 {
		if past == nil {
			return correlation(src[:n], src[n:2*n], step)
		}
		return correlation(src[:n], past[len(past)-n:], step)
	}
	const coarse = 6
	best, found := -math.MaxFloat64, 0
	for n := shortestPiece; n <= most; n += coarse {
		if l := likeness(n, coarse); l > best {
			best, found = l, n
		}
	}
	best = -math.MaxFloat64
	for n := max(found-coarse, shortestPiece); n <= min(found+coarse, most); n++ {
		if l := likeness(n, 1); l > best {
			best, found = l, n
		}
	}
	if found == 0 || best < alike && !any && levelOf(src[:found]) > seamQuiet {
		return 0
	}
	return found
}

// correlation is how alike two sounds of one length are: 1 if they differ by loudness only. It
// looks at every so-manieth sample.
func correlation(a, b []int16, step int) float64 {
	var cross, aa, bb float64
	for i := 0; i < len(a); i += step {
		x, y := float64(a[i]), float64(b[i])
		cross, aa, bb = cross+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return cross / math.Sqrt(aa*bb)
}
