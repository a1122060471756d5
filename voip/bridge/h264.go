package bridge

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"porchlight/voip/device"
)

// A peer says which H.264 it can decode, and a camera that codes by itself says in its stream
// which one it makes. Only where these agree is H.264 answered and sent. Pion compares such
// things by their letters, so that it is shown one and the same form always.

const (
	// plainH264 is the one form in which pion knows H.264.
	plainH264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	// formatTime is how long a description waits for the camera's first picture, if it is not
	// known yet what the camera makes: once after the start of the program.
	formatTime = 3 * time.Second
)

// The profiles of H.264 that matter, by the first byte of profile-level-id.
const (
	profileBaseline = 66
	profileMain     = 77
	profileHigh     = 100
	// constrainedHigh are the constraints of High without what is of no use in calls: fields,
	// and pictures in another order.
	constrainedHigh = 0x0c
	// likeBaseline is the constraint by which a stream of another profile is one of Baseline, too.
	likeBaseline = 0x80
)

// h264Terms are what a payload type stands for.
type h264Terms struct {
	profile, constraints, level byte
	asymmetric                  bool // each side may send on a level of its own
	fragments                   bool // packetization-mode 1: pictures may be cut in pieces
}

// readTerms reads an fmtp line; what it does not say is as the standard has it. It says
// whether the line makes sense.
//
// spec: RFC 6184 section 8.1
func readTerms(fmtp string) (t h264Terms, ok bool) {
	id := "42000a"
	for p := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(name) {
		case "profile-level-id":
			id = value
		case "level-asymmetry-allowed":
			t.asymmetric = value == "1"
		case "packetization-mode":
			t.fragments = value == "1"
		}
	}
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 3 {
		return t, false
	}
	t.profile, t.constraints, t.level = b[0], b[1], b[2]
	return t, true
}

// takes says whether a stream may be sent under these terms, and how well it fits: 0 best.
// A decoder of one profile also decodes those that are part of it.
//
// spec: RFC 6184 section 8.2.2; ITU-T H.264 section A.2
func (t h264Terms) takes(f device.H264Format) (rank int, ok bool) {
	if !t.fragments || f.Reorders || !t.asymmetric && t.sends(f) > t.level {
		return 0, false
	}
	baseline := f.Profile == profileBaseline || f.Constraints&likeBaseline != 0
	switch t.profile {
	case profileBaseline:
		ok = baseline
	case profileMain:
		ok = baseline || f.Profile == profileMain
	case profileHigh:
		ok = baseline || f.Profile == profileMain || f.Profile == profileHigh
		if t.constraints&constrainedHigh == constrainedHigh {
			rank++ // most streams of High are of this kind, but do not say so
			ok = ok && !f.Interlaced
		}
	default:
		ok = f.Profile == t.profile && f.Constraints == t.constraints
	}
	if f.Profile != t.profile {
		rank += 2
	}
	if t.level < f.Level {
		rank += 4
	}
	return rank, ok
}

// sends is the level that a stream is sent on under these terms: a lower one than it states,
// if the peer has asked for that and the stream keeps to it.
func (t h264Terms) sends(f device.H264Format) byte {
	if f.Level > t.level && f.Need <= t.level {
		return t.level
	}
	return f.Level
}

// fmtp is what our side says of a stream that it sends under these terms.
func (t h264Terms) fmtp(f device.H264Format) string {
	mine := "packetization-mode=1;profile-level-id=" + hex.EncodeToString([]byte{t.profile, t.constraints, t.sends(f)})
	if t.asymmetric {
		return "level-asymmetry-allowed=1;" + mine
	}
	return mine
}

// conform makes a key frame state what was promised, where it keeps to that and only does not
// say so.
func (t h264Terms) conform(data []byte) []byte {
	f, ok := device.ReadH264Format(data)
	if !ok {
		return data
	}
	constraints := f.Constraints
	if _, fits := t.takes(f); fits && f.Profile == t.profile {
		constraints |= t.constraints
	}
	return device.WithH264Format(data, constraints, t.sends(f))
}

// offered is what our offers say of a stream: Baseline is called by the name that all know.
func offeredTerms(f device.H264Format) h264Terms {
	t := h264Terms{f.Profile, f.Constraints, f.Level, true, true}
	if t.profile == profileBaseline {
		t.constraints |= 0xe0
	}
	return t
}

// camera is a stream of H.264 that was opened to see what it is. Whoever sends it takes it
// over, so that the camera need not start twice.
type camera struct {
	device.VideoStream
	first *device.EncodedFrame // read already
}

// ReadFrame implements device.VideoStream.
func (c *camera) ReadFrame(ctx context.Context) (device.EncodedFrame, error) {
	if f := c.first; f != nil {
		c.first = nil
		return *f, nil
	}
	return c.VideoStream.ReadFrame(ctx)
}

// cameraFormat is what the camera's H.264 is; false if that cannot be found out. The caller
// holds negotiating.
func (s *Session) cameraFormat(ctx context.Context) (device.H264Format, bool) {
	if f := s.b.format.Load(); f != nil {
		return *f, true
	}
	ctx, cancel := context.WithTimeout(ctx, formatTime)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	v, err := s.b.cfg.Media.OpenVideo(ctx, device.H264)
	if err != nil {
		s.log.Info("bridge: it cannot be told which H.264 the camera makes", "error", err)
		return device.H264Format{}, false
	}
	f, err := v.ReadFrame(ctx)
	if err == nil {
		s.learn(f)
		c := &camera{v, &f}
		s.letGo(s.opened264.Swap(c))
	} else {
		s.log.Info("bridge: it cannot be told which H.264 the camera makes", "error", err)
		s.letGo(&camera{VideoStream: v})
	}
	format := s.b.format.Load()
	if format == nil {
		return device.H264Format{}, false
	}
	return *format, true
}

// learn remembers what the camera makes.
func (s *Session) learn(f device.EncodedFrame) {
	if !f.Key {
		return
	}
	if format, ok := device.ReadH264Format(f.Data); ok {
		if before := s.b.format.Load(); before == nil || *before != format {
			s.b.format.Store(&format)
		}
	}
}

// letGo closes a stream that nobody has taken over; nil is none.
func (s *Session) letGo(c *camera) {
	if c == nil {
		return
	}
	if err := c.Close(); err != nil {
		s.log.Debug("bridge: closing a device", "error", err)
	}
}
