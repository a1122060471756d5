package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxMP4 is the largest file in bytes: its places are numbers of 32 bits, also in memory.
const maxMP4 = 1 << 30

// The times of an MP4 file, in ticks per second.
const (
	movieTicks = 1000
	videoTicks = 90000
	audioTicks = opusRate
)

// mp4Track is one kind of frames as the file has them.
type mp4Track struct {
	id      uint32
	ticks   int64
	samples []Frame
	entry   []byte // says how they are coded
	width   int    // 0: sound
	height  int
	offsets []uint32 // where in the file each frame lies
}

// mp4 makes an MP4 file with its index in front, so that it can be played while it loads.
// Where the sound begins late, the times of its frames say so.
// spec: ISO/IEC 14496-12, 14496-15; Opus in ISO base media files
func (f Film) mp4() (File, error) {
	out := File{Type: "video/mp4", Ending: ".mp4", Length: f.Length}
	video := &mp4Track{id: videoTrack, ticks: videoTicks}
	var sps, pps []byte
	for _, x := range f.Video {
		data, s, p := toAVC(x.Data)
		if sps == nil && s != nil && p != nil && len(p) <= maxParameterSet {
			sps, pps = s, p
		}
		if len(data) > 0 {
			video.samples = append(video.samples, Frame{x.At, data, x.Key})
		}
	}
	if sps == nil || len(video.samples) == 0 || !video.samples[0].Key {
		return File{}, errors.New("clip: the H.264 has no parameter sets, so nobody could decode it")
	}
	set, err := ParseSPS(sps)
	if err != nil {
		return File{}, err
	}
	out.Width, out.Height = set.Width, set.Height
	video.width, video.height = out.Width, out.Height
	video.entry = avcEntry(out.Width, out.Height, sps, pps)
	tracks := []*mp4Track{video}
	if len(f.Audio) > 0 {
		tracks = append(tracks, &mp4Track{id: audioTrack, ticks: audioTicks, samples: f.Audio, entry: opusEntry()})
	}
	ftyp := box("ftyp", []byte("isom"), u32(512), []byte("isomiso2avc1mp41"))
	// The first index is only measured: where the frames lie depends on its length, and
	// its length not on where they lie.
	moov := f.moov(tracks)
	at := len(ftyp) + len(moov) + 8
	for _, t := range tracks {
		for i, s := range t.samples {
			t.offsets[i] = uint32(at)
			at += len(s.Data)
		}
	}
	if at > maxMP4 {
		return File{}, fmt.Errorf("clip: a film of %d bytes is too large", at)
	}
	moov = f.moov(tracks)
	data := append(make([]byte, 0, at), ftyp...)
	data = append(data, moov...)
	data = binary.BigEndian.AppendUint32(data, uint32(at-len(data)))
	data = append(data, "mdat"...)
	for _, t := range tracks {
		for _, s := range t.samples {
			data = append(data, s.Data...)
		}
	}
	out.Data = data
	return out, nil
}

var startCode = []byte{0, 0, 1}

// toAVC turns a picture's start codes into lengths, and takes the parameter sets out.
// spec: ISO/IEC 14496-15 section 5.3
func toAVC(annexB []byte) (data, sps, pps []byte) {
	const typeSPS, typePPS, typeDelimiter = 7, 8, 9
	i := bytes.Index(annexB, startCode)
	for i >= 0 {
		annexB = annexB[i+len(startCode):]
		i = bytes.Index(annexB, startCode)
		nal := annexB
		if i >= 0 {
			nal = annexB[:i]
		}
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) == 0 {
			continue
		}
		switch nal[0] & 0x1f {
		case typeSPS:
			sps = nal
		case typePPS:
			pps = nal
		case typeDelimiter:
		default:
			data = append(binary.BigEndian.AppendUint32(data, uint32(len(nal))), nal...)
		}
	}
	return data, sps, pps
}

// box is a box of the file with its length and name before it.
func box(name string, parts ...[]byte) []byte {
	n := 8
	for _, p := range parts {
		n += len(p)
	}
	b := append(binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(n)), name...)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func u16(v ...uint16) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, x)
	}
	return b
}

func u32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

// matrix leaves pictures where they are.
var matrix = u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)

func ticks(d time.Duration, perSecond int64) uint32 {
	return uint32((int64(d)*perSecond + int64(time.Second)/2) / int64(time.Second))
}

// moov is the index of the file.
func (f Film) moov(tracks []*mp4Track) []byte {
	length := ticks(f.Length, movieTicks)
	parts := [][]byte{box("mvhd", u32(0, 0, 0, movieTicks, length, 0x10000), u16(0x100, 0), u32(0, 0), matrix, u32(0, 0, 0, 0, 0, 0, audioTrack+1))}
	for _, t := range tracks {
		parts = append(parts, t.trak(f.Length))
	}
	return box("moov", parts...)
}

