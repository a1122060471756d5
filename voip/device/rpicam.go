package device

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A Raspberry Pi's own camera, on the ribbon cable, is no V4L2 device of use:
// only libcamera can drive it. rpicam-vid does, and hands out H.264 from the
// Pi's encoder (a Pi 5 has none and computes it).

// rpicamName is the program that shows a Raspberry Pi's own camera.
const rpicamName = "rpicam-vid"

// rpicamStillName is the one that takes a single picture with it.
const rpicamStillName = "rpicam-jpeg"

const rpicamProbeTime = 10 * time.Second

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
	b.say("The picture comes from the Raspberry Pi's own camera through %s, as H.264%s. The bit rate and the key frames of the former cannot be changed while it runs.", program, alsoVP8())
	if still, err := exec.LookPath(rpicamStillName); err == nil {
		b.still = func(ctx context.Context) ([]byte, error) { return b.rpicamStill(ctx, still) }
	}
	b.tuner = rpicamTuner{}
	wanted := func() (*exec.Cmd, int) {
		controls, version := b.tuned.wanted()
		return exec.Command(program, append(slices.Clone(args), rpicamControls(controls, findTuning)...)...), version
	}
	b.useH264("Raspberry Pi camera", func() (h264Input, error) {
		cmd, version := wanted()
		p, err := startProgram(rpicamName, cmd)
		return &h264Program{videoProgram: p, wanted: wanted, version: version}, err
	})
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
