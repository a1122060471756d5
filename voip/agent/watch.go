package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/alert"
)

const (
	// senseRetry is how long a camera or microphone that failed is left alone.
	senseRetry = 5 * time.Second
	// senseStall is how long a sense may give nothing at all.
	senseStall = 15 * time.Second
	// microphoneDead is how long perfect silence is no fault.
	microphoneDead = 10 * time.Second
)

// sense is the camera or the microphone as a watchman.
type sense struct {
	name   string // as in a sentence
	wanted func(Settings) bool
	// use opens it and attends until ctx ends or it fails. It calls good when something
	// came from it.
	use func(ctx context.Context, settings Settings, good func()) error
	// fault says what is wrong with it while it does not watch.
	fault func() error
}

// watch starts what follows the settings and watches as they say.
func (a *Agent) watch(ctx context.Context) {
	if a.Network != nil {
		a.helpers.Go(func() { a.watchNetwork(ctx) })
	}
	if a.Devices == nil {
		return
	}
	a.helpers.Go(func() { a.sweep(ctx) })
	for _, s := range []sense{
		{"microphone", func(s Settings) bool { return s.SoundAlert }, a.listenForCries, a.Devices.MicrophoneFault},
		{"camera", func(s Settings) bool { return s.MotionAlert }, a.lookForMotion, a.Devices.CameraFault},
	} {
		a.helpers.Go(func() { a.attend(ctx, s) })
	}
	a.helpers.Go(func() { a.remember(ctx) })
	a.helpers.Go(func() { a.keepNight(ctx) })
}

// attend keeps a sense in use while the settings want it, with the settings of the day.
func (a *Agent) attend(ctx context.Context, s sense) {
	for ctx.Err() == nil {
		changed, settings := a.Settings.Changed(), a.Settings.Current()
		a.Devices.SetVolume(int(settings.LoudspeakerVolume), int(settings.MicrophoneVolume))
		if err := a.Devices.SetEcho(settings.Echo); err != nil {
			a.Log.Warn("the setting echo is not followed", "error", err)
		}
		if !s.wanted(settings) {
			a.lookAfter(ctx, changed, s)
			continue
		}
		during, cancel := a.until(ctx, changed)
		err := s.use(during, settings, func() { a.sensed(ctx, s.name, nil) })
		failed := err != nil && during.Err() == nil
		cancel()
		if !failed {
			continue
		}
		a.sensed(ctx, s.name, err)
		a.pause(ctx, changed, senseRetry)
	}
}

// warn tells those who are to be told of alerts, and the owner in the control room, that
// they cannot rely on the board.
func (a *Agent) warn(ctx context.Context, text string) {
	people := a.alertPeople(ctx)
	owner, err := a.House.Owner(ctx)
	if err != nil {
		a.Log.Error("the owner cannot be found", "error", err)
	}
	if owner != "" && !slices.Contains(people, owner) {
		people = append(slices.Clone(people), owner)
	}
	for _, user := range people {
		a.tell(ctx, user, text)
	}
}

// alarm tells all people who are to be told, with a picture if there is one.
func (a *Agent) alarm(ctx context.Context, text string, picture *posted) {
	for _, user := range a.alertPeople(ctx) {
		a.show(ctx, user, picture, text)
	}
}

// alertPeople are those who are to be told of alerts.
func (a *Agent) alertPeople(ctx context.Context) []matrix.UserID {
	if people := a.Settings.Current().AlertPeople; len(people) > 0 {
		return people
	}
	return a.ringPeople(ctx)
}

// raise sends an alert with a picture, or without one if none can be had. A clip follows
// when it is over, so that nobody has to wait for it.
func (a *Agent) raise(ctx context.Context, text string) {
	if settings := a.Settings.Current(); !settings.alerts(a.Now()) {
		return
	}
	text += " at " + a.Now().Format("15:04:05") + "."
	a.Log.Info("an alert", "text", text)
	var picture *posted // Run's own
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		p, err := a.snapshot(ctx)
		if err != nil {
			a.Log.Info("an alert goes out without a picture", "error", err)
		}
		return func(ctx context.Context) {
			picture = p
			a.alarm(ctx, text, p)
		}
	})
	if a.Settings.Current().AlertClip {
		a.alertClip(ctx, text, func() *posted { return picture })
	}
}

// listenForCries listens until the microphone fails.
func (a *Agent) listenForCries(ctx context.Context, s Settings, good func()) error {
	stream, err := a.Devices.OpenSound(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	ear := alert.NewSound(alert.SoundConfig{
		Level: s.SoundLevel, Attack: s.SoundAttack, Hold: s.SoundHold, Release: s.SoundRelease, Pause: s.AlertPause, Dead: microphoneDead,
	})
	silent := fmt.Errorf("it gives perfect silence, as one that is unplugged or muted")
	dead, alive := false, false
	for {
		block, err := within(ctx, stream.ReadSound)
		if err != nil {
			return err
		}
		ear.SetSong(a.singing.Load())
		switch ear.Add(block, a.Now()) {
		case alert.SoundAlarm:
			a.later(ctx, func(ctx context.Context) { a.raise(ctx, "I hear a cry or a call") })
		case alert.SoundDead:
			dead = true
			a.sensed(ctx, "microphone", silent)
		case alert.SoundBack:
			dead = false
			good()
		}
		// One that failed is back only when it gives something else than silence.
		if !alive && !dead && ear.Level() > alert.Silence {
			alive = true
			good()
		}
	}
}

// lookForMotion watches until the camera fails.
func (a *Agent) lookForMotion(ctx context.Context, s Settings, good func()) error {
	stream, err := a.Devices.OpenPictures(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	eye := alert.NewMotion(alert.MotionConfig{Share: s.MotionShare / 100, Mask: s.MotionMask, Pause: s.AlertPause})
	for first := true; ; first = false {
		pic, err := within(ctx, stream.ReadPicture)
		if err != nil {
			return err
		}
		if first {
			good()
		}
		if eye.Add(pic, a.Now()) {
			a.later(ctx, func(ctx context.Context) { a.raise(ctx, "Something moves here") })
		}
	}
}

// within reads once, and fails if nothing comes for too long.
func within[T any](ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	short, cancel := context.WithTimeout(ctx, senseStall)
	defer cancel()
	v, err := read(short)
	if err != nil && ctx.Err() == nil && short.Err() != nil {
		err = fmt.Errorf("nothing came from it for %s", senseStall)
	}
	return v, err
}
