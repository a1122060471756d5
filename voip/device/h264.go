package device

import (
	"bytes"
	"encoding/hex"
	"slices"
	"sync/atomic"

	"porchlight/voip/clip"
)

// H264Format is what a receiver has to know about a stream of H.264 before it can decode it.
type H264Format struct {
	// Profile, Constraints and Level are the three bytes of profile-level-id, as the stream
	// itself states them. spec: RFC 6184 section 8.1
	Profile, Constraints, Level byte
	// Need is the lowest level that the size of the pictures and the number of reference
	// frames allow, at no more than 30 pictures a second. Many cameras state a higher one.
	Need byte
	// Interlaced says that pictures may consist of two fields.
	Interlaced bool
	// Reorders says that pictures are not sent in the order in which they are shown.
	Reorders bool
}

// ID is the format's profile-level-id.
func (f H264Format) ID() string {
	return hex.EncodeToString([]byte{f.Profile, f.Constraints, f.Level})
}

// ReadH264Format reads the format from a key frame as Annex B; false if it has no sequence
// parameter set that makes sense.
func ReadH264Format(unit []byte) (H264Format, bool) {
	for _, nal := range splitAnnexB(unit) {
		if nalType(nal) != nalSPS {
			continue
		}
		sps, err := clip.ParseSPS(nal)
		if err != nil {
			return H264Format{}, false
		}
		return H264Format{
			Profile: sps.Profile, Constraints: sps.Constraints, Level: sps.Level, Need: neededLevel(sps),
			Interlaced: sps.Interlaced, Reorders: sps.Reorder > 0,
		}, true
	}
	return H264Format{}, false
}

// WithH264Format returns a key frame whose sequence parameter set states other constraints
// and another level. It is for the caller to know that the stream keeps to them. The
// frame that is given is not changed.
func WithH264Format(unit []byte, constraints, level byte) []byte {
	const headOfSPS = 4
	out := unit
	for at := 0; ; at += headOfSPS {
		i := bytes.Index(unit[at:], annexBStart)
		if i < 0 || at+i+len(annexBStart)+headOfSPS > len(unit) {
			return out
		}
		at += i + len(annexBStart)
		// Two zeros in a row would have to be escaped, which moves what comes after them.
		head := unit[at : at+headOfSPS]
		if nalType(head) != nalSPS || head[1] == 0 || head[3] <= 3 || level <= 3 ||
			head[2] == constraints && head[3] == level {
			at -= headOfSPS - 1 // there may be a start code soon
			continue
		}
		if len(out) > 0 && &out[0] == &unit[0] {
			out = slices.Clone(unit)
		}
		out[at+2], out[at+3] = constraints, level
	}
}

// levels are the bounds of each level of H.264: macroblocks a second, macroblocks of a
// picture, and those of all pictures that are kept. spec: ITU-T H.264 table A-1
var levels = []struct {
	level                    byte
	perSecond, picture, kept int
}{
	{10, 1485, 99, 396}, {11, 3000, 396, 900}, {12, 6000, 396, 2376}, {20, 11880, 396, 2376},
	{21, 19800, 792, 4752}, {22, 20250, 1620, 8100}, {30, 40500, 1620, 8100}, {31, 108000, 3600, 18000},
	{32, 216000, 5120, 20480}, {40, 245760, 8192, 32768}, {42, 522240, 8704, 34816},
	{50, 589824, 22080, 110400}, {51, 983040, 36864, 184320}, {52, 2073600, 36864, 184320},
}

// usualRate is the number of pictures a second for which the needed level is reckoned.
const usualRate = 30

// neededLevel is the lowest level that a stream keeps to, or what it states if none does.
func neededLevel(s clip.SPS) byte {
	size := ((s.Width + 15) / 16) * ((s.Height + 15) / 16)
	for _, l := range levels {
		if size <= l.picture && size*usualRate <= l.perSecond && size*max(s.Frames, 1) <= l.kept {
			return min(l.level, s.Level)
		}
	}
	return s.Level
}

// reordering remembers that a camera's H.264 shows pictures in another order than it sends
// them. It stays so for as long as the camera is used: RTP receivers show them as they come.
type reordering struct{ seen atomic.Bool }

// look looks at a picture's access unit. It says whether reordering was found just now.
func (r *reordering) look(unit []byte, key bool) bool {
	if r == nil || r.seen.Load() {
		return false
	}
	found := false
	for _, nal := range splitAnnexB(unit) {
		found = found || clip.Bidirectional(nal)
	}
	if key && !found {
		format, ok := ReadH264Format(unit)
		found = ok && format.Reorders
	}
	return found && r.seen.CompareAndSwap(false, true)
}
