package bridge

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"porchlight/voip/call"
	"porchlight/voip/device"
)

// nhekoSent is the description and the candidates that nheko 0.11.3 sent in one call, as
// voip/call reads them.
func nhekoSent(t *testing.T, name string) (description string, candidates []call.Candidate) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "call", "testdata", "nheko", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		content, err := call.Parse(e.Type, e.Content)
		if err != nil {
			t.Fatal(err)
		}
		switch c := content.(type) {
		case *call.Invite:
			description = c.Offer.SDP
		case *call.AnswerEvent:
			description = c.Answer.SDP
		case *call.Candidates:
			candidates = c.Candidates
		}
	}
	return description, candidates
}

var (
	onlyVP8  = []device.VideoCodec{device.VP8}
	h264Best = []device.VideoCodec{device.H264, device.VP8}
)

// TestNhekoOffers: the board answers what GStreamer's webrtcbin offers. Its second section
// has port 0 and is bundle-only, which is not refused; it names Opus in capitals, knows no
// picture but VP8, and its sections have mids of letters.
//
// spec: RFC 9143 7.1.2
func TestNhekoOffers(t *testing.T) {
	for _, c := range []struct {
		name         string
		camera       []device.VideoCodec
		want         string
		audio, video string // what the board sends
	}{
		{"call_voice", onlyVP8, "audio 9 111 audio0 sendrecv OPUS/48000/2", "opus", ""},
		{"call_video", onlyVP8, "audio 9 111 audio0 sendrecv OPUS/48000/2\nvideo 9 96 video1 sendrecv VP8/90000", "opus", "VP8"},
		{"call_video", h264Best, "audio 9 111 audio0 sendrecv OPUS/48000/2\nvideo 9 96 video1 sendrecv VP8/90000", "opus", "VP8"},
		{"call_video", nil, "audio 9 111 audio0 sendrecv OPUS/48000/2\nvideo 9 96 video1 recvonly VP8/90000", "opus", ""},
		{"call_screen", onlyVP8, "audio 9 111 audio0 sendrecv OPUS/48000/2\nvideo 9 96 video1 recvonly VP8/90000", "opus", ""},
	} {
		m := newMedia()
		m.video = c.camera
		s := open(t, m, nil)
		offer, _ := nhekoSent(t, c.name)
		answer, err := s.Accept(t.Context(), offer)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := digest(t, answer); got != c.want {
			t.Errorf("%s, camera %v:\n got %q\nwant %q\n%s", c.name, c.camera, got, c.want, answer)
		}
		if st := s.Stats(); st.AudioCodec != c.audio || st.VideoCodec != c.video {
			t.Errorf("%s, camera %v: the board sends %q and %q", c.name, c.camera, st.AudioCodec, st.VideoCodec)
		}
	}
}

// TestNhekoAnswers: the board takes nheko's answers to its offers, and all its candidates,
// whose sdpMid is empty.
func TestNhekoAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		camera []device.VideoCodec
		video  string // what the board sends
	}{
		{"answer_voice", nil, ""},
		{"answer_watching", onlyVP8, "VP8"},
		{"answer_watching", h264Best, "VP8"},
		{"answer_video", onlyVP8, "VP8"},
	} {
		var useless atomic.Bool
		m := newMedia()
		m.video = c.camera
		s := open(t, m, func(cfg *Config) {
			replace := func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.MessageKey && strings.Contains(a.Value.String(), "of no use") {
					useless.Store(true)
				}
				return a
			}
			cfg.Log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: replace}))
		})
		offer, err := s.Offer(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(offer, "opus/48000") || len(c.camera) > 0 && !strings.Contains(offer, "VP8/90000") {
			t.Errorf("%s: nheko refuses an offer without Opus, or with pictures but without VP8:\n%s", c.name, offer)
		}
		answer, candidates := nhekoSent(t, c.name)
		s.AddCandidates(candidates[:4]) // some are early
		if err := s.ApplyAnswer(answer); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		s.AddCandidates(candidates[4:])
		if st := s.Stats(); st.AudioCodec != "opus" || st.VideoCodec != c.video {
			t.Errorf("%s, camera %v: the board sends %q and %q", c.name, c.camera, st.AudioCodec, st.VideoCodec)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if useless.Load() {
			t.Errorf("%s: candidates were passed over", c.name)
		}
	}
}

// digest is a line for each media section: kind, port, payload types, mid, direction, codecs.
func digest(t *testing.T, sdp string) string {
	t.Helper()
	sections, err := parseSDP(sdp)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range sections[1:] {
		fields := strings.Fields(strings.TrimPrefix(s.lines[0], "m="))
		mid, codecs := "", []string{}
		for _, l := range s.lines {
			if rest, ok := strings.CutPrefix(l, "a=mid:"); ok {
				mid = rest
			}
			if rest, ok := strings.CutPrefix(l, "a=rtpmap:"); ok {
				_, codec, _ := strings.Cut(rest, " ")
				codecs = append(codecs, codec)
			}
		}
		line := append([]string{fields[0], fields[1]}, fields[3:]...)
		line = append(line, mid, strings.TrimPrefix(s.dir.line(), "a="))
		out = append(out, strings.Join(append(line, codecs...), " "))
	}
	return strings.Join(out, "\n")
}
