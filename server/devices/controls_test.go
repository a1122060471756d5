//go:build guest

package devices

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// What vivid shows can be changed by its controls, which it calls as the standard's are called.
const (
	brightness, brightnessDefault, brightnessByNight = "Brightness", 128, 220
	contrast, contrastDefault, contrastOfHouse       = "Contrast", 128, 100
)

// seesByNight lets night fall by the settings: the camera's own controls follow, and go back
// in the morning, whatever happens to the camera meanwhile.
func seesByNight(t *testing.T, b *bench) {
	c := b.client
	byDay := b.looks(t)
	c.set("night_hours", around(time.Now().Add(12*time.Hour)))
	c.set("night_camera", "brightness=220")
	c.set("day_camera", "contrast=100")
	stands(t, contrast, contrastOfHouse)
	stands(t, brightness, brightnessDefault)

	c.set("night_hours", around(time.Now()))
	stands(t, brightness, brightnessByNight)
	stands(t, contrast, contrastOfHouse) // what only the day names goes on
	c.say("night")
	c.hears(t, "The camera sees by night, as its hours say")
	if byNight := b.looks(t); byNight < byDay+40 {
		t.Errorf("the mean brightness of the picture is %d by day and %d by night", byDay, byNight)
	}

	// One that was unplugged comes back with the driver's own values, and with another number as
	// long as somebody else has it open.
	holder, err := os.Open(vividNode(t))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	unplug(t, "vivid", "vivid.0")
	plug(t, "vivid", "vivid.0")
	if value := control(t, brightness); value != brightnessDefault {
		t.Fatalf("a camera that was plugged in anew has brightness %d, so that nothing is tried", value)
	}
	if byNight := b.looks(t); byNight < byDay+40 { // it starts for the picture
		t.Errorf("of the camera that was plugged in anew the mean brightness is %d by day and %d by night", byDay, byNight)
	}
	stands(t, brightness, brightnessByNight)
	stands(t, contrast, contrastOfHouse)

	// Morning comes while it is in use, under the number that it has now.
	p := c.call(t)
	p.sees(t, 5)
	c.set("night_hours", around(time.Now().Add(12*time.Hour)))
	stands(t, brightness, brightnessDefault)
	stands(t, contrast, contrastOfHouse)
	p.sees(t, 5)
	p.hangUp()
	if again := b.looks(t); again > byDay+10 {
		t.Errorf("the mean brightness of the picture is %d the day before and %d in the morning", byDay, again)
	}

	c.say("night on")
	c.hears(t, "The camera sees by night until")
	stands(t, brightness, brightnessByNight)
	c.say("night auto")
	stands(t, brightness, brightnessDefault)
	if answer := c.trySet("night_camera", "zoom=2"); !strings.Contains(answer, "not taken") || !strings.Contains(answer, "brightness (0 to 255)") {
		t.Errorf("a control that the camera does not have: %s", answer)
	}
	c.set("day_camera", "")
	stands(t, contrast, contrastDefault)
	c.set("night_camera", "")
	c.set("night_hours", "")
	if n := strings.Count(b.house.written(), "the camera cannot be tuned"); n > 0 {
		t.Errorf("the camera could not be tuned %d times", n)
	}
	holder.Close()
	unplug(t, "vivid", "vivid.0")
	plug(t, "vivid", "vivid.0")
	if node := vividNode(t); node != camera {
		t.Errorf("the camera is %s now", node)
	}
}

// around is two hours of the day around a time.
func around(at time.Time) string {
	return at.Add(-time.Hour).Format("15:04") + "-" + at.Add(time.Hour).Format("15:04")
}

// looks is the mean brightness of the picture that the board takes on request, from 0 to 255.
func (b *bench) looks(t *testing.T) int {
	t.Helper()
	b.client.say("snapshot")
	picture := b.client.picture(t, b.client.hears(t, "This is what I see").URL)
	sum, n := 0, 0
	for y := picture.Rect.Min.Y; y < picture.Rect.Max.Y; y += 4 {
		for x := picture.Rect.Min.X; x < picture.Rect.Max.X; x += 4 {
			sum += int(picture.Y[picture.YOffset(x, y)])
			n++
		}
	}
	return sum / n
}

// picture downloads a JPEG.
func (c *client) picture(t *testing.T, uri string) *image.YCbCr {
	t.Helper()
	picture, err := jpeg.Decode(bytes.NewReader(c.download(uri)))
	if err != nil {
		t.Fatal(err)
	}
	ycc, ok := picture.(*image.YCbCr)
	if !ok {
		t.Fatalf("the picture is a %T", picture)
	}
	return ycc
}

// stands waits until a control of the camera has a value.
func stands(t *testing.T, name string, want int) {
	t.Helper()
	value := 0
	if !until(func() bool { value = control(t, name); return value == want }) {
		t.Fatalf("the camera's control %s stands at %d, not at %d", name, value, want)
	}
}

// vividNode is the camera's file, whatever its number is.
func vividNode(t *testing.T) string {
	t.Helper()
	nodes, err := filepath.Glob("/dev/video*")
	if err != nil || len(nodes) != 1 {
		t.Fatalf("there is not one camera: %v, %v", nodes, err)
	}
	return nodes[0]
}

// The driver's own interface to controls. spec: linux/videodev2.h
const (
	ioctlQueryControl = 0xc0445624
	ioctlGetControl   = 0xc008561b
	ioctlSetControl   = 0xc008561c
	nextControl       = 0x80000000
)

// queriedControl is struct v4l2_queryctrl.
type queriedControl struct {
	id, kind                       uint32
	name                           [32]byte
	least, most, step, value       int32
	flags, reserved, reservedAfter uint32
}

// controlValue is struct v4l2_control.
type controlValue struct {
	id    uint32
	value int32
}

// control reads one of the camera's controls, past the board.
func control(t *testing.T, name string) int {
	t.Helper()
	return int(tellControl(t, name, ioctlGetControl, 0))
}

// setControl sets one of the camera's controls, past the board.
func setControl(t *testing.T, name string, value int) {
	t.Helper()
	tellControl(t, name, ioctlSetControl, value)
}

func tellControl(t *testing.T, name string, order uintptr, value int) int32 {
	t.Helper()
	file, err := os.OpenFile(vividNode(t), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ioctl := func(order uintptr, what unsafe.Pointer) error {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), order, uintptr(what)); errno != 0 {
			return errno
		}
		return nil
	}
	var q queriedControl
	for {
		q.id |= nextControl
		if err := ioctl(ioctlQueryControl, unsafe.Pointer(&q)); err != nil {
			t.Fatalf("the camera has no control %q: %v", name, err)
		}
		if string(bytes.TrimRight(q.name[:], "\x00")) == name {
			break
		}
	}
	c := controlValue{q.id, int32(value)}
	if err := ioctl(order, unsafe.Pointer(&c)); err != nil {
		t.Fatal(errors.Join(fmt.Errorf("the control %s", name), err))
	}
	return c.value
}
