//go:build guest

package devices

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// simulatedPins is a chip with pins that are not there: the kernel's gpio-sim.
type simulatedPins struct {
	t      *testing.T
	folder string // of its pins, below /sys
	lines  []string
}

// plugPins makes a chip whose pins are the button, the light and the door.
func plugPins(t *testing.T) *simulatedPins {
	t.Helper()
	p := &simulatedPins{t: t, lines: []string{"button", "light", "door"}}
	config := "/sys/kernel/config/gpio-sim/house"
	bank := filepath.Join(config, "bank")
	for _, dir := range []string{config, bank} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tell(t, bank+"/num_lines", fmt.Sprint(len(p.lines)))
	for i, name := range p.lines {
		line := fmt.Sprintf("%s/line%d", bank, i)
		if err := os.Mkdir(line, 0o755); err != nil {
			t.Fatal(err)
		}
		tell(t, line+"/name", p.name(name))
	}
	tell(t, config+"/live", "1")
	var where [2]string
	for i, file := range []string{config + "/dev_name", bank + "/chip_name"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		where[i] = strings.TrimSpace(string(text))
	}
	p.folder = filepath.Join("/sys/devices/platform", where[0], where[1])
	return p
}

// name is what the board is told of a pin.
func (p *simulatedPins) name(line string) string { return "PORCH_" + strings.ToUpper(line) }

func (p *simulatedPins) file(line, what string) string {
	for i, name := range p.lines {
		if name == line {
			return fmt.Sprintf("%s/sim_gpio%d/%s", p.folder, i, what)
		}
	}
	p.t.Fatal("there is no pin", line)
	return ""
}

// hold presses the button, or lets it go.
func (p *simulatedPins) hold(down bool) {
	p.t.Helper()
	pull := "pull-up"
	if down {
		pull = "pull-down"
	}
	tell(p.t, p.file("button", "pull"), pull)
}

// on says whether a pin is driven high.
func (p *simulatedPins) on(line string) bool {
	p.t.Helper()
	text, err := os.ReadFile(p.file(line, "value"))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(text)) == "1"
}

// turns waits until a pin is on or off.
func (p *simulatedPins) turns(t *testing.T, line string, on bool) {
	t.Helper()
	if !until(func() bool { return p.on(line) == on }) {
		t.Errorf("%s is still %v", line, !on)
	}
}
