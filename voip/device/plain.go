package device

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"time"
)

// Plain pictures and plain sound are for programs that look and listen for themselves, and
// come from the same run of a device as what viewers of calls are sent.

const (
	// rawCodec is the name of what is not coded.
	rawCodec = "plain"
	// rawPictureEvery is the least time between two plain pictures.
	rawPictureEvery = 250 * time.Millisecond
	rawPictureQueue = 2
	rawSoundQueue   = 50 // a second
	// warmPictures is how many plain pictures a camera that has just been started gives
	// before one is kept: it has to find out how bright the world is.
	warmPictures = 3
	// snapshotQuality is that of image/jpeg.
	snapshotQuality = 85
)

func newRawHub(mode string, depth int) *hub {
	h := newHub(rawCodec, false, depth)
	h.mode = mode
	return h
}

func clonePicture(pic *image.YCbCr) *image.YCbCr {
	c := *pic
	c.Y, c.Cb, c.Cr = bytes.Clone(pic.Y), bytes.Clone(pic.Cb), bytes.Clone(pic.Cr)
	return &c
}

func packSound(block []int16) []byte {
	data := make([]byte, 0, 2*len(block))
	for _, s := range block {
		data = binary.LittleEndian.AppendUint16(data, uint16(s))
	}
	return data
}

// PictureStream is one program's sight of the camera.
type PictureStream struct{ v *viewer }

// OpenPictures starts the camera if need be and returns a stream of a few plain pictures a
// second. ErrUnsupported says that the camera only gives coded ones, which this build cannot
// decode, ErrBusy that it does so for a call. ctx bounds the opening only. The stream is the caller's to Close.
func (b *Board) OpenPictures(ctx context.Context) (*PictureStream, error) {
	eye := b.eye()
	if eye == nil || eye.raw == nil {
		return nil, ErrUnsupported
	}
	v, err := eye.join(ctx, rawCodec)
	if err != nil {
		return nil, err
	}
	return &PictureStream{v}, nil
}

// ReadPicture blocks until there is a picture, ctx ends, or the camera fails. The picture
// is shared with other readers: it must not be changed.
func (s *PictureStream) ReadPicture(ctx context.Context) (*image.YCbCr, error) {
	f, err := s.v.read(ctx)
	return f.picture, err
}

// Close ends the stream. The last one stops the camera.
func (s *PictureStream) Close() error { return s.v.Close() }

// SoundStream is one program's ear at the microphone.
type SoundStream struct{ v *viewer }

// OpenSound starts the microphone if need be and returns a stream of its plain sound, mono
// at 48 kHz. ctx bounds the opening only. The stream is the caller's to Close.
func (b *Board) OpenSound(ctx context.Context) (*SoundStream, error) {
	if b.audio == nil {
		return nil, ErrUnsupported
	}
	v, err := b.audio.join(ctx, rawCodec)
	if err != nil {
		return nil, err
	}
	return &SoundStream{v}, nil
}

// ReadSound blocks until there are PacketDuration of sound, ctx ends, or the microphone
// fails.
func (s *SoundStream) ReadSound(ctx context.Context) ([]int16, error) {
	f, err := s.v.read(ctx)
	if err != nil {
		return nil, err
	}
	block := make([]int16, len(f.Data)/2)
	for i := range block {
		block[i] = int16(binary.LittleEndian.Uint16(f.Data[2*i:]))
	}
	return block, nil
}

// Close ends the stream. The last one stops the microphone.
func (s *SoundStream) Close() error { return s.v.Close() }

// Snapshot takes a picture and returns it as JPEG with its size in pixels. The error wraps
// ErrUnsupported if there is no camera, or only one that gives nothing but H.264 to a build
// that cannot decode it; ErrBusy if it is giving that to a call.
func (b *Board) Snapshot(ctx context.Context) (data []byte, width, height int, err error) {
	eye := b.eye()
	switch {
	case eye == nil:
		return nil, 0, 0, fmt.Errorf("%w: there is no camera", ErrUnsupported)
	case eye.raw == nil && b.still == nil:
		return nil, 0, 0, fmt.Errorf("%w: the camera gives nothing but H.264", ErrUnsupported)
	case b.still != nil && (eye.raw == nil || eye.active() == ""):
		data, width, height, err = b.stillPicture(ctx)
		if eye.raw == nil || !errors.Is(err, ErrBusy) { // somebody else may just have come
			return data, width, height, err
		}
	}
	wait := 1
	if eye.active() == "" {
		wait = warmPictures
	}
	s, err := b.OpenPictures(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	defer s.Close()
	var pic *image.YCbCr
	for range wait {
		if pic, err = s.ReadPicture(ctx); err != nil {
			return nil, 0, 0, err
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, pic, &jpeg.Options{Quality: snapshotQuality}); err != nil {
		return nil, 0, 0, fmt.Errorf("device: picture: %w", err)
	}
	return out.Bytes(), pic.Rect.Dx(), pic.Rect.Dy(), nil
}

// stillPicture takes a picture with the camera's own program. Whoever wants to see the
// camera in the meantime waits.
func (b *Board) stillPicture(ctx context.Context) ([]byte, int, int, error) {
	eye := b.eye()
	eye.mu.Lock()
	defer eye.mu.Unlock()
	if r := eye.running; r != nil {
		if !r.stopped {
			return nil, 0, 0, fmt.Errorf("%w: the camera is in a call", ErrBusy)
		}
		select {
		case <-r.done: // a call that has just ended
		case <-ctx.Done():
			return nil, 0, 0, ctx.Err()
		}
	}
	b.countCamera(1)
	defer b.countCamera(-1)
	data, err := b.still(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, 0, 0, fmt.Errorf("device: camera: the picture is no JPEG: %w", err)
	}
	return data, size.Width, size.Height, nil
}
