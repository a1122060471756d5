//go:build cgo

package device

/*
#cgo pkg-config: speexdsp
#cgo LDFLAGS: -lm
#include <speex/speex_echo.h>
#include <speex/speex_preprocess.h>
*/
import "C"

import "unsafe"

// haveEchoCanceller says that this build can take echo out.
const haveEchoCanceller = true

// speexCanceller takes the echo out of a microphone's sound by speexdsp: an adaptive filter
// learns the way from loudspeaker to microphone, and what it leaves is turned down. It works
// at echoRate. It is for one goroutine.
type speexCanceller struct {
	echo *C.SpeexEchoState
	rest *C.SpeexPreprocessState
	out  [echoBlock]int16
}

func newCanceller() (canceller, error) {
	c := &speexCanceller{
		echo: C.speex_echo_state_init(echoBlock, echoTail),
		rest: C.speex_preprocess_state_init(echoBlock, echoRate),
	}
	rate, off := C.int(echoRate), C.int(0)
	C.speex_echo_ctl(c.echo, C.SPEEX_ECHO_SET_SAMPLING_RATE, unsafe.Pointer(&rate))
	C.speex_preprocess_ctl(c.rest, C.SPEEX_PREPROCESS_SET_ECHO_STATE, unsafe.Pointer(c.echo))
	// Soft sounds are what many listen for: noise is left as it is.
	C.speex_preprocess_ctl(c.rest, C.SPEEX_PREPROCESS_SET_DENOISE, unsafe.Pointer(&off))
	return c, nil
}

// cancel takes the echo of what was played out of what was heard, one block of echoBlock
// each. The result is valid until the next call.
func (c *speexCanceller) cancel(heard, played []int16) []int16 {
	in := func(pcm []int16) *C.spx_int16_t { return (*C.spx_int16_t)(unsafe.Pointer(&pcm[0])) }
	C.speex_echo_cancellation(c.echo, in(heard), in(played), in(c.out[:]))
	C.speex_preprocess_run(c.rest, in(c.out[:]))
	return c.out[:]
}

func (c *speexCanceller) close() {
	C.speex_preprocess_state_destroy(c.rest)
	C.speex_echo_state_destroy(c.echo)
}
