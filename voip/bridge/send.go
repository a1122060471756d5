package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

const (
	// keyFrameInterval is the least time between two key frames asked for.
	keyFrameInterval = time.Second
	// reopenAfter is how long a device that failed is left alone: each time twice as long, up
	// to reopenMost times, until it has worked for worksAgain.
	reopenAfter = 2 * time.Second
	reopenMost  = 8
	worksAgain  = 10 * time.Second
	// maxHeld and maxHeldBytes bound the frames kept until the connection is there. They take
	// what a camera with rare key frames is replayed by (see voip/device), and what it makes
	// meanwhile; the bytes are shared with all who watch it.
	maxHeld      = 2048
	maxHeldBytes = 8 << 20
	// burstRate is how fast pictures from the past are sent on a good line, in bits per
	// second, since all at once they would not fit into the buffers on the way. They are those
	// kept until there was a connection, and those shorter than burstLength, which is how a
	// device marks them.
	burstRate   = 12_000_000
	burstLength = 2 * time.Millisecond
)

// sender is one of our streams: the track, and the pump that feeds it.
type sender struct {
	kind   string
	track  *track
	rtp    *webrtc.RTPSender
	cancel context.CancelFunc // stops the pump; nil if it does not run
	ended  chan struct{}      // closed when the pump has stopped
	last   time.Time          // of the last frame written; the pump's alone

	mu      sync.Mutex
	video   device.VideoStream // while the pump has one open
	audio   device.AudioStream // the same
	wantKey bool
	keyAt   time.Time // of the last request passed on
}

// source is what VideoStream and AudioStream have in common.
type source struct {
	read  func(context.Context) (device.EncodedFrame, error)
	close func() error
}

func (s *Session) addSender(kind string, codecs []string) error {
	t := &track{kind: webrtc.RTPCodecTypeAudio, stream: s.stream, wish: codecs}
	if kind == "video" {
		t.kind = webrtc.RTPCodecTypeVideo
	}
	delay, err := rtp.PlayoutDelayExtension{MaxDelay: uint16(s.b.cfg.PlayoutDelay / (10 * time.Millisecond))}.Marshal()
	if err != nil {
		return fmt.Errorf("bridge: playout delay: %w", err)
	}
	t.delay = delay
	r, err := s.pc.AddTrack(t)
	if err != nil {
		return fmt.Errorf("bridge: adding a track: %w", err)
	}
	snd := &sender{kind: kind, track: t, rtp: r}
	s.senders[kind] = snd
	s.mu.Lock()
	for _, e := range r.GetParameters().Encodings {
		s.sending[uint32(e.SSRC)] = snd
	}
	if kind == "video" {
		s.picture = snd
	}
	s.mu.Unlock()
	s.spawn(func() { s.readFeedback(snd) })
	return nil
}

// setSending starts or stops the pump, and with it the device: who is on hold is
// neither watched nor listened to. The caller holds negotiating.
func (s *Session) setSending(snd *sender, on bool) {
	codec := snd.track.chosen()
	switch {
	case on && snd.cancel == nil && codec != "":
		ctx, cancel := context.WithCancel(s.ctx)
		ended := make(chan struct{})
		snd.cancel, snd.ended = cancel, ended
		s.setCodec(snd.kind, codec)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			close(ended)
			return
		}
		s.work.Go(func() {
			defer close(ended)
			s.pump(ctx, snd, codec)
		})
	case !on && snd.cancel != nil:
		snd.cancel()
		<-snd.ended
		snd.cancel = nil
		s.setCodec(snd.kind, "")
	}
}

func (s *Session) setCodec(kind, codec string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == "audio" {
		s.stats.AudioCodec = codec
		return
	}
	s.stats.VideoCodec = codec
}

