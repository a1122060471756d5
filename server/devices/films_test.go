//go:build guest

package devices

import (
	"bytes"
	"encoding/binary"
	"image"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
	"github.com/pion/opus"

	"porchlight/voip/device/devicetest"
)

const (
	// clipTime is how long the clip is that is asked for in the room, alertClipTime the one that
	// follows an alert, which shows alertBefore of the time before it.
	clipTime, alertClipTime, alertBefore = 5 * time.Second, 3 * time.Second, 2 * time.Second
	// keyEvery is how much further back a film may begin: at a picture that stands for itself.
	keyEvery = 4 * time.Second
	// calm is how long a calm room gives no alert.
	calm = 8 * time.Second
)

// What vivid shows: bars that stand or move, with words on them or without.
const (
	movement, movesNot, movesFast = "Horizontal Movement", 3, 6
	onPicture, allWords, noWords  = "OSD Text Mode", 0, 2
)

// clipOnRequest has a clip made in the room, and looks at it and listens to it.
func clipOnRequest(t *testing.T, b *bench) {
	tones := play(t, intoMicrophone, micTone, rate, 1)
	defer tones.stop()
	b.client.say("clip " + clipTime.String())
	b.client.hears(t, "I record for 5s")
	m := b.client.hears(t, "A clip from")
	f := b.client.film(t, m)
	if f.length < clipTime || f.length > clipTime+time.Second {
		t.Errorf("a clip of %v lasts %v", clipTime, f.length)
	}
	if n := int(clipTime / time.Second); f.pictures < 12*n || f.changed < 5*n {
		t.Errorf("it has %d pictures, %d of them differ from the one before", f.pictures, f.changed)
	}
	colourBars(t, f.first)
	colourBars(t, f.last)
	colourBars(t, b.client.picture(t, m.Info.Thumbnail))
	for second := range clipTime / time.Second {
		pcm := f.sound[min(len(f.sound), int(second)*rate):min(len(f.sound), int(second+1)*rate)]
		// At first the card is only about to play.
		if h := loudestTone(pcm); second > 0 && !h.is(micTone, clear) {
			t.Errorf("in its second %d one hears %v", second, h)
		}
	}
}

// watchesRoom is an alert of a cry and one of a movement, and none in a room that is calm.
func watchesRoom(t *testing.T, b *bench) {
	c := b.client
	c.set("clip_length", alertClipTime.String())
	c.set("clip_before", alertBefore.String())
	setControl(t, onPicture, noWords)
	hiss := playRaw(t, calmRoom(), intoMicrophone, rate, 1)
	c.set("sound_alert", "on")
	c.set("motion_alert", "on")
	from := hiss.played()
	if !until(func() bool { return hiss.played() > from+calm }) {
		t.Fatal("the hiss was not played")
	}
	c.without(t, "I hear", "Something moves", "has failed")

	hiss.stop()
	cry := playRaw(t, baby(), intoMicrophone, rate, 1)
	alert := c.hears(t, "I hear a cry or a call at")
	colourBars(t, c.picture(t, alert.URL))
	f := c.film(t, c.hears(t, "Clip: I hear a cry or a call at"))
	showsBefore(t, f)
	if level := rms(f.sound[max(0, len(f.sound)-int(alertClipTime.Seconds()*rate)):]); math.Abs(level-babyLevel) > 4 {
		t.Errorf("in the clip the cry has %.1f dBFS, not %.1f", level, float64(babyLevel))
	}
	cry.stop()
	hiss = playRaw(t, calmRoom(), intoMicrophone, rate, 1)
	c.without(t, "I hear", "Something moves", "has failed") // it was told of once

	setControl(t, movement, movesFast)
	alert = c.hears(t, "Something moves here at")
	c.picture(t, alert.URL)
	f = c.film(t, c.hears(t, "Clip: Something moves here at"))
	showsBefore(t, f)
	if f.changed < int(alertClipTime/time.Second)*8 {
		t.Errorf("in the clip only %d of %d pictures move", f.changed, f.pictures)
	}
	setControl(t, movement, movesNot)
	setControl(t, onPicture, allWords)
	for name, value := range map[string]string{"sound_alert": "off", "motion_alert": "off", "clip_length": "10s", "clip_before": "5s"} {
		c.set(name, value)
	}
	hiss.stop()
}

// showsBefore holds the clip of an alert to its length.
func showsBefore(t *testing.T, f film) {
	t.Helper()
	if least := alertClipTime + alertBefore/2; f.length < least || f.length > least+alertBefore+keyEvery {
		t.Errorf("the clip lasts %v", f.length)
	}
}

// film is what a clip shows and sounds like.
type film struct {
	length            time.Duration
	pictures, changed int // decoded; different from the one before
	first, last       *image.YCbCr
	sound             []int16
}

