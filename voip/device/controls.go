package device

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Control is a value for one of a camera's own controls, such as brightness=20.
type Control struct{ Name, Value string }

// tuner knows a camera's controls.
type tuner interface {
	// check says in a sentence what is wrong with controls.
	check(controls []Control) error
	// apply puts controls into force; those that were in force before and are not named any
	// more go back to what they were without.
	apply(before, controls []Control) error
}

// tuning is the controls that are wanted.
type tuning struct {
	mu       sync.Mutex
	controls []Control
	version  int // counts the changes
	// set are those that may be in force in the camera: more than are wanted while it could
	// not be told to take one back.
	set []Control
}

func (t *tuning) wanted() (controls []Control, version int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.controls, t.version
}

// CheckCamera says in a sentence what the camera cannot do of controls; nil if it can all.
func (b *Board) CheckCamera(controls []Control) error {
	if len(controls) == 0 {
		return nil
	}
	tuner := b.tuning()
	if tuner == nil {
		return fmt.Errorf("%w: there is no camera that has controls", ErrUnsupported)
	}
	return tuner.check(controls)
}

// TuneCamera sets controls of the camera, at once and whenever it is started from now on.
// Those that an earlier call set and this one does not name go back to what they were.
func (b *Board) TuneCamera(_ context.Context, controls []Control) error {
	if err := b.CheckCamera(controls); err != nil {
		return err
	}
	b.tuned.mu.Lock()
	b.tuned.controls = slices.Clone(controls)
	b.tuned.version++
	b.tuned.mu.Unlock()
	return b.tuned.enforce(b.tuning())
}

// enforce has the camera take what is wanted, and take back what is not wanted any more.
func (t *tuning) enforce(camera tuner) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.set
	if len(before)+len(t.controls) == 0 {
		return nil
	}
	t.set = nil
	err := camera.apply(before, t.controls)
	if err != nil { // it is not known which of them it took
		for _, c := range before {
			if !slices.ContainsFunc(t.controls, func(x Control) bool { return x.Name == c.Name }) {
				t.set = append(t.set, c)
			}
		}
	}
	t.set = append(t.set, t.controls...)
	return err
}

// rpicamOption is what rpicam-vid takes for one of its options.
type rpicamOption struct {
	from, to float64  // of a number
	words    []string // or one of these
	file     bool     // or the name of a file among libcamera's
}

// rpicamOptions are the options that may be set, and what they may be. None of them takes
// the picture elsewhere or makes the program write anything.
var rpicamOptions = map[string]rpicamOption{
	"ev":          {from: -10, to: 10},
	"gain":        {from: 0, to: 64},
	"shutter":     {from: 0, to: 1_000_000}, // microseconds
	"brightness":  {from: -1, to: 1},
	"contrast":    {from: 0, to: 32},
	"saturation":  {from: 0, to: 32},
	"sharpness":   {from: 0, to: 16},
	"denoise":     {words: []string{"auto", "off", "cdn_off", "cdn_fast", "cdn_hq"}},
	"exposure":    {words: []string{"normal", "sport", "long"}},
	"metering":    {words: []string{"centre", "spot", "average"}},
	"awb":         {words: []string{"auto", "incandescent", "tungsten", "fluorescent", "indoor", "daylight", "cloudy"}},
	"tuning-file": {file: true},
}

// tuningName is the name of a file that says how a sensor sees, such as imx219_noir.json.
var tuningName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,40}\.json$`)

// rpicamTuner is the controls of a Raspberry Pi's own camera. The program that shows it
// takes them when it starts, so that it is started anew for others.
type rpicamTuner struct{}

func (rpicamTuner) check(controls []Control) error {
	for _, c := range controls {
		o, ok := rpicamOptions[c.Name]
		if !ok {
			var names []string
			for name := range rpicamOptions {
				names = append(names, name)
			}
			slices.Sort(names)
			return fmt.Errorf("the camera has no control %q; it has %s", c.Name, strings.Join(names, ", "))
		}
		switch {
		case o.file:
			if !tuningName.MatchString(c.Value) {
				return fmt.Errorf("%s is the name of one of libcamera's files, such as imx219_noir.json, not %q", c.Name, c.Value)
			}
		case o.words != nil:
			if !slices.Contains(o.words, c.Value) {
				return fmt.Errorf("%s is one of %s, not %q", c.Name, strings.Join(o.words, ", "), c.Value)
			}
		default:
			if f, err := strconv.ParseFloat(c.Value, 64); err != nil || !(f >= o.from && f <= o.to) {
				return fmt.Errorf("%s is a number from %g to %g, not %q", c.Name, o.from, o.to, c.Value)
			}
		}
	}
	return nil
}

func (rpicamTuner) apply(_, _ []Control) error { return nil } // the program is started anew

// rpicamControls are the program's options for controls. A file is looked for where
// libcamera has its own.
func rpicamControls(controls []Control, find func(name string) string) (args []string) {
	for _, c := range controls {
		value := c.Value
		if rpicamOptions[c.Name].file {
			if value = find(value); value == "" {
				continue
			}
		}
		args = append(args, "--"+c.Name, value)
	}
	return args
}
