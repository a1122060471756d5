package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

const (
	// floorHold is how long songs stay silent behind a voice.
	floorHold = 2 * time.Second
	// songSwell is how long a song takes to come back, or to go when it is stopped.
	songSwell = 500 * time.Millisecond
	// songTail is how long the loudspeaker needs for what it has been given of a song.
	songTail = 300 * time.Millisecond
	// songStall is how long a loudspeaker may take no sound.
	songStall = 5 * time.Second
)

// Tune is what is to be played, and how.
type Tune struct {
	// Open begins the song anew.
	Open func() (Song, error)
	// Loop plays it again and again.
	Loop bool
	// For is after which time it ends, pauses included; 0: when the song is over.
	For time.Duration
	// Fade is how long it takes to go when its time is over.
	Fade time.Duration
	// Volume is asked again and again, from 0 to 1.
	Volume func() float64
}

// floor settles who is heard from the loudspeaker: the privacy tone goes before a voice, a
// voice before a song, and where there is a song a silent caller is not played.
type floor struct {
	now func() time.Time

	mu    sync.Mutex
	tones int
	songs int
	until time.Time // up to when a voice has it
}

// speak gives the floor to a voice for some time.
func (f *floor) speak(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until := f.now().Add(d); until.After(f.until) {
		f.until = until
	}
}

// spoken says whether a voice has the floor.
func (f *floor) spoken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now().Before(f.until)
}

// ring counts privacy tones.
func (f *floor) ring(change int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tones += change
}

// rings says whether a privacy tone has the floor.
func (f *floor) rings() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tones > 0
}

// sing counts songs.
func (f *floor) sing(change int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.songs += change
}

// silent says whether a caller's silence has to give way to a song.
func (f *floor) silent() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.songs > 0 && !f.now().Before(f.until)
}

// voice is a caller's way to the loudspeaker beside songs and privacy tones.
type voice struct {
	player
	floor *floor
}

func (v voice) play(pcm []int16) bool {
	if audible(pcm) {
		v.floor.speak(floorHold)
	} else if v.floor.silent() {
		return true
	}
	if v.floor.rings() {
		return true // both in turn would be twice as much as the loudspeaker plays
	}
	return v.player.play(pcm)
}

// pacer is a player that can wait until there is room for more.
type pacer interface {
	// playNext blocks until the block is taken, the player fails or ctx ends.
	playNext(ctx context.Context, pcm []int16) error
}

// Play plays a tune on the loudspeaker until it is over or ctx ends, which it does softly,
// and returns why: nil, ctx's error, the song's or the loudspeaker's. While a caller is
// heard it pauses. ErrUnsupported says that there is no loudspeaker.
func (b *Board) Play(ctx context.Context, t Tune) error {
	if b.speaker == nil || b.shared {
		return fmt.Errorf("%w: there is no loudspeaker", ErrUnsupported)
	}
	song, err := t.Open()
	if err != nil {
		return err
	}
	b.mu.Lock()
	p, err := b.borrowPlayer(ctx)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	b.floor.sing(1)
	defer b.floor.sing(-1)
	m := &musician{tune: t, song: song, to: p, floor: &b.floor, now: b.cfg.Now, block: make([]int16, blockSamples)}
	err = m.perform(ctx)
	return errors.Join(err, p.close())
}

// musician plays one tune.
type musician struct {
	tune  Tune
	song  Song
	to    player
	floor *floor
	now   func() time.Time
	block []int16
	gain  float64 // of the last sample: it changes no faster than swelling allows
	empty int     // how often in a row the song was over at once
}

// perform plays until the tune is over or ctx ends, then for a moment more.
func (m *musician) perform(ctx context.Context) error {
	end, stop := time.Time{}, (<-chan struct{})(ctx.Done())
	if m.tune.For > 0 {
		end = m.now().Add(m.tune.For)
	}
	tick := time.NewTicker(PacketDuration)
	defer tick.Stop()
	for {
		if m.floor.spoken() {
			m.gain = 0
			select {
			case <-tick.C:
				if end.IsZero() || m.now().Before(end) {
					continue
				}
				return nil
			case <-stop:
				return ctx.Err()
			}
		}
		level := m.level(end)
		if ctx.Err() != nil {
			level = 0
		}
		if level == 0 && m.gain == 0 && (ctx.Err() != nil || !end.IsZero() && !m.now().Before(end)) {
			return ctx.Err()
		}
		if err := m.next(level, tick.C); err != nil {
			if errors.Is(err, io.EOF) {
				return m.ring(ctx)
			}
			return err
		}
	}
}

// ring waits until the loudspeaker has played the song's end.
func (m *musician) ring(ctx context.Context) error {
	end := time.NewTimer(songTail)
	defer end.Stop()
	select {
	case <-end.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// level is how loud it has to be now, as a factor. Hearing is closer to its square root.
func (m *musician) level(end time.Time) float64 {
	v := max(0, min(1, m.tune.Volume()))
	level := v * v
	if end.IsZero() {
		return level
	}
	left := end.Sub(m.now())
	switch {
	case left <= 0:
		return 0
	case left < m.tune.Fade:
		return level * float64(left) / float64(m.tune.Fade)
	}
	return level
}

// next plays one block; io.EOF says that the song is over.
func (m *musician) next(level float64, tick <-chan time.Time) error {
	n, err := m.song.Read(m.block)
	if n == 0 && errors.Is(err, io.EOF) && m.tune.Loop && m.empty == 0 {
		m.empty++ // one without any sound does not go round for ever
		m.song, err = m.tune.Open()
		return err
	}
	if n == 0 {
		return err
	}
	m.empty = 0
	clear(m.block[n:])
	step := float64(time.Second) / float64(songSwell) / soundRate
	for i, s := range m.block {
		m.gain += max(-step, min(step, level-m.gain))
		m.block[i] = int16(math.Round(float64(s) * m.gain))
	}
	return m.give(tick)
}

// give waits until the loudspeaker wants more, since only it knows its own pace.
func (m *musician) give(tick <-chan time.Time) error {
	if p, ok := m.to.(pacer); ok {
		ctx, cancel := context.WithTimeout(context.Background(), songStall)
		defer cancel()
		return p.playNext(ctx, m.block)
	}
	m.to.play(m.block) // what is dropped is heard as a click
	<-tick
	return nil
}