// film downloads a clip and takes it apart.
func (c *client) film(t *testing.T, m message) (f film) {
	t.Helper()
	if m.MsgType != "m.video" || m.Info.Type != "video/webm" {
		t.Fatalf("the clip is %+v", m)
	}
	data := c.download(m.URL)
	var file struct {
		Header  webm.EBMLHeader `ebml:"EBML"`
		Segment webm.Segment    `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(bytes.NewReader(data), &file); err != nil {
		t.Fatal(err)
	}
	f.length = time.Duration(file.Segment.Info.Duration) * time.Millisecond
	if said := time.Duration(m.Info.Duration) * time.Millisecond; said != f.length || m.Info.Size != len(data) {
		t.Errorf("a film of %v and %d bytes is said to last %v and to have %d", f.length, len(data), said, m.Info.Size)
	}
	eye, err := devicetest.NewVP8Decoder()
	if err != nil {
		t.Fatal(err)
	}
	defer eye.Close()
	ear, err := opus.NewDecoderWithOutput(rate, 1)
	if err != nil {
		t.Fatal(err)
	}
	var seenTo, heardTo time.Duration
	for _, cluster := range file.Segment.Cluster {
		for _, block := range cluster.SimpleBlock {
			at := time.Duration(int64(cluster.Timecode)+int64(block.Timecode)) * time.Millisecond
			if block.TrackNumber == 1 {
				f.see(t, eye, block.Data[0])
				seenTo = at
				continue
			}
			f.hear(t, &ear, at, block.Data[0])
			heardTo = at
		}
	}
	t.Logf("a clip of %v in %d bytes: %d pictures of %v, %d of them changed; %.1f s of sound", f.length, len(data),
		f.pictures, f.first.Rect.Size(), f.changed, float64(len(f.sound))/rate)
	if size := f.first.Rect.Size(); size != image.Pt(m.Info.Width, m.Info.Height) {
		t.Errorf("pictures of %v are said to have %d×%d", size, m.Info.Width, m.Info.Height)
	}
	// While it is quiet a packet of sound comes every 400 ms.
	if f.length-seenTo > 300*time.Millisecond || f.length-heardTo > 600*time.Millisecond {
		t.Errorf("of %v the last picture is at %v, the last sound at %v", f.length, seenTo, heardTo)
	}
	return f
}

func (f *film) see(t *testing.T, eye *devicetest.VP8Decoder, frame []byte) {
	t.Helper()
	picture, err := eye.Decode(frame)
	if err != nil {
		t.Fatal("a picture does not decode:", err)
	}
	f.pictures++
	if f.first == nil {
		f.first = picture
	} else if differ(f.last, picture) {
		f.changed++
	}
	f.last = picture
}

// hear puts a packet's sound where it belongs, behind the silence before it.
func (f *film) hear(t *testing.T, ear *opus.Decoder, at time.Duration, packet []byte) {
	t.Helper()
	pcm := make([]int16, rate*120/1000)
	n, err := ear.DecodeToInt16(packet, pcm)
	if err != nil {
		t.Fatal("the sound does not decode:", err)
	}
	if missing := int(at.Seconds()*rate) - len(f.sound); missing > rate/100 {
		f.sound = append(f.sound, make([]int16, missing)...)
	}
	f.sound = append(f.sound, pcm[:n]...)
}

// without fails the test if the board has said any of some words until now.
func (c *client) without(t *testing.T, words ...string) {
	t.Helper()
	c.say("lullaby stop")
	c.wait(t, "an answer", func(e event) bool {
		body := e.message().Body
		for _, w := range words {
			if strings.Contains(body, w) {
				t.Errorf("the board says: %s", body)
			}
		}
		return body == "I play nothing."
	})
}

// wave is sound without an end: it gives the next sample, from -1 to 1.
type wave func() float64

// Read gives 16 bits little-endian.
func (w wave) Read(p []byte) (int, error) {
	for i := range len(p) / 2 {
		binary.LittleEndian.PutUint16(p[2*i:], uint16(int16(math.MaxInt16*w())))
	}
	return len(p) / 2 * 2, nil
}

// calmRoom is what a microphone hears of a room in which nothing happens: a hiss.
func calmRoom() wave {
	random := rand.New(rand.NewPCG(1, 2))
	return func() float64 { return (random.Float64() - 0.5) * 0.005 }
}

// babyLevel is how loud its crying is, in dBFS.
const babyLevel = -14

// baby cries: for a second it rises and falls, then it takes breath.
func baby() wave {
	room, n, phase := calmRoom(), 0, 0.0
	return func() float64 {
		at := float64(n%(rate*14/10)) / rate
		n++
		if at > 1 {
			return room()
		}
		strength := math.Sin(math.Pi * at)
		phase += 2 * math.Pi * (350 + 250*strength) / rate
		return room() + 0.3*strength*(math.Sin(phase)+0.6*math.Sin(2*phase)+0.3*math.Sin(3*phase))
	}
}
