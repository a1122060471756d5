//go:build !cgo

package device

import (
	"image"
	"time"
)

// haveVP8 says that this build cannot encode VP8: there is no encoder in pure Go.
const haveVP8 = false

// vp8Encoder cannot be made in this build.
type vp8Encoder struct{}

func newVP8Encoder(width, height, bitrate, cpuUsed int) (*vp8Encoder, error) {
	return nil, ErrUnsupported
}

func (e *vp8Encoder) encode(*image.YCbCr, time.Duration, bool) ([]byte, bool, error) {
	return nil, false, ErrUnsupported
}

func (e *vp8Encoder) setBitrate(int) error { return ErrUnsupported }

func (e *vp8Encoder) close() {}
