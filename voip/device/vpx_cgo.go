//go:build cgo

package device

/*
#cgo pkg-config: vpx
#include <stdlib.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

static vpx_codec_err_t porch_open(vpx_codec_ctx_t *ctx, vpx_codec_enc_cfg_t *cfg,
		unsigned w, unsigned h, unsigned timebase, unsigned kbits, int cpu_used, unsigned max_intra_pct) {
	vpx_codec_err_t err = vpx_codec_enc_config_default(vpx_codec_vp8_cx(), cfg, 0);
	if (err) return err;
	cfg->g_w = w;
	cfg->g_h = h;
	cfg->g_timebase.num = 1;
	cfg->g_timebase.den = timebase;
	cfg->g_threads = 1; // two on two busy cores cost three times the time
	cfg->g_pass = VPX_RC_ONE_PASS;
	cfg->g_lag_in_frames = 0;
	cfg->g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
	cfg->rc_end_usage = VPX_CBR;
	cfg->rc_target_bitrate = kbits;
	cfg->rc_min_quantizer = 2;
	cfg->rc_max_quantizer = 56;
	cfg->rc_undershoot_pct = 100;
	cfg->rc_overshoot_pct = 15;
	cfg->rc_buf_initial_sz = 500;
	cfg->rc_buf_optimal_sz = 600;
	cfg->rc_buf_sz = 1000;
	cfg->rc_dropframe_thresh = 30;
	cfg->kf_mode = VPX_KF_DISABLED; // only the first and those asked for
	err = vpx_codec_enc_init(ctx, vpx_codec_vp8_cx(), cfg, 0);
	if (err) return err;
	err = vpx_codec_control(ctx, VP8E_SET_CPUUSED, cpu_used);
	if (!err) err = vpx_codec_control(ctx, VP8E_SET_STATIC_THRESHOLD, 1);
	if (!err) err = vpx_codec_control(ctx, VP8E_SET_MAX_INTRA_BITRATE_PCT, max_intra_pct);
	if (err) vpx_codec_destroy(ctx);
	return err;
}

static vpx_codec_err_t porch_bitrate(vpx_codec_ctx_t *ctx, vpx_codec_enc_cfg_t *cfg, unsigned kbits) {
	cfg->rc_target_bitrate = kbits;
	return vpx_codec_enc_config_set(ctx, cfg);
}

// porch_encode takes the planes one by one because Go may not hand C a struct
// that points into Go's memory. *data stays valid until the next call.
static vpx_codec_err_t porch_encode(vpx_codec_ctx_t *ctx, unsigned w, unsigned h,
		unsigned char *y, unsigned char *u, unsigned char *v, int ystride, int cstride,
		vpx_codec_pts_t pts, unsigned long duration, int key, const void **data, size_t *size, int *is_key) {
	vpx_image_t img;
	memset(&img, 0, sizeof img);
	vpx_img_wrap(&img, VPX_IMG_FMT_I420, w, h, 1, y);
	img.planes[VPX_PLANE_Y] = y;
	img.planes[VPX_PLANE_U] = u;
	img.planes[VPX_PLANE_V] = v;
	img.stride[VPX_PLANE_Y] = ystride;
	img.stride[VPX_PLANE_U] = img.stride[VPX_PLANE_V] = cstride;
	*size = 0;
	vpx_codec_err_t err = vpx_codec_encode(ctx, &img, pts, duration, key ? VPX_EFLAG_FORCE_KF : 0, VPX_DL_REALTIME);
	if (err) return err;
	vpx_codec_iter_t iter = NULL;
	const vpx_codec_cx_pkt_t *pkt;
	while ((pkt = vpx_codec_get_cx_data(ctx, &iter)) != NULL) {
		if (pkt->kind != VPX_CODEC_CX_FRAME_PKT) continue;
		*data = pkt->data.frame.buf;
		*size = pkt->data.frame.sz;
		*is_key = (pkt->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
		return VPX_CODEC_OK; // without lag one picture makes at most one frame
	}
	return VPX_CODEC_OK;
}
*/
import "C"

import (
	"fmt"
	"image"
	"time"
	"unsafe"
)

// haveVP8 says that this build can encode VP8.
const haveVP8 = true

