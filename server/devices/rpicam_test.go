//go:build guest

package devices

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"porchlight/voip/device"
)

const (
	// ribbonName is the program that shows a Raspberry Pi's own camera; in these tests it is
	// the test's own, under that name.
	ribbonName = "rpicam-vid"
	// ribbonFilm is what it shows again and again, as the machine was given it.
	ribbonFilm = "/usr/bin/baseline.h264"
	ribbonRate = 15
	// ribbonPause is the least time for which a program that ended is left alone.
	ribbonPause = 1500 * time.Millisecond
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == ribbonName {
		if err := showRibbon(filepath.Dir(os.Args[0]), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR: ***", err, "***")
			os.Exit(255)
		}
		return
	}
	os.Exit(m.Run())
}

// showRibbon is the program: it notes that it runs, and writes its film until it is killed.
// If there is a file "broken" in its folder it fails at once.
func showRibbon(folder string, args []string) error {
	switch args[0] {
	case "--list-cameras":
		fmt.Println("Available cameras\n-----------------\n0 : imx219 [3280x2464 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx219@10)")
		return nil
	case "--help":
		fmt.Println("  --low-latency [=arg(=1)] (=0)")
		return nil
	}
	log, err := os.OpenFile(filepath.Join(folder, "runs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(log, time.Now().UnixMilli(), os.Getpid(), strings.Join(args, " ")); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(folder, "broken")); err == nil {
		return fmt.Errorf("no cameras available")
	}
	film, err := os.ReadFile(ribbonFilm)
	if err != nil {
		return err
	}
	pictures := cut(film)
	tick := time.NewTicker(time.Second / ribbonRate)
	for n := 0; ; n++ {
		if _, err := os.Stdout.Write(pictures[n%len(pictures)]); err != nil {
			return err
		}
		<-tick.C
	}
}

// cut cuts a film into its pictures, each with what stands before it.
func cut(film []byte) (pictures [][]byte) {
	var picture []byte
	for _, unit := range bytes.Split(film, []byte{0, 0, 1})[1:] {
		picture = append(append(picture, 0, 0, 0, 1), bytes.TrimRight(unit, "\x00")...)
		if kind := unit[0] & 0x1f; kind == 1 || kind == 5 {
			pictures, picture = append(pictures, picture), nil
		}
	}
	return pictures
}

// ribbon is the camera on its ribbon, as the test sees it.
type ribbon struct {
	t      *testing.T
	folder string // of the program
}

// plugRibbon makes the program be found, and nothing else that is a camera.
func plugRibbon(t *testing.T) *ribbon {
	t.Helper()
	unplug(t, "vivid", "vivid.0")
	t.Cleanup(func() { plug(t, "vivid", "vivid.0") })
	r := &ribbon{t, t.TempDir()}
	program, err := os.Executable()
	if err == nil {
		err = os.Symlink(program, filepath.Join(r.folder, ribbonName))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", r.folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Cleanup(func() {
		if alive := r.alive(); len(alive) > 0 {
			t.Errorf("when the house has ended, the camera's program still runs: %v", alive)
		}
	})
	return r
}

// ribbonRun is one start of the program.
type ribbonRun struct {
	at   int64 // in milliseconds
	pid  int
	args string
}

// runs are all starts until now.
func (r *ribbon) runs() (all []ribbonRun) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.folder, "runs"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var run ribbonRun
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if _, err := fmt.Sscan(line, &run.at, &run.pid); err != nil {
			r.t.Fatal(err)
		}
		run.args = words[2]
		all = append(all, run)
	}
	return all
}

// alive are the programs that run now.
func (r *ribbon) alive() (pids []int) {
	for _, run := range r.runs() {
		if syscall.Kill(run.pid, 0) == nil {
			pids = append(pids, run.pid)
		}
	}
	return pids
}

// only is the one program that runs.
func (r *ribbon) only(t *testing.T) int {
	t.Helper()
	alive := r.alive()
	if len(alive) != 1 {
		t.Fatalf("the camera's program runs %d times: %v", len(alive), alive)
	}
	return alive[0]
}

