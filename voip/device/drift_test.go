package device

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A card whose clock is off is neither starved nor flooded in an hour, and what it plays has
// no clicks.
func TestDrift(t *testing.T) {
	const want = 3 * blockSamples
	for _, ppm := range []float64{-300, -50, 0, 50, 300} {
		var d drift
		random := rand.New(rand.NewPCG(1, 2))
		waiting := float64(want)
		least, most := waiting, waiting
		block := make([]int16, blockSamples)
		var played []int16
		for n := range 60 * 60 * 50 {
			for i := range block {
				block[i] = int16((n*blockSamples + i) % 200 * 100) // only its length counts
			}
			// The blocks themselves come a little unevenly.
			out := d.fit(block, int(waiting)+random.IntN(400)-200, want)
			waiting += float64(len(out))
			waiting -= blockSamples * (1 + ppm/1e6)
			least, most = min(least, waiting), max(most, waiting)
		}
		t.Logf("%+.0f ppm: %.0f to %.0f samples wait", ppm, least, most)
		if least < blockSamples || most > 5*blockSamples {
			t.Errorf("%+.0f ppm: %.0f to %.0f samples wait", ppm, least, most)
		}
		d = drift{}
		for in := range slices.Chunk(tone(soundRate, 440, -20, 20*soundRate), blockSamples) {
			played = append(played, d.fit(in, want-2000, want)...)
		}
		if silent, clicks := gaps(played, -20, 440); silent > 0 || clicks > 0 || len(played) <= 20*soundRate {
			t.Errorf("%d gaps, %d clicks in %d samples", silent, clicks, len(played))
		}
	}
}
