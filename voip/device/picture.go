package device

import (
	"context"
	"fmt"
	"image"
	"time"
)

// pictureInput is a camera that gives plain pictures. next blocks until there is
// one, which is valid until the next call, and tells when it was taken.
type pictureInput interface {
	next(ctx context.Context) (pic *image.YCbCr, at time.Time, err error)
	close() error
}

// vp8Producer codes a camera's pictures as VP8 for all viewers.
type vp8Producer struct {
	in      pictureInput
	hub     *hub
	raw     *hub // of the pictures themselves; may be nil
	bitrate int  // the most, in bits per second
	cpuUsed int
	frame   time.Duration // the time between two pictures, for the first one
}

func (p *vp8Producer) run(ctx context.Context) (err error) {
	var enc *vp8Encoder
	defer func() {
		if enc != nil {
			enc.close()
		}
		if cerr := p.in.close(); err == nil {
			err = cerr
		}
	}()
	var last time.Time
	var shown time.Time       // when a plain picture was given out last
	var skipped time.Duration // length of the pictures that the encoder left out
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
			last, skipped = at, 0 // only plain pictures are wanted
			continue
		}
		if enc == nil {
			// Only the picture tells how large the camera's pictures really are.
			if enc, err = newVP8Encoder(pic.Rect.Dx(), pic.Rect.Dy(), p.bitrate, p.cpuUsed); err != nil {
				return err
			}
		}
		d := p.frame
		if !last.IsZero() {
			d = at.Sub(last)
		}
		last = at
		if err := enc.setBitrate(max(minVideoBitrate, p.hub.sharedBitrate(p.bitrate))); err != nil {
			return err
		}
		data, key, err := enc.encode(pic, d, p.hub.takeKeyRequest(at))
		if err != nil {
			return err
		}
		if data == nil {
			skipped += d
			continue
		}
		p.hub.publish(EncodedFrame{Data: data, Duration: d + skipped, Key: key})
		skipped = 0
	}
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
