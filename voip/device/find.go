package device

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// findCamera decides where the picture comes from.
func (b *Board) findCamera() error {
	switch b.cfg.Camera {
	case None:
		b.say("There is no camera, by configuration.")
		return nil
	case Test:
		b.useTestPicture("by configuration")
		return nil
	case Auto:
		b.useTestPicture("because no camera was found")
		return nil
	}
	return errors.New("no camera")
}

func (b *Board) useTestPicture(why string) {
	if !haveVP8 {
		b.say("There is no picture, %s: the test picture needs the VP8 encoder, which this build without cgo lacks.", why)
		return
	}
	b.say("The picture is a test picture of %d×%d at %d/s, %s.", b.cfg.Width, b.cfg.Height, b.cfg.FPS, why)
	b.video = b.newFeed("test picture", func(h *hub) (producer, error) {
		return b.newVP8Producer(h, newTestPicture(b.cfg.Width, b.cfg.Height, b.cfg.FPS, b.cfg.Now)), nil
	}, newHub(string(VP8), true, videoQueueFrames))
}

func (b *Board) newFeed(name string, open func(h *hub) (producer, error), hubs ...*hub) *feed {
	return &feed{name: name, log: b.cfg.Log, hubs: hubs, spawn: b.spawn, open: open}
}

func (b *Board) newVP8Producer(h *hub, in pictureInput) *vp8Producer {
	return &vp8Producer{in: in, hub: h, bitrate: b.cfg.Bitrate, cpuUsed: b.cfg.CPUUsed, frame: time.Second / time.Duration(b.cfg.FPS)}
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
		b.useTestTone("because no microphone was found")
		return nil
	}
	return fmt.Errorf("no microphone")
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
	b.audio = b.newFeed(name, func(*hub) (producer, error) {
		in, err := open()
		if err != nil {
			return nil, err
		}
		return &soundProducer{in: in, hubs: hubs}, nil
	}, hubs...)
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
		b.useMeter("because no loudspeaker was found")
		return nil
	}
	return fmt.Errorf("no loudspeaker")
}

func (b *Board) useMeter(why string) {
	b.say("What callers say is measured but not played, %s.", why)
	b.shared = true
	b.speaker = func(context.Context) (player, error) { return nil, nil }
}
