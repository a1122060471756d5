//go:build cgo

package devicetest

/*
#cgo pkg-config: vpx
#include <stdlib.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>

static vpx_codec_err_t porch_dec_open(vpx_codec_ctx_t *ctx) {
	return vpx_codec_dec_init(ctx, vpx_codec_vp8_dx(), NULL, 0);
}

static vpx_image_t *porch_dec_frame(vpx_codec_ctx_t *ctx) {
	vpx_codec_iter_t iter = NULL;
	return vpx_codec_get_frame(ctx, &iter);
}
*/
import "C"

import (
	"errors"
	"image"
	"unsafe"
)

// VP8Decoder decodes a VP8 stream, for tests. It is for one goroutine.
type VP8Decoder struct{ ctx *C.vpx_codec_ctx_t }

// NewVP8Decoder makes a decoder, to be closed after use.
func NewVP8Decoder() (*VP8Decoder, error) {
	d := &VP8Decoder{ctx: (*C.vpx_codec_ctx_t)(C.calloc(1, C.sizeof_vpx_codec_ctx_t))}
	if err := C.porch_dec_open(d.ctx); err != C.VPX_CODEC_OK {
		C.free(unsafe.Pointer(d.ctx))
		return nil, errors.New("devicetest: " + C.GoString(C.vpx_codec_err_to_string(err)))
	}
	return d, nil
}

// Decode decodes one frame and returns a copy of its picture.
func (d *VP8Decoder) Decode(frame []byte) (*image.YCbCr, error) {
	if len(frame) == 0 {
		return nil, errors.New("devicetest: empty frame")
	}
	if err := C.vpx_codec_decode(d.ctx, (*C.uint8_t)(&frame[0]), C.uint(len(frame)), nil, 0); err != C.VPX_CODEC_OK {
		return nil, errors.New("devicetest: " + C.GoString(C.vpx_codec_err_to_string(err)))
	}
	img := C.porch_dec_frame(d.ctx)
	if img == nil {
		return nil, errors.New("devicetest: the frame shows no picture")
	}
	pic := image.NewYCbCr(image.Rect(0, 0, int(img.d_w), int(img.d_h)), image.YCbCrSubsampleRatio420)
	plane := func(dst []byte, stride, n int) {
		src := unsafe.Slice((*byte)(img.planes[n]), int(img.stride[n])*(len(dst)/stride))
		for y := range len(dst) / stride {
			copy(dst[y*stride:(y+1)*stride], src[y*int(img.stride[n]):])
		}
	}
	plane(pic.Y, pic.YStride, 0)
	plane(pic.Cb, pic.CStride, 1)
	plane(pic.Cr, pic.CStride, 2)
	return pic, nil
}

// Close frees the decoder.
func (d *VP8Decoder) Close() {
	C.vpx_codec_destroy(d.ctx)
	C.free(unsafe.Pointer(d.ctx))
}
