package gpio

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseSpec(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Spec
		ok   bool
	}{
		{"GPIO17", Spec{Name: "GPIO17"}, true},
		{"GPIO17,high", Spec{Name: "GPIO17", Level: "high"}, true},
		{"gpiochip0:17,low", Spec{Chip: "gpiochip0", Number: 17, Level: "low"}, true},
		{"", Spec{}, false},
		{"GPIO 17", Spec{}, false},
		{"/dev/gpiochip0:1", Spec{}, false},
		{"gpiochip0:", Spec{}, false},
		{"gpiochip0:-1", Spec{}, false},
		{"gpiochip0:99999999", Spec{}, false},
		{":5", Spec{}, false},
		{"GPIO17,up", Spec{}, false},
	} {
		got, err := ParseSpec(tt.text)
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("GPIO17,low")
	f.Add("gpiochip4:3")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err == nil && s.Name == "" && s.Chip == "" {
			t.Errorf("%q names nothing", text)
		}
	})
}

// wire is a line in memory.
type wire struct {
	mu     sync.Mutex
	level  bool
	edge   chan struct{}
	fail   error
	closed bool
	log    []bool
}

func newWire(level bool) *wire { return &wire{level: level, edge: make(chan struct{}, 100)} }

func (w *wire) wait(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	err := w.fail
	w.mu.Unlock()
	if err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.edge:
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

func (w *wire) high() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.level
}

func (w *wire) set(high bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.level = high
	w.log = append(w.log, high)
	w.edge <- struct{}{}
	return nil
}

func (w *wire) close() { w.closed = true }

// button runs Lines with a button, and counts presses.
func button(t *testing.T, low bool, test func(w *wire, presses *int)) {
	synctest.Test(t, func(t *testing.T) {
		w, presses := newWire(low), 0
		l := &Lines{button: w, buttonLow: low, now: time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx, func() { presses++ }) }()
		synctest.Wait()
		test(w, &presses)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !w.closed {
			t.Error("the line was not given back")
		}
	})
}

func TestButton(t *testing.T) {
	type step struct {
		down bool
		d    time.Duration // until the next
	}
	bounce := []step{{true, time.Millisecond}, {false, time.Millisecond}, {true, 2 * time.Millisecond}, {false, time.Millisecond}, {true, 200 * time.Millisecond}}
	release := []step{{false, 2 * time.Millisecond}, {true, time.Millisecond}, {false, 100 * time.Millisecond}}
	tests := []struct {
		name  string
		steps []step
		want  int
	}{
		{"a press", []step{{true, 100 * time.Millisecond}, {false, 100 * time.Millisecond}}, 1},
		{"one that bounces", slices.Concat(bounce, release), 1},
		{"two that bounce", slices.Concat(bounce, release, bounce, release), 2},
		{"a spike", []step{{true, 5 * time.Millisecond}, {false, 100 * time.Millisecond}}, 0},
		{"held for long", []step{{true, time.Minute}}, 1},
	}
	for _, tt := range tests {
		for _, low := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				button(t, low, func(w *wire, presses *int) {
					for _, s := range tt.steps {
						if err := w.set(s.down != low); err != nil {
							t.Fatal(err)
						}
						time.Sleep(s.d)
					}
					synctest.Wait()
					if *presses != tt.want {
						t.Errorf("%d presses, want %d", *presses, tt.want)
					}
				})
			})
		}
	}
}

func TestButtonGone(t *testing.T) {
	w := newWire(true)
	w.fail = errors.New("unplugged")
	l := &Lines{button: w, buttonLow: true, now: time.Now}
	if err := l.Run(t.Context(), func() {}); err == nil || !strings.Contains(err.Error(), "unplugged") {
		t.Errorf("a line that is gone gives %v", err)
	}
}

func TestDoorAndLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door, light, night := newWire(true), newWire(false), newWire(false)
		l := &Lines{door: &driven{out: door, low: true}, light: &driven{out: light}, night: &driven{out: night}, now: time.Now}
		if err := l.Night(true); err != nil || !night.level || !l.HasNight() {
			t.Errorf("the lamp for the night is on: %t, %v", night.level, err)
		}
		if err := l.Light(true); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := l.OpenDoor(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d != 2*time.Second || !slices.Equal(door.log, []bool{false, true}) {
			t.Errorf("the relay was held for %v: %v", d, door.log)
		}
		begun = time.Now()
		if err := l.OpenDoor(t.Context(), time.Hour); err != nil || time.Since(begun) != MaxPulse {
			t.Errorf("an hour gives %v, %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.OpenDoor(ctx, time.Hour); err != nil || !door.level {
			t.Errorf("when it stops the relay is left on, %v", err)
		}
		l.Close()
		if !door.closed || !light.closed || !night.closed || light.level || night.level || !door.level {
			t.Error("light or relay is left on, or not given back")
		}
	})
}

func TestNothingConfigured(t *testing.T) {
	l, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if l.HasButton() || l.HasLight() || l.HasDoor() || !errors.Is(l.Light(true), ErrNone) || !errors.Is(l.Night(true), ErrNone) || !errors.Is(l.OpenDoor(t.Context(), time.Second), ErrNone) {
		t.Error("there is something that was not configured")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx, func() {}); err != nil {
		t.Error(err)
	}
	if _, err := Open(Config{Door: "no such line"}); err == nil {
		t.Error("a line that is not there was opened")
	}
}
