package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"porchlight/voip/agent"
	"porchlight/voip/device"
	"porchlight/voip/gpio"
)

// boardDevices shows the board's devices to the agent.
type boardDevices struct {
	*device.Board
	lamp *nightLamp
}

// nightLamp is a lamp that is lit by night while the camera runs.
type nightLamp struct {
	pins *gpio.Lines
	log  *slog.Logger

	mu             sync.Mutex
	night, watched bool
}

// change takes what has changed, and switches the lamp.
func (l *nightLamp) change(set func(*nightLamp)) {
	if !l.pins.HasNight() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.night && l.watched
	set(l)
	if on := l.night && l.watched; on != before {
		if err := l.pins.Night(on); err != nil {
			l.log.Error("the lamp for the night cannot be switched", "on", on, "error", err)
		}
	}
}

// SetEcho implements agent.Devices.
func (d boardDevices) SetEcho(how string) error { return d.Board.SetEcho(device.Echo(how)) }

// SetNight implements agent.Devices.
func (d boardDevices) SetNight(on bool) { d.lamp.change(func(l *nightLamp) { l.night = on }) }

// watching hears whether the camera runs.
func (l *nightLamp) watching(on bool) { l.change(func(l *nightLamp) { l.watched = on }) }

// cameraControls spells controls as package device does.
func cameraControls(all []agent.CameraControl) (controls []device.Control) {
	for _, c := range all {
		controls = append(controls, device.Control(c))
	}
	return controls
}

// CheckCamera implements agent.Devices.
func (d boardDevices) CheckCamera(controls []agent.CameraControl) error {
	return plainly(d.Board.CheckCamera(cameraControls(controls)))
}

// TuneCamera implements agent.Devices.
func (d boardDevices) TuneCamera(ctx context.Context, controls []agent.CameraControl) error {
	return plainly(d.Board.TuneCamera(ctx, cameraControls(controls)))
}

// CameraFault implements agent.Devices.
func (d boardDevices) CameraFault() error { return plainly(d.Board.CameraFault()) }

// MicrophoneFault implements agent.Devices.
func (d boardDevices) MicrophoneFault() error { return plainly(d.Board.MicrophoneFault()) }

// Snapshot implements agent.Devices.
func (d boardDevices) Snapshot(ctx context.Context) (agent.Picture, error) {
	data, width, height, err := d.Board.Snapshot(ctx)
	switch {
	case errors.Is(err, device.ErrUnsupported):
		err = errors.New("there is no camera that gives single pictures")
	case errors.Is(err, device.ErrBusy):
		err = errors.New("the camera gives its pictures to a call")
	}
	return agent.Picture{JPEG: data, Width: width, Height: height}, err
}

// Record implements agent.Devices.
func (d boardDevices) Record(ctx context.Context, length time.Duration) (agent.Film, error) {
	f, err := d.Board.Record(ctx, length)
	switch {
	case errors.Is(err, device.ErrUnsupported):
		err = errors.New("there is neither a camera nor a microphone of which this board can make one (the program without C has no VP8 and no Opus)")
	case errors.Is(err, device.ErrBusy):
		err = errors.New("others are being made, or the camera is in use in another way")
	}
	return agent.Film{Data: f.Data, Type: f.Type, Ending: f.Ending, Width: f.Width, Height: f.Height, Length: f.Length}, err
}

// CheckSong implements agent.Devices.
func (d boardDevices) CheckSong(r io.Reader) error {
	song, err := device.OpenSong(r)
	if err == nil {
		_, err = song.Read(make([]int16, 1))
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("there is no sound in it")
	}
	return plainly(err)
}

// Play implements agent.Devices.
func (d boardDevices) Play(ctx context.Context, t agent.Tune) error {
	open := func() (device.Song, error) {
		if t.Noise != "" {
			seed := uint64(time.Now().UnixNano())
			return device.NewNoise(device.Noise(t.Noise), seed), nil
		}
		r, err := t.Open(ctx)
		if err != nil {
			return nil, err
		}
		return device.OpenSong(r)
	}
	err := d.Board.Play(ctx, device.Tune{Open: open, Loop: t.Loop, For: t.For, Fade: t.Fade, Volume: t.Volume})
	if errors.Is(err, device.ErrUnsupported) {
		return errors.New("there is no loudspeaker")
	}
	return plainly(err)
}

// plainly takes the package's words off what is told to people.
func plainly(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return errors.New(strings.TrimPrefix(err.Error(), "device: "))
}

// OpenSound implements agent.Devices.
func (d boardDevices) OpenSound(ctx context.Context) (agent.SoundStream, error) {
	s, err := d.Board.OpenSound(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenPictures implements agent.Devices.
func (d boardDevices) OpenPictures(ctx context.Context) (agent.PictureStream, error) {
	s, err := d.Board.OpenPictures(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}
