package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"
)

// maxEmpty is how often in a row waiting for a line may end too early before the line
// counts as gone: the library does not tell a failure from the end of the time.
const maxEmpty = 50

// Open takes the lines of cfg, with light and relay off. It fails if one is not there or
// another program has it.
func Open(cfg Config) (*Lines, error) {
	l := &Lines{now: time.Now}
	if cfg == (Config{}) {
		return l, nil
	}
	if _, err := driverreg.Init(); err != nil {
		return nil, fmt.Errorf("gpio: %w", err)
	}
	if err := l.take(cfg); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lines) take(cfg Config) error {
	if cfg.Button != "" {
		spec, line, err := find(cfg.Button)
		if err != nil {
			return err
		}
		l.buttonLow = spec.low(true)
		pull := gpio.PullDown
		if l.buttonLow {
			pull = gpio.PullUp
		}
		if err := line.In(pull, gpio.BothEdges); err != nil {
			return fmt.Errorf("gpio: the line %s for the button: %w", cfg.Button, err)
		}
		l.button = &kernelInput{line: line}
	}
	for text, to := range map[string]**driven{cfg.Light: &l.light, cfg.Door: &l.door, cfg.Night: &l.night} {
		if text == "" {
			continue
		}
		spec, line, err := find(text)
		if err != nil {
			return err
		}
		d := &driven{out: kernelOutput{line}, low: spec.low(false)}
		if err := d.set(false); err != nil {
			return fmt.Errorf("gpio: the line %s: %w", text, err)
		}
		*to = d
	}
	return nil
}

func find(text string) (Spec, *gpioioctl.GPIOLine, error) {
	spec, err := ParseSpec(text)
	if err != nil {
		return spec, nil, err
	}
	for _, chip := range gpioioctl.Chips {
		if spec.Name != "" {
			if line := chip.ByName(spec.Name); line != nil {
				return spec, line, nil
			}
		} else if chip.Name() == spec.Chip && spec.Number < chip.LineCount() {
			return spec, chip.ByNumber(spec.Number), nil
		}
	}
	return spec, nil, fmt.Errorf("gpio: this machine has no line %q", text)
}

// kernelInput is a line of the kernel that is listened to.
type kernelInput struct {
	line  *gpioioctl.GPIOLine
	empty int
}

func (k *kernelInput) wait(ctx context.Context, d time.Duration) error {
	stop := context.AfterFunc(ctx, func() { _ = k.line.Halt() }) // at worst it waits until d is over
	defer stop()
	begun := time.Now()
	if k.line.WaitForEdge(d) || time.Since(begun) >= d/2 || ctx.Err() != nil {
		k.empty = 0
		return nil
	}
	if k.empty++; k.empty >= maxEmpty {
		return errors.New("it does not answer any more")
	}
	return nil
}

func (k *kernelInput) high() bool { return bool(k.line.Read()) }

func (k *kernelInput) close() { k.line.Close() }

type kernelOutput struct{ line *gpioioctl.GPIOLine }

func (k kernelOutput) set(high bool) error { return k.line.Out(gpio.Level(high)) }

func (k kernelOutput) close() { k.line.Close() }
