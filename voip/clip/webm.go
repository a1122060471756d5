package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
)

const (
	videoTrack = 1
	audioTrack = 2
	// clusterTime is how much of a film goes into one cluster at least; where there are
	// pictures, the next one begins with a picture that stands for itself.
	clusterTime = 2 * time.Second
	// maxCluster is the most: a block tells its time from there in 16 bits of milliseconds.
	maxCluster = 30 * time.Second
	// seekPreRoll is what an Opus decoder needs before a place to which somebody jumps.
	seekPreRoll = 80 * time.Millisecond
	// cueRounds is how often the places of clusters are reckoned anew at most, since the
	// list of them stands before them and grows with the numbers in it.
	cueRounds = 8
)

// segmentID begins the segment, which is everything but the header. spec: RFC 9559 section 5.1
var segmentID = []byte{0x18, 0x53, 0x80, 0x67}

// webm makes a WebM file with its index in front, so that it can be played while it loads.
// spec: RFC 9559, WebM container guidelines
func (f Film) webm() (File, error) {
	out := File{Type: "audio/webm", Ending: ".webm", Length: f.Length}
	if len(f.Video) > 0 {
		out.Type = "video/webm"
		var err error
		if out.Width, out.Height, err = vp8Size(f.Video[0].Data); err != nil {
			return File{}, err
		}
	}
	header, err := marshal(&struct {
		EBML webm.EBMLHeader
	}{webm.EBMLHeader{
		EBMLVersion: 1, EBMLReadVersion: 1, EBMLMaxIDLength: 4, EBMLMaxSizeLength: 8,
		DocType: "webm", DocTypeVersion: 4, DocTypeReadVersion: 2,
	}})
	if err != nil {
		return File{}, err
	}
	head, err := marshal(&struct {
		Info   webm.Info
		Tracks webm.Tracks
	}{webm.Info{
		TimecodeScale: uint64(time.Millisecond), MuxingApp: "porchlight", WritingApp: "porchlight",
		Duration: float64(f.Length.Milliseconds()),
	}, f.webmTracks(out.Width, out.Height)})
	if err != nil {
		return File{}, err
	}
	clusters := f.clusters()
	written := make([][]byte, len(clusters))
	for i, c := range clusters {
		if written[i], err = marshal(&struct{ Cluster webm.Cluster }{c}); err != nil {
			return File{}, err
		}
	}
	cues, err := f.cues(clusters, written, len(head))
	if err != nil {
		return File{}, err
	}
	size := len(head) + len(cues)
	for _, c := range written {
		size += len(c)
	}
	data := make([]byte, 0, len(header)+len(segmentID)+8+size)
	data = append(append(data, header...), segmentID...)
	data = binary.BigEndian.AppendUint64(data, 1<<56|uint64(size)) // a length of eight bytes
	data = append(append(data, head...), cues...)
	for _, c := range written {
		data = append(data, c...)
	}
	out.Data = data
	return out, nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := ebml.Marshal(v, &b); err != nil {
		return nil, fmt.Errorf("clip: WebM: %w", err)
	}
	return b.Bytes(), nil
}

func (f Film) webmTracks(width, height int) (t webm.Tracks) {
	if len(f.Video) > 0 {
		t.TrackEntry = append(t.TrackEntry, webm.TrackEntry{
			Name: "Video", TrackNumber: videoTrack, TrackUID: videoTrack, CodecID: "V_VP8", TrackType: 1,
			Video: &webm.Video{PixelWidth: uint64(width), PixelHeight: uint64(height)},
		})
	}
	if len(f.Audio) > 0 {
		t.TrackEntry = append(t.TrackEntry, webm.TrackEntry{
			Name: "Audio", TrackNumber: audioTrack, TrackUID: audioTrack, CodecID: "A_OPUS", TrackType: 2,
			CodecPrivate: opusHead(), CodecDelay: opusPreSkip * uint64(time.Second) / opusRate, SeekPreRoll: uint64(seekPreRoll),
			Audio: &webm.Audio{SamplingFrequency: opusRate, Channels: 1},
		})
	}
	return t
}

// opusHead says how the sound is coded. spec: RFC 7845 section 5.1
func opusHead() []byte {
	b := append([]byte("OpusHead"), 1, 1) // version, channels
	b = binary.LittleEndian.AppendUint16(b, opusPreSkip)
	b = binary.LittleEndian.AppendUint32(b, opusRate)
	return append(b, 0, 0, 0) // no gain; the simplest order of channels
}

// clusters puts the frames of both kinds in the order of their times.
func (f Film) clusters() (all []webm.Cluster) {
	video, audio := f.Video, f.Audio
	var begun time.Duration
	for len(video)+len(audio) > 0 {
		track, from := uint64(videoTrack), &video
		if len(video) == 0 || len(audio) > 0 && audio[0].At < video[0].At {
			track, from = audioTrack, &audio
		}
		x := (*from)[0]
		*from = (*from)[1:]
		opens := track == videoTrack && x.Key || len(f.Video) == 0
		if age := x.At - begun; len(all) == 0 || opens && age >= clusterTime || age >= maxCluster {
			begun = x.At.Truncate(time.Millisecond)
			all = append(all, webm.Cluster{Timecode: uint64(begun.Milliseconds())})
		}
		c := &all[len(all)-1]
		c.SimpleBlock = append(c.SimpleBlock, ebml.Block{
			TrackNumber: track, Timecode: int16((x.At - begun).Milliseconds()), Keyframe: x.Key || track == audioTrack, Data: [][]byte{x.Data},
		})
	}
	return all
}

// cues is the list of places to which one can jump. Its own length moves the clusters that
// stand behind it, so it is made until nothing moves any more.
func (f Film) cues(clusters []webm.Cluster, written [][]byte, head int) (list []byte, err error) {
	track := uint64(audioTrack)
	if len(f.Video) > 0 {
		track = videoTrack
	}
	for range cueRounds {
		cues := &webm.Cues{}
		at := head + len(list)
		for i, c := range clusters {
			cues.CuePoint = append(cues.CuePoint, webm.CuePoint{
				CueTime: c.Timecode, CueTrackPositions: []webm.CueTrackPosition{{CueTrack: track, CueClusterPosition: uint64(at)}},
			})
			at += len(written[i])
		}
		before := len(list)
		if list, err = marshal(&struct{ Cues *webm.Cues }{cues}); err != nil {
			return nil, err
		}
		if len(list) == before {
			return list, nil
		}
	}
	return nil, errors.New("clip: WebM: the index finds no place")
}

// vp8Size reads the size of the picture from a frame that stands for itself.
// spec: RFC 6386 section 9.1
func vp8Size(frame []byte) (width, height int, err error) {
	if len(frame) < 10 || frame[0]&1 != 0 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return 0, 0, errors.New("clip: the first picture is none of VP8 that stands for itself")
	}
	width = int(binary.LittleEndian.Uint16(frame[6:]) & 0x3fff)
	height = int(binary.LittleEndian.Uint16(frame[8:]) & 0x3fff)
	if width == 0 || height == 0 || width > MaxSide || height > MaxSide {
		return 0, 0, fmt.Errorf("clip: a picture of %d×%d is not possible", width, height)
	}
	return width, height, nil
}
