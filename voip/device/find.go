package device

import (
	"context"
	"fmt"
	"os"
	"time"
)

// findCamera decides where the picture comes from.
func (b *Board) findCamera() error {
	b.sightMu.Lock()
	defer b.sightMu.Unlock()
	err := b.chooseCamera()
	if b.video != nil {
		b.video.live = b.countCamera
	}
	return err
}

func (b *Board) chooseCamera() error {
	switch b.cfg.Camera {
	case None:
		b.say("There is no camera, by configuration.")
		return nil
	case Test:
		b.useTestPicture("by configuration")
		return nil
	case Auto:
		if found, err := b.findV4L2(Auto); found || err != nil {
			return err
		}
		if b.findRPiCam() {
			return nil
		}
		b.useTestPicture("because no camera was found")
		b.noCamera = b.found[len(b.found)-1]
		return nil
	}
	if b.useProgram() {
		return nil
	}
	_, err := b.findV4L2(b.cfg.Camera)
	return err
}

func (b *Board) useTestPicture(why string) {
	if !haveVP8 {
		b.say("There is no picture, %s: the test picture needs the VP8 encoder, which this build without cgo lacks.", why)
		return
	}
	b.say("The picture is a test picture of %d×%d at %d/s, %s.", b.cfg.Width, b.cfg.Height, b.cfg.FPS, why)
	coded := newHub(string(VP8), true, videoQueueFrames)
	raw := newRawHub(string(VP8), rawPictureQueue)
	b.video = b.newFeed("test picture", func(*hub) (producer, error) {
		return b.newVP8Producer(coded, raw, newTestPicture(b.cfg.Width, b.cfg.Height, b.cfg.FPS, b.cfg.Now)), nil
	}, coded)
	b.video.raw = raw
}

func (b *Board) newFeed(name string, open func(h *hub) (producer, error), hubs ...*hub) *feed {
	return &feed{name: name, log: b.cfg.Log, hubs: hubs, spawn: b.spawn, open: open, live: b.countLive, now: b.cfg.Now}
}

func (b *Board) newVP8Producer(h, raw *hub, in pictureInput) *vp8Producer {
	return &vp8Producer{b.newVP8Coder(h, raw), in}
}

func (b *Board) newVP8Coder(h, raw *hub) vp8Coder {
	return vp8Coder{
		hub: h, raw: raw, bitrate: b.cfg.Bitrate, frame: time.Second / time.Duration(b.cfg.FPS), now: time.Now, log: b.cfg.Log,
		make: func(width, height int) (pictureEncoder, error) {
			return newVP8Encoder(width, height, b.cfg.Bitrate, b.cfg.CPUUsed)
		},
	}
}

// useH264 takes a camera that gives nothing but H.264. Others have it decoded, where this
// build can.
func (b *Board) useH264(name string, open func() (h264Input, error)) {
	coded := newH264Hub()
	hubs := []*hub{coded}
	var vp8, raw *hub
	if haveH264Decoder {
		vp8, raw = newHub(string(VP8), true, videoQueueFrames), newRawHub(string(H264), rawPictureQueue)
		vp8.mode = string(H264)
		hubs = append(hubs, vp8)
	}
	b.video = b.newFeed(name, func(*hub) (producer, error) {
		in, err := open()
		if err != nil {
			return nil, err
		}
		p := b.newH264Producer(in, coded)
		if haveH264Decoder {
			p.eye = &h264Eye{vp8Coder: b.newVP8Coder(vp8, raw)}
			p.eye.pace = func(every time.Duration) { p.eye.every = every }
		}
		return p, nil
	}, hubs...)
	b.video.raw = raw
}

// newH264Hub is a hub for what a camera codes by itself.
func newH264Hub() *hub {
	h := newHub(string(H264), true, videoQueueFrames)
	h.replays, h.reorder = true, &reordering{}
	return h
}

func (b *Board) newH264Producer(in h264Input, h *hub) *h264Producer {
	return &h264Producer{
		in: in, hub: h, bitrate: b.cfg.Bitrate, frame: time.Second / time.Duration(b.cfg.FPS), reordered: b.tellReordered,
	}
}

// tellReordered tells the owner that the camera's H.264 is of no use to those who call.
func (b *Board) tellReordered() {
	b.cfg.Log.Warn("the camera's H.264 has B-frames, so it is not sent to callers as it is: switch them off in the camera")
	b.sightMu.Lock()
	defer b.sightMu.Unlock()
	instead := "nobody can see it"
	if haveH264Decoder {
		instead = "callers get VP8 made of it here, which takes more of the board's power"
	}
	b.say("The camera's H.264 has B-frames, whose order calls cannot keep: %s. Switch them off in the camera.", instead)
}

