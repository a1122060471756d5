package bridge

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// answerTo is what becomes of pion's answer to an offer, where the board has all that it takes.
func answerTo(offer, answer string) (view, text string, err error) {
	s := &Session{b: &Bridge{cfg: Config{Media: newMedia()}}}
	p, err := s.propose(context.Background(), offer)
	if err != nil {
		return "", "", err
	}
	text, err = p.answer(answer, map[string]bool{"audio": true, "video": true})
	return widen(p.view), text, err
}

func TestAnswerDirections(t *testing.T) {
	head := "v=0\r\ns=-\r\n"
	group := "a=group:BUNDLE 1 2\r\n"
	section := func(n int, kind, port, dir string) string {
		s := fmt.Sprintf("m=%s %s UDP/TLS/RTP/SAVPF 96\r\na=mid:%d\r\n", kind, port, n)
		if kind == "application" {
			s = strings.Replace(s, "RTP/SAVPF", "SCTP", 1)
		}
		if dir != "" {
			s += "a=" + dir + "\r\n"
		}
		return s
	}
	refused := "m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=inactive\r\n"
	for _, c := range []struct{ name, offer, answer, want string }{
		{"talk", section(1, "audio", "9", "sendrecv"), section(1, "audio", "9", "sendrecv"), section(1, "audio", "9", "sendrecv")},
		{"silence means sendrecv", section(1, "audio", "9", ""), section(1, "audio", "9", "sendrecv"), section(1, "audio", "9", "sendrecv")},
		{"hold", section(1, "audio", "9", "sendonly"), section(1, "audio", "9", "sendrecv"), section(1, "audio", "9", "recvonly")},
		{"hold of both", section(1, "audio", "9", "inactive"), section(1, "audio", "9", "sendrecv"), section(1, "audio", "9", "inactive")},
		{"watch only", section(1, "video", "9", "recvonly"), section(1, "video", "9", "sendrecv"), section(1, "video", "9", "sendonly")},
		{"watch only, nothing to see", section(1, "video", "9", "recvonly"), section(1, "video", "9", "recvonly"), section(1, "video", "9", "inactive")},
		{"a section at a time", section(1, "audio", "9", "sendrecv") + section(2, "video", "9", "recvonly"),
			section(1, "audio", "9", "sendrecv") + section(2, "video", "9", "sendrecv"), section(1, "audio", "9", "sendrecv") + section(2, "video", "9", "sendonly")},
		{"ended", section(1, "video", "0", "sendrecv"), section(1, "video", "9", "sendrecv"), refused},
		{"bundle-only is not ended", section(1, "video", "0", "sendrecv") + "a=bundle-only\r\n", section(1, "video", "9", "sendrecv"), section(1, "video", "9", "sendrecv")},
		{"data", section(1, "application", "9", ""), section(1, "application", "9", ""), section(1, "application", "9", "")},
		{"for the whole session", "a=sendonly\r\n" + section(1, "audio", "9", ""), section(1, "audio", "9", "sendrecv"), section(1, "audio", "9", "recvonly")},
	} {
		view, got, err := answerTo(head+group+c.offer, head+c.answer)
		if err != nil || got != head+c.want {
			t.Errorf("%s: %v\n got %q\nwant %q", c.name, err, got, head+c.want)
		}
		if strings.Contains(view, "only\r\n") && !strings.Contains(c.offer, "bundle-only") || strings.Contains(view, "inactive") {
			t.Errorf("%s: not widened: %q", c.name, view)
		}
	}
}

func TestNames(t *testing.T) {
	sections, err := parseSDP("m=audio 9 X 0 111\r\na=rtpmap:111 OPUS/48000/2\r\n")
	if err != nil {
		t.Fatal(err)
	}
	at, ok := live(sections, "audio")
	if !ok || !at.names("opus") || !at.names("PCMU") || at.names("PCMA") || at.names("VP8") {
		t.Errorf("%+v", at)
	}
}

// FuzzSDP: no text breaks the splitting, pion is shown only what it knows, and the answer has
// the sections of the offer: as many, of the same kinds, in the same order.
func FuzzSDP(f *testing.F) {
	f.Add("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 111\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n", "v=0\nm=audio 0 X 96\na=inactive")
	f.Add("v=0\r\na=group:BUNDLE a b\r\nm=text 9 X 1\r\nm=video 9 Y 102 103\r\na=mid:b\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n", "v=0\nm=video 9 X 102\na=candidate:1")
	f.Add("m= a b c\r\n", "m=audio 9 X")
	f.Fuzz(func(t *testing.T, offer, answer string) {
		sections, err := parseSDP(offer)
		if err != nil {
			return
		}
		for _, s := range sections {
			if s.kind != "" {
				s.names("PCMU")
				s.names("VP8")
				readTerms(s.about("fmtp", "102"))
			}
		}
		view, text, err := answerTo(offer, answer)
		for line := range strings.Lines(view) {
			if strings.HasPrefix(line, "m=") && !strings.HasPrefix(line, "m=audio ") && !strings.HasPrefix(line, "m=video ") && !strings.HasPrefix(line, "m=application ") {
				t.Fatalf("pion is shown %q", line)
			}
		}
		if err != nil {
			return
		}
		again, err := parseSDP(text)
		if err != nil {
			t.Fatalf("an answer that cannot be read: %v\n%s", err, text)
		}
		if len(again) != len(sections) {
			t.Fatalf("%d sections in the answer to %d", len(again)-1, len(sections)-1)
		}
	})
}
