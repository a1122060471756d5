package device

import (
	"bytes"
	"slices"
)

// NAL unit types of H.264. spec: ITU-T H.264 table 7-1
const (
	nalSlice = 1
	nalIDR   = 5
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
