package device

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/blackjack/webcam"
)

func TestV4L2Controls(t *testing.T) {
	all := map[webcam.ControlID]webcam.Control{
		1: {Name: "Brightness", Min: -64, Max: 64},
		2: {Name: "White Balance, Automatic", Min: 0, Max: 1},
		3: {Name: "Exposure Time, Absolute", Min: 1, Max: 5000},
	}
	for _, tt := range []struct {
		name, value string
		id          webcam.ControlID
		want        int32
		fault       string
	}{
		{"brightness", "-20", 1, -20, ""},
		{"white_balance_automatic", "off", 2, 0, ""},
		{"white_balance_automatic", "on", 2, 1, ""},
		{"exposure_time_absolute", "5000", 3, 5000, ""},
		{"exposure_time_absolute", "5001", 0, 0, "from 1 to 5000"},
		{"exposure_time_absolute", "long", 0, 0, "from 1 to 5000"},
		{"brightness", "99999999999", 0, 0, "from -64 to 64"},
		{"zoom", "1", 0, 0, `no control "zoom"; it has brightness (-64 to 64), exposure_time_absolute (1 to 5000), white`},
	} {
		id, value, err := controlFor(all, Control{tt.name, tt.value})
		if id != tt.id || value != tt.want || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) || tt.fault == "" && err != nil {
			t.Errorf("%s=%s: %d=%d, %v", tt.name, tt.value, id, value, err)
		}
	}
	if _, _, err := controlFor(nil, Control{"gain", "1"}); err == nil || !strings.Contains(err.Error(), "nor any other") {
		t.Error(err)
	}
	// spec: linux/videodev2.h
	if n := unsafe.Sizeof(queryControl{}); n != 68 || uint32(ioctlQueryControl) != 0xc0445624 {
		t.Errorf("the driver's struct has %d bytes, its number is %#x", n, uint32(ioctlQueryControl))
	}
	gone := v4l2Tuner{camera{path: "/dev/none", name: "none"}}
	for _, err := range []error{gone.check([]Control{{"gain", "1"}}), gone.apply(nil, nil)} {
		if err == nil || !strings.Contains(err.Error(), "/dev/none") {
			t.Errorf("a camera that is gone: %v", err)
		}
	}
	if _, err := controlDefault("/dev/null", 1); err == nil {
		t.Error("what is no camera has a default")
	}
}
