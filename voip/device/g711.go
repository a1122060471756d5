package device

import "math/bits"

// G.711 codes each sample in a byte with a logarithmic scale: a sign, three
// bits of exponent and four of mantissa. Samples here are 16 bits wide; the
// standard's own are 14 (µ-law) and 13 (A-law), left-aligned.

const (
	ulawBias = 0x84
	ulawClip = 0x7FFF - ulawBias
)

// encodeULaw codes one sample. spec: ITU-T G.711 table 2a
func encodeULaw(sample int16) byte {
	mag, sign := int(sample), byte(0)
	if mag < 0 {
		mag, sign = -mag, 0x80
	}
	mag = min(mag, ulawClip) + ulawBias
	exp := bits.Len(uint(mag)) - 8
	return ^(sign | byte(exp)<<4 | byte(mag>>(exp+3))&0x0F)
}

// decodeULaw is the inverse of encodeULaw.
func decodeULaw(code byte) int16 {
	code = ^code
	mag := (int(code&0x0F)<<3+ulawBias)<<(code>>4&7) - ulawBias
	if code&0x80 != 0 {
		return int16(-mag)
	}
	return int16(mag)
}

// alawInvert is the even bits, which A-law inverts on the wire.
const alawInvert = 0x55

// encodeALaw codes one sample. spec: ITU-T G.711 table 1a
func encodeALaw(sample int16) byte {
	mag, sign := int(sample), byte(0x80)
	if mag < 0 {
		mag, sign = ^mag, 0
	}
	exp, mant := 0, mag>>4
	if mag >= 256 {
		exp = bits.Len(uint(mag)) - 8
		mant = mag >> (exp + 3)
	}
	return (sign | byte(exp)<<4 | byte(mant)&0x0F) ^ alawInvert
}

// decodeALaw is the inverse of encodeALaw.
func decodeALaw(code byte) int16 {
	code ^= alawInvert
	mag := int(code&0x0F)<<4 + 8
	if exp := code >> 4 & 7; exp > 0 {
		mag = (mag + 0x100) << (exp - 1)
	}
	if code&0x80 == 0 {
		return int16(-mag)
	}
	return int16(mag)
}
