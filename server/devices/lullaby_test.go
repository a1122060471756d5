//go:build guest

package devices

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

const (
	// The song of this test is a second of the one tone and a second of the other.
	songFirst, songSecond = 600, 900 // in hertz
	songTime              = 2 * time.Second
	// lullabyTime is how long the noise is to play, lullabyFade how much of that it is going.
	lullabyTime, lullabyFade = time.Minute, 10 * time.Second
	// noiseLevel is that of the board's noise at full volume, in dBFS.
	noiseLevel = -14
	// silence is what the loudspeaker's other end hears of a board that plays nothing, in dBFS.
	silence = -90
)

// singsLullabies has the board play a song that somebody sends it, once and again and again,
// and then noise, which gives way to a caller and ends when its time is over.
func singsLullabies(t *testing.T, b *bench) {
	c := b.client
	c.set("lullaby_volume", "100")
	c.send("m.room.message", map[string]any{
		"msgtype": "m.audio", "body": "moon.wav", "url": c.upload("moon.wav", songWAV()), "info": map[string]string{"mimetype": "audio/wav"},
	})
	c.hears(t, "lullaby add")
	c.say("lullaby add moon")
	c.hears(t, `I know "moon" now`)
	room := record(t, outOfLoudspeaker)
	defer room.stop()

	c.say("lullaby moon")
	c.hears(t, `I play "moon" once`)
	for _, hz := range []float64{songFirst, songSecond} {
		if h := eventually(t, room.last, hz); math.Abs(h.hz-hz) > 1 {
			t.Errorf("the song is off key: %v, not %.0f Hz", h, hz)
		}
	}
	falls(t, room)
	if d := room.sounded(); d < songTime-20*time.Millisecond || d > songTime+20*time.Millisecond {
		t.Errorf("a song of %v was heard for %v", songTime, d)
	}

	c.say("lullaby moon loop")
	c.hears(t, `I play "moon" until`)
	for range 2 {
		eventually(t, room.last, songFirst)
		eventually(t, room.last, songSecond)
	}
	c.say("lullaby stop")
	c.hears(t, `I stop playing "moon"`)
	falls(t, room)

	c.set("lullaby_fade", lullabyFade.String())
	c.say("lullaby white for 1m")
	c.hears(t, "I play white noise until")
	from := time.Now()
	rushes(t, room)
	lullabyInCall(t, c, room)
	lullabyEnds(t, room, from)
	c.set("lullaby_fade", "20s")
	c.set("lullaby_volume", "30")
	if written := b.house.written(); strings.Contains(written, "lullaby could not be played") {
		t.Error("the board could not play")
	}
}

// lullabyInCall calls the board while it plays noise: the caller's voice goes before it, the
// caller's silence does not.
func lullabyInCall(t *testing.T, c *client, room *recorder) {
	p := c.call(t)
	defer p.hangUp()
	from := time.Now()
	h := eventually(t, room.last, peerTone)
	t.Logf("the loudspeaker plays %v %v after the call is up", h, time.Since(from).Round(10*time.Millisecond))
	p.stop()
	rushes(t, room)
	if _, _, up := p.senses(); !up {
		t.Error("the call is not up any more")
	}
}

// lullabyEnds follows noise that began at a time until it is over.
func lullabyEnds(t *testing.T, room *recorder, from time.Time) {
	rushes(t, room)
	for time.Since(from) < lullabyTime-lullabyFade { // longer than until has patience for
		until(func() bool {
			if level := rms(room.last(400)); math.Abs(level-noiseLevel) > 2 {
				t.Fatalf("%v after its beginning the noise has %.1f dBFS", time.Since(from), level)
			}
			return time.Since(from) > lullabyTime-lullabyFade
		})
	}
	until(func() bool { return time.Since(from) > lullabyTime-lullabyFade/2 })
	half := rms(room.last(200))
	if down := noiseLevel - half; down < 3 || down > 12 {
		t.Errorf("half the time in which it goes is over, and the noise has %.1f dBFS", half)
	}
	falls(t, room)
	took := time.Since(from)
	t.Logf("the noise had %.1f dBFS when it was half gone, and was over after %v", half, took.Round(100*time.Millisecond))
	if took < lullabyTime-time.Second || took > lullabyTime+3*time.Second {
		t.Errorf("noise for %v was over after %v", lullabyTime, took)
	}
}

// falls waits until the loudspeaker is silent.
func falls(t *testing.T, room *recorder) {
	t.Helper()
	level := 0.0
	if !until(func() bool { level = rms(room.last(400)); return level < silence }) {
		t.Fatalf("the loudspeaker does not fall silent: it plays %.1f dBFS", level)
	}
}

// rushes waits until the loudspeaker plays noise at its full level, and no tone.
func rushes(t *testing.T, room *recorder) {
	t.Helper()
	var h tone
	var level float64
	if !until(func() bool {
		pcm := room.last(400)
		h, level = loudestTone(pcm), rms(pcm)
		return h.share < 0.2 && math.Abs(level-noiseLevel) < 1
	}) {
		t.Fatalf("the loudspeaker plays %.1f dBFS, and no noise but %v", level, h)
	}
}

// rms is the level of sound in dBFS.
func rms(pcm []int16) float64 {
	power := 1e-12 * float64(len(pcm)+1)
	for _, s := range pcm {
		power += float64(s) * float64(s) / math.MaxInt16 / math.MaxInt16
	}
	return 10 * math.Log10(power/float64(len(pcm)+1))
}

// songWAV is the song as a file: two channels at 44.1 kHz, in 16 bits.
func songWAV() []byte {
	const rate, channels = 44100, 2
	var pcm []byte
	for _, hz := range []float64{songFirst, songSecond} {
		part := make([]byte, rate*channels*2)
		if _, err := io.ReadFull(&sine{hz: hz, rate: rate, channels: channels}, part); err != nil {
			panic(err) // it never ends
		}
		pcm = append(pcm, part...)
	}
	var file bytes.Buffer
	file.WriteString("RIFF")
	for _, v := range []any{
		uint32(36 + len(pcm)), []byte("WAVEfmt "), uint32(16), uint16(1), uint16(channels),
		uint32(rate), uint32(rate * channels * 2), uint16(channels * 2), uint16(16), []byte("data"), uint32(len(pcm)), pcm,
	} {
		_ = binary.Write(&file, binary.LittleEndian, v) // into memory, never fails
	}
	return file.Bytes()
}
