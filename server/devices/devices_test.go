//go:build guest

package devices

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"strings"
	"testing"
	"time"
)

// What the kernel stands in for, as the virtual machine sets it up.
const (
	// The board hears what is played into the other end of its microphone, and what it
	// says is heard at the other end of its loudspeaker.
	microphone, intoMicrophone    = "hw:Mic,1", "plughw:Mic,0"
	loudspeaker, outOfLoudspeaker = "hw:Spk,0", "plughw:Spk,1"
	camera                        = "/dev/video0"

	// maxMemory is what the server may have of its own in a call, in MiB.
	maxMemory = 64

	drivers    = "/sys/bus/platform/drivers/"
	micTone    = 1000 // in hertz
	soundCheck = 100  // packets: two seconds
)

// TestRealBoard takes a board with all its devices through a day. The steps share one house,
// since starting one takes a while, and each leaves it as it was.
func TestRealBoard(t *testing.T) {
	pins := plugPins(t)
	h := startHouse(t, "--camera", camera, "--microphone", microphone, "--loudspeaker", loudspeaker,
		"--picture-width", "320", "--picture-height", "180",
		"--button-pin", pins.name("button"), "--light-pin", pins.name("light"), "--door-pin", pins.name("door"))
	c := claimAndLogIn(h)
	c.words = rehearse(t)
	resident, own := h.memory()
	t.Logf("memory: %.1f MiB resident when idle, %.1f MiB of it the program's own", resident, own)

	b := &bench{house: h, client: c, pins: pins}
	c.set("echo", "off") // so that both sides are heard at their full level
	for _, step := range []struct {
		name string
		do   func(*testing.T, *bench)
	}{
		{"it says what it has", saysWhatItHas},
		{"a picture on request", pictureOnRequest},
		{"the door", opensTheDoor},
		{"the button rings", buttonRings},
		{"a call is seen and heard", callSeenAndHeard},
		{"a clip on request", clipOnRequest},
		{"it watches the room", watchesRoom},
		{"lullabies", singsLullabies},
		{"the camera sees by night", seesByNight},
		{"the camera is unplugged in a call", cameraUnplugged},
		{"the microphone is unplugged in a call", microphoneUnplugged},
		{"the loudspeaker is unplugged in a call", loudspeakerUnplugged},
		{"a call over a bad network", badNetwork},
	} {
		// What follows may depend on it.
		if !t.Run(step.name, func(t *testing.T) { step.do(t, b) }) {
			return
		}
	}
}

// bench is what the steps work with.
type bench struct {
	house  *house
	client *client
	pins   *simulatedPins
}

func saysWhatItHas(t *testing.T, b *bench) {
	for _, words := range []string{camera + " (vivid)", "(Mic)", "(Spk)"} {
		if !strings.Contains(b.house.written(), words) {
			t.Errorf("the greeting does not say %q", words)
		}
	}
}

