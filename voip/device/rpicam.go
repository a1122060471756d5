package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Raspberry Pi's own camera, on the ribbon cable, is no V4L2 device of use:
// only libcamera can drive it. rpicam-vid does, and hands out H.264 from the
// Pi's encoder (a Pi 5 has none and computes it).

// rpicamName is the program that shows a Raspberry Pi's own camera.
const rpicamName = "rpicam-vid"

// rpicamStillName is the one that takes a single picture with it.
const rpicamStillName = "rpicam-jpeg"

const (
	rpicamProbeTime = 10 * time.Second
	rpicamStall     = 5 * time.Second
	// rpicamQuiet is the pause after which what has come is a whole picture: the
	// program writes each in one go, and waiting for the start of the next would
	// delay the picture by one.
	rpicamQuiet = 5 * time.Millisecond
	// maxAccessUnit bounds one picture, in bytes.
	maxAccessUnit = 4 << 20
)

// findRPiCam takes the Raspberry Pi's own camera, if the program is there and
// sees one.
func (b *Board) findRPiCam() bool {
	program, err := exec.LookPath(rpicamName)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), rpicamProbeTime)
	defer cancel()
	list, err := exec.CommandContext(ctx, program, "--list-cameras").CombinedOutput()
	if err != nil || !bytes.Contains(list, []byte("Available cameras")) {
		b.cfg.Log.Debug("no Raspberry Pi camera", "program", program, "err", err)
		return false
	}
	help, err := exec.CommandContext(ctx, program, "--help").CombinedOutput()
	if err != nil {
		b.cfg.Log.Debug("asking for options failed", "program", program, "err", err)
	}
	args := b.rpicamArgs(bytes.Contains(help, []byte("--low-latency")))
	b.say("The picture comes from the Raspberry Pi's own camera through %s, as H.264. Its bit rate and key frames cannot be changed while it runs.", program)
	if still, err := exec.LookPath(rpicamStillName); err == nil {
		b.still = func(ctx context.Context) ([]byte, error) { return b.rpicamStill(ctx, still) }
	}
	b.tuner = rpicamTuner{}
	wanted := func() ([]string, int) {
		controls, version := b.tuned.wanted()
		return append(slices.Clone(args), rpicamControls(controls, findTuning)...), version
	}
	frame := time.Second / time.Duration(b.cfg.FPS)
	b.video = b.newFeed("Raspberry Pi camera", func(h *hub) (producer, error) {
		args, version := wanted()
		in, err := startRPiCam(program, args)
		if err != nil {
			return nil, err
		}
		in.wanted, in.version = wanted, version
		return &h264Producer{in: in, hub: h, bitrate: b.cfg.Bitrate, frame: frame}, nil
	}, newHub(string(H264), true, videoQueueFrames))
	return true
}

// rpicamStill takes a single picture while the camera is not in use.
func (b *Board) rpicamStill(ctx context.Context, program string) ([]byte, error) {
	var complaint tailWriter
	controls, _ := b.tuned.wanted()
	cmd := exec.CommandContext(ctx, program, append(rpicamControls(controls, findTuning), "-n", "-t", "500", "--quality", strconv.Itoa(snapshotQuality),
		"--width", strconv.Itoa(b.cfg.Width), "--height", strconv.Itoa(b.cfg.Height), "-o", "-")...)
	cmd.Stderr, cmd.WaitDelay = &complaint, time.Second
	jpeg, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("device: camera: %s: %w: %s", rpicamStillName, err, &complaint)
	}
	return jpeg, nil
}

// rpicamArgs are the program's options: for ever, no window, parameter sets
// with each key frame, a key frame every two seconds, and no waiting anywhere.
func (b *Board) rpicamArgs(lowLatency bool) []string {
	args := []string{"-t", "0", "-n", "--codec", "h264", "--profile", "baseline", "--inline", "--flush",
		"--intra", strconv.Itoa(2 * b.cfg.FPS),
		"--width", strconv.Itoa(b.cfg.Width), "--height", strconv.Itoa(b.cfg.Height),
		"--framerate", strconv.Itoa(b.cfg.FPS), "--bitrate", strconv.Itoa(b.cfg.Bitrate)}
	if lowLatency { // older versions do not know it
		args = append(args, "--low-latency")
	}
	return append(args, "-o", "-")
}

