package device

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

// Bounds of a WAV file.
const (
	maxWAVChannels = 8
	maxWAVHeader   = 1 << 20 // bytes of what stands before the sound and is passed over
)

// wavRates are the sampling rates in hertz for which there is a filter of fair size.
var wavRates = []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000}

// The formats of a WAV file. spec: RFC 2361
const (
	wavPCM        = 1
	wavFloat      = 3
	wavExtensible = 0xfffe
)

// wav is a song in a WAV file.
type wav struct {
	r        io.Reader
	left     int64 // bytes of sound
	float    bool
	bytes    int // of a sample
	channels int
	resample *resampler
	raw      []byte
	mono     []int16
	out      []int16 // not yet taken
	over     bool
}

// openWAV reads up to the sound. The reader is known to begin with "RIFF", a length and "WAVE".
func openWAV(r io.Reader) (Song, error) {
	if _, err := io.CopyN(io.Discard, r, 12); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSong, err)
	}
	w := &wav{r: r}
	passed := int64(0)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("%w: the WAV file ends before its sound: %w", ErrSong, err)
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if size < 16 || size > 1024 {
				return nil, fmt.Errorf("%w: the WAV file describes its sound in %d bytes", ErrSong, size)
			}
			about := make([]byte, size+size%2)
			if _, err := io.ReadFull(r, about); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrSong, err)
			}
			if err := w.describe(about); err != nil {
				return nil, err
			}
		case "data":
			if w.resample == nil {
				return nil, fmt.Errorf("%w: the WAV file does not say how its sound is written", ErrSong)
			}
			w.left = size
			return w, nil
		default:
			if passed += size; passed > maxWAVHeader {
				return nil, fmt.Errorf("%w: the WAV file has more than %d bytes before its sound", ErrSong, maxWAVHeader)
			}
			if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrSong, err)
			}
		}
	}
}

func (w *wav) describe(about []byte) error {
	format := binary.LittleEndian.Uint16(about)
	w.channels = int(binary.LittleEndian.Uint16(about[2:]))
	rate := int(binary.LittleEndian.Uint32(about[4:]))
	w.bytes = int(binary.LittleEndian.Uint16(about[14:])) / 8
	if format == wavExtensible && len(about) >= 26 {
		format = binary.LittleEndian.Uint16(about[24:])
	}
	w.float = format == wavFloat
	ok := format == wavPCM && w.bytes >= 1 && w.bytes <= 4 || w.float && w.bytes == 4
	switch {
	case !ok:
		return fmt.Errorf("%w: the WAV file has the format %d with %d bits; plain samples of 8 to 32 bits are possible", ErrSong, format, 8*w.bytes)
	case w.channels < 1 || w.channels > maxWAVChannels:
		return fmt.Errorf("%w: the WAV file has %d channels", ErrSong, w.channels)
	case !slices.Contains(wavRates, rate):
		return fmt.Errorf("%w: the WAV file has %d samples a second, which is unusual", ErrSong, rate)
	}
	w.resample = newResampler(rate, soundRate)
	return nil
}

// Read implements Song.
func (w *wav) Read(block []int16) (int, error) {
	for len(w.out) < len(block) && !w.over {
		if err := w.more(); err != nil {
			return 0, err
		}
	}
	n := copy(block, w.out)
	w.out = w.out[:copy(w.out, w.out[n:])]
	if n == 0 && len(block) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// more decodes the next piece of the file. A file that ends early is over.
func (w *wav) more() error {
	const frames = 1024
	frame := w.bytes * w.channels
	want := int(min(int64(frames*frame), w.left)) / frame * frame
	w.raw = slices.Grow(w.raw[:0], want)[:want]
	n, err := io.ReadFull(w.r, w.raw)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	w.left -= int64(n)
	w.over = n < frames*frame
	w.mono = w.mono[:0]
	for raw := w.raw[:n/frame*frame]; len(raw) > 0; raw = raw[frame:] {
		sum := 0.0
		for c := range w.channels {
			sum += w.sample(raw[c*w.bytes:])
		}
		w.mono = append(w.mono, clampInt16(float32(sum/float64(w.channels))))
	}
	w.out = w.resample.process(w.out, w.mono)
	return nil
}

// sample is one sample as one of 16 bits. spec: those of 8 bits have no sign.
func (w *wav) sample(b []byte) float64 {
	if w.float {
		f := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		if math.IsNaN(f) {
			return 0
		}
		return max(-1, min(1, f)) * math.MaxInt16
	}
	switch w.bytes {
	case 1:
		return (float64(b[0]) - 128) * 256
	case 2:
		return float64(int16(binary.LittleEndian.Uint16(b)))
	case 3:
		return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 16)
	}
	return float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 16)
}
