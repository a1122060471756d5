package device

import (
	"context"
	"fmt"
	"image"
	"log/slog"
	"time"
)

// pictureInput is a camera that gives plain pictures.
type pictureInput interface {
	// next blocks until there is a picture, which is valid until the next call, and tells
	// when it was taken. Of several that wait it gives the newest.
	next(ctx context.Context) (pic *image.YCbCr, at time.Time, err error)
	// pace is the least time from one picture to the next.
	pace(every time.Duration)
	// spent is how long it took to make the last picture of what the camera gave.
	spent() time.Duration
	close() error
}

// pictureEncoder is vp8Encoder, or a test's.
type pictureEncoder interface {
	encode(pic *image.YCbCr, d time.Duration, key bool) (data []byte, isKey bool, err error)
	setBitrate(bitsPerSecond int) error
	close()
}

// vp8Producer codes a camera's pictures as VP8 for all viewers.
type vp8Producer struct {
	in      pictureInput
	hub     *hub
	raw     *hub // of the pictures themselves; may be nil
	bitrate int  // the most, in bits per second
	frame   time.Duration
	// make makes an encoder for pictures of a size. now is the clock for what they cost.
	make func(width, height int) (pictureEncoder, error)
	now  func() time.Time
	log  *slog.Logger

	governor      governor
	scaler        scaler
	enc           pictureEncoder
	width, height int           // that enc is for
	last          time.Time     // of the picture before
	skipped       time.Duration // length of the pictures that the encoder left out
}

func (p *vp8Producer) run(ctx context.Context) (err error) {
	defer func() {
		if p.enc != nil {
			p.enc.close()
		}
		if cerr := p.in.close(); err == nil {
			err = cerr
		}
	}()
	p.governor.frame = p.frame
	var shown time.Time // when a plain picture was given out last
	for {
		pic, at, err := p.in.next(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("device: camera: %w", err)
		}
		if p.raw != nil && at.Sub(shown) >= rawPictureEvery && !p.raw.empty() {
			shown = at
			p.raw.publish(EncodedFrame{Key: true, picture: clonePicture(pic)})
		}
		if p.hub.empty() {
			p.last, p.skipped = at, 0 // only plain pictures are wanted
			continue
		}
		begin := p.now()
		if err := p.code(pic, at); err != nil {
			return err
		}
		if p.governor.took(p.now().Sub(begin)+p.in.spent(), at) {
			e := p.governor.effort()
			p.in.pace(p.frame * time.Duration(e.every))
			width, height := e.size(pic.Rect.Dx(), pic.Rect.Dy())
			p.log.Info("the picture was fitted to what the board can do", "width", width, "height", height, "every", e.every)
		}
	}
}

// code hands a picture to the viewers, as large as the board can do.
func (p *vp8Producer) code(pic *image.YCbCr, at time.Time) error {
	// Only the picture tells how large the camera's pictures really are.
	width, height := p.governor.effort().size(pic.Rect.Dx(), pic.Rect.Dy())
	if p.enc == nil || width != p.width || height != p.height {
		enc, err := p.make(width, height)
		if err != nil {
			return err
		}
		if p.enc != nil {
			p.enc.close()
		}
		p.enc, p.width, p.height = enc, width, height
	}
	d := p.frame
	if !p.last.IsZero() {
		d = at.Sub(p.last)
	}
	p.last = at
	if err := p.enc.setBitrate(max(minVideoBitrate, p.hub.sharedBitrate(p.bitrate))); err != nil {
		return err
	}
	data, key, err := p.enc.encode(p.scaler.scale(pic, width, height), d, p.hub.takeKeyRequest(at))
	if err != nil {
		return err
	}
	if data == nil {
		p.skipped += d
		return nil
	}
	p.hub.publish(EncodedFrame{Data: data, Duration: d + p.skipped, Key: key})
	p.skipped = 0
	return nil
}

// h264Input is a camera that codes its pictures itself. next blocks until
// there is a picture's access unit as Annex B, which is the caller's to keep.
type h264Input interface {
	next(ctx context.Context) (unit []byte, at time.Time, err error)
	// forceKey and setBitrate tell the camera, if it listens to such.
	forceKey()
	setBitrate(bitsPerSecond int)
	close() error
}

// h264Producer hands a camera's own H.264 to all viewers.
type h264Producer struct {
	in      h264Input
	hub     *hub
	bitrate int
	frame   time.Duration
}

func (p *h264Producer) run(ctx context.Context) (err error) {
	defer func() {
		if cerr := p.in.close(); err == nil {
			err = cerr
		}
	}()
	var last time.Time
	var sets parameterSets
	bitrate := p.bitrate
	for {
		if b := max(minVideoBitrate, p.hub.sharedBitrate(p.bitrate)); b != bitrate {
			bitrate = b
			p.in.setBitrate(b)
		}
		unit, at, err := p.in.next(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("device: camera: %w", err)
		}
		if p.hub.takeKeyRequest(at) {
			p.in.forceKey()
		}
		d := p.frame
		if !last.IsZero() {
			d = at.Sub(last)
		}
		last = at
		data, key := sets.complete(unit)
		p.hub.publish(EncodedFrame{Data: data, Duration: d, Key: key})
	}
}
