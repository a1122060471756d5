package device

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unsafe"

	"github.com/blackjack/webcam"
	"golang.org/x/sys/unix"
)

// v4l2Tuner is the controls of a V4L2 camera. The driver keeps them while nobody looks, and
// takes them beside whoever does.
type v4l2Tuner struct{ camera camera }

// controlNamed makes a word of the name that a driver gives a control: "White Balance,
// Automatic" is white_balance_automatic. spec: as v4l2-ctl does
func controlNamed(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "_")
}

// controlFor finds a control by its name, and what the value for it is.
func controlFor(all map[webcam.ControlID]webcam.Control, c Control) (id webcam.ControlID, value int32, err error) {
	var names []string
	for id, known := range all {
		name := controlNamed(known.Name)
		if name != c.Name {
			names = append(names, fmt.Sprintf("%s (%d to %d)", name, known.Min, known.Max))
			continue
		}
		n, err := strconv.ParseInt(c.Value, 10, 32)
		switch {
		case c.Value == "on":
			n, err = 1, nil
		case c.Value == "off":
			n, err = 0, nil
		}
		if err != nil || int32(n) < known.Min || int32(n) > known.Max {
			return 0, 0, fmt.Errorf("%s is a whole number from %d to %d, not %q", name, known.Min, known.Max, c.Value)
		}
		return id, int32(n), nil
	}
	slices.Sort(names)
	if names == nil {
		return 0, 0, fmt.Errorf("the camera has no control %q, nor any other", c.Name)
	}
	return 0, 0, fmt.Errorf("the camera has no control %q; it has %s", c.Name, strings.Join(names, ", "))
}

func (t v4l2Tuner) check(controls []Control) error {
	cam, now, err := t.camera.open()
	if err != nil {
		return fmt.Errorf("the camera %s cannot be asked for its controls: %w", now.path, err)
	}
	defer cam.Close()
	all := cam.GetControls()
	for _, c := range controls {
		if _, _, err := controlFor(all, c); err != nil {
			return err
		}
	}
	return nil
}

// apply sets all controls in their order, as some can only be set when an automatic has
// been switched off before; and goes on when one fails.
func (t v4l2Tuner) apply(before, controls []Control) error {
	cam, now, err := t.camera.open()
	if err != nil {
		return fmt.Errorf("the camera %s cannot be told its controls: %w", now.path, err)
	}
	defer cam.Close()
	all := cam.GetControls()
	var failed error
	set := func(c Control, id webcam.ControlID, value int32) {
		if err := cam.SetControl(id, value); err != nil && failed == nil {
			failed = fmt.Errorf("the camera's control %s cannot be set to %d: %w", c.Name, value, err)
		}
	}
	// What was set last goes back first: an automatic comes last.
	for _, c := range slices.Backward(before) {
		if slices.ContainsFunc(controls, func(x Control) bool { return x.Name == c.Name }) {
			continue
		}
		if id, _, err := controlFor(all, c); err == nil {
			if value, err := controlDefault(now.path, id); err == nil {
				set(c, id, value)
			}
		}
	}
	for _, c := range controls {
		id, value, err := controlFor(all, c)
		if err != nil {
			return err
		}
		set(c, id, value)
	}
	return failed
}

// queryControl is struct v4l2_queryctrl. spec: linux/videodev2.h
type queryControl struct {
	id, kind            uint32
	name                [32]byte
	least, most, step   int32
	value               int32 // the default
	flags               uint32
	reserved, reserved2 uint32
}

// ioctlQueryControl is VIDIOC_QUERYCTRL.
const ioctlQueryControl = 3<<30 | unsafe.Sizeof(queryControl{})<<16 | 'V'<<8 | 36

// controlDefault asks the driver what a control is by default.
func controlDefault(path string, id webcam.ControlID) (int32, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	q := queryControl{id: uint32(id)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlQueryControl, uintptr(unsafe.Pointer(&q))); errno != 0 {
		return 0, errno
	}
	return q.value, nil
}
