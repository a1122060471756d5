package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"porchlight/voip/device"
)

// errNothing says that an answer would refuse all that was offered.
var errNothing = errors.New("bridge: the offer has nothing that this board can take")

// proposal is the peer's offer: as it came, as pion is shown it, and what it takes to make of
// pion's answer one to the offer that came. Pion knows no section but of sound, pictures and
// data, wants all of them in one bundle and each to have a name, and compares forms of H.264
// by their letters.
type proposal struct {
	offer   []section // as it came, but sections that cannot be had are off; [0] stands before the first
	shown   []int     // places in offer of the sections that pion sees
	view    []section // what it sees, in that order behind what stands before the first
	bundle  bool      // the peer has put its sections in a bundle
	named   []bool    // by place in view: the peer has given the section a name
	codecs  map[string][]string
	formats []h264Choice // by place in view
}

// h264Choice is what becomes of H.264 in a section.
type h264Choice struct {
	format string // the one payload type that pion sees; empty: none
	fmtp   string // what our side says of it; empty: nothing
	terms  *h264Terms
}

// propose reads an offer. The caller holds negotiating.
func (s *Session) propose(ctx context.Context, text string) (*proposal, error) {
	all, err := parseSDP(text)
	if err != nil {
		return nil, err
	}
	if len(all) == 1 {
		return nil, errors.New("bridge: an offer without any media section")
	}
	p := &proposal{offer: slices.Clone(all), codecs: map[string][]string{}}
	for _, kind := range []string{"audio", "video"} {
		p.codecs[kind] = s.deviceCodecs(kind)
	}
	group := ""
	for _, l := range all[0].lines {
		if rest, ok := strings.CutPrefix(l, "a=group:BUNDLE"); ok && !p.bundle {
			p.bundle, group = true, rest
		}
	}
	if !p.bundle {
		s.chooseAlone(p.offer)
	}
	head := all[0].drop("a=group:")
	p.view = []section{head}
	p.formats, p.named = []h264Choice{{}}, []bool{true}
	names := map[string]bool{}
	for i, at := range p.offer[1:] {
		i++
		if !at.known() || !p.bundle && i != s.alone {
			p.offer[i].off = true
			continue
		}
		mid := at.mid()
		named := mid != ""
		for n := i - 1; mid == "" || !named && names[mid]; n++ {
			mid = strconv.Itoa(n)
		}
		if !named {
			at = at.with("a=mid:" + mid)
			group += " " + mid
		}
		if !p.bundle {
			group = " " + mid
		}
		names[mid] = true
		choice := h264Choice{}
		if at.kind == "video" {
			at, choice = s.chooseH264(ctx, p, at)
		}
		p.shown = append(p.shown, i)
		p.view = append(p.view, at)
		p.named = append(p.named, named)
		p.formats = append(p.formats, choice)
	}
	if len(p.shown) == 0 {
		return nil, errNothing
	}
	p.view[0] = head.with("a=group:BUNDLE" + group)
	return p, nil
}

// chooseAlone chooses the one section that is taken of an offer without a bundle: one
// connection carries no more. It stays the same for the whole call.
//
// spec: RFC 8829 section 5.3.1: the first section, as for a bundle of all
func (s *Session) chooseAlone(offer []section) {
	if s.alone > 0 {
		return
	}
	for i, at := range offer {
		if i > 0 && at.known() && !at.off {
			s.alone = i
			return
		}
	}
}

// chooseH264 leaves one payload type of H.264 in a section, or none, and notes what our side
// has to say of it.
func (s *Session) chooseH264(ctx context.Context, p *proposal, at section) (section, h264Choice) {
	offered := at.coded(string(device.H264))
	if len(offered) == 0 {
		p.forget(string(device.H264))
		return at, h264Choice{}
	}
	first, _ := live(p.offer, "video")
	ours := !at.off && first.lines != nil && first.lines[0] == at.lines[0]
	var best h264Choice
	if ours && slices.Contains(p.codecs["video"], string(device.H264)) {
		best = s.matchH264(ctx, at, offered, len(p.codecs["video"]) > 1 && namesAny(at, without(p.codecs["video"], string(device.H264))))
	}
	if best.format == "" {
		p.forget(string(device.H264))
		if namesAny(at, p.codecs["video"]) {
			return at.without(offered), h264Choice{}
		}
		// It is still taken, though nothing can be sent, and looked at by nobody.
		best = h264Choice{format: offered[0], fmtp: at.about("fmtp", offered[0])}
	}
	rest := without(offered, best.format)
	return at.without(rest).withFmtp(best.format, plainH264), best
}

