package bridge

import (
	"fmt"
	"slices"
	"strings"

	"porchlight/voip/call"
)

// maxSections bounds the media sections of a description.
const maxSections = 32

// direction is that of a media section, as its author sees it.
type direction uint8

const (
	sends    direction = 1
	receives direction = 2
)

var directions = map[string]direction{
	"a=inactive": 0, "a=sendonly": sends, "a=recvonly": receives, "a=sendrecv": sends | receives,
}

func (d direction) line() string {
	return [...]string{"a=inactive", "a=sendonly", "a=recvonly", "a=sendrecv"}[d&3]
}

// reverse is the same as the other side sees it.
func (d direction) reverse() direction { return d>>1&1 | d<<1&2 }

// section is one media section of a description, or what stands before the first.
type section struct {
	lines []string
	kind  string // "audio", "video", "application"; empty before the first
	dir   direction
	off   bool // refused or ended: port 0
}

// parseSDP splits a description at its media sections. Whether it is a valid one
// is for pion to find out.
func parseSDP(text string) ([]section, error) {
	if len(text) > call.MaxSDPBytes {
		return nil, fmt.Errorf("bridge: a description of %d bytes", len(text))
	}
	sections := []section{{dir: sends | receives}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "m="); ok {
			fields := strings.Fields(rest)
			if len(fields) < 3 || len(sections) > maxSections {
				return nil, fmt.Errorf("bridge: a description with a broken or superfluous media section")
			}
			sections = append(sections, section{kind: fields[0], dir: sections[0].dir, off: fields[1] == "0"})
		}
		s := &sections[len(sections)-1]
		if d, ok := directions[line]; ok {
			s.dir = d
			continue // written anew by joinSDP
		}
		if line == "a=bundle-only" {
			s.off = false
		}
		if line != "" {
			s.lines = append(s.lines, line)
		}
	}
	return sections, nil
}

// iceUfrag is the first name that a description gives for ICE; a new one is a restart.
func iceUfrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	ufrag, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(ufrag)
}

// joinSDP writes the sections out again.
func joinSDP(sections []section) string {
	var out strings.Builder
	for _, s := range sections {
		for _, l := range s.lines {
			out.WriteString(l + "\r\n")
		}
		if s.kind == "audio" || s.kind == "video" {
			out.WriteString(s.dir.line() + "\r\n")
		}
	}
	return out.String()
}

// widen makes all sections sendrecv. Pion is never told that a side holds: it
// would answer a hold with sendrecv, and end a section for good that was inactive.
func widen(sections []section) string {
	wide := slices.Clone(sections)
	for i := range wide {
		wide[i].dir = sends | receives
	}
	return joinSDP(wide)
}

// live is the first section of a kind that is not off, if there is one.
func live(sections []section, kind string) (section, bool) {
	for _, s := range sections {
		if s.kind == kind && !s.off {
			return s, true
		}
	}
	return section{}, false
}

// names says whether the section names a codec. Two of them have payload types
// that need no name.
func (s section) names(codec string) bool {
	static := map[string]string{"PCMU": "0", "PCMA": "8"}[codec]
	if static != "" && slices.Contains(strings.Fields(s.lines[0])[3:], static) {
		return true
	}
	for _, l := range s.lines {
		if rest, ok := strings.CutPrefix(l, "a=rtpmap:"); ok {
			_, name, _ := strings.Cut(rest, " ")
			name, _, _ = strings.Cut(name, "/")
			if strings.EqualFold(name, codec) {
				return true
			}
		}
	}
	return false
}