// trak is the index of one track.
func (t *mp4Track) trak(length time.Duration) []byte {
	if t.offsets == nil {
		t.offsets = make([]uint32, len(t.samples))
	}
	const enabledInMovie = 3
	var volume uint16
	kind, name, header := "vide", "Video\x00", box("vmhd", u32(1), u16(0, 0, 0, 0))
	if t.width == 0 {
		volume, kind, name, header = 0x100, "soun", "Audio\x00", box("smhd", u32(0), u16(0, 0))
	}
	// The first frame of a track is shown at the track's beginning, which an empty edit
	// puts to its place in the film.
	late := t.samples[0].At
	edits := u32(0, 1)
	var preSkip uint32
	if t.width == 0 {
		preSkip = opusPreSkip
	}
	if late > 0 {
		edits = u32(0, 2, ticks(late, movieTicks), 0xffffffff, 0x10000)
	}
	edits = append(edits, u32(ticks(length-late, movieTicks), preSkip, 0x10000)...)
	return box("trak",
		box("tkhd", u32(enabledInMovie, 0, 0, t.id, 0, ticks(length, movieTicks), 0, 0), u16(0, 0, volume, 0), matrix, u32(uint32(t.width)<<16, uint32(t.height)<<16)),
		box("edts", box("elst", edits)),
		box("mdia",
			box("mdhd", u32(0, 0, 0, uint32(t.ticks), ticks(length-late, t.ticks)), u16(0x55c4, 0)), // in no language
			box("hdlr", u32(0, 0), []byte(kind), u32(0, 0, 0), []byte(name)),
			box("minf", header, box("dinf", box("dref", u32(0, 1), box("url ", u32(1)))), t.stbl(length))))
}

// stbl tells the length, size and place of each frame.
func (t *mp4Track) stbl(length time.Duration) []byte {
	var times, sizes, keys []byte
	count := uint32(0)
	for i, s := range t.samples {
		end := length
		if i+1 < len(t.samples) {
			end = t.samples[i+1].At
		}
		begun := t.samples[0].At
		d := ticks(end-begun, t.ticks) - ticks(s.At-begun, t.ticks)
		if n := len(times); n > 0 && binary.BigEndian.Uint32(times[n-4:]) == d {
			binary.BigEndian.PutUint32(times[n-8:], binary.BigEndian.Uint32(times[n-8:])+1)
		} else {
			times = append(times, u32(1, d)...)
			count++
		}
		sizes = append(sizes, u32(uint32(len(s.Data)))...)
		if s.Key {
			keys = append(keys, u32(uint32(i+1))...)
		}
	}
	n := uint32(len(t.samples))
	parts := [][]byte{
		box("stsd", u32(0, 1), t.entry),
		box("stts", u32(0, count), times),
		box("stsc", u32(0, 1, 1, 1, 1)), // one frame to a chunk
		box("stsz", u32(0, 0, n), sizes),
		box("stco", u32(0, n), u32(t.offsets...)),
	}
	if t.width > 0 {
		parts = slices.Insert(parts, 2, box("stss", u32(0, uint32(len(keys)/4)), keys))
	}
	return box("stbl", parts...)
}

// avcEntry says how the pictures are coded. spec: ISO/IEC 14496-15 section 5.3.3.1
func avcEntry(width, height int, sps, pps []byte) []byte {
	avcC := []byte{1, sps[1], sps[2], sps[3], 0xff, 0xe1} // lengths of four bytes, one of each set
	avcC = append(append(avcC, u16(uint16(len(sps)))...), sps...)
	avcC = append(avcC, 1)
	avcC = append(append(avcC, u16(uint16(len(pps)))...), pps...)
	const perInch72 = 0x480000
	return box("avc1", make([]byte, 6), u16(1), make([]byte, 16), u16(uint16(width), uint16(height)),
		u32(perInch72, perInch72, 0), u16(1), make([]byte, 32), u16(24, 0xffff), box("avcC", avcC))
}

// opusEntry says how the sound is coded: mono, without gain. spec: Opus in ISO base media
// files, section 4.3
func opusEntry() []byte {
	dOps := append([]byte{0, 1}, u16(opusPreSkip)...)
	dOps = append(append(dOps, u32(opusRate)...), 0, 0, 0)
	return box("Opus", make([]byte, 6), u16(1), make([]byte, 8), u16(1, 16, 0, 0), u32(opusRate<<16), box("dOps", dOps))
}
