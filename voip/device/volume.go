package device

import "sync/atomic"

// MaxVolume is the highest volume, in percent of the sound as it is.
const MaxVolume = 400

// volume makes sound louder or softer. The zero value leaves it as it is.
type volume struct{ beyond atomic.Int32 } // percent, less 100

// set takes a volume in percent; what is out of range is bounded.
func (v *volume) set(percent int) { v.beyond.Store(int32(min(max(percent, 0), MaxVolume)) - 100) }

// apply changes a block in place; what gets too loud is clipped.
func (v *volume) apply(block []int16) {
	beyond := v.beyond.Load()
	if beyond == 0 {
		return
	}
	gain := float32(beyond+100) / 100
	for i, s := range block {
		block[i] = clampInt16(float32(s) * gain)
	}
}

// SetVolume sets how loud callers are at the board, and how loud the board is for them, in
// percent of what it would be: 0 is mute, MaxVolume the most. What alerts listen to and the
// privacy tone stay as they are.
func (b *Board) SetVolume(loudspeaker, microphone int) {
	b.voices.set(loudspeaker)
	b.own.set(microphone)
}