// matchH264 chooses the payload type under which the camera's H.264 can be sent; none if
// there is none. If it cannot be told what the camera makes, it is taken for Baseline, as
// long as there is nothing else that is certain.
func (s *Session) matchH264(ctx context.Context, at section, offered []string, other bool) h264Choice {
	var known []h264Choice
	for _, f := range offered {
		if t, ok := readTerms(at.about("fmtp", f)); ok && t.fragments {
			known = append(known, h264Choice{format: f, fmtp: at.about("fmtp", f), terms: &t})
		}
	}
	if len(known) == 0 {
		return h264Choice{} // it would have to be sent in single packets of any size
	}
	format, ok := s.cameraFormat(ctx)
	var best h264Choice
	bestRank := -1
	for _, c := range known {
		if !ok {
			if c.terms.profile == profileBaseline && !other && best.format == "" {
				best = c
			}
			continue
		}
		if rank, fits := c.terms.takes(format); fits && (bestRank < 0 || rank < bestRank) {
			bestRank, best = rank, c
			best.fmtp = c.terms.fmtp(format)
		}
	}
	return best
}

// forget takes a codec out of what can be sent.
func (p *proposal) forget(codec string) { p.codecs["video"] = without(p.codecs["video"], codec) }

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

// answer makes of pion's answer that to the offer that came. sendable says whether there is
// something of ours in a kind.
func (p *proposal) answer(made string, sendable map[string]bool) (string, error) {
	ours, err := parseSDP(made)
	if err != nil {
		return "", err
	}
	if len(ours) != len(p.view) {
		return "", fmt.Errorf("bridge: an answer with %d sections to an offer with %d", len(ours)-1, len(p.view)-1)
	}
	var candidates []string
	for _, l := range ours[1].lines {
		if strings.HasPrefix(l, "a=candidate:") || strings.HasPrefix(l, "a=end-of-candidates") {
			candidates = append(candidates, l)
		}
	}
	if !p.bundle {
		ours[0] = ours[0].drop("a=group:")
	}
	out := make([]section, len(p.offer))
	out[0] = ours[0]
	for i, at := range p.offer[1:] {
		out[i+1] = at.refused()
	}
	told := false
	for j, place := range p.shown {
		at, offered := ours[j+1], p.offer[place]
		if offered.off || at.off {
			continue
		}
		at = at.drop("a=candidate:", "a=end-of-candidates")
		at.dir &= offered.dir.reverse()
		if !sendable[at.kind] {
			at.dir &^= sends
		}
		if c := p.formats[j+1]; c.format != "" {
			at = at.withFmtp(c.format, c.fmtp)
		}
		if !p.named[j+1] {
			at = at.drop("a=mid:")
		}
		if !told {
			told = true
			at = at.with(candidates...)
		}
		out[place] = at
	}
	return joinSDP(out), nil
}

// takesAny says whether the answer takes any section.
func takesAny(answer string) bool {
	sections, err := parseSDP(answer)
	return err == nil && slices.ContainsFunc(sections[1:], func(s section) bool { return !s.off })
}

// place is where our candidates belong: the name and the number of the first section that
// both sides take.
func (p *proposal) place() (mid *string, line uint16) {
	for j, place := range p.shown {
		if p.offer[place].off {
			continue
		}
		if name := p.view[j+1].mid(); p.named[j+1] {
			mid = &name
		}
		return mid, uint16(place - 1)
	}
	return nil, 0
}
