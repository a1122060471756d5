package device

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
)

// wavFile is a tone of 440 Hz at half of full scale for half a second. Every channel but
// the first is silent.
func wavFile(format, bits, channels, rate int) []byte {
	var pcm []byte
	for i := range rate / 2 {
		for c := range channels {
			x := 0.5 * math.Sin(2*math.Pi*440*float64(i)/float64(rate))
			if c > 0 {
				x = 0
			}
			switch {
			case format == wavFloat:
				pcm = binary.LittleEndian.AppendUint32(pcm, math.Float32bits(float32(x)))
			case bits == 8:
				pcm = append(pcm, byte(128+math.Round(127*x)))
			default:
				v := int32(x * math.MaxInt32)
				pcm = append(pcm, binary.LittleEndian.AppendUint32(nil, uint32(v))[4-bits/8:]...)
			}
		}
	}
	about := binary.LittleEndian.AppendUint16(nil, uint16(format))
	about = binary.LittleEndian.AppendUint16(about, uint16(channels))
	about = binary.LittleEndian.AppendUint32(about, uint32(rate))
	about = binary.LittleEndian.AppendUint32(about, uint32(rate*channels*bits/8))
	about = binary.LittleEndian.AppendUint16(about, uint16(channels*bits/8))
	about = binary.LittleEndian.AppendUint16(about, uint16(bits))
	chunk := func(name string, data []byte) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte(name), uint32(len(data))), data...)
	}
	body := append([]byte("WAVE"), chunk("LIST", []byte("INFOsome"))...)
	body = append(append(body, chunk("fmt ", about)...), chunk("data", pcm)...)
	return chunk("RIFF", body)
}

// all reads a song to its end.
func all(t *testing.T, s Song) (pcm []int16) {
	t.Helper()
	block := make([]int16, blockSamples)
	for {
		n, err := s.Read(block)
		pcm = append(pcm, block[:n]...)
		if err == io.EOF {
			return pcm
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(pcm) > 100*soundRate {
			t.Fatal("it has no end")
		}
	}
}

func TestWAV(t *testing.T) {
	for _, tt := range []struct {
		format, bits, channels, rate int
		level                        float64 // dBFS
	}{
		{wavPCM, 16, 1, 48000, -9}, {wavPCM, 16, 2, 44100, -15}, {wavPCM, 8, 1, 8000, -9}, {wavPCM, 24, 1, 96000, -9},
		{wavPCM, 32, 2, 22050, -15}, {wavFloat, 32, 1, 44100, -9}, {wavPCM, 16, 8, 16000, -27},
	} {
		name := fmt.Sprintf("format %d, %d bits, %d channels, %d Hz", tt.format, tt.bits, tt.channels, tt.rate)
		s, err := OpenSong(bytes.NewReader(wavFile(tt.format, tt.bits, tt.channels, tt.rate)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		pcm := all(t, s)
		var sound loudness
		sound.add(pcm[:soundRate/4])
		if math.Abs(float64(len(pcm)-soundRate/2)) > 0.01*soundRate || math.Abs(sound.level()-tt.level) > 0.5 || math.Abs(sound.toneHz()-440) > 5 {
			t.Errorf("%s: %d samples of %.1f dBFS at %.0f Hz", name, len(pcm), sound.level(), sound.toneHz())
		}
	}
}

func TestNoSong(t *testing.T) {
	good := wavFile(wavPCM, 16, 1, 48000)
	for name, data := range map[string][]byte{
		"nothing":         nil,
		"text":            []byte("once upon a time there was a board"),
		"MP3":             []byte("ID3\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"MP3 without tag": {0xff, 0xfb, 0x90, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"half a head":     good[:30],
		"no sound":        good[:50],
		"odd rate":        wavFile(wavPCM, 16, 1, 47999),
		"too many":        wavFile(wavPCM, 16, 9, 8000),
		"ADPCM":           wavFile(2, 16, 1, 8000),
		"Vorbis":          oggFile([][]byte{[]byte("\x01vorbis and more of it")}),
		"Ogg that ends":   []byte("OggS\x00\x02"),
		"no tags":         oggFile([][]byte{opusHeadOf(1)}),
		"surround":        oggFile([][]byte{opusHeadOf(6), []byte("OpusTags")}),
	} {
		if _, err := OpenSong(bytes.NewReader(data)); !errors.Is(err, ErrSong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := append(oggFile([][]byte{opusHeadOf(1), []byte("OpusTags"), {0xf8, 1, 2}}), "no page at all, but long enough for one"...)
	s, err := OpenSong(bytes.NewReader(broken))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]int16, 10*blockSamples)); !errors.Is(err, ErrSong) {
		t.Errorf("a file that is damaged in the middle: %v", err)
	}
}

func opusHeadOf(channels byte) []byte {
	return append(append([]byte("OpusHead\x01"), channels), 56, 1, 0x80, 0xbb, 0, 0, 0, 0, 0) // 312 samples to be left out
}

// oggFile puts packets into pages of their own.
func oggFile(packets [][]byte) (file []byte) {
	for i, p := range packets {
		head := append([]byte("OggS\x00\x00"), make([]byte, 8)...)
		head = binary.LittleEndian.AppendUint32(head, 7)
		head = binary.LittleEndian.AppendUint32(head, uint32(i))
		head = append(head, 0, 0, 0, 0, byte(len(p)/255+1))
		for n := len(p); ; n -= 255 {
			head = append(head, byte(min(n, 255)))
			if n < 255 {
				break
			}
		}
		file = append(append(file, head...), p...)
	}
	return file
}

func TestNoise(t *testing.T) {
	before := math.Inf(1)
	for _, kind := range []Noise{WhiteNoise, PinkNoise, BrownNoise} {
		s := NewNoise(kind, 1)
		pcm := make([]int16, 10*soundRate)
		if n, err := s.Read(pcm); n != len(pcm) || err != nil {
			t.Fatal(n, err)
		}
		var energy, change float64
		for i, x := range pcm[1:] {
			d := float64(x) - float64(pcm[i])
			energy += float64(x) * float64(x)
			change += d * d
		}
		rms := math.Sqrt(energy/float64(len(pcm))) / math.MaxInt16
		if rms < 0.15 || rms > 0.25 {
			t.Errorf("%s noise has an RMS of %.3f", kind, rms)
		}
		// The lower the noise, the less it changes from one sample to the next.
		if bright := change / energy; bright > before/3 {
			t.Errorf("%s noise is as bright as %.3f, the one before %.3f", kind, bright, before)
		} else {
			before = bright
		}
	}
	if NewNoise("red", 1) != nil {
		t.Error("there is red noise")
	}
}

// FuzzSong: whatever is uploaded, it plays or is refused.
func FuzzSong(f *testing.F) {
	f.Add(wavFile(wavPCM, 16, 1, 8000)[:400])
	f.Add(oggFile([][]byte{opusHeadOf(1), []byte("OpusTags"), {0xf8, 1, 2, 3}, {0x00, 9, 9}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := OpenSong(bytes.NewReader(data))
		if err != nil {
			return
		}
		block := make([]int16, blockSamples)
		for range 200 {
			if n, err := s.Read(block); err != nil || n == 0 {
				return
			}
		}
	})
}
