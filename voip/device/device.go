package device

import (
	"context"
	"errors"
	"image"
	"log/slog"
	"time"
)

// VideoCodec names a way to code pictures, as SDP spells it.
type VideoCodec string

// The video codecs of this package.
const (
	VP8  VideoCodec = "VP8"
	H264 VideoCodec = "H264"
)

// AudioCodec names a way to code sound, as SDP spells it.
type AudioCodec string

// The audio codecs of this package.
const (
	Opus AudioCodec = "opus"
	PCMU AudioCodec = "PCMU"
	PCMA AudioCodec = "PCMA"
)

// PacketDuration is the length of sound in each packet of an AudioStream.
const PacketDuration = 20 * time.Millisecond

var (
	// ErrUnsupported says that this board cannot make or play the codec asked for.
	ErrUnsupported = errors.New("device: codec not supported by this board")
	// ErrBusy says that the hardware is in use in a way that excludes the one
	// asked for, such as a camera that gives only one format at a time.
	ErrBusy = errors.New("device: in use")
	// ErrClosed says that the stream, the speaker or the board has been closed.
	ErrClosed = errors.New("device: closed")
)

// EncodedFrame is one access unit: a VP8 frame, the NAL units of one H.264
// picture as Annex B, or one audio packet.
type EncodedFrame struct {
	// Data belongs to the reader, but is shared with the other readers of the
	// same stream: it must not be changed.
	Data []byte
	// Duration is the time since the frame before in the same stream, the
	// frames that were dropped between them included.
	Duration time.Duration
	// Key is true if the frame can be decoded without any before it.
	Key bool
	// picture is set in frames of plain pictures, which have no Data.
	picture *image.YCbCr
}

// VideoStream is one viewer's sight of the camera. The first frame is a key frame.
type VideoStream interface {
	// ReadFrame blocks until there is a frame, ctx ends, or the source fails.
	// After Close it returns ErrClosed. Only one goroutine may read at a time.
	ReadFrame(ctx context.Context) (EncodedFrame, error)
	// RequestKeyFrame asks for a frame that stands for itself. Requests are
	// merged: there is at most one such frame a second.
	RequestKeyFrame()
	// SetBitrate tells how many bits per second this viewer can take. The
	// encoder is shared and follows the viewer with the least, but not further
	// below what the best of them can take than to a third: a viewer on a bad line
	// must not ruin the picture of all others, and has to leave pictures out. 0
	// takes the wish back.
	SetBitrate(bitsPerSecond int)
	// Close ends the stream and wakes its reader. The last one stops the camera.
	Close() error
	Codec() VideoCodec
}

// AudioStream is one listener's ear at the microphone, in packets of PacketDuration.
type AudioStream interface {
	// ReadPacket blocks until there is a packet, ctx ends, or the source fails.
	// After Close it returns ErrClosed. Only one goroutine may read at a time.
	ReadPacket(ctx context.Context) (EncodedFrame, error)
	// SetLoss tells which fraction of the packets this listener misses. The encoder
	// is shared and prepares for the listener who misses most, as far as its
	// codec can.
	SetLoss(fraction float64)
	// Close ends the stream and wakes its reader. The last one stops the microphone.
	Close() error
	Codec() AudioCodec
}

// AudioPacket is one packet of a caller's sound as it came from the network.
type AudioPacket struct {
	Codec AudioCodec
	// Source tells streams apart, Sequence and Timestamp the place in the stream. They are
	// those of RTP: the timestamp counts 48,000 in a second of Opus and 8,000 of G.711.
	Source    uint32
	Sequence  uint16
	Timestamp uint32
	// Payload must not be changed afterwards.
	Payload []byte
}

// Speaker plays what one caller says: evenly, however unevenly the packets come, and with
// losses repaired or concealed.
type Speaker interface {
	// Write takes one packet as soon as it has come, late and out of order as it may be. It
	// never blocks. An error is about that packet only, and tells of a codec that is not
	// supported, or of a payload without a sensible size.
	Write(p AudioPacket) error
	// Level is the loudness of the last 100 ms that were played, as RMS in decibels
	// relative to full scale (0 for a full square wave, SilenceLevel for silence),
	// and the time of the last Write; zero if there was none.
	Level() (dBFS float64, at time.Time)
	// Meter tells more than Level of the same stretch.
	Meter() Meter
	// Close stops the sound.
	Close() error
}

// SilenceLevel is the level, in dBFS, that stands for perfect silence.
const SilenceLevel = -120.0

// Meter is what a Speaker measured on what it was given.
type Meter struct {
	// Level is the RMS of the last 100 ms in dBFS.
	Level float64
	// ToneHz is an estimate of the dominant frequency of the last 100 ms in
	// hertz, good to some 5 Hz for a clean tone; 0 in silence.
	ToneHz float64
	// Packets counts the packets decoded, Failed those that could not be, Lost those that
	// never came and of these Recovered those that a later one told of, and Dropped those
	// that came too late, twice, or beyond all bounds.
	Packets, Failed, Lost, Recovered, Dropped uint64
	// Concealed counts stretches of up to 20 ms that were made up, pauses of the sender
	// included.
	Concealed uint64
	// Delay is by how much later than at the earliest the sound is played at the moment, to
	// even out what comes unevenly.
	Delay time.Duration
	// At is when the last packet was written.
	At time.Time
}

// Names that Config.Camera, Config.Microphone and Config.Loudspeaker know
// besides the devices' own.
const (
	// Auto takes the first device found, else the stand-in.
	Auto = "auto"
	// Test is the moving test picture or the test tone.
	Test = "test"
	// MeterOnly is the loudspeaker that only measures.
	MeterOnly = "meter"
	// None is no such device at all.
	None = "none"
)

// Config says which devices a Board uses. The zero value is usable.
type Config struct {
	// Camera is Auto (also the empty string), Test, None, a path such as "/dev/video0", or a
	// command for the shell that writes video to its output while somebody watches: after
	// "h264:" one that writes H.264 (Annex B), after "mjpeg:" JPEG pictures. The command finds
	// WIDTH, HEIGHT, FPS and BITRATE (in bits per second) in its environment.
	Camera string
	// Microphone is Auto (also the empty string), Test, None or "hw:CARD,DEVICE".
	Microphone string
	// Loudspeaker is Auto (also the empty string), MeterOnly (also Test), None or "hw:CARD,DEVICE".
	Loudspeaker string

	// Width and Height are those wanted of the picture, in pixels: 640×480 if
	// zero. They must be even. A camera may give others.
	Width, Height int
	// FPS is the number of pictures a second: 15 if zero.
	FPS int
	// Bitrate of the picture in bits per second: 500,000 if zero.
	Bitrate int
	// CPUUsed is libvpx's trade of quality for speed, from -16 (fastest) to -1:
	// if zero, -12 on ARM and -8 elsewhere.
	CPUUsed int

	// Live is told when camera or microphone begin to run, for whatever purpose, and when
	// none runs any more: for a light that nobody can keep dark. It must not block; nil
	// is told nothing.
	Live func(on bool)
	// Watched is told when the camera begins to run and when it ends, for a lamp that is of
	// use only then. It must not block; nil is told nothing.
	Watched func(on bool)
	// Log takes what happens to the devices; nil discards it.
	Log *slog.Logger
	// Now is the clock that is burnt into the test picture; nil is time.Now.
	Now func() time.Time
}
