//go:build cgo

package device

/*
#cgo LDFLAGS: -lopenh264 -lstdc++ -lm
#include <stdlib.h>
#include <string.h>
#include <wels/codec_api.h>

static ISVCDecoder *porch_h264_open(void) {
	ISVCDecoder *d = NULL;
	if (WelsCreateDecoder(&d) != 0 || d == NULL) return NULL;
	int quiet = WELS_LOG_QUIET;
	(*d)->SetOption(d, DECODER_OPTION_TRACE_LEVEL, &quiet);
	SDecodingParam p;
	memset(&p, 0, sizeof p);
	p.sVideoProperty.eVideoBsType = VIDEO_BITSTREAM_AVC;
	p.eEcActiveIdc = ERROR_CON_DISABLE;
	if ((*d)->Initialize(d, &p) != 0) {
		WelsDestroyDecoder(d);
		return NULL;
	}
	return d;
}

static void porch_h264_close(ISVCDecoder *d) {
	(*d)->Uninitialize(d);
	WelsDestroyDecoder(d);
}

typedef struct {
	unsigned char *y, *cb, *cr;
	int width, height, ystride, cstride;
} porch_h264_picture;

static int porch_h264_decode(ISVCDecoder *d, const unsigned char *data, int size, porch_h264_picture *pic) {
	unsigned char *planes[3] = {NULL, NULL, NULL};
	SBufferInfo info;
	memset(&info, 0, sizeof info);
	memset(pic, 0, sizeof *pic);
	int state = (*d)->DecodeFrameNoDelay(d, data, size, planes, &info);
	if (info.iBufferStatus != 1) return state;
	pic->y = planes[0];
	pic->cb = planes[1];
	pic->cr = planes[2];
	pic->width = info.UsrData.sSystemBuffer.iWidth;
	pic->height = info.UsrData.sSystemBuffer.iHeight;
	pic->ystride = info.UsrData.sSystemBuffer.iStride[0];
	pic->cstride = info.UsrData.sSystemBuffer.iStride[1];
	return state;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"image"
	"unsafe"
)

// haveH264Decoder says that this build can decode H.264.
const haveH264Decoder = true

// h264Decoder turns a camera's H.264 into pictures. It is for one goroutine.
type h264Decoder struct {
	c   *C.ISVCDecoder
	pic image.YCbCr
}

func newH264Decoder() (*h264Decoder, error) {
	c := C.porch_h264_open()
	if c == nil {
		return nil, errors.New("device: the H.264 decoder cannot be had")
	}
	return &h264Decoder{c: c}, nil
}

// decode decodes one picture's access unit as Annex B. The picture is valid until the next
// call; it is nil if there is none yet.
func (d *h264Decoder) decode(unit []byte) (*image.YCbCr, error) {
	if len(unit) == 0 {
		return nil, nil
	}
	var pic C.porch_h264_picture
	if state := C.porch_h264_decode(d.c, (*C.uchar)(&unit[0]), C.int(len(unit)), &pic); state != 0 {
		return nil, fmt.Errorf("device: H.264 decoder: state %#x", int(state))
	}
	if pic.y == nil {
		return nil, nil
	}
	width, height := int(pic.width)&^1, int(pic.height)&^1
	if width < 2 || height < 2 || width > maxPictureSide || height > maxPictureSide || int(pic.ystride) < width || int(pic.cstride) < width/2 {
		return nil, fmt.Errorf("device: H.264 decoder: a picture of %d×%d", int(pic.width), int(pic.height))
	}
	plane := func(p *C.uchar, stride C.int, height int) []byte {
		return unsafe.Slice((*byte)(p), int(stride)*height)
	}
	d.pic = image.YCbCr{
		Y: plane(pic.y, pic.ystride, height), Cb: plane(pic.cb, pic.cstride, height/2), Cr: plane(pic.cr, pic.cstride, height/2),
		YStride: int(pic.ystride), CStride: int(pic.cstride),
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, width, height),
	}
	return &d.pic, nil
}

func (d *h264Decoder) close() { C.porch_h264_close(d.c) }