// rpicam is the program running. It implements h264Input.
type rpicam struct {
	cmd    *exec.Cmd
	out    *os.File
	stderr *tailWriter
	units  unitSplitter
	buf    []byte

	// wanted is the options that are wanted now, and their version; nil: always the same.
	wanted  func() (args []string, version int)
	version int
}

// tuningFolders are where libcamera has its files on how sensors see.
var tuningFolders = []string{"/usr/share/libcamera/ipa/rpi/vc4", "/usr/share/libcamera/ipa/rpi/pisp"}

// findTuning finds such a file by its name; empty: there is none.
func findTuning(name string) string {
	for _, folder := range tuningFolders {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// restart starts the program anew, with other options. Only one at a time can have the
// camera.
func (c *rpicam) restart(args []string) error {
	_ = c.close()
	next, err := startRPiCam(c.cmd.Path, args)
	if err != nil {
		return err
	}
	c.cmd, c.out, c.stderr, c.units = next.cmd, next.out, next.stderr, next.units
	return nil
}

func startRPiCam(program string, args []string) (*rpicam, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("device: camera: %w", err)
	}
	c := &rpicam{cmd: exec.Command(program, args...), out: r, stderr: &tailWriter{}, buf: make([]byte, 64<<10)}
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.WaitDelay = w, c.stderr, time.Second
	err = c.cmd.Start()
	_ = w.Close() // the program has its own
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("device: camera: %w", err)
	}
	return c, nil
}

func (c *rpicam) next(ctx context.Context) ([]byte, time.Time, error) {
	last := time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return nil, time.Time{}, err
		}
		if c.wanted != nil {
			if args, version := c.wanted(); version != c.version {
				c.version, last = version, time.Now()
				if err := c.restart(args); err != nil {
					return nil, time.Time{}, err
				}
			}
		}
		if unit := c.units.next(false); unit != nil {
			return unit, time.Now(), nil
		}
		wait := 100 * time.Millisecond // to look at ctx now and then
		if c.units.pending() {
			wait = rpicamQuiet
		}
		if err := c.out.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, time.Time{}, err
		}
		n, err := c.out.Read(c.buf)
		switch {
		case n > 0:
			last = time.Now()
			if err := c.units.add(c.buf[:n]); err != nil {
				return nil, time.Time{}, err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if unit := c.units.next(true); unit != nil {
				return unit, last, nil
			}
			if time.Since(last) > rpicamStall {
				return nil, time.Time{}, fmt.Errorf("no picture for %v: %s", rpicamStall, c.stderr)
			}
		default:
			if unit := c.units.next(true); unit != nil {
				return unit, last, nil
			}
			return nil, time.Time{}, fmt.Errorf("%s ended: %w: %s", rpicamName, err, c.stderr)
		}
	}
}

// forceKey and setBitrate cannot be told to the program while it runs.
func (c *rpicam) forceKey() {}

func (c *rpicam) setBitrate(int) {}

func (c *rpicam) close() error {
	_ = c.out.Close()
	_ = c.cmd.Process.Kill() // it may have ended by itself
	_ = c.cmd.Wait()         // its exit code says only that it was killed
	return nil
}

// tailWriter keeps the end of what a program complains about.
type tailWriter struct {
	mu  sync.Mutex
	end []byte
}

// maxTail is how many bytes of complaint are worth a line in the log.
const maxTail = 300

func (w *tailWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = append(w.end, p...)
	if over := len(w.end) - maxTail; over > 0 {
		w.end = append([]byte(nil), w.end[over:]...)
	}
	return len(p), nil
}

func (w *tailWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.end))
}
