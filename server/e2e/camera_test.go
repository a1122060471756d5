//go:build e2e

package e2e

import (
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// cameraName is the program that shows a Raspberry Pi's camera; the test binary is that
// program when it is called so.
const cameraName = "rpicam-vid"

// camera does what the server asks of the program: it lists a camera, or writes H.264 as
// Annex B for ever, with the time bar of voip/device in each picture.
func camera(args []string) error {
	if slices.Contains(args, "--list-cameras") {
		fmt.Println("Available cameras\n-----------------\n0 : test [640x480]")
		return nil
	}
	if slices.Contains(args, "--help") {
		return nil
	}
	number := func(name string) int {
		at := slices.Index(args, name)
		if at < 0 || at+1 >= len(args) {
			return 0
		}
		n, _ := strconv.Atoi(args[at+1])
		return n
	}
	w, h, rate := number("--width"), number("--height"), number("--framerate")
	if w*h*rate == 0 {
		return fmt.Errorf("size or rate is missing in %q", args)
	}
	// stdbuf: the C library would keep pictures back until it has a whole block of them.
	encoder := exec.Command("stdbuf", "-o0", "x264", "--demuxer", "raw", "--input-csp", "i420",
		"--input-res", fmt.Sprintf("%dx%d", w, h), "--fps", strconv.Itoa(rate), "--profile", "baseline", "--preset", "ultrafast",
		"--tune", "zerolatency", "--threads", "1", "--keyint", strconv.Itoa(number("--intra")),
		"--bitrate", strconv.Itoa(number("--bitrate")/1000), "--quiet", "--muxer", "raw", "-o", "-", "-")
	encoder.Stdout, encoder.Stderr = os.Stdout, os.Stderr
	in, err := encoder.StdinPipe()
	if err != nil {
		return err
	}
	if err := encoder.Start(); err != nil {
		return err
	}
	picture := make([]byte, w*h*3/2)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	for n := 0; ; n++ {
		draw(picture, w, h, n, time.Now())
		if _, err := in.Write(picture); err != nil {
			return err // the server has seen enough
		}
		<-tick.C
	}
}

// draw makes picture number n: grey, a square that moves, and the time bar (the layout is
// that of voip/device/timebar.go).
func draw(picture []byte, w, h, n int, at time.Time) {
	for i := range picture {
		picture[i] = 128
	}
	fill := func(left, top, right, bottom int, luma byte) {
		for y := top; y < bottom; y++ {
			for x := left; x < right; x++ {
				picture[y*w+x] = luma
			}
		}
	}
	side := h / 4
	left := n * 8 % (w - side)
	fill(left, h/2, left+side, h/2+side, 235)
	ms := uint64(at.UnixMilli()) & (1<<42 - 1)
	code := 0b10<<46 | ms<<4 | uint64(bits.OnesCount64(ms)%16)
	for i := range 48 {
		luma := byte(16)
		if code>>(47-i)&1 == 1 {
			luma = 235
		}
		fill(i*w/48, 0, (i+1)*w/48, h/16, luma)
	}
}