// signal sends the one program that runs a signal.
func (r *ribbon) signal(t *testing.T, s syscall.Signal) (pid int) {
	t.Helper()
	pid = r.only(t)
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestRealRibbonCamera calls a board with a Raspberry Pi's own camera: the program that shows
// it is there for as long as the call is, and started again, not too often, when it fails.
func TestRealRibbonCamera(t *testing.T) {
	r := plugRibbon(t)
	h := startHouse(t, "--camera", "auto", "--microphone", device.None, "--loudspeaker", device.None,
		"--picture-width", "160", "--picture-height", "120", "--picture-rate", fmt.Sprint(ribbonRate))
	c := claimAndLogIn(h)
	c.words = [][]byte{{0xf8, 0xff, 0xfe}} // nobody hears it: silence
	if !strings.Contains(h.written(), "Raspberry Pi's own camera") {
		t.Fatal("the greeting does not say where the picture comes from")
	}
	if len(r.runs()) > 0 {
		t.Errorf("nobody looks, and the camera's program was started: %v", r.runs())
	}
	film, err := os.ReadFile(ribbonFilm)
	if err != nil {
		t.Fatal(err)
	}

	p := c.call(t)
	p.sees(t, 2*ribbonRate)
	p.sendsAs(t, cut(film))
	if args := r.runs()[0].args; !strings.Contains(args, "--codec h264") || !strings.Contains(args, "--width 160 --height 120 --framerate 15") || !strings.Contains(args, "--low-latency") {
		t.Errorf("the camera's program was started with %s", args)
	}
	first := r.signal(t, syscall.SIGKILL)
	from := time.Now()
	p.seesAnew(t, ribbonRate)
	t.Logf("the picture is back %v after the camera's program was killed", time.Since(from).Round(10*time.Millisecond))
	if r.only(t) == first {
		t.Error("a program that was killed runs")
	}

	hung := r.signal(t, syscall.SIGSTOP)
	from = time.Now()
	p.seesAnew(t, ribbonRate)
	t.Logf("the picture is back %v after the camera's program got stuck", time.Since(from).Round(10*time.Millisecond))
	if r.only(t) == hung {
		t.Error("the program that is stuck was not replaced")
	}

	r.breaks(t)
	p.seesAnew(t, ribbonRate)
	r.pauses(t)
	if _, _, up := p.senses(); !up {
		t.Error("the call is not up any more")
	}
	p.hangUp()
	if !until(func() bool { return len(r.alive()) == 0 }) {
		t.Errorf("the call is over, and the camera's program still runs")
	}
	n := len(r.runs())

	p = c.call(t)
	p.sees(t, ribbonRate)
	if r.only(t); len(r.runs()) != n+1 {
		t.Errorf("in another call the program was started %d times", len(r.runs())-n)
	}
	// The house ends in the middle of this call, and the program with it: plugRibbon looks.
}

// breaks has the camera end, and fail when it is started again.
func (r *ribbon) breaks(t *testing.T) {
	t.Helper()
	broken := filepath.Join(r.folder, "broken")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := len(r.runs())
	r.signal(t, syscall.SIGKILL)
	if !until(func() bool { return len(r.runs()) > n }) {
		t.Fatal("the program was not started again")
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
}

// pauses looks whether the program was left alone for a while whenever it had failed, and
// longer and longer when it failed at once.
func (r *ribbon) pauses(t *testing.T) {
	t.Helper()
	runs := r.runs()
	var pauses []time.Duration
	for i, run := range runs[1:] {
		pauses = append(pauses, time.Duration(run.at-runs[i].at)*time.Millisecond)
	}
	t.Logf("the camera's program was started anew after %v", pauses)
	last := pauses[len(pauses)-1] // behind the failure at once
	if slices.Min(pauses) < ribbonPause || last < slices.Max(pauses) || last < 2*ribbonPause {
		t.Errorf("the camera's program is not left alone, or no longer than at first")
	}
}

// seesAnew waits for pictures behind an interruption.
func (p *peer) seesAnew(t *testing.T, n int) {
	t.Helper()
	before, _, _ := p.senses()
	if !until(func() bool {
		s, _, _ := p.senses()
		return s.at.Sub(before.at) > ribbonPause && s.changed-before.changed >= n
	}) {
		s, _, _ := p.senses()
		t.Fatalf("%d pictures came in %v", s.changed-before.changed, s.at.Sub(before.at))
	}
}

// sendsAs looks whether the last picture is one of a film, bit by bit.
func (p *peer) sendsAs(t *testing.T, film [][]byte) {
	t.Helper()
	s, _, _ := p.senses()
	if !slices.ContainsFunc(film, func(picture []byte) bool { return bytes.Equal(picture, s.coded) }) {
		t.Errorf("the last picture, of %d bytes, is none of the film's: %x…", len(s.coded), s.coded[:min(len(s.coded), 40)])
	}
}
