package agent

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/voip/alert"
)

var aFilm = Film{Data: []byte("film"), Type: "video/webm", Ending: ".webm", Width: 640, Height: 480, Length: 12500 * time.Millisecond}

func TestClip(t *testing.T) {
	equipped(t, func(h *house, s *senses, _ *Agent) {
		s.noFilm = nil
		s.film = aFilm
		for _, tt := range []struct {
			write string
			said  string
			waits time.Duration
		}{
			{"clip", "I record for 10s.", 10 * time.Second},
			{"Clip 20 s", "I record for 20s.", 20 * time.Second},
			{"clip 30s", "from 1s to 20s", 0},
			{"clip 100ms", "from 1s to 20s", 0},
			{"clip me", "from 1s to 20s", 0},
		} {
			s.recorded = nil
			if got := h.write(tt.write); len(got) != 1 || !strings.Contains(got[0], tt.said) {
				t.Errorf("%q is answered with %q", tt.write, got)
			}
			time.Sleep(tt.waits)
			synctest.Wait()
			if tt.waits == 0 {
				if s.recorded != nil {
					t.Errorf("%q recorded %v", tt.write, s.recorded)
				}
				continue
			}
			if !slices.Equal(s.recorded, []time.Duration{tt.waits}) {
				t.Errorf("%q recorded %v", tt.write, s.recorded)
			}
			h.mu.Lock()
			sent := h.sent
			h.mu.Unlock()
			var m struct {
				Type, File, URL string
				Info            map[string]any
			}
			if len(sent) != 1 || json.Unmarshal([]byte(strings.NewReplacer("msgtype", "Type", "filename", "File").Replace(string(sent[0].Content))), &m) != nil {
				t.Fatalf("%q sent %v", tt.write, sent)
			}
			h.words()
			thumbnail, _ := m.Info["thumbnail_info"].(map[string]any)
			if m.Type != "m.video" || !strings.HasSuffix(m.File, ".webm") || m.Info["mimetype"] != "video/webm" || m.Info["duration"] != 12500.0 ||
				m.Info["w"] != 640.0 || m.Info["h"] != 480.0 || m.Info["size"] != 4.0 || !strings.HasPrefix(m.URL, "mxc://") ||
				m.Info["thumbnail_url"] == m.URL || thumbnail["w"] != 64.0 || thumbnail["mimetype"] != "image/jpeg" {
				t.Errorf("%q sent %s", tt.write, sent[0].Content)
			}
		}
		if s.chimes != 2 {
			t.Errorf("the privacy tone was heard %d times", s.chimes)
		}
		s.noFilm, s.noCamera = errors.New("the camera is gone"), errors.New("the camera is gone")
		if got := h.write("clip"); len(got) != 2 || !strings.Contains(got[1], "could not make a clip: the camera is gone.") {
			t.Errorf("without a camera: %q", got)
		}
	}, "clip_max", "20s")
}

// TestClipOfSound: a board without a camera sends what it hears, without a thumbnail.
func TestClipOfSound(t *testing.T) {
	equipped(t, func(h *house, s *senses, _ *Agent) {
		s.noFilm, s.noCamera = nil, errors.New("there is no camera")
		s.film = Film{Data: []byte("sound"), Type: "audio/webm", Ending: ".webm", Length: time.Second}
		h.write("clip 1s")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := string(h.sent[0].Content); !strings.Contains(got, `"m.audio"`) || strings.Contains(got, "thumbnail") || strings.Contains(got, `"w"`) {
			t.Error(got)
		}
	})
}

// TestAlertClip: the picture goes out at once, the clip when it is over, to everybody; and
// while alerts are on the last moments are remembered.
func TestAlertClip(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		s.mu.Lock()
		s.film, s.noFilm = aFilm, nil
		s.mu.Unlock()
		cry(s, 100)
		synctest.Wait()
		if got := h.words(); len(got) != 2 || !strings.Contains(got[0], "I hear a cry") {
			t.Fatalf("at a cry the board said %q", got)
		}
		for range 10 { // the microphone goes on
			time.Sleep(time.Second)
			cry(s, 1)
		}
		synctest.Wait()
		got := h.words()
		if len(got) != 2 || !strings.Contains(got[0], "!direct Clip: I hear a cry or a call at 00:00:00. mxc://") || !strings.HasPrefix(got[1], "!bob Clip:") {
			t.Errorf("after the clip the board said %q", got)
		}
		if err := a.Settings.Set(context.Background(), "clip_before", "0s", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []string{"picture false sound true 5s", "over"}; !slices.Equal(s.remembered, want) {
			t.Errorf("remembered: %q", s.remembered)
		}
	}, "sound_alert", "on", "alert_people", "@alice:h @bob:h")
	equipped(t, func(h *house, s *senses, _ *Agent) {
		cry(s, 100)
		synctest.Wait()
		if s.recorded != nil || s.remembered != nil {
			t.Errorf("clips are off: recorded %v, remembered %q", s.recorded, s.remembered)
		}
	}, "sound_alert", "on", "alert_clip", "off")
}

// cry makes loud blocks of 20 ms.
func cry(s *senses, blocks int) {
	loud := make([]int16, alert.SoundRate/50)
	for i := range loud {
		loud[i] = int16(8000 * (1 - 2*(i/48%2))) // 500 Hz
	}
	for range blocks {
		s.sounds <- loud
	}
}
