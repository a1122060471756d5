package device

import (
	"context"
	"log/slog"
	"time"
	"unsafe"
)

// capture is a microphone. It implements soundInput.
type capture struct {
	*pcm
	resample *resampler
	mono     []int16 // the last read, at the card's rate
	ready    []int16 // sound at soundRate not yet handed on
	block    []int16
}

func openCapture(path string, log *slog.Logger) (soundInput, error) {
	d, err := openPCM(path, false, log)
	if err != nil {
		return nil, err
	}
	c := &capture{pcm: d, resample: newResampler(d.format.rate, soundRate), block: make([]int16, blockSamples)}
	if err := c.ioctl(ioctlStart, unsafe.Pointer(nil)); err != nil {
		_ = c.close()
		return nil, err
	}
	return c, nil
}

func (c *capture) next(ctx context.Context) ([]int16, error) {
	for len(c.ready) < blockSamples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.file.SetReadDeadline(time.Now().Add(alsaStall)); err != nil {
			return nil, err
		}
		n, err := c.file.Read(c.raw)
		if err != nil {
			if err := c.restart(err); err != nil {
				return nil, err
			}
			if err := c.ioctl(ioctlStart, nil); err != nil {
				return nil, err
			}
			continue
		}
		c.mono = c.format.decode(c.mono[:0], c.raw[:n])
		c.ready = c.resample.process(c.ready, c.mono)
	}
	copy(c.block, c.ready)
	c.ready = c.ready[:copy(c.ready, c.ready[blockSamples:])]
	return c.block, nil
}