// pump feeds one track from its device until ctx ends, and opens the device again
// if it fails.
func (s *Session) pump(ctx context.Context, snd *sender, codec string) {
	wait := reopenAfter
	for attempt := 0; ctx.Err() == nil; attempt++ {
		begin := s.b.cfg.Now()
		src, err := s.openSource(ctx, snd, codec)
		if err == nil {
			err = s.feed(ctx, snd, src)
			if cerr := src.close(); cerr != nil {
				s.log.Debug("bridge: closing a device", "error", cerr)
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.deviceFailed(snd.kind, attempt == 0 && src.read == nil)
		s.log.Warn("bridge: a device failed in a call", "kind", snd.kind, "codec", codec, "error", err)
		if s.b.cfg.Now().Sub(begin) >= worksAgain {
			wait = reopenAfter
		}
		pause(ctx, wait)
		wait = min(2*wait, reopenMost*reopenAfter)
	}
}

func (s *Session) openSource(ctx context.Context, snd *sender, codec string) (source, error) {
	if snd.kind == "audio" {
		a, err := s.b.cfg.Media.OpenAudio(ctx, device.AudioCodec(codec))
		if err != nil {
			return source{}, err
		}
		snd.mu.Lock()
		snd.audio = a
		snd.mu.Unlock()
		return source{a.ReadPacket, func() error {
			snd.mu.Lock()
			snd.audio = nil
			snd.mu.Unlock()
			return a.Close()
		}}, nil
	}
	v, err := s.openVideo(ctx, device.VideoCodec(codec))
	if err != nil {
		return source{}, err
	}
	snd.mu.Lock()
	snd.video = v
	snd.wantKey = false // a stream begins with one
	snd.mu.Unlock()
	if rate := s.wish(s.Stats().Bitrate); rate > 0 {
		v.SetBitrate(rate)
	}
	return source{v.ReadFrame, func() error {
		snd.mu.Lock()
		snd.video = nil
		snd.mu.Unlock()
		return v.Close()
	}}, nil
}

// openVideo opens the camera, or takes over that of which the format was looked at.
func (s *Session) openVideo(ctx context.Context, codec device.VideoCodec) (device.VideoStream, error) {
	if codec == device.H264 {
		if c := s.opened264.Swap(nil); c != nil {
			return c, nil
		}
	}
	return s.b.cfg.Media.OpenVideo(ctx, codec)
}

// feed writes frames until the source fails or ctx ends. The device is started
// while ICE still looks for a way; pictures from before are kept since the last
// key frame, so that the first one is seen as soon as there is a connection.
func (s *Session) feed(ctx context.Context, snd *sender, src source) error {
	var held heldFrames
	var line budget
	for {
		f, err := src.read(ctx)
		if err != nil {
			return err
		}
		select {
		case <-s.up:
		default:
			if snd.kind == "video" {
				held.keep(f)
			}
			continue
		}
		for _, h := range held.frames {
			if err := s.write(ctx, snd, h, true); err != nil {
				return err
			}
		}
		if held.broken {
			snd.askKey()
		}
		held = heldFrames{}
		if snd.kind == "video" && !s.affords(snd, &line, &f) {
			continue
		}
		if err := s.write(ctx, snd, f, f.Duration < burstLength); err != nil {
			return err
		}
		snd.dueKey(s.b.cfg.Now, s.countKey)
	}
}

// affords says whether the line carries a picture beside those before it.
func (s *Session) affords(snd *sender, line *budget, f *device.EncodedFrame) bool {
	now := s.b.cfg.Now()
	send, wantKey := line.take(now, s.wish(s.Stats().Bitrate), f)
	if send {
		return true
	}
	s.mu.Lock()
	s.stats.Thinned++
	s.mu.Unlock()
	if wantKey {
		snd.mu.Lock()
		snd.wantKey = snd.wantKey || now.Sub(snd.keyAt) >= thinKeyInterval
		snd.mu.Unlock()
		snd.dueKey(s.b.cfg.Now, s.countKey)
	}
	return false
}

// heldFrames are frames from the last key frame on.
type heldFrames struct {
	frames []device.EncodedFrame
	bytes  int
	broken bool // there were too many; a new key frame is needed
}

func (h *heldFrames) keep(f device.EncodedFrame) {
	if f.Key {
		*h = heldFrames{}
	}
	if h.broken || len(h.frames) >= maxHeld || h.bytes+len(f.Data) > maxHeldBytes {
		*h = heldFrames{broken: true}
		return
	}
	h.frames = append(h.frames, f)
	h.bytes += len(f.Data)
}

// write sends a frame. After a pause in which the device was closed the stream's
// clock has to move on by the time that has passed, or the receiver would take
// all that follows for late. past says that the frame is one of many that are there at once.
func (s *Session) write(ctx context.Context, snd *sender, f device.EncodedFrame, past bool) error {
	now := s.b.cfg.Now()
	gap := f.Duration
	if passed := now.Sub(snd.last); !snd.last.IsZero() && passed > gap+time.Second {
		gap = passed
	}
	snd.last = now
	wait := func(int) {}
	rate := paceFactor * s.wish(s.Stats().Bitrate)
	if rate == 0 && past {
		rate = burstRate
	}
	if rate > 0 && snd.kind == "video" {
		wait = func(size int) { pause(ctx, time.Duration(size*8)*time.Second/time.Duration(rate)) }
	}
	if err := snd.track.write(s.conforming(snd, f), gap, wait); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		// The network may be gone for a moment; the connection's state will tell.
		s.log.Debug("bridge: a frame could not be sent", "error", err)
		return nil
	}
	s.deviceWorks(snd.kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	if snd.kind == "audio" {
		s.stats.AudioSent++
	} else {
		s.stats.VideoSent++
	}
	return nil
}

// conforming is a frame as it was promised to the peer.
func (s *Session) conforming(snd *sender, f device.EncodedFrame) []byte {
	if snd.kind != "video" || !f.Key || snd.track.chosen() != string(device.H264) {
		return f.Data
	}
	s.learn(f)
	s.mu.Lock()
	terms := s.terms
	s.mu.Unlock()
	if terms == nil {
		return f.Data
	}
	return terms.conform(f.Data)
}

// deviceFailed tells the peer that a stream stands still, and reports at the first attempt if
// none of those that it wants can be had.
func (s *Session) deviceFailed(kind string, first bool) {
	s.mu.Lock()
	s.failed[kind] = true
	all := first
	for k := range s.wanted {
		all = all && s.failed[k]
	}
	nothing := s.stats.AudioSent+s.stats.VideoSent == 0
	s.mu.Unlock()
	s.retell()
	if all && nothing {
		s.report(call.MediaFailed{})
	}
}

// deviceWorks tells the peer that a stream goes on.
func (s *Session) deviceWorks(kind string) {
	s.mu.Lock()
	failed := s.failed[kind]
	delete(s.failed, kind)
	s.mu.Unlock()
	if failed {
		s.retell()
	}
}

// askKey notes that the peer needs a key frame.
func (snd *sender) askKey() {
	snd.mu.Lock()
	snd.wantKey = true
	snd.mu.Unlock()
}

// dueKey passes the wish for a key frame on, at most once in keyFrameInterval.
func (snd *sender) dueKey(now func() time.Time, count func()) {
	snd.mu.Lock()
	defer snd.mu.Unlock()
	if !snd.wantKey || snd.video == nil || now().Sub(snd.keyAt) < keyFrameInterval {
		return
	}
	snd.wantKey = false
	snd.keyAt = now()
	snd.video.RequestKeyFrame()
	count()
}

func (s *Session) countKey() {
	s.mu.Lock()
	s.stats.KeyFrames++
	s.mu.Unlock()
}

// readFeedback reads what the receiver of our stream says. The interceptors that
// repeat lost packets live off this reading too.
func (s *Session) readFeedback(snd *sender) {
	for {
		packets, _, err := snd.rtp.ReadRTCP()
		if err != nil {
			return // the connection is closed
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				if snd.kind == "video" {
					snd.askKey()
					snd.dueKey(s.b.cfg.Now, s.countKey)
				}
			default:
				s.feedback(p)
			}
		}
	}
}
