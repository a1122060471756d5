package bridge

import (
	"strings"
	"testing"
)

func TestNarrow(t *testing.T) {
	head := "v=0\r\ns=-\r\n"
	sec := func(kind, port, dir string) string {
		s := "m=" + kind + " " + port + " UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
		if dir != "" {
			s += "a=" + dir + "\r\n"
		}
		return s
	}
	for _, c := range []struct{ name, offer, answer, want string }{
		{"talk", sec("audio", "9", "sendrecv"), sec("audio", "9", "sendrecv"), sec("audio", "9", "sendrecv")},
		{"silence means sendrecv", sec("audio", "9", ""), sec("audio", "9", "sendrecv"), sec("audio", "9", "sendrecv")},
		{"hold", sec("audio", "9", "sendonly"), sec("audio", "9", "sendrecv"), sec("audio", "9", "recvonly")},
		{"hold of both", sec("audio", "9", "inactive"), sec("audio", "9", "sendrecv"), sec("audio", "9", "inactive")},
		{"watch only", sec("video", "9", "recvonly"), sec("video", "9", "sendrecv"), sec("video", "9", "sendonly")},
		{"watch only, nothing to see", sec("video", "9", "recvonly"), sec("video", "9", "recvonly"), sec("video", "9", "inactive")},
		{"a section at a time", sec("audio", "9", "sendrecv") + sec("video", "9", "recvonly"),
			sec("audio", "9", "sendrecv") + sec("video", "9", "sendrecv"), sec("audio", "9", "sendrecv") + sec("video", "9", "sendonly")},
		{"ended", sec("video", "0", "sendrecv"), sec("video", "9", "sendrecv"), sec("video", "0", "inactive")},
		{"bundle-only is not ended", sec("video", "0", "sendrecv") + "a=bundle-only\r\n", sec("video", "9", "sendrecv"), sec("video", "9", "sendrecv")},
		{"data", sec("application", "9", ""), sec("application", "9", ""), sec("application", "9", "")},
		{"for the whole session", "a=sendonly\r\n" + sec("audio", "9", ""), sec("audio", "9", "sendrecv"), sec("audio", "9", "recvonly")},
	} {
		offer, err := parseSDP(head + c.offer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := narrow(head+c.answer, offer)
		if err != nil || got != head+c.want {
			t.Errorf("%s: %v\n got %q\nwant %q", c.name, err, got, head+c.want)
		}
		if strings.Contains(widen(offer), "only\r\n") && !strings.Contains(c.offer, "bundle-only") || strings.Contains(widen(offer), "inactive") {
			t.Errorf("%s: not widened: %q", c.name, widen(offer))
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

// FuzzSDP: no text breaks the splitting, and what was written out reads the same.
func FuzzSDP(f *testing.F) {
	f.Add("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 111\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n", "v=0\nm=video 0 X 96\na=inactive")
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
			}
		}
		widen(sections)
		narrowed, err := narrow(answer, sections)
		if err != nil {
			return
		}
		again, err := narrow(narrowed, sections)
		if err == nil && again != narrowed {
			t.Fatalf("narrowing twice: %q, then %q", narrowed, again)
		}
	})
}
