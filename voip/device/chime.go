package device

import (
	"context"
	"fmt"
	"math"
	"time"
)

// The privacy tone: two notes, the second one lower.
const (
	chimeHigh, chimeLow = 880.0, 660.0 // Hz
	chimeNote           = 180 * time.Millisecond
	chimeLevel          = 0.25 // of full scale
	// chimeTail is how long the loudspeaker needs for what it has been given.
	chimeTail = 300 * time.Millisecond
)

// Chime plays the privacy tone on the loudspeaker, in the place of a caller who is heard
// there, and returns when it is over. ErrUnsupported says that there is no loudspeaker; one that only
// measures plays nothing.
func (b *Board) Chime(ctx context.Context) error {
	if b.speaker == nil {
		return fmt.Errorf("%w: there is no loudspeaker for the privacy tone", ErrUnsupported)
	}
	if b.shared {
		return nil
	}
	b.mu.Lock()
	p, err := b.borrowPlayer(ctx)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	pcm := chimeSound()
	b.floor.speak(time.Duration(len(pcm))*time.Second/soundRate + chimeTail) // songs wait
	b.ring(ctx, p, pcm)
	tail := time.NewTimer(chimeTail)
	defer tail.Stop()
	select {
	case <-tail.C:
	case <-ctx.Done():
	}
	return p.close()
}

// ring plays the privacy tone at the loudspeaker's pace.
func (b *Board) ring(ctx context.Context, p player, pcm []int16) {
	b.floor.ring(1)
	defer b.floor.ring(-1)
	tick := time.NewTicker(PacketDuration)
	defer tick.Stop()
	for len(pcm) > 0 && ctx.Err() == nil {
		b.duck.played(pcm[:blockSamples])
		p.play(pcm[:blockSamples]) // what is dropped is heard as a click
		pcm = pcm[blockSamples:]
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// chimeSound is the tone in whole blocks. Each note swells and fades, so that it does not
// click.
func chimeSound() []int16 {
	n := int(chimeNote*soundRate/time.Second) / blockSamples * blockSamples
	pcm := make([]int16, 0, 2*n)
	for _, hz := range []float64{chimeHigh, chimeLow} {
		for i := range n {
			swell := math.Sin(math.Pi * float64(i) / float64(n))
			pcm = append(pcm, int16(chimeLevel*math.MaxInt16*swell*math.Sin(2*math.Pi*hz*float64(i)/soundRate)))
		}
	}
	return pcm
}
