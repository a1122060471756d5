//go:build !cgo

package device

import "image"

// haveH264Decoder says that this build cannot decode H.264: there is no decoder in pure Go.
const haveH264Decoder = false

// h264Decoder cannot be made in this build.
type h264Decoder struct{}

func newH264Decoder() (*h264Decoder, error) { return nil, ErrUnsupported }

func (d *h264Decoder) decode([]byte) (*image.YCbCr, error) { return nil, ErrUnsupported }

func (d *h264Decoder) close() {}
