package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cameras behind programs, which write their pictures to their output: rpicam-vid, and
// whatever somebody has who says so. A program runs while somebody watches, and is killed
// with all that it started when the last one leaves.

const (
	programStall = 5 * time.Second
	// programLeave is how long a program may take to end that gives no more pictures.
	programLeave = time.Second
	// programQuiet is the pause after which what has come is a whole picture: programs write
	// each in one go, and waiting for the start of the next would delay the picture by one.
	programQuiet = 5 * time.Millisecond
	// maxAccessUnit bounds one picture, in bytes.
	maxAccessUnit = 4 << 20
	// maxBadPictures is how many broken pictures in a row a camera may give. Many give some
	// when they start.
	maxBadPictures = 60
	// maxTail is how many bytes of a program's complaint are worth a line in the log.
	maxTail = 300
	// shell runs the commands that settings name.
	shell = "/bin/sh"
)

// Forms of Config.Camera: what follows is a command for the shell.
const (
	programH264  = "h264:"
	programMJPEG = "mjpeg:"
)

// videoProgram is a program that runs.
type videoProgram struct {
	name   string // for messages
	cmd    *exec.Cmd
	out    *os.File
	stderr *tailWriter
	buf    []byte
	waited sync.Once
}

func startProgram(name string, cmd *exec.Cmd) (*videoProgram, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("device: camera: %w", err)
	}
	p := &videoProgram{name: name, cmd: cmd, out: r, stderr: &tailWriter{}, buf: make([]byte, 64<<10)}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = w, p.stderr, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it starts ends with it
	err = cmd.Start()
	_ = w.Close() // the program has its own
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("device: camera: %w", err)
	}
	return p, nil
}

// read waits a while for more output, which is valid until the next call; none of it and no
// error means that nothing came.
func (p *videoProgram) read(wait time.Duration) ([]byte, error) {
	if err := p.out.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	n, err := p.out.Read(p.buf)
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		return p.buf[:n], nil
	}
	p.await() // until what it complained about is here
	return nil, fmt.Errorf("%s ended: %w: %s", p.name, err, p.stderr)
}

// stalled is the error of a program that runs and gives nothing.
func (p *videoProgram) stalled() error {
	return fmt.Errorf("no picture for %v: %s", programStall, p.stderr)
}

func (p *videoProgram) close() error {
	_ = p.out.Close()
	p.kill()
	p.await()
	return nil
}

// await waits until the program, which gives no more pictures, is gone and its last words
// have been read; one that stays is killed.
func (p *videoProgram) await() {
	p.waited.Do(func() {
		stays := time.AfterFunc(programLeave, p.kill)
		defer stays.Stop()
		_ = p.cmd.Wait() // its exit code says less than its words
	})
}

// kill ends the program with all that it started; it may have ended by itself.
func (p *videoProgram) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// tailWriter keeps the end of what a program complains about.
type tailWriter struct {
	mu  sync.Mutex
	end []byte
}

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

// h264Program is a program that writes H.264. It implements h264Input.
type h264Program struct {
	*videoProgram
	units unitSplitter

	// wanted is the program as it is wanted now, and the version of that; nil: always the same.
	wanted  func() (cmd *exec.Cmd, version int)
	version int
}

func (c *h264Program) next(ctx context.Context) ([]byte, time.Time, error) {
	last := time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return nil, time.Time{}, err
		}
		if c.wanted != nil {
			if cmd, version := c.wanted(); version != c.version {
				c.version, last = version, time.Now()
				if err := c.restart(cmd); err != nil {
					return nil, time.Time{}, err
				}
			}
		}
		if unit := c.units.next(false); unit != nil {
			return unit, time.Now(), nil
		}
		wait := 100 * time.Millisecond // to look at ctx now and then
		if c.units.pending() {
			wait = programQuiet
		}
		data, err := c.read(wait)
		if len(data) > 0 {
			last = time.Now()
			if err := c.units.add(data); err != nil {
				return nil, time.Time{}, err
			}
			continue
		}
		if unit := c.units.next(true); unit != nil {
			return unit, last, nil
		}
		if err == nil && time.Since(last) > programStall {
			err = c.stalled()
		}
		if err != nil {
			return nil, time.Time{}, err
		}
	}
}

