package device

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// Song is sound to be played: mono at 48 kHz.
type Song interface {
	// Read fills block with what comes next and says how much there was of it. Like an
	// io.Reader it ends with io.EOF.
	Read(block []int16) (n int, err error)
}

// ErrSong says that a file is no song that can be played here; the text around it says why.
var ErrSong = errors.New("device: this cannot be played")

// OpenSong reads a song from a file: WAV, or Opus in an Ogg file. The error wraps ErrSong,
// or is the reader's.
func OpenSong(r io.Reader) (Song, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(12)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(head) == 12 && string(head[:4]) == "RIFF" && string(head[8:]) == "WAVE":
		return openWAV(b)
	case bytes.HasPrefix(head, []byte("OggS")):
		return openOgg(b)
	case bytes.HasPrefix(head, []byte("ID3")) || len(head) > 1 && head[0] == 0xff && head[1]&0xe0 == 0xe0:
		return nil, fmt.Errorf("%w: it is MP3 or AAC, for which there is no decoder here; WAV and Ogg Opus are possible", ErrSong)
	}
	return nil, fmt.Errorf("%w: it is neither WAV nor Ogg Opus", ErrSong)
}

// Noise names a kind of even noise.
type Noise string

// The kinds of noise.
const (
	WhiteNoise Noise = "white" // the same energy at each frequency: a hiss
	PinkNoise  Noise = "pink"  // in each octave: rain
	BrownNoise Noise = "brown" // more the lower: a waterfall far away
)

// noiseLevel is the RMS of all noise, of full scale. Peaks are four times as high.
const noiseLevel = 0.2

// noise is a Song without an end.
type noise struct {
	random *rand.Rand
	kind   Noise
	pink   [7]float64 // the states of the filters that make white noise pink
	brown  float64
}

// NewNoise makes noise without an end; nil if there is no such kind.
func NewNoise(kind Noise, seed uint64) Song {
	switch kind {
	case WhiteNoise, PinkNoise, BrownNoise:
		return &noise{random: rand.New(rand.NewPCG(seed, 0)), kind: kind}
	}
	return nil
}

// Read implements Song.
func (n *noise) Read(block []int16) (int, error) {
	for i := range block {
		block[i] = int16(math.MaxInt16 * max(-1, min(1, noiseLevel*n.next())))
	}
	return len(block), nil
}

// next is a sample with an RMS of about 1.
func (n *noise) next() float64 {
	w := n.random.NormFloat64()
	switch n.kind {
	case PinkNoise:
		return n.pinken(w)
	case BrownNoise:
		// A leak keeps it from wandering off: below 38 Hz it is even.
		const leak = 0.995
		n.brown = leak*n.brown + math.Sqrt(1-leak*leak)*w
		return n.brown
	}
	return w
}

// pinken is a sum of low passes an octave or two apart, which together fall by 3 dB an
// octave, within 0.05 dB above 9 Hz at 44.1 kHz (Paul Kellet's filter, published 1999).
func (n *noise) pinken(w float64) float64 {
	p := &n.pink
	p[0] = 0.99886*p[0] + w*0.0555179
	p[1] = 0.99332*p[1] + w*0.0750759
	p[2] = 0.96900*p[2] + w*0.1538520
	p[3] = 0.86650*p[3] + w*0.3104856
	p[4] = 0.55000*p[4] + w*0.5329522
	p[5] = -0.7616*p[5] - w*0.0168980
	sum := p[0] + p[1] + p[2] + p[3] + p[4] + p[5] + p[6] + w*0.5362
	p[6] = w * 0.115926
	const rms = 2.9 // of the sum
	return sum / rms
}
