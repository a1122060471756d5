package device

import "fmt"

// Bounds of what a caller may send in one packet.
const (
	maxPayload = 1500 // bytes: what fits an Ethernet frame
	// maxPacketSamples is the longest Opus packet: 120 ms. spec: RFC 6716 section 2.1.4
	maxPacketSamples = soundRate * 120 / 1000
	g711Rate         = 8000
)

// soundDecoder makes sound of one stream's packets, mono at soundRate. What it returns is
// valid until the next call.
type soundDecoder interface {
	decode(payload []byte) ([]int16, error)
	// recover makes the packet before the one at hand, which got lost, of what the one at
	// hand says of it; nil if that says nothing.
	recover(next []byte, samples int) ([]int16, error)
	// quiet makes what is heard while the sender sends nothing.
	quiet(samples int) ([]int16, error)
	close()
}

// newDecoder makes the decoder for a codec.
func newDecoder(codec AudioCodec) (soundDecoder, error) {
	switch codec {
	case Opus:
		return newOpusDecoder()
	case PCMU:
		return &g711Decoder{sample: decodeULaw, from8k: newResampler(g711Rate, soundRate)}, nil
	case PCMA:
		return &g711Decoder{sample: decodeALaw, from8k: newResampler(g711Rate, soundRate)}, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnsupported, codec)
}

// clockRate is that of the timestamps of a codec's packets. spec: RFC 7587 4.1; RFC 3551 4.5.14
func clockRate(codec AudioCodec) int {
	if codec == Opus {
		return soundRate
	}
	return g711Rate
}

// g711Decoder implements soundDecoder for both laws.
type g711Decoder struct {
	sample      func(byte) int16
	from8k      *resampler
	narrow, pcm []int16
}

func (d *g711Decoder) decode(payload []byte) ([]int16, error) {
	d.narrow = d.narrow[:0]
	for _, b := range payload {
		d.narrow = append(d.narrow, d.sample(b))
	}
	d.pcm = d.from8k.process(d.pcm[:0], d.narrow)
	return d.pcm, nil
}

func (d *g711Decoder) recover([]byte, int) ([]int16, error) { return nil, nil }

func (d *g711Decoder) quiet(samples int) ([]int16, error) { return make([]int16, samples), nil }

func (d *g711Decoder) close() {}
