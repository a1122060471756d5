package device

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRPiCamControls(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		fault       string // part of the sentence; empty: it is good
	}{
		{"ev", "1.5", ""}, {"ev", "-10", ""}, {"gain", "8", ""}, {"shutter", "33000", ""}, {"denoise", "cdn_off", ""},
		{"tuning-file", "imx219_noir.json", ""}, {"exposure", "long", ""},
		{"ev", "11", "from -10 to 10"}, {"ev", "NaN", "from -10 to 10"}, {"ev", "--output", "from -10 to 10"},
		{"denoise", "much", "cdn_fast"}, {"tuning-file", "/etc/passwd", "libcamera's files"}, {"tuning-file", "../x.json", "libcamera's files"},
		{"output", "x", "it has awb, brightness, contrast"}, {"", "", "no control"},
	} {
		err := rpicamTuner{}.check([]Control{{tt.name, tt.value}})
		if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%s=%s: %v", tt.name, tt.value, err)
		}
	}
	find := func(name string) string {
		if name == "there.json" {
			return "/usr/share/there.json"
		}
		return ""
	}
	got := rpicamControls([]Control{{"ev", "1"}, {"tuning-file", "there.json"}, {"tuning-file", "gone.json"}}, find)
	if want := []string{"--ev", "1", "--tuning-file", "/usr/share/there.json"}; !slices.Equal(got, want) {
		t.Errorf("options %q", got)
	}
}

// TestRPiCamIsTuned: while it runs the program is started anew with other options, and
// whoever looks goes on looking.
func TestRPiCamIsTuned(t *testing.T) {
	if _, err := os.Stat("/dev/video0"); err == nil {
		t.Skip("this machine has a camera of its own")
	}
	log := filepath.Join(t.TempDir(), "log")
	path := program(t, `case "$1" in
--list-cameras) echo "Available cameras"; echo "0 : imx219"; exit ;;
--help) exit ;;
esac
echo "$*" >> `+log+`
printf '`+octal(nals("SPi"))+`'; while :; do printf '`+octal(nals("f"))+`'; sleep 0.02; done
`)
	t.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	watched := make(chan bool, 4)
	b := run(t, Config{Microphone: None, Loudspeaker: None, Watched: func(on bool) { watched <- on }})
	ctx := within(t, 20*time.Second)
	cam, err := b.OpenVideo(ctx, H264)
	if err != nil {
		t.Fatal(err)
	}
	key := func() {
		t.Helper()
		for {
			f, err := cam.ReadFrame(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if f.Key {
				return
			}
		}
	}
	key()
	if err := b.TuneCamera(ctx, []Control{{"gain", "8"}, {"denoise", "cdn_off"}}); err != nil {
		t.Fatal(err)
	}
	key()
	if err := b.TuneCamera(ctx, nil); err != nil {
		t.Fatal(err)
	}
	key()
	if err := b.TuneCamera(ctx, []Control{{"gain", "much"}}); err == nil {
		t.Error("nonsense was taken")
	}
	cam.Close()
	if began, ended := <-watched, <-watched; !began || ended {
		t.Errorf("the camera ran: %t, then %t", began, ended)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	runs := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(runs) != 3 || strings.Contains(runs[0], "--gain") || !strings.Contains(runs[1], "--gain 8 --denoise cdn_off") || strings.Contains(runs[2], "--gain") {
		t.Errorf("the program ran as\n%s", text)
	}
}

// forgetfulTuner is a camera that may be gone, with all that its controls were told.
type forgetfulTuner struct {
	gone   bool
	orders []string // "before > controls"
}

func (*forgetfulTuner) check([]Control) error { return nil }

func (f *forgetfulTuner) apply(before, controls []Control) error {
	if f.gone {
		return errors.New("gone")
	}
	f.orders = append(f.orders, fmt.Sprint(before, " > ", controls))
	return nil
}

// TestTunedAgain: what a camera could not be told while it was gone it is told when it starts.
func TestTunedAgain(t *testing.T) {
	camera := &forgetfulTuner{}
	b := &Board{tuner: camera}
	tune := func(gone bool, controls ...Control) {
		t.Helper()
		camera.gone = gone
		if err := b.TuneCamera(t.Context(), controls); (err != nil) != gone {
			t.Errorf("%v: %v", controls, err)
		}
	}
	start := func() {
		camera.gone = false
		if err := b.tuned.enforce(camera); err != nil {
			t.Error(err)
		}
	}
	night, day := Control{"gain", "8"}, Control{"contrast", "2"}
	start()
	tune(false, night)
	start()
	tune(true, day)
	tune(true)
	start()
	start()
	tune(true, night)
	tune(false)
	want := []string{
		"[] > [{gain 8}]", "[{gain 8}] > [{gain 8}]", // by night; started by night
		"[{gain 8} {contrast 2}] > []", // what it was told last, and what it may have been told
		"[{gain 8}] > []",
	}
	if !slices.Equal(camera.orders, want) {
		t.Errorf("the camera was told %q, not %q", camera.orders, want)
	}
}

func TestNothingToTune(t *testing.T) {
	b := run(t, Config{Camera: None, Microphone: None, Loudspeaker: None})
	if err := b.TuneCamera(t.Context(), nil); err != nil {
		t.Error("nothing wanted:", err)
	}
	if err := b.TuneCamera(t.Context(), []Control{{"gain", "8"}}); err == nil || !strings.Contains(err.Error(), "no camera") {
		t.Error("without a camera:", err)
	}
}
