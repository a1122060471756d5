package clip

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Codec names a way to code pictures, as SDP spells it.
type Codec string

// The codecs of pictures that a film can have. Its sound is always Opus, mono.
const (
	VP8  Codec = "VP8"
	H264 Codec = "H264"
)

// Bounds of a film.
const (
	// MaxSide is the largest width or height of a picture, in pixels.
	MaxSide = 8192
	// MaxLength is the longest film.
	MaxLength = 10 * time.Minute
	// opusPreSkip is what an Opus decoder needs to find into the sound, in samples at
	// 48 kHz: the look-ahead of libopus. spec: RFC 7845 section 4.2
	opusPreSkip = 312
	opusRate    = 48000
)

// ErrEmpty says that there is nothing to make a film of.
var ErrEmpty = errors.New("clip: there are neither pictures nor sound")

// Frame is one coded picture, or one packet of sound.
type Frame struct {
	At   time.Duration // from the film's beginning; frames are in this order
	Data []byte        // H.264 as Annex B
	Key  bool          // it can be decoded without those before it
}

// Film is what a file is made of. Either kind of frames may be missing.
type Film struct {
	Codec  Codec // of the pictures
	Video  []Frame
	Audio  []Frame // Opus
	Length time.Duration
}

// File is a film as others take it.
type File struct {
	Data          []byte
	Type          string // MIME type
	Ending        string // of its name, with the dot
	Width, Height int    // in pixels; 0 without pictures
	Length        time.Duration
}

// File makes the file. Pictures before the first that stands for itself are left out, and
// that one is shown from the beginning on. The error says what is wrong with the frames.
func (f Film) File() (File, error) {
	first := slices.IndexFunc(f.Video, func(x Frame) bool { return x.Key })
	if first < 0 {
		f.Video = nil
	} else if f.Video = slices.Clone(f.Video[first:]); f.Video[0].At > 0 {
		f.Video[0].At = 0
	}
	if len(f.Video)+len(f.Audio) == 0 {
		return File{}, ErrEmpty
	}
	if err := f.check(); err != nil {
		return File{}, err
	}
	switch {
	case len(f.Video) == 0, f.Codec == VP8:
		return f.webm()
	case f.Codec == H264:
		return f.mp4()
	}
	return File{}, fmt.Errorf("clip: there is no file for pictures in %q", f.Codec)
}

// check holds the frames to what the files can say.
func (f Film) check() error {
	if f.Length <= 0 || f.Length > MaxLength {
		return fmt.Errorf("clip: a film of %s is not possible: up to %s is", f.Length, MaxLength)
	}
	for _, frames := range [][]Frame{f.Video, f.Audio} {
		before := time.Duration(0)
		for _, x := range frames {
			if x.At < before || x.At >= f.Length || len(x.Data) == 0 {
				return fmt.Errorf("clip: a frame of %d bytes at %s does not belong behind %s in a film of %s", len(x.Data), x.At, before, f.Length)
			}
			before = x.At
		}
	}
	return nil
}
