package device

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/blackjack/webcam"
)

// Pixel formats of V4L2, as four characters in little-endian order.
const (
	formatH264  webcam.PixelFormat = 'H' | '2'<<8 | '6'<<16 | '4'<<24
	formatMJPEG webcam.PixelFormat = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24
	formatYUYV  webcam.PixelFormat = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
)

// Controls of cameras that code by themselves. spec: linux/v4l2-controls.h
const (
	controlBitrate  webcam.ControlID = 0x009909CF
	controlForceKey webcam.ControlID = 0x009909E5
)

const (
	cameraBuffers = 4
	// cameraStall is how many seconds in a row a camera may give nothing.
	cameraStall = 5
)

// notCameras are the names of video devices that are parts of a Raspberry Pi's
// picture pipeline: they take pictures from memory, or raw ones that need libcamera.
var notCameras = []string{"bcm2835-codec", "bcm2835-isp", "unicam", "rpivid", "rpi-hevc", "rp1-cfe", "pispbe"}

// camera is what is known of a V4L2 device.
type camera struct {
	path, name string
	h264       bool
	picture    webcam.PixelFormat // the one to take plain pictures in, 0 if there is none
}

// probeCamera looks at a video device.
func probeCamera(path string, width, height int) (camera, error) {
	w, err := webcam.Open(path)
	if err != nil {
		return camera{}, fmt.Errorf("device: camera %s: %w", path, err)
	}
	defer w.Close()
	c := camera{path: path}
	if c.name, err = w.GetName(); err != nil {
		return camera{}, fmt.Errorf("device: camera %s: %w", path, err)
	}
	formats := w.GetSupportedFormats()
	_, c.h264 = formats[formatH264]
	_, yuyv := formats[formatYUYV]
	_, mjpeg := formats[formatMJPEG]
	switch {
	case yuyv && (!mjpeg || width*height <= defaultWidth*defaultHeight):
		c.picture = formatYUYV // nothing to decode, and small enough for USB 2
	case mjpeg:
		c.picture = formatMJPEG
	}
	if !c.h264 && c.picture == 0 {
		return camera{}, fmt.Errorf("device: camera %s (%s) gives none of H.264, MJPEG and YUYV", path, c.name)
	}
	return c, nil
}

// again is where the same camera is now: one that is unplugged while somebody else still
// has it open comes back as another device, but has its name. It is c itself if no other
// has that name.
func (c camera) again() camera {
	if name, err := os.ReadFile(filepath.Join("/sys/class/video4linux", filepath.Base(c.path), "name")); err == nil && strings.TrimSpace(string(name)) == c.name {
		return c // without waking it
	}
	now := c
	for _, path := range videoDevices() {
		w, err := webcam.Open(path)
		if err != nil {
			continue // gone, or not to be had
		}
		name, err := w.GetName()
		_ = w.Close() // nothing was done with it
		switch {
		case err != nil || name != c.name:
		case path == c.path:
			return c // of several of one name
		default:
			now.path = path
		}
	}
	return now
}

// open opens the camera where it is now, and says where that is.
func (c camera) open() (*webcam.Webcam, camera, error) {
	cam, err := webcam.Open(c.path)
	if err != nil {
		c = c.again()
		cam, err = webcam.Open(c.path)
	}
	return cam, c, err
}

// present says whether the camera is plugged in.
func (c camera) present() bool {
	_, err := os.Stat(c.again().path)
	return err == nil
}

// lookForCamera takes a camera that is plugged in after a start without one.
func (b *Board) lookForCamera() {
	if !b.sightless() {
		return
	}
	if now := videoDevices(); !slices.Equal(now, b.plugs) {
		b.plugs, b.plugLooks = now, hotplugLooks
	}
	if b.plugLooks == 0 {
		return
	}
	b.plugLooks--
	b.plugIn(func() bool {
		found, _ := b.findV4L2(Auto) // it fails for a camera that was named only
		return found
	})
}

