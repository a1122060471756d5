package device

import (
	"fmt"

	"github.com/pion/opus"
)

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

// saysAgain says whether an Opus packet has the one before in it once more, at a lower rate
// (LBRR): one bit in what SILK codes, behind those that tell whether its frames are speech.
//
// spec: RFC 6716 3.1, 4.2.3, 4.2.4
func saysAgain(packet []byte) bool {
	if len(packet) < 2 || packet[0]&3 != 0 || packet[0]>>3 >= 16 {
		return false // more than one frame, which libopus does not send at 20 ms, or CELT alone
	}
	frames := 1 // of 20 ms, or one of 10
	if config := packet[0] >> 3; config < 12 {
		frames = max(1, int(config&3)) // 10, 20, 40, 60 ms
	}
	return packet[1]&(1<<(7-frames)) != 0
}
