//go:build cgo

package device

import (
	"slices"
	"testing"
)

// What a sender says again in the next packet is used, and nearer to what was said than what
// is made up.
func TestRecoversWhatIsSaidAgain(t *testing.T) {
	enc, err := newOpusEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer enc.close()
	if err := enc.setLoss(0.2); err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	again := 0
	for block := range slices.Chunk(talk(20), blockSamples) {
		data, err := enc.encode(block)
		if err != nil {
			t.Fatal(err)
		}
		if saysAgain(data) {
			again++
		}
		packets = append(packets, data)
	}
	p, whole := &playout{}, &playout{}
	defer p.close()
	defer whole.close()
	heard, said := through(packets, Opus, network{loss: 0.1}, p), through(packets, Opus, network{}, whole)
	c := p.jitter.counts
	// Energies in short stretches are compared, as phases are the codec's affair.
	weak := 0
	for i := 0; i+480 <= min(len(heard), len(said)); i += 480 {
		if l := levelOf(said[i : i+480]); l > -40 && levelOf(heard[i:i+480]) < l-6 {
			weak++
		}
	}
	t.Logf("%d of %d packets say the one before again; %d lost, %d recovered, %d stretches of 10 ms much too weak", again, len(packets), c.lost, c.recovered, weak)
	if again < len(packets)/2 || c.lost < 50 || c.recovered < c.lost/2 || weak > 60 {
		t.Error("losses are not recovered")
	}
}
