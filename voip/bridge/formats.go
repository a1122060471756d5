package bridge

import (
	"slices"
	"strings"
)

// formats are the payload types of a section.
func (s section) formats() []string { return strings.Fields(s.lines[0])[3:] }

// about is what a section says of a payload type in lines of one kind, such as "fmtp".
func (s section) about(kind, format string) string {
	for _, l := range s.lines {
		if rest, ok := strings.CutPrefix(l, "a="+kind+":"+format+" "); ok {
			return rest
		}
	}
	return ""
}

// codec is the name of a payload type's codec; empty if the section does not say.
func (s section) codec(format string) string {
	name, _, _ := strings.Cut(s.about("rtpmap", format), "/")
	return name
}

// coded are the payload types of a codec.
func (s section) coded(codec string) (list []string) {
	for _, f := range s.formats() {
		if strings.EqualFold(s.codec(f), codec) {
			list = append(list, f)
		}
	}
	return list
}

// without is the section without some payload types, and without those that repeat them.
func (s section) without(formats []string) section {
	if len(formats) == 0 {
		return s
	}
	drop := slices.Clone(formats)
	for _, f := range s.coded("rtx") {
		for p := range strings.SplitSeq(s.about("fmtp", f), ";") {
			if apt, ok := strings.CutPrefix(strings.TrimSpace(p), "apt="); ok && slices.Contains(formats, apt) {
				drop = append(drop, f)
			}
		}
	}
	head := strings.Fields(s.lines[0])
	kept := slices.DeleteFunc(slices.Clone(head[3:]), func(f string) bool { return slices.Contains(drop, f) })
	lines := []string{strings.Join(append(head[:3:3], kept...), " ")}
	for _, l := range s.lines[1:] {
		about := ""
		for _, kind := range []string{"a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"} {
			if rest, ok := strings.CutPrefix(l, kind); ok {
				about, _, _ = strings.Cut(rest, " ")
			}
		}
		if about == "" || !slices.Contains(drop, about) {
			lines = append(lines, l)
		}
	}
	s.lines = lines
	return s
}

// withFmtp is the section with other words about a payload type; empty ones are left out.
func (s section) withFmtp(format, fmtp string) section {
	var lines []string
	for _, l := range s.lines {
		if strings.HasPrefix(l, "a=fmtp:"+format+" ") {
			continue
		}
		lines = append(lines, l)
		if fmtp != "" && strings.HasPrefix(l, "a=rtpmap:"+format+" ") {
			lines = append(lines, "a=fmtp:"+format+" "+fmtp)
		}
	}
	s.lines = lines
	return s
}

// mid is the section's name; empty if it has none.
func (s section) mid() string {
	for _, l := range s.lines {
		if mid, ok := strings.CutPrefix(l, "a=mid:"); ok {
			return mid
		}
	}
	return ""
}

// drop is the section without the lines that begin so.
func (s section) drop(beginnings ...string) section {
	s.lines = slices.DeleteFunc(slices.Clone(s.lines), func(l string) bool {
		return slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(l, b) })
	})
	return s
}

// with is the section with more lines at its end.
func (s section) with(lines ...string) section {
	s.lines = append(slices.Clip(s.lines), lines...)
	return s
}

// refused is the section as an answer refuses it, with all that a parser may miss.
//
// spec: RFC 3264 section 6
func (s section) refused() section {
	head := strings.Fields(s.lines[0])
	head[1] = "0"
	lines := []string{strings.Join(head, " "), "c=IN IP4 0.0.0.0"}
	for _, l := range s.lines {
		if strings.HasPrefix(l, "a=mid:") || strings.HasPrefix(l, "a=rtpmap:") {
			lines = append(lines, l)
		}
	}
	return section{lines: lines, kind: s.kind, off: true}
}

// known says whether pion has a place for such a section.
func (s section) known() bool {
	proto := strings.ToUpper(strings.Fields(s.lines[0])[2])
	switch s.kind {
	case "audio", "video":
		return true
	case "application":
		return strings.HasSuffix(proto, "SCTP")
	}
	return false
}
