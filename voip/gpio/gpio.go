package gpio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// settle is how long a button's contact has to stand still to count.
	settle = 25 * time.Millisecond
	// look is how often a button is looked at though nothing was heard of it.
	look = time.Second
	// MinPulse is the least time for which the door's relay is on.
	MinPulse = 100 * time.Millisecond
	// MaxPulse is the most.
	MaxPulse = 30 * time.Second
)

// ErrNone says that there is no such line in the configuration.
var ErrNone = errors.New("gpio: no such line is configured")

// Config names the lines in use; an empty one is not there.
type Config struct {
	Button string // rings
	Light  string // is on while camera or microphone is live
	Door   string // opens the door while it is on
	Night  string // lights up what the camera sees by night
}

// Spec is a line's name taken apart.
type Spec struct {
	Chip   string // "gpiochip0"; empty: Name says which
	Number int    // on that chip
	Name   string // as the kernel names it; empty: Chip and Number say which
	Level  string // "low", "high", or nothing
}

// ParseSpec reads the name of a line. The error is a sentence on what is wrong.
func ParseSpec(text string) (s Spec, err error) {
	name, level, found := strings.Cut(text, ",")
	if found && level != "low" && level != "high" {
		return s, fmt.Errorf("the line %q ends neither with \",low\" nor with \",high\"", text)
	}
	s.Level = level
	chip, number, byNumber := strings.Cut(name, ":")
	switch {
	case name == "" || strings.ContainsAny(name, " /"):
		return s, fmt.Errorf("%q is no line: it is named like \"GPIO17\" or \"gpiochip0:17\"", text)
	case !byNumber:
		s.Name = name
		return s, nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || chip == "" {
		return s, fmt.Errorf("%q is no line: behind the chip's name and a colon stands a number", text)
	}
	s.Chip, s.Number = chip, int(n)
	return s, nil
}

// low says which level means pressed or on.
func (s Spec) low(otherwise bool) bool {
	if s.Level == "" {
		return otherwise
	}
	return s.Level == "low"
}

// input is a line that is listened to.
type input interface {
	// wait returns when the level changed, the time is over or ctx ended. Only the error
	// says that the line is gone.
	wait(ctx context.Context, d time.Duration) error
	high() bool
	close()
}

// output is a line that is driven.
type output interface {
	set(high bool) error
	close()
}

// Lines are the lines in use.
type Lines struct {
	button    input
	buttonLow bool
	light     *driven
	door      *driven
	night     *driven
	now       func() time.Time
}

// driven is an output that may be on.
type driven struct {
	out output
	low bool
	mu  sync.Mutex
}

func (d *driven) set(on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.set(on != d.low)
}

// HasButton says whether there is a button.
func (l *Lines) HasButton() bool { return l != nil && l.button != nil }

// HasLight says whether there is a light.
func (l *Lines) HasLight() bool { return l != nil && l.light != nil }

// HasDoor says whether there is a relay for the door.
func (l *Lines) HasDoor() bool { return l != nil && l.door != nil }

// HasNight says whether there is a lamp for the night.
func (l *Lines) HasNight() bool { return l != nil && l.night != nil }

// Night switches the lamp for the night; ErrNone without one.
func (l *Lines) Night(on bool) error {
	if !l.HasNight() {
		return ErrNone
	}
	return l.night.set(on)
}

// Light switches the light; ErrNone without one.
func (l *Lines) Light(on bool) error {
	if !l.HasLight() {
		return ErrNone
	}
	return l.light.set(on)
}

// OpenDoor holds the relay for a while, or until ctx ends; then it is off again, whatever
// happened. Two at a time follow each other.
func (l *Lines) OpenDoor(ctx context.Context, d time.Duration) (err error) {
	if !l.HasDoor() {
		return ErrNone
	}
	d = min(max(d, MinPulse), MaxPulse)
	l.door.mu.Lock()
	defer l.door.mu.Unlock()
	defer func() { err = errors.Join(err, l.door.out.set(l.door.low)) }()
	if err := l.door.out.set(!l.door.low); err != nil {
		return fmt.Errorf("gpio: the door's relay: %w", err)
	}
	held := time.NewTimer(d)
	defer held.Stop()
	select {
	case <-held.C:
	case <-ctx.Done():
	}
	return nil
}

// Run calls pressed for every press of the button until ctx ends, and closes the lines
// then, with light and relay off. A contact that bounces is one press; one that was
// pressed already at the start is none.
func (l *Lines) Run(ctx context.Context, pressed func()) error {
	defer l.Close()
	if l.button == nil {
		<-ctx.Done()
		return nil
	}
	down := l.down()
	for ctx.Err() == nil {
		if err := l.button.wait(ctx, look); err != nil {
			return fmt.Errorf("gpio: the button's line: %w", err)
		}
		if l.down() == down {
			continue
		}
		if steady, err := l.steady(ctx); err != nil {
			return fmt.Errorf("gpio: the button's line: %w", err)
		} else if steady == down {
			continue
		}
		if down = !down; down && ctx.Err() == nil {
			pressed()
		}
	}
	return nil
}

func (l *Lines) down() bool { return l.button.high() != l.buttonLow }

// steady waits until the contact has stood still for a while, and says where.
func (l *Lines) steady(ctx context.Context) (bool, error) {
	level, since := l.down(), l.now()
	for ctx.Err() == nil {
		left := settle - l.now().Sub(since)
		if left <= 0 {
			break
		}
		if err := l.button.wait(ctx, left); err != nil {
			return level, err
		}
		if at := l.down(); at != level {
			level, since = at, l.now()
		}
	}
	return level, nil
}

// Close switches light, lamp and relay off and gives the lines back.
func (l *Lines) Close() {
	if l == nil {
		return
	}
	for _, d := range []*driven{l.light, l.door, l.night} {
		if d != nil {
			_ = d.set(false) // the line is given back in any case
			d.mu.Lock()
			d.out.close()
			d.mu.Unlock()
		}
	}
	if l.button != nil {
		l.button.close()
	}
}