func pictureOnRequest(t *testing.T, b *bench) {
	b.client.say("snapshot")
	m := b.client.hears(t, "This is what I see")
	picture, err := jpeg.Decode(bytes.NewReader(b.client.download(m.URL)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a picture of %v", picture.Bounds().Size())
	colourBars(t, picture)
	b.pins.turns(t, "light", false)
}

func opensTheDoor(t *testing.T, b *bench) {
	b.client.set("door_confirm", "off")
	b.client.set("door_pulse", "1s")
	pulse := make(chan time.Duration, 1)
	go func() {
		if !until(func() bool { return b.pins.on("door") }) {
			close(pulse)
			return
		}
		from := time.Now()
		until(func() bool { return !b.pins.on("door") })
		pulse <- time.Since(from)
	}()
	b.client.say("open")
	b.client.hears(t, "I open the door")
	// It is looked at every 100 ms, by a machine that may stumble.
	if d := <-pulse; d < 700*time.Millisecond || d > 5*time.Second {
		t.Errorf("the door's relay was on for %v, not for a second", d)
	}
}

func buttonRings(t *testing.T, b *bench) {
	b.pins.hold(true)
	defer b.pins.hold(false)
	invite := b.client.wait(t, "an invitation to a call", func(e event) bool { return e.Type == "m.call.invite" })
	if !strings.Contains(string(invite.Content), `"offer"`) {
		t.Errorf("the invitation has no offer: %s", invite.Content)
	}
	// A camera that is prepared for the call is live.
	b.pins.turns(t, "light", true)
	b.client.say("hang up")
	b.client.hears(t, "hung up")
	b.pins.turns(t, "light", false)
}

func callSeenAndHeard(t *testing.T, b *bench) {
	// First in line decides the format: the board has to follow a stereo card at 44.1 kHz,
	// and to fill one.
	tones := play(t, intoMicrophone, micTone, 44100, 2)
	room := record(t, outOfLoudspeaker)
	p := b.client.call(t)

	p.sees(t, 10)
	colourBars(t, p.picture())
	b.pins.turns(t, "light", true)
	t.Logf("the peer hears %v", eventually(t, p.last, micTone))

	from, work := time.Now(), b.house.work()
	p.reset()
	p.hears(t, soundCheck)
	s, h, _ := p.senses()
	took := time.Since(from)
	t.Logf("in %.1f s: %d packets of sound, %d lost; %d pictures, %d of them changed, longest pause %v; %.0f %% of a processor", took.Seconds(),
		h.packets, h.lost, s.frames, s.changed, s.longest.Round(time.Millisecond), 100*float64(b.house.work()-work)/float64(took))
	resident, own := b.house.memory()
	t.Logf("memory: %.1f MiB resident in a call, %.1f MiB of it the program's own", resident, own)
	if own > maxMemory {
		t.Errorf("the server has %.1f MiB of memory of its own in a call, %d are the limit", own, maxMemory)
	}
	t.Logf("the loudspeaker plays %v", eventually(t, room.last, peerTone))
	p.hangUp()
	b.pins.turns(t, "light", false)
	t.Logf("ran dry or over: aplay %d times, arecord %d times", tones.stop(), room.stop())
	// The machine's clock waits for it, so that there is no excuse.
	if !until(func() bool { return strings.Count(b.house.written(), "sound device stopped") >= 2 }) {
		t.Error("the board did not give its sound cards back")
	}
	if n := strings.Count(b.house.written(), " xruns=0"); n < 2 {
		t.Errorf("the board's sound cards ran dry or over:\n%s", b.house.written())
	}
}

// unplug takes a device away as the kernel sees it; plug brings it back.
func unplug(t *testing.T, driver, device string) {
	t.Helper()
	tell(t, drivers+driver+"/unbind", device)
}

func plug(t *testing.T, driver, device string) {
	t.Helper()
	tell(t, drivers+driver+"/bind", device)
}

func cameraUnplugged(t *testing.T, b *bench) {
	b.client.set("motion_alert", "on")
	defer b.client.set("motion_alert", "off")
	tones := play(t, intoMicrophone, micTone, rate, 1) // of silence, hardly a packet would be sent
	defer tones.stop()
	p := b.client.call(t)
	defer p.hangUp()
	p.sees(t, 5)
	// As long as somebody has the device open its number is not free, so that the camera
	// comes back under another one.
	holder, err := os.Open(camera)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	unplug(t, "vivid", "vivid.0")
	t.Logf("the board says: %s", b.client.hears(t, "The camera has failed").Body)
	p.reset()
	p.hears(t, soundCheck)
	if s, _, up := p.senses(); s.frames > 0 || !up {
		t.Errorf("without a camera %d pictures came; the call is up: %v", s.frames, up)
	}
	plug(t, "vivid", "vivid.0")
	from := time.Now()
	p.sees(t, 5)
	t.Logf("the picture is back %v after the camera", time.Since(from).Round(time.Millisecond))
	b.client.hears(t, "The camera works again")
	if !strings.Contains(b.house.written(), "path=/dev/video1") {
		t.Error("the camera did not come back under another number, so that finding it again was not tried")
	}
}

func microphoneUnplugged(t *testing.T, b *bench) {
	b.client.set("sound_level", "0") // a tone is no cry
	b.client.set("sound_alert", "on")
	defer b.client.set("sound_alert", "off")
	tones := play(t, intoMicrophone, micTone, rate, 1)
	p := b.client.call(t)
	defer p.hangUp()
	eventually(t, p.last, micTone)
	unplug(t, "snd_aloop", "snd_aloop.0")
	tones.stop()
	t.Logf("the board says: %s", b.client.hears(t, "The microphone has failed").Body)
	p.reset()
	p.sees(t, 10)
	if _, h, up := p.senses(); h.packets > 0 || !up {
		t.Errorf("without a microphone %d packets of sound came; the call is up: %v", h.packets, up)
	}
	plug(t, "snd_aloop", "snd_aloop.0")
	from := time.Now()
	play(t, intoMicrophone, micTone/2, rate, 1)
	heard := eventually(t, p.last, micTone/2)
	t.Logf("the peer hears %v %v after the microphone came back", heard, time.Since(from).Round(time.Millisecond))
	b.client.hears(t, "The microphone works again")
}

func loudspeakerUnplugged(t *testing.T, b *bench) {
	tones := play(t, intoMicrophone, micTone, rate, 1)
	defer tones.stop()
	room := record(t, outOfLoudspeaker)
	p := b.client.call(t)
	defer p.hangUp()
	eventually(t, room.last, peerTone)
	unplug(t, "snd_aloop", "snd_aloop.1")
	room.stop()
	p.reset()
	p.sees(t, 10)
	p.hears(t, soundCheck)
	plug(t, "snd_aloop", "snd_aloop.1")
	from := time.Now()
	heard := eventually(t, record(t, outOfLoudspeaker).last, peerTone)
	t.Logf("the loudspeaker plays %v %v after it came back", heard, time.Since(from).Round(time.Millisecond))
}

// colourBars fails the test if a picture is not what vivid shows: eight bars from white to
// black, each darker than the one before, with text on them.
func colourBars(t *testing.T, picture image.Image) {
	t.Helper()
	b := picture.Bounds()
	var luma [8]int
	for i := range luma {
		x, y := b.Min.X+(2*i+1)*b.Dx()/16, b.Min.Y+b.Dy()*9/10
		luma[i] = int(color.GrayModel.Convert(picture.At(x, y)).(color.Gray).Y)
		if i > 0 && luma[i] >= luma[i-1] {
			t.Errorf("bar %d of the picture is not darker than the one before: %d", i, luma)
			return
		}
	}
	red := color.NRGBAModel.Convert(picture.At(b.Min.X+11*b.Dx()/16, b.Min.Y+b.Dy()*9/10)).(color.NRGBA)
	if int(red.R) < int(red.G)+60 || int(red.R) < int(red.B)+60 {
		t.Errorf("the red bar is %v", red)
	}
}

// tell writes a word into a file of the kernel's.
func tell(t *testing.T, path, word string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(word), 0); err != nil {
		t.Fatal(err)
	}
}
