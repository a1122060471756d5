package device

import (
	"bytes"
	"fmt"
	"slices"
)

// NAL unit types of H.264. spec: ITU-T H.264 table 7-1
const (
	nalSlice = 1
	nalIDR   = 5
	nalSEI   = 6
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
)

// maxParameterSet is the most bytes of a parameter set worth remembering.
const maxParameterSet = 1024

var annexBStart = []byte{0, 0, 1}

// splitAnnexB cuts a byte stream at its start codes and returns the NAL units
// without them. The units alias data. Bytes before the first start code are left out.
func splitAnnexB(data []byte) [][]byte {
	var units [][]byte
	i := bytes.Index(data, annexBStart)
	for i >= 0 {
		data = data[i+len(annexBStart):]
		i = bytes.Index(data, annexBStart)
		unit := data
		if i >= 0 {
			unit = data[:i]
		}
		// A fourth zero before a start code, and padding, belong to no unit.
		if unit = bytes.TrimRight(unit, "\x00"); len(unit) > 0 {
			units = append(units, unit)
		}
	}
	return units
}

func nalType(unit []byte) byte { return unit[0] & 0x1F }

// parameterSets remembers a stream's last SPS and PPS, without which a key
// frame cannot be decoded. Some cameras send them once at the start only.
type parameterSets struct{ sps, pps []byte }

// complete returns an access unit such that a key frame carries its parameter
// sets, and whether it is a key frame.
func (s *parameterSets) complete(unit []byte) (data []byte, key bool) {
	hasSPS, hasPPS := false, false
	for _, nal := range splitAnnexB(unit) {
		switch nalType(nal) {
		case nalIDR:
			key = true
		case nalSPS:
			hasSPS = true
			s.sps = remember(nal)
		case nalPPS:
			hasPPS = true
			s.pps = remember(nal)
		}
	}
	if !key || hasSPS && hasPPS || s.sps == nil || s.pps == nil {
		return unit, key
	}
	var out []byte
	for _, nal := range [][]byte{s.sps, s.pps} {
		out = append(append(append(out, 0), annexBStart...), nal...)
	}
	return append(out, unit...), key
}

func remember(nal []byte) []byte {
	if len(nal) > maxParameterSet {
		return nil
	}
	return slices.Clone(nal)
}

// unitSplitter cuts a byte stream of H.264 into access units.
type unitSplitter struct {
	buf  []byte
	scan int  // where to go on looking for the end of the first unit
	vcl  bool // the unit at the start of buf has a slice before scan
}

// add takes more of the stream. Too large a unit is an error: the stream is no H.264.
func (s *unitSplitter) add(data []byte) error {
	if len(s.buf)+len(data) > maxAccessUnit {
		return fmt.Errorf("device: more than %d bytes of H.264 without the end of a picture", maxAccessUnit)
	}
	s.buf = append(s.buf, data...)
	return nil
}

// pending says whether there is the beginning of a picture.
func (s *unitSplitter) pending() bool { return len(s.buf) > 0 }

// next returns the first access unit, the caller's to keep, or nil if its end
// has not come. With all it takes what there is for the whole of it, if that
// has a picture in it.
func (s *unitSplitter) next(all bool) []byte {
	for {
		i := bytes.Index(s.buf[s.scan:], annexBStart)
		// The two bytes after the start code tell whether a picture begins there.
		if i < 0 || s.scan+i+len(annexBStart)+1 >= len(s.buf) {
			break
		}
		at := s.scan + i
		head := s.buf[at+len(annexBStart):]
		if s.vcl && beginsUnit(head) {
			if at > 0 && s.buf[at-1] == 0 {
				at-- // the longer form of the start code
			}
			return s.cut(at)
		}
		if t := nalType(head); t >= nalSlice && t <= nalIDR {
			s.vcl = true
		}
		s.scan += i + len(annexBStart)
	}
	if all && s.vcl {
		return s.cut(len(s.buf))
	}
	return nil
}

// cut takes the first n bytes off the stream.
func (s *unitSplitter) cut(n int) []byte {
	unit := slices.Clone(s.buf[:n])
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	s.scan, s.vcl = 0, false
	return unit
}

// beginsUnit says whether a NAL unit, of which at least two bytes are there,
// that comes after a slice is the first of the next picture.
// spec: ITU-T H.264 section 7.4.1.2.3
func beginsUnit(nal []byte) bool {
	switch t := nalType(nal); {
	case t >= nalSlice && t <= nalIDR:
		return nal[1]&0x80 != 0 // first_mb_in_slice is 0
	case t >= nalSEI && t <= nalAUD, t >= 14 && t <= 18:
		return true
	}
	return false
}
