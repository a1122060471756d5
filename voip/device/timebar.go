package device

import (
	"image"
	"math/bits"
	"time"
)

// The time bar is a row of black and white blocks along the top edge of the
// test picture that tells when the picture was made, such that a program can
// read it from the picture a viewer sees, after coding and scaling.
//
// Layout, for a picture w pixels wide and h high:
//
//   - There are 48 blocks. Block i (0 to 47, from the left) covers the columns
//     from i·w/48 to (i+1)·w/48 and the rows from 0 to h/16. It is best read
//     around its centre: x = (2i+1)·w/96, y = h/32, all rounded down.
//   - A white block is a 1, a black block a 0.
//   - Blocks 0 and 1 are the start: white, black. They also give the two levels:
//     a block is white if it is brighter than their mean. If they differ by less
//     than 64 of 256 levels there is no bar.
//   - Blocks 2 to 43 are the time in milliseconds since 1970-01-01 00:00 UTC, as
//     42 bits, the most significant first. (40 bits ran out in 2004; these do in 2109.)
//   - Blocks 44 to 47 are the check: the number of ones among the 42 bits,
//     modulo 16, as 4 bits, the most significant first.
const (
	timeBarBlocks    = 48
	timeBarTimeBits  = 42
	timeBarCheckBits = 4
	timeBarContrast  = 64
	timeBarStart     = 0b10
)

// Luma of black and white in pictures (BT.601, limited range).
const (
	lumaBlack = 16
	lumaWhite = 235
)

// timeBarCode is the 48 blocks for t, block 0 in bit 47.
func timeBarCode(t time.Time) uint64 {
	ms := uint64(t.UnixMilli()) & (1<<timeBarTimeBits - 1)
	check := uint64(bits.OnesCount64(ms)) % (1 << timeBarCheckBits)
	return timeBarStart<<(timeBarTimeBits+timeBarCheckBits) | ms<<timeBarCheckBits | check
}

// drawTimeBar burns t into the top of a picture.
func drawTimeBar(pic *image.YCbCr, t time.Time) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	code := timeBarCode(t)
	for i := range timeBarBlocks {
		luma := byte(lumaBlack)
		if code>>(timeBarBlocks-1-i)&1 == 1 {
			luma = lumaWhite
		}
		fillGray(pic, image.Rect(i*w/timeBarBlocks, 0, (i+1)*w/timeBarBlocks, h/16), luma)
	}
}

// ReadTimeBar reads the time bar of a picture w×h pixels large, whose brightness
// at a point (0 to 255, limited range or full) gray tells. It says whether there is one.
func ReadTimeBar(gray func(x, y int) byte, w, h int) (time.Time, bool) {
	if w < timeBarBlocks*3 || h < 16*3 {
		return time.Time{}, false
	}
	// The mean of 3×3 pixels around the centre evens out what the codec left.
	level := func(block int) int {
		x, y := (2*block+1)*w/(2*timeBarBlocks), h/32
		sum := 0
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				sum += int(gray(x+dx, y+dy))
			}
		}
		return sum / 9
	}
	white, black := level(0), level(1)
	if white-black < timeBarContrast {
		return time.Time{}, false
	}
	var code uint64
	for i := range timeBarBlocks {
		code <<= 1
		if level(i) > (white+black)/2 {
			code |= 1
		}
	}
	ms := code >> timeBarCheckBits & (1<<timeBarTimeBits - 1)
	t := time.UnixMilli(int64(ms))
	return t, code == timeBarCode(t)
}
