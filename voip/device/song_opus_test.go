//go:build cgo

package device

import (
	"bytes"
	"math"
	"testing"
)

// TestOggOpus: what the encoder makes comes back from a file, loud and clear.
func TestOggOpus(t *testing.T) {
	enc, err := newOpusEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer enc.close()
	packets := [][]byte{opusHeadOf(1), append([]byte("OpusTags"), make([]byte, 3000)...)}
	const blocks = 100
	for n := range blocks {
		block := make([]int16, blockSamples)
		for i := range block {
			block[i] = int16(16000 * math.Sin(2*math.Pi*440*float64(n*blockSamples+i)/soundRate))
		}
		p, err := enc.encode(block)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	s, err := OpenSong(bytes.NewReader(oggFile(packets)))
	if err != nil {
		t.Fatal(err)
	}
	pcm := all(t, s)
	var sound loudness
	sound.add(pcm[soundRate/2:])
	if len(pcm) != blocks*blockSamples-312 || math.Abs(sound.level()+9.2) > 1 || math.Abs(sound.toneHz()-440) > 5 {
		t.Errorf("%d samples of %.1f dBFS at %.0f Hz", len(pcm), sound.level(), sound.toneHz())
	}
}