// alsoVP8 ends a sentence about a camera's H.264.
func alsoVP8() string {
	if haveH264Decoder {
		return ", or VP8 made of it here"
	}
	return ""
}

// findMicrophone decides where the sound comes from.
func (b *Board) findMicrophone() error {
	switch b.cfg.Microphone {
	case None:
		b.say("There is no microphone, by configuration.")
		return nil
	case Test:
		b.useTestTone("by configuration")
		return nil
	case Auto:
		cards := listSoundCards(soundDir, soundProcDir, false)
		if len(cards) == 0 {
			b.useTestTone("because no microphone was found")
			return nil
		}
		b.useMicrophone(cards[0])
		return nil
	}
	card, err := b.findCard(b.cfg.Microphone, false)
	if err != nil {
		return err
	}
	b.useMicrophone(card)
	return nil
}

// Where Linux keeps its sound cards, and what it tells of them.
const (
	soundDir     = "/dev/snd"
	soundProcDir = "/proc/asound"
)

// findCard finds a sound card's device by the name in the configuration.
func (b *Board) findCard(name string, playback bool) (soundCard, error) {
	want, err := parseHW(name, soundProcDir)
	if err != nil {
		return soundCard{}, err
	}
	for _, c := range listSoundCards(soundDir, soundProcDir, playback) {
		if c.card == want.card && c.device == want.device {
			return c, nil
		}
	}
	kind := "microphone"
	if playback {
		kind = "loudspeaker"
	}
	return soundCard{}, fmt.Errorf("device: there is no %s %s", kind, name)
}

func (b *Board) useMicrophone(c soundCard) {
	b.say("The sound comes from the microphone %s (%s).", c, c.name)
	b.useSound("microphone "+c.String(), func() (soundInput, error) {
		return openCapture(c.again(soundDir, soundProcDir).path(soundDir), b.cfg.Log)
	})
	b.audio.present = func() bool {
		_, err := os.Stat(c.again(soundDir, soundProcDir).path(soundDir))
		return err == nil
	}
}

func (b *Board) useTestTone(why string) {
	b.say("The sound is a test tone of %d Hz, %s.", toneHz, why)
	b.useSound("test tone", func() (soundInput, error) { return newTestTone(), nil })
}

// useSound takes the sound from what open opens.
func (b *Board) useSound(name string, open func() (soundInput, error)) {
	codecs := []AudioCodec{PCMU, PCMA}
	if haveOpusEncoder {
		codecs = []AudioCodec{Opus, PCMU, PCMA}
	} else {
		b.say("The sound is sent as G.711 only: this build without cgo lacks the Opus encoder.")
	}
	var hubs []*hub
	for _, c := range codecs {
		hubs = append(hubs, newHub(string(c), false, audioQueuePackets))
	}
	raw := newRawHub(string(codecs[0]), rawSoundQueue)
	b.audio = b.newFeed(name, func(*hub) (producer, error) {
		in, err := open()
		if err != nil {
			return nil, err
		}
		return &soundProducer{in: in, hubs: hubs, raw: raw, duck: &b.duck, gain: &b.own, echo: &echoRemover{path: &b.echo, now: time.Now}}, nil
	}, hubs...)
	b.audio.raw = raw
}

// findLoudspeaker decides where the callers' voices go.
func (b *Board) findLoudspeaker() error {
	switch b.cfg.Loudspeaker {
	case None:
		b.say("There is no loudspeaker, by configuration.")
		return nil
	case MeterOnly, Test:
		b.useMeter("by configuration")
		return nil
	case Auto:
		cards := listSoundCards(soundDir, soundProcDir, true)
		if len(cards) == 0 {
			b.useMeter("because no loudspeaker was found")
			return nil
		}
		b.useLoudspeaker(cards[0])
		return nil
	}
	card, err := b.findCard(b.cfg.Loudspeaker, true)
	if err != nil {
		return err
	}
	b.useLoudspeaker(card)
	return nil
}

func (b *Board) useLoudspeaker(c soundCard) {
	b.say("What callers say is played by the loudspeaker %s (%s).", c, c.name)
	b.speaker = func(ctx context.Context) (player, error) {
		path := func() string { return c.again(soundDir, soundProcDir).path(soundDir) }
		heard := func(pcm []int16) { b.echo.played(pcm, time.Now()) }
		return openPlayback(ctx, path, b.cfg.Log, heard, b.spawn)
	}
}

func (b *Board) useMeter(why string) {
	b.say("What callers say is measured but not played, %s.", why)
	b.shared = true
	b.speaker = func(context.Context) (player, error) { return nil, nil }
}
