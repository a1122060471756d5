package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
)

const ms = time.Millisecond

// vp8 is the beginning of a picture that stands for itself, of 320×240.
var vp8 = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 1, 2, 3}

// pictures are n VP8 pictures every 100 ms, of which every 10th stands for itself.
func pictures(n int) (all []Frame) {
	for i := range n {
		data := append(slices.Clone(vp8), byte(i))
		all = append(all, Frame{time.Duration(i) * 100 * ms, data, i%10 == 0})
	}
	return all
}

// packets are n packets of sound from a time on.
func packets(from time.Duration, n int) (all []Frame) {
	for i := range n {
		all = append(all, Frame{from + time.Duration(i)*20*ms, []byte{0xf8, byte(i), byte(i >> 8)}, true})
	}
	return all
}

// units cuts a stream of H.264 into pictures 100 ms apart.
func units(t *testing.T, name string) (all []Frame) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var unit []byte
	key := false
	for _, nal := range bytes.Split(data, []byte{0, 0, 1})[1:] {
		unit = append(append(unit, 0, 0, 1), nal...)
		switch nal[0] & 0x1f {
		case 5:
			key = true
			fallthrough
		case 1:
			all = append(all, Frame{time.Duration(len(all)) * 100 * ms, unit, key})
			unit, key = nil, false
		}
	}
	return all
}