// restart starts the program anew, with other options. Only one at a time can have the
// camera.
func (c *h264Program) restart(cmd *exec.Cmd) error {
	_ = c.close()
	next, err := startProgram(c.name, cmd)
	if err != nil {
		return err
	}
	c.videoProgram, c.units = next, unitSplitter{}
	return nil
}

// forceKey and setBitrate cannot be told to a program while it runs.
func (c *h264Program) forceKey() bool { return false }

func (c *h264Program) setBitrate(int) {}

// mjpegProgram is a program that writes JPEG pictures, one after the other. It implements
// pictureInput.
type mjpegProgram struct {
	*videoProgram
	split jpegSplitter
	every time.Duration // between two pictures; what comes faster is left out
	shown time.Time
	pic   *image.YCbCr
	cost  time.Duration
}

func (c *mjpegProgram) pace(every time.Duration) { c.every = every }

func (c *mjpegProgram) spent() time.Duration { return c.cost }

func (c *mjpegProgram) next(ctx context.Context) (*image.YCbCr, time.Time, error) {
	last := time.Now()
	for bad := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, time.Time{}, err
		}
		data := c.split.newest()
		now := time.Now()
		// Some slack, as cameras are not that regular.
		if data != nil && now.Sub(c.shown) >= c.every*3/4 {
			err := c.decode(data)
			if err == nil {
				c.cost, c.shown = time.Since(now), now
				return c.pic, now, nil
			}
			if bad++; bad >= maxBadPictures {
				return nil, time.Time{}, fmt.Errorf("%d broken pictures in a row, the last: %w", bad, err)
			}
		}
		more, err := c.read(100 * time.Millisecond) // to look at ctx now and then
		if err == nil && len(more) > 0 {
			last, err = now, c.split.add(more)
		}
		if err == nil && now.Sub(last) > programStall {
			err = c.stalled()
		}
		if err != nil {
			return nil, time.Time{}, err
		}
	}
}

// decode decodes a picture, which may be of another size than the one before.
func (c *mjpegProgram) decode(data []byte) error {
	size, err := jpeg.DecodeConfig(bytes.NewReader(withHuffmanTables(data)))
	if err != nil {
		return fmt.Errorf("%w: %v", errBadPicture, err)
	}
	if size.Width < 2 || size.Height < 2 || size.Width > maxPictureSide || size.Height > maxPictureSide {
		return fmt.Errorf("%w: JPEG of %d×%d", errBadPicture, size.Width, size.Height)
	}
	if r := image.Rect(0, 0, size.Width&^1, size.Height&^1); c.pic == nil || c.pic.Rect != r {
		c.pic = image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
	}
	return decodeMJPEG(c.pic, data, size.Width, size.Height)
}

// useProgram takes the pictures that a command of the settings writes. It says whether the
// setting names one.
func (b *Board) useProgram() bool {
	form, command := "", ""
	for _, f := range []string{programH264, programMJPEG} {
		if rest, ok := strings.CutPrefix(b.cfg.Camera, f); ok {
			form, command = f, strings.TrimSpace(rest)
		}
	}
	start := func() (*videoProgram, error) {
		cmd := exec.Command(shell, "-c", command)
		cmd.Env = append(os.Environ(), "WIDTH="+strconv.Itoa(b.cfg.Width), "HEIGHT="+strconv.Itoa(b.cfg.Height),
			"FPS="+strconv.Itoa(b.cfg.FPS), "BITRATE="+strconv.Itoa(b.cfg.Bitrate))
		return startProgram("the camera's command", cmd)
	}
	switch form {
	case programH264:
		b.say("The picture comes from a command that writes H.264%s.", alsoVP8())
		b.useH264("command", func() (h264Input, error) {
			p, err := start()
			return &h264Program{videoProgram: p}, err
		})
	case programMJPEG:
		if !haveVP8 {
			b.say("There is no picture: the camera's command makes no H.264, and this build without cgo lacks the VP8 encoder.")
			return true
		}
		b.say("The picture comes from a command that writes JPEG pictures, as VP8 made here.")
		coded, raw := newHub(string(VP8), true, videoQueueFrames), newRawHub(string(VP8), rawPictureQueue)
		b.video = b.newFeed("command", func(*hub) (producer, error) {
			p, err := start()
			if err != nil {
				return nil, err
			}
			return b.newVP8Producer(coded, raw, &mjpegProgram{videoProgram: p, every: time.Second / time.Duration(b.cfg.FPS)}), nil
		}, coded)
		b.video.raw = raw
	}
	return form != ""
}