// videoDevices are the paths of all there are, in the order of their numbers.
func videoDevices() []string {
	paths, err := filepath.Glob("/dev/video*")
	if err != nil {
		return nil // the pattern is right, so this cannot be
	}
	slices.SortFunc(paths, func(x, y string) int { // video2 before video10
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
	return paths
}

// firstCamera is the first video device that is a camera of use.
func (b *Board) firstCamera() (camera, bool) {
	for _, path := range videoDevices() {
		c, err := probeCamera(path, b.cfg.Width, b.cfg.Height)
		if err != nil {
			b.cfg.Log.Debug("not a camera", "path", path, "err", err)
			continue
		}
		internal := func(part string) bool { return strings.Contains(c.name, part) }
		if !slices.ContainsFunc(notCameras, internal) && (c.h264 || haveVP8) {
			return c, true
		}
	}
	return camera{}, false
}

// findV4L2 takes the camera at path, or with path Auto the first there is. It
// says whether there was one.
func (b *Board) findV4L2(path string) (bool, error) {
	if path == Auto {
		c, ok := b.firstCamera()
		if ok {
			b.useCamera(c)
		}
		return ok, nil
	}
	c, err := probeCamera(path, b.cfg.Width, b.cfg.Height)
	if err != nil {
		return false, err
	}
	b.useCamera(c)
	return true, nil
}

func (b *Board) useCamera(c camera) {
	var hubs []*hub
	var ways []string
	if c.h264 {
		hubs = append(hubs, newH264Hub())
		ways = append(ways, "H.264 as the camera makes it")
	}
	if c.picture != 0 && haveVP8 {
		hubs = append(hubs, newHub(string(VP8), true, videoQueueFrames))
		ways = append(ways, "VP8 made here")
	}
	if c.h264 && len(hubs) == 1 {
		b.say("The picture comes from the camera %s (%s), as %s%s.", c.path, c.name, ways[0], alsoVP8())
		b.useH264("camera "+c.path, func() (h264Input, error) { return b.openV4L2H264(c) })
		b.video.present, b.tuner = c.present, v4l2Tuner{c}
		return
	}
	if len(hubs) == 0 {
		b.say("There is no picture: the camera %s (%s) makes no H.264, and this build without cgo lacks the VP8 encoder.", c.path, c.name)
		return
	}
	b.say("The picture comes from the camera %s (%s), as %s.", c.path, c.name, strings.Join(ways, " or "))
	var raw *hub
	if coded := hubs[len(hubs)-1]; coded.codec == string(VP8) {
		raw = newRawHub(string(VP8), rawPictureQueue)
	}
	b.video = b.newFeed("camera "+c.path, func(h *hub) (producer, error) {
		if h == raw {
			h = hubs[len(hubs)-1]
		}
		return b.openCamera(c, h, raw)
	}, hubs...)
	b.video.exclusive, b.video.raw, b.video.present = true, raw, c.present
	b.tuner = v4l2Tuner{c}
}

func (b *Board) openCamera(c camera, h, raw *hub) (producer, error) {
	if h.codec == string(H264) {
		v, err := b.openV4L2H264(c)
		return b.newH264Producer(v, h), err
	}
	v, err := b.openV4L2(c, c.picture)
	if err != nil {
		return nil, err
	}
	return b.newVP8Producer(h, raw, &vPicture{v4l2: v, every: time.Second / time.Duration(b.cfg.FPS)}), nil
}

func (b *Board) openV4L2H264(c camera) (v264, error) {
	v, err := b.openV4L2(c, formatH264)
	if err == nil {
		v.setBitrate(b.cfg.Bitrate)
	}
	return v264{v}, err
}

// v4l2 is an open, running camera.
type v4l2 struct {
	cam           *webcam.Webcam
	format        webcam.PixelFormat
	width, height int
}

func (b *Board) openV4L2(c camera, format webcam.PixelFormat) (*v4l2, error) {
	cam, c, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("device: camera %s: %w", c.path, err)
	}
	v := &v4l2{cam: cam, format: format}
	if err := v.start(b.cfg.Width, b.cfg.Height, b.cfg.FPS); err != nil {
		_ = cam.Close()
		return nil, fmt.Errorf("device: camera %s: %w", c.path, err)
	}
	// One that was plugged in anew has forgotten them.
	if err := b.tuned.enforce(b.tuning()); err != nil {
		b.cfg.Log.Warn("the camera's controls are not as they should be", "err", err)
	}
	b.cfg.Log.Info("camera started", "path", c.path, "width", v.width, "height", v.height)
	return v, nil
}

func (v *v4l2) start(width, height, fps int) error {
	got, w, h, err := v.cam.SetImageFormat(v.format, uint32(width), uint32(height))
	if err != nil {
		return err
	}
	if got != v.format || w < 2 || h < 2 || w > maxPictureSide || h > maxPictureSide {
		return fmt.Errorf("it answered with format %#x of %d×%d", uint32(got), w, h)
	}
	v.width, v.height = int(w), int(h)
	// A camera that cannot change its rate goes on at its own.
	_ = v.cam.SetFramerate(float32(fps))
	if err := v.cam.SetBufferCount(cameraBuffers); err != nil {
		return err
	}
	return v.cam.StartStreaming()
}

// frame waits for a frame and has use take it; the bytes are valid only inside use. If
// several wait since the last was taken, and newest is wanted, those before it are left out.
func (v *v4l2) frame(ctx context.Context, newest bool, use func(data []byte) error) (time.Time, error) {
	for stalled := 0; ; {
		if err := ctx.Err(); err != nil {
			return time.Time{}, err
		}
		err := v.cam.WaitForFrame(1)
		var timeout *webcam.Timeout
		if errors.As(err, &timeout) {
			if stalled++; stalled >= cameraStall {
				return time.Time{}, fmt.Errorf("no picture for %d s", cameraStall)
			}
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		at := time.Now()
		data, index, err := v.cam.GetFrame()
		if errors.Is(err, syscall.EAGAIN) {
			continue // woken for nothing
		}
		if err != nil {
			return time.Time{}, err
		}
		if newest {
			if data, index, err = v.skipOld(data, index); err != nil {
				return time.Time{}, err
			}
		}
		var useErr error
		if len(data) > 0 {
			useErr = use(data)
		}
		if err := v.cam.ReleaseFrame(index); err != nil {
			return time.Time{}, err
		}
		if len(data) > 0 {
			return at, useErr
		}
	}
}

// skipOld gives frames back to the camera as long as there is a newer one.
func (v *v4l2) skipOld(data []byte, index uint32) ([]byte, uint32, error) {
	for range cameraBuffers {
		newer, at, err := v.cam.GetFrame()
		if errors.Is(err, syscall.EAGAIN) {
			return data, index, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if err := v.cam.ReleaseFrame(index); err != nil {
			return nil, 0, err
		}
		data, index = newer, at
	}
	return data, index, nil
}

func (v *v4l2) close() error { return v.cam.Close() }

// forceKey and setBitrate ask for what many cameras do not know.
func (v *v4l2) forceKey() bool { return v.cam.SetControl(controlForceKey, 1) == nil }

func (v *v4l2) setBitrate(bitsPerSecond int) {
	_ = v.cam.SetControl(controlBitrate, int32(bitsPerSecond))
}

// v264 is a camera running in H.264. It implements h264Input.
type v264 struct{ *v4l2 }

func (v v264) next(ctx context.Context) (unit []byte, at time.Time, err error) {
	at, err = v.frame(ctx, false, func(data []byte) error {
		unit = slices.Clone(data)
		return nil
	})
	return unit, at, err
}

// vPicture is a camera running in plain pictures. It implements pictureInput.
type vPicture struct {
	*v4l2
	every time.Duration // between two pictures; what comes faster is left out
	last  time.Time
	pic   *image.YCbCr
	cost  time.Duration
}

func (v *vPicture) pace(every time.Duration) { v.every = every }

func (v *vPicture) spent() time.Duration { return v.cost }

func (v *vPicture) next(ctx context.Context) (*image.YCbCr, time.Time, error) {
	if v.pic == nil {
		v.pic = image.NewYCbCr(image.Rect(0, 0, v.width&^1, v.height&^1), image.YCbCrSubsampleRatio420)
	}
	for bad := 0; ; {
		early := false
		at, err := v.frame(ctx, true, func(data []byte) error {
			// Some slack, as cameras are not that regular.
			begin := time.Now()
			if early = begin.Sub(v.last) < v.every*3/4; early {
				return nil
			}
			defer func() { v.cost = time.Since(begin) }()
			if v.format == formatMJPEG {
				return decodeMJPEG(v.pic, data, v.width, v.height)
			}
			return yuyvToI420(v.pic, data, v.width)
		})
		switch {
		case early && err == nil:
		case errors.Is(err, errBadPicture):
			if bad++; bad >= maxBadPictures {
				return nil, time.Time{}, fmt.Errorf("%d broken pictures in a row, the last: %w", bad, err)
			}
		case err != nil:
			return nil, time.Time{}, err
		default:
			v.last = at
			return v.pic, at, nil
		}
	}
}
