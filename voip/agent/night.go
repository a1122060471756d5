package agent

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"porchlight/server/matrix"
)

// nightLook is how often the board looks whether the night has begun or is over.
const nightLook = 20 * time.Second

// CameraControl is a value for one of the camera's own controls.
type CameraControl struct{ Name, Value string }

// maxControls is how many controls may be set.
const maxControls = 16

var (
	controlName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	controlValue = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,64}$`)
)

// controls is a setting of values for the camera's controls: "brightness=10, gain=4".
func controls(name, help string, at func(*Settings) *[]CameraControl) setting {
	return setting{name: name, help: help, parse: func(s *Settings, text string) error {
		var all []CameraControl
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			name, value, ok := strings.Cut(part, "=")
			c := CameraControl{strings.TrimSpace(name), strings.TrimSpace(value)}
			if !ok || !controlName.MatchString(c.Name) || !controlValue.MatchString(c.Value) {
				return fmt.Errorf("%q is no control: it looks like brightness=10", part)
			}
			if slices.ContainsFunc(all, func(x CameraControl) bool { return x.Name == c.Name }) {
				return fmt.Errorf("%s is there twice", c.Name)
			}
			all = append(all, c)
		}
		if len(all) > maxControls {
			return fmt.Errorf("%d controls are too many: %d are possible", len(all), maxControls)
		}
		*at(s) = all
		return nil
	}, show: func(s *Settings) string {
		var parts []string
		for _, c := range *at(s) {
			parts = append(parts, c.Name+"="+c.Value)
		}
		return strings.Join(parts, ", ")
	}}
}

func parseNight(s *Settings, text string) error {
	if text != "auto" && text != "on" && text != "off" {
		return fmt.Errorf("it is auto, on or off, not %q", text)
	}
	s.Night = text
	return nil
}

// night says whether the camera sees by night.
func (s *Settings) night(now time.Time) bool {
	if s.Night == "auto" {
		return within24(s.NightHours, now)
	}
	return s.Night == "on"
}

// camera is how the camera's controls are to be.
func (s *Settings) camera(night bool) []CameraControl {
	if !night {
		return s.DayCamera
	}
	// What only the day names goes on by night.
	all := slices.Clone(s.NightCamera)
	for _, c := range s.DayCamera {
		if !slices.ContainsFunc(all, func(x CameraControl) bool { return x.Name == c.Name }) {
			all = append(all, c)
		}
	}
	return all
}

// keepNight has camera and lamp follow the time of day and the settings. What the camera
// does not take is said once in the control room.
func (a *Agent) keepNight(ctx context.Context) {
	look := time.NewTicker(nightLook)
	defer look.Stop()
	var before []CameraControl
	var complaint string
	dark := false
	// A camera keeps its controls beyond the end of the house. If that was by night, those of
	// the night are to be taken back, for which the camera has to be told what they are.
	if s := a.Settings.Current(); !s.night(a.Now()) && len(s.NightCamera) > 0 {
		before = s.camera(true)
		if err := a.Devices.TuneCamera(ctx, before); err != nil {
			a.Log.Warn("the camera cannot be told what was for the night", "error", err)
		}
	}
	for {
		changed, s := a.Settings.Changed(), a.Settings.Current()
		night := s.night(a.Now())
		if want := s.camera(night); !slices.Equal(want, before) {
			err := a.Devices.TuneCamera(ctx, want)
			if err == nil {
				before, complaint = want, ""
			} else if err.Error() != complaint { // it is tried again at every look
				complaint = err.Error()
				a.Log.Warn("the camera cannot be tuned", "night", night, "error", err)
				a.later(ctx, func(ctx context.Context) { a.note(ctx, "", "I could not tune the camera: "+sentence(err)+".") })
			}
		}
		if night != dark {
			dark = night
			a.Log.Info("the camera sees by night or by day", "night", night)
			a.Devices.SetNight(night)
		}
		select {
		case <-changed:
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// commandNight has the camera see by night or by day, or as the hours say.
func (a *Agent) commandNight(ctx context.Context, r *request, rest string) {
	if rest != "" {
		if err := a.Settings.Set(ctx, "night", rest, ""); err != nil {
			a.reply(ctx, r, "Write \"night on\", \"night off\" or \"night auto\".")
			return
		}
	}
	s := a.Settings.Current()
	text := "The camera sees by day"
	if s.night(a.Now()) {
		text = "The camera sees by night"
	}
	switch {
	case s.Night != "auto":
		text += " until somebody writes something else"
	case len(s.NightHours) == 0:
		text += "; no hours of the night are set"
	default:
		text += ", as its hours say: " + showTimes(s.NightHours)
	}
	a.reply(ctx, r, text+".")
}

// vetCamera has settings refused that the camera does not know.
func vetCamera(d Devices) func(name string, s *Settings) error {
	return func(name string, s *Settings) error {
		var err error
		switch name {
		case "night_camera":
			err = d.CheckCamera(s.NightCamera)
		case "day_camera":
			err = d.CheckCamera(s.DayCamera)
		}
		if err != nil {
			return matrix.InvalidParam(name + ": " + sentence(err))
		}
		return nil
	}
}
