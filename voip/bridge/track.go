package bridge

import (
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/device"
)

const (
	// payloadMTU leaves room for RTP, SRTP, UDP and IP in a packet of any network.
	payloadMTU = 1180
	// maxFrameGap bounds the time between two frames in the stream's clock.
	maxFrameGap = time.Minute
)

// track is our side of a media section. It is a webrtc.TrackLocal of its own
// since which codec it has is known only when both sides have been heard, and
// since each packet of the picture carries the playout delay.
type track struct {
	kind   webrtc.RTPCodecType
	stream string
	wish   []string // codecs that the devices have, the best first
	delay  []byte   // the playout-delay extension

	mu        sync.Mutex
	codec     string // as in wish; empty: not bound, or no common codec
	clock     uint32
	header    rtp.Header
	delayID   uint8
	payloader rtp.Payloader
	writer    webrtc.TrackLocalWriter
	timestamp float64 // in ticks, with the fraction that rounding leaves
	sequence  uint16
}

// Bind chooses the codec. Without a common one the track stays silent, which is
// no reason to fail the other tracks.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	params := c.CodecParameters()
	if len(params) == 0 {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	t.codec = ""
	chosen := params[0]
	for _, wish := range t.wish {
		if p, ok := findCodec(params, wish); ok {
			t.codec, chosen = wish, p
			break
		}
	}
	t.clock = chosen.ClockRate
	t.writer = c.WriteStream()
	t.header = rtp.Header{Version: 2, PayloadType: uint8(chosen.PayloadType), SSRC: uint32(c.SSRC())}
	t.payloader = newPayloader(t.codec)
	t.delayID = 0
	for _, e := range c.HeaderExtensions() {
		if e.URI == playoutDelayURI && t.kind == webrtc.RTPCodecTypeVideo {
			t.delayID = uint8(e.ID)
		}
	}
	return chosen, nil
}

func findCodec(params []webrtc.RTPCodecParameters, name string) (webrtc.RTPCodecParameters, bool) {
	for _, p := range params {
		_, mime, _ := strings.Cut(p.MimeType, "/")
		if strings.EqualFold(mime, name) &&
			(name != string(device.H264) || strings.Contains(p.SDPFmtpLine, "packetization-mode=1")) {
			return p, true
		}
	}
	return webrtc.RTPCodecParameters{}, false
}

func newPayloader(codec string) rtp.Payloader {
	switch codec {
	case string(device.VP8):
		return &codecs.VP8Payloader{EnablePictureID: true}
	case string(device.H264):
		return &codecs.H264Payloader{}
	case string(device.Opus):
		return &codecs.OpusPayloader{}
	}
	return &codecs.G711Payloader{}
}

// Unbind is that of webrtc.TrackLocal.
func (t *track) Unbind(webrtc.TrackLocalContext) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.codec, t.writer = "", nil
	return nil
}

// ID is unique within the stream.
func (t *track) ID() string { return t.kind.String() }

// RID is that of webrtc.TrackLocal; there is no simulcast.
func (t *track) RID() string { return "" }

// StreamID is the same for picture and sound: receivers show the first stream
// only. spec: MSC2746 define the configurations of WebRTC streams and tracks
func (t *track) StreamID() string { return t.stream }

// Kind is audio or video.
func (t *track) Kind() webrtc.RTPCodecType { return t.kind }

// chosen is the codec that both sides have; empty if there is none yet.
func (t *track) chosen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.codec
}

// write sends one frame, gap after the one before. wait is called after each packet with its
// size in bytes, for lines on which packets must not follow each other too fast.
func (t *track) write(data []byte, gap time.Duration, wait func(size int)) error {
	t.mu.Lock()
	if t.writer == nil || t.codec == "" {
		t.mu.Unlock()
		return nil
	}
	// Wrapping at 2^32 is left to the conversion below; a float holds the ticks of
	// some thousand years exactly.
	t.timestamp += min(max(gap, 0), maxFrameGap).Seconds() * float64(t.clock)
	timestamp := uint32(uint64(t.timestamp))
	payloads := t.payloader.Payload(payloadMTU, data)
	t.mu.Unlock()
	for i, p := range payloads {
		// What comes after a silence begins a new spurt of talk. RFC 3551, 4.1
		marker := t.kind == webrtc.RTPCodecTypeAudio && gap > device.PacketDuration
		if t.kind == webrtc.RTPCodecTypeVideo {
			marker = i == len(payloads)-1
		}
		if err := t.writePacket(p, timestamp, marker); err != nil {
			return err
		}
		wait(len(p))
	}
	return nil
}

func (t *track) writePacket(payload []byte, timestamp uint32, marker bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writer == nil {
		return nil
	}
	h := t.header
	h.SequenceNumber, h.Timestamp, h.Marker = t.sequence, timestamp, marker
	if t.delayID != 0 {
		if err := h.SetExtension(t.delayID, t.delay); err != nil {
			return err
		}
	}
	t.sequence++
	_, err := t.writer.WriteRTP(&h, payload)
	return err
}
