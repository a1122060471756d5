//go:build cgo

package device

/*
#include <stdint.h>
#include <stdlib.h>

// libopus lies inside mediadevices, whose wrapper knows neither error correction nor DTX
// nor decoding. Its header is out of reach from here; these few lines of it have not
// changed since 2012 and are part of its ABI.
typedef struct OpusEncoder OpusEncoder;
typedef struct OpusDecoder OpusDecoder;
OpusEncoder *opus_encoder_create(int32_t rate, int channels, int application, int *error);
int32_t opus_encode(OpusEncoder *st, const int16_t *pcm, int samples, unsigned char *data, int32_t max);
int opus_encoder_ctl(OpusEncoder *st, int request, ...);
void opus_encoder_destroy(OpusEncoder *st);
OpusDecoder *opus_decoder_create(int32_t rate, int channels, int *error);
int opus_decode(OpusDecoder *st, const unsigned char *data, int32_t len, int16_t *pcm, int samples, int fec);
void opus_decoder_destroy(OpusDecoder *st);
const char *opus_strerror(int error);

// cgo cannot call functions with "...".
static int porch_opus_set(OpusEncoder *st, int request, int32_t value) {
	return opus_encoder_ctl(st, request, value);
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	_ "github.com/pion/mediadevices/pkg/codec/opus" // links libopus
)

// haveOpusEncoder says that this build can encode Opus.
const haveOpusEncoder = true

// Of libopus: what it makes the best of, and what can be set.
const (
	opusVoIP        = 2048
	opusVoice       = 3001
	opusSetBitrate  = 4002
	opusSetEffort   = 4010
	opusSetFEC      = 4012
	opusSetLoss     = 4014
	opusSetDTX      = 4016
	opusSetSignal   = 4024
	opusBitrate     = 32000 // bits per second: ample for speech of full bandwidth
	opusEffort      = 9
	opusEffortARM   = 5 // of 10; half the time, and hard to hear in speech
	opusMaxPacket   = 1275
	opusQuietPacket = 2 // packets of up to so many bytes say only that it is quiet
	// opusLeastLoss is what the encoder always prepares for, in percent: the first losses
	// come before anybody has told of them.
	opusLeastLoss, opusMostLoss = 5, 30
)

// opusEncoder codes blocks of sound as Opus. It is for one goroutine.
type opusEncoder struct {
	enc    *C.OpusEncoder
	loss   int // expected, in percent
	packet [opusMaxPacket]byte
}

func newOpusEncoder() (*opusEncoder, error) {
	var code C.int
	e := &opusEncoder{enc: C.opus_encoder_create(soundRate, 1, opusVoIP, &code)}
	if code != 0 {
		return nil, fmt.Errorf("device: Opus encoder: %w", opusError(code))
	}
	effort := opusEffort
	if runtime.GOARCH == "arm" || runtime.GOARCH == "arm64" {
		effort = opusEffortARM
	}
	for _, set := range [][2]int{
		{opusSetBitrate, opusBitrate}, {opusSetEffort, effort}, {opusSetSignal, opusVoice}, {opusSetFEC, 1}, {opusSetDTX, 1},
	} {
		if code := C.porch_opus_set(e.enc, C.int(set[0]), C.int32_t(set[1])); code != 0 {
			_ = e.close()
			return nil, fmt.Errorf("device: Opus encoder: setting %d: %w", set[0], opusError(code))
		}
	}
	return e, e.setLoss(0)
}

// setLoss tells which fraction of the packets gets lost: the more, the more of each packet
// goes into saying the one before again.
func (e *opusEncoder) setLoss(fraction float64) error {
	percent := min(max(int(fraction*100+0.5), opusLeastLoss), opusMostLoss)
	if percent == e.loss {
		return nil
	}
	e.loss = percent
	if code := C.porch_opus_set(e.enc, opusSetLoss, C.int32_t(percent)); code != 0 {
		return fmt.Errorf("device: Opus encoder: a loss of %d %%: %w", percent, opusError(code))
	}
	return nil
}

// encode codes one block of blockSamples. Without data it is quiet, and nothing needs to be
// sent (DTX).
func (e *opusEncoder) encode(block []int16) ([]byte, error) {
	n := C.opus_encode(e.enc, (*C.int16_t)(&block[0]), C.int(len(block)), (*C.uchar)(&e.packet[0]), opusMaxPacket)
	if n < 0 {
		return nil, fmt.Errorf("device: Opus encoder: %w", opusError(n))
	}
	if n <= opusQuietPacket {
		return nil, nil
	}
	return append([]byte(nil), e.packet[:n]...), nil
}

func (e *opusEncoder) close() error {
	C.opus_encoder_destroy(e.enc)
	e.enc = nil
	return nil
}

// opusDecoder implements soundDecoder by libopus.
type opusDecoder struct {
	dec *C.OpusDecoder
	pcm [maxPacketSamples]int16
}

func newOpusDecoder() (soundDecoder, error) {
	var code C.int
	d := &opusDecoder{dec: C.opus_decoder_create(soundRate, 1, &code)}
	if code != 0 {
		return nil, fmt.Errorf("device: Opus decoder: %w", opusError(code))
	}
	return d, nil
}

// run decodes into d.pcm; without data it makes what fits to what was before.
func (d *opusDecoder) run(data []byte, samples, fec int) ([]int16, error) {
	var at *C.uchar
	if len(data) > 0 {
		at = (*C.uchar)(unsafe.Pointer(&data[0]))
	}
	n := C.opus_decode(d.dec, at, C.int32_t(len(data)), (*C.int16_t)(&d.pcm[0]), C.int(samples), C.int(fec))
	if n < 0 {
		return nil, fmt.Errorf("device: Opus packet: %w", opusError(n))
	}
	return d.pcm[:n], nil
}

func (d *opusDecoder) decode(payload []byte) ([]int16, error) {
	return d.run(payload, maxPacketSamples, 0)
}

func (d *opusDecoder) recover(next []byte, samples int) ([]int16, error) {
	if !saysAgain(next) {
		return nil, nil
	}
	return d.run(next, samples, 1)
}

func (d *opusDecoder) quiet(samples int) ([]int16, error) { return d.run(nil, samples, 0) }

func (d *opusDecoder) close() {
	C.opus_decoder_destroy(d.dec)
	d.dec = nil
}

type opusError C.int

func (e opusError) Error() string { return "libopus: " + C.GoString(C.opus_strerror(C.int(e))) }

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
