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

// vp8Coder codes pictures as VP8 for all viewers, and gives plain ones to those who look
// for themselves.
type vp8Coder struct {
	hub     *hub
	raw     *hub // of the pictures themselves; may be nil
	bitrate int  // the most, in bits per second
	frame   time.Duration
	// make makes an encoder for pictures of a size. now is the clock for what they cost.
	make func(width, height int) (pictureEncoder, error)
	now  func() time.Time
	log  *slog.Logger
	// pace is told the least time from one picture to the next.
	pace func(every time.Duration)

	governor      governor
	scaler        scaler
	enc           pictureEncoder
	width, height int           // that enc is for
	last          time.Time     // of the picture before
	skipped       time.Duration // length of the pictures that the encoder left out
	shown         time.Time     // when a plain picture was given out last
}

// wanted says whether anybody wants its pictures.
func (p *vp8Coder) wanted() bool { return !p.hub.empty() || p.raw != nil && !p.raw.empty() }

// take takes the next picture, which was taken at a time and for which some was spent already.
func (p *vp8Coder) take(pic *image.YCbCr, at time.Time, spent time.Duration) error {
	p.governor.frame = p.frame
	if p.raw != nil && at.Sub(p.shown) >= rawPictureEvery && !p.raw.empty() {
		p.shown = at
		p.raw.publish(EncodedFrame{Key: true, picture: clonePicture(pic)})
	}
	if p.hub.empty() {
		p.last, p.skipped = at, 0 // only plain pictures are wanted
		return nil
	}
	begin := p.now()
	if err := p.code(pic, at); err != nil {
		return err
	}
	if p.governor.took(p.now().Sub(begin)+spent, at) {
		e := p.governor.effort()
		p.pace(p.frame * time.Duration(e.every))
		width, height := e.size(pic.Rect.Dx(), pic.Rect.Dy())
		p.log.Info("the picture was fitted to what the board can do", "width", width, "height", height, "every", e.every)
	}
	return nil
}

func (p *vp8Coder) close() {
	if p.enc != nil {
		p.enc.close()
		p.enc = nil
	}
}

// vp8Producer codes a camera's plain pictures.
type vp8Producer struct {
	vp8Coder
	in pictureInput
}

func (p *vp8Producer) run(ctx context.Context) (err error) {
	defer func() {
		p.vp8Coder.close()
		if cerr := p.in.close(); err == nil {
			err = cerr
		}
	}()
	p.pace = p.in.pace
	for {
		pic, at, err := p.in.next(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("device: camera: %w", err)
		}
		if err := p.take(pic, at, p.in.spent()); err != nil {
			return err
		}
	}
}

// code hands a picture to the viewers, as large as the board can do.
func (p *vp8Coder) code(pic *image.YCbCr, at time.Time) error {
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
	// forceKey asks for a key frame, and says whether the camera makes them on request.
	forceKey() bool
	// setBitrate tells the camera, if it listens to such.
	setBitrate(bitsPerSecond int)
	close() error
}

// h264Producer hands a camera's own H.264 to all viewers.
type h264Producer struct {
	in      h264Input
	hub     *hub
	bitrate int
	frame   time.Duration
	eye     *h264Eye // for those who cannot do with H.264; nil if this build cannot decode it
	// reordered is told once if the camera sends pictures in another order than it shows them.
	reordered func()
}

func (p *h264Producer) run(ctx context.Context) (err error) {
	defer func() {
		p.hub.forget()
		if p.eye != nil {
			p.eye.close()
		}
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
		if p.hub.takeKeyRequest(at) && !p.in.forceKey() {
			p.hub.replayLost(at)
		}
		d := p.frame
		if !last.IsZero() {
			d = at.Sub(last)
		}
		last = at
		data, key := sets.complete(unit)
		p.hub.publish(EncodedFrame{Data: data, Duration: d, Key: key})
		if p.hub.reorder.look(data, key) {
			p.reordered()
		}
		if p.eye == nil {
			continue
		}
		wantKey, err := p.eye.see(p.hub, data, key, at)
		if err != nil {
			return err
		}
		if wantKey {
			p.hub.wantKey()
		}
	}
}

// h264Eye sees what a camera's H.264 shows, as long as somebody wants to: peers that take
// only VP8, and who looks for motion or takes a picture.
type h264Eye struct {
	vp8Coder
	dec   *h264Decoder
	blind bool // until the next key frame
	every time.Duration
	seen  time.Time // the last picture
}

// see takes a picture's access unit, which the hub has been given. It says whether it needs
// a key frame to go on.
func (e *h264Eye) see(h *hub, unit []byte, key bool, at time.Time) (wantKey bool, err error) {
	if !e.wanted() {
		e.close()
		return false, nil
	}
	begin := e.now()
	if e.dec == nil {
		if e.dec, err = newH264Decoder(); err != nil {
			return false, err
		}
		e.blind = true
	}
	units := []EncodedFrame{{Data: unit}}
	if e.blind && !key {
		if units = h.sinceKey(); len(units) == 0 {
			return true, nil
		}
	}
	var pic *image.YCbCr
	for _, u := range units {
		if pic, err = e.dec.decode(u.Data); err != nil {
			break
		}
	}
	if err != nil {
		if !e.blind {
			e.log.Warn("a picture of the camera's H.264 is broken", "err", err)
		}
		e.close()
		return true, nil
	}
	e.blind = false
	// Some slack, as cameras are not that regular.
	if pic == nil || at.Sub(e.seen) < e.every*3/4 {
		return false, nil
	}
	e.seen = at
	return false, e.take(pic, at, e.now().Sub(begin))
}

// close lets go of the decoder and the encoder.
func (e *h264Eye) close() {
	e.vp8Coder.close()
	if e.dec != nil {
		e.dec.close()
		e.dec = nil
	}
}
