package device

import (
	"context"
	"fmt"
	"time"
)

// soundInput is a microphone. next blocks until there is a block of
// blockSamples at soundRate, which is valid until the next call.
type soundInput interface {
	next(ctx context.Context) ([]int16, error)
	close() error
}

// soundProducer codes one microphone's sound for the listeners of every codec.
type soundProducer struct {
	in   soundInput
	hubs []*hub
	raw  *hub         // of the sound itself; may be nil
	duck *ducker      // may be nil
	echo *echoRemover // may be nil
	gain *volume      // for listeners; may be nil
	opus *opusEncoder // made when first wanted
	to8k *resampler

	narrow []int16       // the block at hand at g711Rate
	quiet  time.Duration // not sent as Opus since the last packet
}

func (p *soundProducer) run(ctx context.Context) (err error) {
	defer func() {
		if cerr := p.in.close(); err == nil {
			err = cerr
		}
		if p.opus != nil {
			_ = p.opus.close()
		}
		if p.echo != nil {
			p.echo.close()
		}
	}()
	p.to8k = newResampler(soundRate, g711Rate)
	for {
		block, err := p.in.next(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("device: microphone: %w", err)
		}
		if p.echo != nil {
			if err := p.echo.remove(block); err != nil {
				return err
			}
		}
		if p.duck != nil {
			p.duck.apply(block)
		}
		if p.raw != nil && !p.raw.empty() {
			p.raw.publish(EncodedFrame{Data: packSound(block), Duration: PacketDuration, Key: true})
		}
		if p.gain != nil {
			p.gain.apply(block)
		}
		// Also when nobody wants it: the filter must not skip a part of the sound.
		p.narrow = p.to8k.process(p.narrow[:0], block)
		for _, h := range p.hubs {
			if h.empty() {
				continue
			}
			data, err := p.encode(h, block)
			if err != nil {
				return err
			}
			if data == nil {
				p.quiet += PacketDuration
				continue
			}
			f := EncodedFrame{Data: data, Duration: PacketDuration, Key: true}
			if AudioCodec(h.codec) == Opus {
				f.Duration, p.quiet = f.Duration+p.quiet, 0
			}
			h.publish(f)
		}
	}
}

// encode codes the block for a hub's listeners; nil if it is quiet and need not be sent.
func (p *soundProducer) encode(h *hub, block []int16) ([]byte, error) {
	switch codec := AudioCodec(h.codec); codec {
	case Opus:
		if p.opus == nil {
			var err error
			if p.opus, err = newOpusEncoder(); err != nil {
				return nil, err
			}
		}
		if err := p.opus.setLoss(h.mostLoss()); err != nil {
			return nil, err
		}
		return p.opus.encode(block)
	case PCMU:
		return encodeG711(p.narrow, encodeULaw), nil
	case PCMA:
		return encodeG711(p.narrow, encodeALaw), nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnsupported, h.codec)
}

func encodeG711(pcm []int16, encode func(int16) byte) []byte {
	data := make([]byte, len(pcm))
	for i, s := range pcm {
		data[i] = encode(s)
	}
	return data
}