func TestWebM(t *testing.T) {
	film := Film{Codec: VP8, Video: pictures(100), Audio: packets(30*ms, 495), Length: 10 * time.Second}
	file, err := film.File()
	if err != nil {
		t.Fatal(err)
	}
	if file.Type != "video/webm" || file.Width != 320 || file.Height != 240 || file.Length != film.Length {
		t.Errorf("%s, %d×%d, %s", file.Type, file.Width, file.Height, file.Length)
	}
	var read struct {
		Header  webm.EBMLHeader `ebml:"EBML"`
		Segment webm.Segment    `ebml:"Segment"`
	}
	var at []uint64 // where clusters lie
	err = ebml.Unmarshal(bytes.NewReader(file.Data), &read, ebml.WithElementReadHooks(func(e *ebml.Element) {
		if e.Name == "Cluster" {
			at = append(at, e.Position)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := read.Segment
	if s.Info.Duration != 10000 || len(s.Tracks.TrackEntry) != 2 || string(s.Tracks.TrackEntry[1].CodecPrivate[:8]) != "OpusHead" {
		t.Errorf("the film lasts %g and has the tracks %+v", s.Info.Duration, s.Tracks.TrackEntry)
	}
	var video, audio []Frame
	for _, c := range s.Cluster {
		for _, x := range c.SimpleBlock {
			f := Frame{time.Duration(int64(c.Timecode)+int64(x.Timecode)) * ms, x.Data[0], x.Keyframe}
			if x.TrackNumber == videoTrack {
				video = append(video, f)
			} else {
				audio = append(audio, f)
			}
		}
	}
	same := func(x, y Frame) bool { return x.At == y.At && x.Key == y.Key && bytes.Equal(x.Data, y.Data) }
	if !slices.EqualFunc(video, film.Video, same) || !slices.EqualFunc(audio, film.Audio, same) {
		t.Errorf("%d pictures and %d packets came back, and not the same", len(video), len(audio))
	}
	if len(s.Cues.CuePoint) != len(at) || len(at) != 5 {
		t.Fatalf("%d clusters, %d of them in the index", len(at), len(s.Cues.CuePoint))
	}
	begin := uint64(bytes.Index(file.Data, segmentID) + len(segmentID) + 8)
	for i, c := range s.Cues.CuePoint {
		if place := begin + c.CueTrackPositions[0].CueClusterPosition; !bytes.HasPrefix(file.Data[place:], []byte{0x1f, 0x43, 0xb6, 0x75}) || c.CueTime != s.Cluster[i].Timecode {
			t.Errorf("at the place %d of cluster %d there is none, or of another time", place, i)
		}
	}
}

func TestSoundAlone(t *testing.T) {
	file, err := Film{Audio: packets(0, 3000), Length: time.Minute}.File()
	if err != nil || file.Type != "audio/webm" || file.Width != 0 {
		t.Errorf("%s of %d, %v", file.Type, file.Width, err)
	}
}

// boxes are the boxes of an MP4 file, by their path; those of the second track have "2" behind.
func boxes(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	var walk func(path string, data []byte)
	walk = func(path string, data []byte) {
		for len(data) > 0 {
			n := binary.BigEndian.Uint32(data)
			if n < 8 || int(n) > len(data) {
				t.Fatalf("a box in %q is %d bytes long and there are %d", path, n, len(data))
			}
			name := path + "/" + string(data[4:8])
			for all[name] != nil {
				name += "2"
			}
			all[name] = data[8:n]
			switch string(data[4:8]) {
			case "moov", "trak", "mdia", "minf", "stbl", "edts":
				walk(name, data[8:n])
			}
			data = data[n:]
		}
	}
	walk("", data)
	return all
}

func TestMP4(t *testing.T) {
	film := Film{Codec: H264, Video: units(t, "baseline.h264"), Audio: packets(250*ms, 180), Length: 4 * time.Second}
	file, err := film.File()
	if err != nil {
		t.Fatal(err)
	}
	if file.Type != "video/mp4" || file.Width != 160 || file.Height != 120 {
		t.Errorf("%s, %d×%d", file.Type, file.Width, file.Height)
	}
	all := boxes(t, file.Data)
	for _, tt := range []struct {
		track   string
		samples [][]byte
		keys    []uint32
		length  uint32 // in the track's ticks
	}{
		{"/moov/trak", avc(film.Video), []uint32{1, 21}, 4 * videoTicks},
		{"/moov/trak2", raw(film.Audio), nil, 3750 * audioTicks / 1000},
	} {
		stbl := tt.track + "/mdia/minf/stbl"
		sizes, offsets, times := numbers(all[stbl+"/stsz"])[3:], numbers(all[stbl+"/stco"])[2:], numbers(all[stbl+"/stts"])[2:]
		if len(sizes) != len(tt.samples) || len(offsets) != len(tt.samples) {
			t.Fatalf("%s has %d sizes and %d places of %d frames", tt.track, len(sizes), len(offsets), len(tt.samples))
		}
		for i, want := range tt.samples {
			if got := file.Data[offsets[i] : offsets[i]+sizes[i]]; !bytes.Equal(got, want) {
				t.Errorf("%s: frame %d is not at its place", tt.track, i)
				break
			}
		}
		frames, length := uint32(0), uint32(0)
		for i := 0; i < len(times); i += 2 {
			frames += times[i]
			length += times[i] * times[i+1]
		}
		if int(frames) != len(tt.samples) || length != tt.length {
			t.Errorf("%s: %d frames last %d ticks, want %d", tt.track, frames, length, tt.length)
		}
		if keys := all[stbl+"/stss"]; tt.keys != nil && !slices.Equal(numbers(keys)[2:], tt.keys) {
			t.Errorf("key frames %v", numbers(keys))
		}
	}
	if edits := numbers(all["/moov/trak2/edts/elst"]); !slices.Equal(edits, []uint32{0, 2, 250, 0xffffffff, 0x10000, 3750, opusPreSkip, 0x10000}) {
		t.Errorf("the sound is placed by %v", edits)
	}
}

func numbers(b []byte) (all []uint32) {
	for ; len(b) >= 4; b = b[4:] {
		all = append(all, binary.BigEndian.Uint32(b))
	}
	return all
}

func raw(frames []Frame) (all [][]byte) {
	for _, f := range frames {
		all = append(all, f.Data)
	}
	return all
}

// avc is the last unit of each picture behind its length.
func avc(frames []Frame) (all [][]byte) {
	for _, f := range frames {
		nal := bytes.TrimRight(f.Data[bytes.LastIndex(f.Data, []byte{0, 0, 1})+3:], "\x00")
		all = append(all, append(binary.BigEndian.AppendUint32(nil, uint32(len(nal))), nal...))
	}
	return all
}

func TestParseSPS(t *testing.T) {
	for _, tt := range []struct {
		name string
		want SPS
		b    bool // it has pictures that are predicted both ways
	}{
		{"baseline.h264", SPS{66, 0xc0, 10, 160, 120, 3, false, 0}, false},
		{"high.h264", SPS{100, 0, 10, 162, 122, 4, false, 2}, true},
		{"main.h264", SPS{77, 0x40, 10, 64, 64, 3, false, 0}, false},
		{"bframes.h264", SPS{77, 0x40, 10, 64, 64, 4, false, 2}, true},
	} {
		frames, both := units(t, tt.name), false
		_, sps, _ := toAVC(frames[0].Data)
		if got, err := ParseSPS(sps); got != tt.want || err != nil {
			t.Errorf("%s is %+v, %v", tt.name, got, err)
		}
		for _, f := range frames {
			both = both || Bidirectional(f.Data[bytes.LastIndex(f.Data, []byte{0, 0, 1})+3:])
		}
		if both != tt.b {
			t.Errorf("%s has pictures that are predicted both ways: %v", tt.name, both)
		}
	}
}

func TestRefused(t *testing.T) {
	h264 := units(t, "baseline.h264")
	headless := slices.Clone(h264[:5])
	headless[0].Data = headless[0].Data[bytes.LastIndex(headless[0].Data, []byte{0, 0, 1}):]
	for _, tt := range []struct {
		name string
		film Film
		want error
	}{
		{"nothing", Film{Length: time.Second}, ErrEmpty},
		{"no picture that stands for itself", Film{Codec: VP8, Video: pictures(20)[1:9], Length: 3 * time.Second}, ErrEmpty},
		{"no length", Film{Audio: packets(0, 1)}, nil},
		{"too long", Film{Audio: packets(0, 1), Length: time.Hour}, nil},
		{"out of order", Film{Codec: VP8, Video: []Frame{pictures(2)[0], pictures(2)[1], pictures(1)[0]}, Length: time.Second}, nil},
		{"behind the end", Film{Codec: VP8, Video: pictures(20), Length: time.Second}, nil},
		{"no VP8", Film{Codec: VP8, Video: []Frame{{0, []byte("picture"), true}}, Length: time.Second}, nil},
		{"another codec", Film{Codec: "VP9", Video: pictures(2), Length: time.Second}, nil},
		{"no parameter sets", Film{Codec: H264, Video: headless, Length: time.Second}, nil},
	} {
		if _, err := tt.film.File(); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestFirstPictureStands: where the sound begins before the picture, its first one is
// shown from the beginning.
func TestFirstPictureStands(t *testing.T) {
	film := Film{Codec: VP8, Video: pictures(20)[8:], Audio: packets(0, 90), Length: 2 * time.Second}
	file, err := film.File()
	if err != nil {
		t.Fatal(err)
	}
	if film.Video[2].At != time.Second {
		t.Error("the frames that were given were changed")
	}
	i := bytes.Index(file.Data, vp8)
	if i < 0 || !bytes.Equal(file.Data[i-4:i], []byte{0x81, 0, 0, 0x80}) || file.Data[i+len(vp8)] != 10 {
		t.Errorf("the first picture begins with % x", file.Data[i-4:i+len(vp8)+1])
	}
}

// FuzzFile: whatever a camera gives, there is a file or an error.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"baseline.h264", "high.h264"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 2000)], true)
	}
	f.Add(vp8, false)
	f.Fuzz(func(t *testing.T, data []byte, h264 bool) {
		codec := VP8
		if h264 {
			codec = H264
		}
		film := Film{Codec: codec, Video: []Frame{{0, data, true}, {ms, data, false}}, Audio: packets(0, 2), Length: time.Second}
		file, err := film.File()
		if err == nil && (file.Width < 1 || file.Height < 1 || file.Width > MaxSide || file.Height > MaxSide) {
			t.Errorf("a picture of %d×%d", file.Width, file.Height)
		}
		_, _ = film.File() // the frames were not changed into something that breaks
	})
}
