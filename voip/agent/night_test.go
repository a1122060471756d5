package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNight: the clock stands at midnight when the board starts.
func TestNight(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		tuned := func() []string {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			all := s.tuned
			s.tuned = nil
			return all
		}
		step := func(what string, want ...string) {
			t.Helper()
			if got := tuned(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		step("at midnight", "[{gain 8} {ev 1}]", "night true")
		time.Sleep(6*time.Hour - time.Minute)
		step("before morning")
		time.Sleep(2 * time.Minute)
		step("in the morning", "[{ev 1}]", "night false")
		for _, tt := range []struct {
			write, said string
			tuned       []string
		}{
			{"night", "The camera sees by day, as its hours say: 20:00-06:00.", nil},
			{"night on", "The camera sees by night until", []string{"[{gain 8} {ev 1}]", "night true"}},
			{"night auto", "by day, as its hours", []string{"[{ev 1}]", "night false"}},
			{"night off", "The camera sees by day until", nil},
			{"night maybe", "Write \"night on\"", nil},
		} {
			if got := h.write(tt.write); len(got) != 1 || !strings.Contains(got[0], tt.said) {
				t.Errorf("%q is answered with %q", tt.write, got)
			}
			step(tt.write, tt.tuned...)
		}
		s.noTune = errors.New("the camera is gone")
		if got := h.write("night on"); len(got) != 2 || !strings.Contains(strings.Join(got, " "), "could not tune the camera: the camera is gone.") {
			t.Errorf("a camera that is gone: %q", got)
		}
		time.Sleep(nightLook)
		if got := tuned(); len(got) < 2 || len(h.words()) != 0 {
			t.Errorf("it is tried again: %q", got)
		}
		s.mu.Lock()
		s.noTune = nil
		s.mu.Unlock()
		time.Sleep(nightLook)
		tuned()
		time.Sleep(nightLook)
		step("when it is there again")
		err := a.Settings.Set(context.Background(), "night_camera", "zoom=2", "")
		if err == nil || !strings.Contains(err.Error(), `night_camera: the camera has no control "zoom"`) {
			t.Errorf("a control that the camera does not have: %v", err)
		}
	}, "night_hours", "20:00-06:00", "night_camera", "gain=8", "day_camera", "ev=1")
}

// TestMorning: the house ended by night and starts by day; the camera has kept what it was
// told for the night.
func TestMorning(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := []string{"[{gain 8}]", "[]"}; !slices.Equal(s.tuned, want) {
			t.Errorf("the camera was told %q, not %q", s.tuned, want)
		}
	}, "night_hours", "08:00-10:00", "night_camera", "gain=8")
}

func TestNightSettings(t *testing.T) {
	for _, tt := range []struct{ name, value, want, fault string }{
		{"night_camera", "gain=8,ev=-1.5 , tuning-file=imx219_noir.json", "gain=8, ev=-1.5, tuning-file=imx219_noir.json", ""},
		{"night_camera", "", "", ""},
		{"night_camera", "gain", "", "looks like brightness=10"},
		{"night_camera", "gain=", "", "looks like brightness=10"},
		{"night_camera", "gain=a b", "", "looks like brightness=10"},
		{"night_camera", "--output=/etc/passwd", "", "looks like brightness=10"},
		{"night_camera", "gain=1, gain=2", "", "twice"},
		{"night_camera", "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1", "", "too many"},
		{"night", "off", "off", ""},
		{"night", "dark", "", "auto, on or off"},
		{"call_limit", "0s", "0s", ""},
		{"call_limit", "5m", "5m0s", ""},
		{"call_limit", "1s", "", "out of range"},
		{"viewers", "0", "", "1 to 16"},
		{"viewers", "3", "3", ""},
		{"lullaby", "moon", "moon", ""},
		{"lullaby", "stop", "", "no name for a song"},
		{"clip_max", "1h", "", "out of range"},
	} {
		s := NewStore(nil, DefaultSettings(0), nil)
		err := s.Set(t.Context(), tt.name, tt.value, "")
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s=%s: %v", tt.name, tt.value, err)
			}
			continue
		}
		if got, gerr := s.Get(tt.name); err != nil || gerr != nil || got.Value != tt.want {
			t.Errorf("%s=%s is %q, %v", tt.name, tt.value, got.Value, err)
		}
	}
}