const (
	vpxTimebase = 90000 // ticks per second
	// vpxMaxIntraPercent bounds a key frame, in percent of the bits that an
	// average frame has: half the rate control's optimal buffer at 15 pictures a second.
	vpxMaxIntraPercent = 450
)

// vp8Encoder turns pictures of one size into VP8. It is for one goroutine.
type vp8Encoder struct {
	ctx           *C.vpx_codec_ctx_t
	cfg           *C.vpx_codec_enc_cfg_t
	width, height int
	kbits         int
	pts           C.vpx_codec_pts_t
}

// newVP8Encoder makes an encoder for real time: constant bit rate (in bits per
// second), one thread, key frames only when asked for.
func newVP8Encoder(width, height, bitrate, cpuUsed int) (*vp8Encoder, error) {
	e := &vp8Encoder{width: width, height: height, kbits: bitrate / 1000}
	// C memory, because libvpx keeps pointers into it.
	e.ctx = (*C.vpx_codec_ctx_t)(C.calloc(1, C.sizeof_vpx_codec_ctx_t))
	e.cfg = (*C.vpx_codec_enc_cfg_t)(C.calloc(1, C.sizeof_vpx_codec_enc_cfg_t))
	err := C.porch_open(e.ctx, e.cfg, C.uint(width), C.uint(height), vpxTimebase, C.uint(e.kbits), C.int(cpuUsed), vpxMaxIntraPercent)
	if err != C.VPX_CODEC_OK {
		e.free()
		return nil, fmt.Errorf("device: VP8 encoder for %d×%d: %w", width, height, vpxError(err))
	}
	return e, nil
}

// encode codes one picture that is shown for d. The result has no data if the
// encoder skipped the picture to keep the bit rate.
func (e *vp8Encoder) encode(pic *image.YCbCr, d time.Duration, key bool) (data []byte, isKey bool, err error) {
	if pic.SubsampleRatio != image.YCbCrSubsampleRatio420 || pic.Rect.Dx() != e.width || pic.Rect.Dy() != e.height {
		return nil, false, fmt.Errorf("device: VP8 encoder for %d×%d was given %v", e.width, e.height, pic.Rect)
	}
	var (
		out    unsafe.Pointer
		size   C.size_t
		outKey C.int
		force  C.int
	)
	if key {
		force = 1
	}
	ticks := max(1, int64(d*vpxTimebase/time.Second))
	code := C.porch_encode(e.ctx, C.uint(e.width), C.uint(e.height),
		(*C.uchar)(&pic.Y[0]), (*C.uchar)(&pic.Cb[0]), (*C.uchar)(&pic.Cr[0]), C.int(pic.YStride), C.int(pic.CStride),
		e.pts, C.ulong(ticks), force, &out, &size, &outKey)
	e.pts += C.vpx_codec_pts_t(ticks)
	if code != C.VPX_CODEC_OK {
		return nil, false, fmt.Errorf("device: VP8 encoder: %w", vpxError(code))
	}
	if size == 0 {
		return nil, false, nil
	}
	return C.GoBytes(out, C.int(size)), outKey != 0, nil
}

// setBitrate changes the target, in bits per second, for the frames to come.
func (e *vp8Encoder) setBitrate(bitrate int) error {
	kbits := max(1, bitrate/1000)
	if kbits == e.kbits {
		return nil
	}
	if err := C.porch_bitrate(e.ctx, e.cfg, C.uint(kbits)); err != C.VPX_CODEC_OK {
		return fmt.Errorf("device: VP8 encoder at %d kbit/s: %w", kbits, vpxError(err))
	}
	e.kbits = kbits
	return nil
}

func (e *vp8Encoder) close() {
	if e.ctx == nil {
		return
	}
	C.vpx_codec_destroy(e.ctx)
	e.free()
}

func (e *vp8Encoder) free() {
	C.free(unsafe.Pointer(e.ctx))
	C.free(unsafe.Pointer(e.cfg))
	e.ctx, e.cfg = nil, nil
}

type vpxError C.vpx_codec_err_t

func (e vpxError) Error() string {
	return "libvpx: " + C.GoString(C.vpx_codec_err_to_string(C.vpx_codec_err_t(e)))
}
