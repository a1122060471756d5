//go:build !cgo

package device

import (
	"fmt"

	"github.com/pion/opus"
)

// haveOpusEncoder says that this build cannot encode Opus: there is no encoder in pure Go.
const haveOpusEncoder = false

// opusEncoder cannot be made in this build.
type opusEncoder struct{}

func newOpusEncoder() (*opusEncoder, error) { return nil, ErrUnsupported }

func (e *opusEncoder) setLoss(float64) error { return ErrUnsupported }

func (e *opusEncoder) encode([]int16) ([]byte, error) { return nil, ErrUnsupported }

func (e *opusEncoder) close() error { return nil }

func newOpusDecoder() (soundDecoder, error) { return newPureOpusDecoder() }

// pureOpusDecoder implements soundDecoder in pure Go, for builds without libopus. It is
// another's parser of bytes from the network: if it panics the packet is lost and the
// decoder replaced, not the call.
type pureOpusDecoder struct {
	dec *opus.Decoder
	pcm []int16
}

func newPureOpusDecoder() (*pureOpusDecoder, error) {
	d := &pureOpusDecoder{pcm: make([]int16, maxPacketSamples)}
	return d, d.renew()
}

func (d *pureOpusDecoder) renew() error {
	dec, err := opus.NewDecoderWithOutput(soundRate, 1)
	if err != nil {
		return fmt.Errorf("device: Opus decoder: %w", err)
	}
	d.dec = &dec
	return nil
}

func (d *pureOpusDecoder) decode(payload []byte) (pcm []int16, err error) {
	defer func() {
		if r := recover(); r != nil {
			pcm, err = nil, fmt.Errorf("device: Opus packet broke the decoder: %v", r)
			if failed := d.renew(); failed != nil {
				err = failed
			}
		}
	}()
	n, err := d.dec.DecodeToInt16(payload, d.pcm)
	if err != nil {
		return nil, fmt.Errorf("device: Opus packet: %w", err)
	}
	return d.pcm[:n], nil
}

func (d *pureOpusDecoder) recover([]byte, int) ([]int16, error) { return nil, nil }

func (d *pureOpusDecoder) quiet(samples int) ([]int16, error) { return make([]int16, samples), nil }

func (d *pureOpusDecoder) close() {}
