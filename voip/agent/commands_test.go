package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/alert"
	"porchlight/voip/call"
)

// senses are a camera, a microphone, a loudspeaker and a door of a few lines.
type senses struct {
	mu       sync.Mutex
	noCamera error
	fault    error // the camera's
	chimes   int
	doors    []time.Duration
	sounds   chan []int16 // closed: the microphone fails
	pictures chan *image.YCbCr
	opened   int // streams that are open

	film       Film
	noFilm     error
	recorded   []time.Duration
	remembered []string // what Remember was told, and that it ended
	played     []string // what Play was told, and that it ended
	noPlay     error
	tuned      []string
	noTune     error
}

// plays is what was played, which it forgets.
func (s *senses) plays() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.played
	s.played = nil
	return all
}

func (s *senses) CheckCamera(controls []CameraControl) error {
	for _, c := range controls {
		if c.Name != "gain" && c.Name != "ev" {
			return fmt.Errorf("the camera has no control %q", c.Name)
		}
	}
	return nil
}

func (s *senses) TuneCamera(_ context.Context, controls []CameraControl) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tuned = append(s.tuned, fmt.Sprint(controls))
	return s.noTune
}

func (s *senses) SetNight(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tuned = append(s.tuned, fmt.Sprint("night ", on))
}

func (s *senses) CheckSong(r io.Reader) error {
	text, err := io.ReadAll(r)
	if strings.Contains(string(text), "mp3") {
		err = errors.New("it is MP3")
	}
	return err
}

func (s *senses) Play(ctx context.Context, t Tune) error {
	what := t.Noise
	if t.Open != nil {
		r, err := t.Open(ctx)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		what = string(text)
	}
	note := func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.played = append(s.played, text)
	}
	note(fmt.Sprintf("%s loop %t for %s at %g", what, t.Loop, t.For, t.Volume()))
	defer note("over")
	s.mu.Lock()
	fails := s.noPlay
	s.mu.Unlock()
	if fails != nil {
		return fails
	}
	over := (<-chan time.Time)(nil)
	if t.For > 0 {
		timer := time.NewTimer(t.For)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *senses) Record(ctx context.Context, length time.Duration) (Film, error) {
	s.mu.Lock()
	s.recorded = append(s.recorded, length)
	film, err := s.film, s.noFilm
	s.mu.Unlock()
	if err != nil {
		return Film{}, err
	}
	over := time.NewTimer(length)
	defer over.Stop()
	select {
	case <-over.C:
		return film, nil
	case <-ctx.Done():
		return Film{}, ctx.Err()
	}
}

func (s *senses) Remember(ctx context.Context, picture, sound bool, keep time.Duration) error {
	note := func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remembered = append(s.remembered, text)
	}
	note(fmt.Sprintf("picture %t sound %t %s", picture, sound, keep))
	defer note("over")
	<-ctx.Done()
	return ctx.Err()
}

func (s *senses) Snapshot(context.Context) (Picture, error) {
	return Picture{JPEG: []byte("jpeg"), Width: 64, Height: 48}, s.noCamera
}

func (s *senses) Chime(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chimes++
	return nil
}

func (s *senses) OpenDoor(_ context.Context, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doors = append(s.doors, d)
	return nil
}

func (s *senses) SetEcho(string) error   { return nil }
func (s *senses) MicrophoneFault() error { return nil }

func (s *senses) CameraFault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

func (s *senses) SetVolume(int, int) {}

func (s *senses) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened += n
}

func (s *senses) OpenSound(context.Context) (SoundStream, error) {
	s.count(1)
	return stream[[]int16]{s.sounds, s}, nil
}

func (s *senses) OpenPictures(context.Context) (PictureStream, error) {
	s.count(1)
	return stream[*image.YCbCr]{s.pictures, s}, nil
}

type stream[T any] struct {
	from chan T
	s    *senses
}

func (s stream[T]) read(ctx context.Context) (v T, err error) {
	select {
	case v, ok := <-s.from:
		if !ok {
			return v, errors.New("unplugged")
		}
		return v, nil
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

func (s stream[T]) ReadSound(ctx context.Context) ([]int16, error) {
	v, err := s.read(ctx)
	block, _ := any(v).([]int16)
	return block, err
}

func (s stream[T]) ReadPicture(ctx context.Context) (*image.YCbCr, error) {
	v, err := s.read(ctx)
	pic, _ := any(v).(*image.YCbCr)
	return pic, err
}

func (s stream[T]) Close() error {
	s.s.count(-1)
	return nil
}

// equipped is a board with senses, a door and settings.
func equipped(t *testing.T, test func(h *house, s *senses, a *Agent), pairs ...string) {
	t.Helper()
	var s *senses
	board(t, func(c *Config) {
		with(t, pairs...)(c)
		s = &senses{sounds: make(chan []int16), pictures: make(chan *image.YCbCr), noFilm: errors.New("there is no film")}
		c.Devices, c.Door = s, s
	}, func(h *house, _ *media, a *Agent) { test(h, s, a) })
	if s.opened != 0 {
		t.Errorf("%d streams are left open", s.opened)
	}
}

func (h *house) write(text string) []string { return h.writeAs(alice, text) }

func (h *house) writeAs(user matrix.UserID, text string) []string {
	body, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
	if err != nil {
		panic(err)
	}
	h.put(event(user, "m.room.message", string(body)))
	synctest.Wait()
	return h.words()
}

func TestCommands(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		for _, tt := range []struct{ write, want string }{
			{"help", "snapshot: I send a picture."},
			{"Listen", "by voice"},
			{"snapshot", "This is what I see at 00:00:00. mxc://h/1"},
			{"quiet", "for how long"},
			{"quiet 2 h", "quiet until Saturday 02:00"},
			{"status", "quiet time"},
			{"quiet off", "over"},
			{"quiet -1h", "for how long"},
			{"quiet 1000h", "for how long"},
			{"quietly", "did not understand"},
			{"hang up", "Nobody is calling"},
			{"yes", "did not ask"},
		} {
			if got := h.write(tt.write); len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("%q is answered with %q, want %q", tt.write, got, tt.want)
			}
		}
		s.noCamera = errors.New("it is broken")
		if got := h.write("snapshot"); len(got) != 1 || !strings.Contains(got[0], "it is broken") {
			t.Errorf("without a camera: %q", got)
		}
		s.noCamera = context.DeadlineExceeded
		if got := h.write("snapshot"); !slices.Equal(got, []string{"!direct I could not take a picture: it took too long."}) {
			t.Errorf("with a slow camera: %q", got)
		}
		s.noCamera = nil
		h.full = matrix.Refusal(http.StatusForbidden, "M_RESOURCE_LIMIT_EXCEEDED", "there is no room for more media here")
		if got := h.write("snapshot"); !slices.Equal(got, []string{"!direct I could not take a picture: there is no room for more media here."}) {
			t.Errorf("without room for it: %q", got)
		}
	})
	board(t, with(t, "commands", "@bob:h"), func(h *house, _ *media, _ *Agent) {
		for i := range 3 { // one sentence, and then no more for a while
			if got := h.writeAs(carol, "help"); len(got) > 1 || (len(got) == 1) != (i == 0) || i == 0 && !strings.Contains(got[0], "I take no commands from you") {
				t.Errorf("somebody who may not command was told %q", got)
			}
		}
		time.Sleep(strangersTime)
		if got := h.writeAs(carol, "help"); len(got) != 1 {
			t.Errorf("after a while: %q", got)
		}
		for _, user := range []matrix.UserID{alice, bob} { // the owner needs not be on the list
			if got := h.writeAs(user, "help"); len(got) != 1 || !strings.Contains(got[0], "snapshot") {
				t.Errorf("%s was told %q", user, got)
			}
		}
	})
}

func TestSnapshotIsAnImage(t *testing.T) {
	equipped(t, func(h *house, _ *senses, _ *Agent) {
		h.put(event(alice, "m.room.message", `{"msgtype":"m.text","body":"snapshot"}`))
		synctest.Wait()
		var m struct {
			Type string `json:"msgtype"`
			File string `json:"filename"`
			Info struct {
				Type string `json:"mimetype"`
				Size int    `json:"size"`
				W, H int
			} `json:"info"`
		}
		if err := json.Unmarshal(h.sent[0].Content, &m); err != nil || m.Type != "m.image" || m.File != "2000-01-01-000000.jpg" ||
			m.Info.Type != "image/jpeg" || m.Info.Size != 4 || m.Info.W != 64 || m.Info.H != 48 {
			t.Errorf("%s, %v", h.sent[0].Content, err)
		}
	})
}

func TestDoorByMessage(t *testing.T) {
	equipped(t, func(h *house, s *senses, _ *Agent) {
		if got := h.write("open"); len(got) != 1 || !strings.Contains(got[0], "Shall I") || len(s.doors) != 0 {
			t.Fatalf("%q, doors %v", got, s.doors)
		}
		time.Sleep(confirmTime + time.Second)
		if got := h.write("yes"); !strings.Contains(got[0], "too long ago") {
			t.Errorf("too late: %q", got)
		}
		h.write("open")
		if got := h.write("yes"); !strings.Contains(got[0], "I open the door") || !slices.Equal(s.doors, []time.Duration{3 * time.Second}) {
			t.Errorf("%q, doors %v", got, s.doors)
		}
		if got := h.write("yes"); !strings.Contains(got[0], "did not ask") {
			t.Errorf("a second yes: %q", got)
		}
		h.write("open")
		if got := h.write("yes"); !strings.Contains(got[0], "a moment ago") || len(s.doors) != 1 {
			t.Errorf("at once again: %q", got)
		}
	})
	equipped(t, func(h *house, s *senses, _ *Agent) {
		if got := h.writeAs(carol, "open"); !strings.Contains(got[0], "may not") || len(s.doors) != 0 {
			t.Errorf("somebody else: %q", got)
		}
		if got := h.write("open"); !strings.Contains(got[0], "I open the door") || len(s.doors) != 1 {
			t.Errorf("the owner, who is not on the list: %q", got)
		}
	}, "door_people", "@bob:h", "door_confirm", "off", "allow", string(carol))
	board(t, nil, func(h *house, _ *media, _ *Agent) {
		if got := h.write("open"); !strings.Contains(got[0], "no door") {
			t.Errorf("without a door: %q", got)
		}
	})
}

func TestDoorByCode(t *testing.T) {
	for _, tt := range []struct {
		name, digits string
		doors        int
		said         string
	}{
		{"right", "2468", 1, "I open the door"},
		{"wrong", "1111", 0, ""},
		{"begun anew", "24*2468", 1, "I open the door"},
		{"wrong and right", "11112468", 1, "I open the door"},
		{"guessed", "111122223333444455552468", 0, "Too many wrong codes"},
		{"none", "##", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equipped(t, func(h *house, s *senses, a *Agent) {
				h.put(invite(alice, ""))
				synctest.Wait()
				h.words()
				for _, d := range tt.digits {
					a.later(context.Background(), func(ctx context.Context) {
						for _, c := range a.calls {
							a.dialled(ctx, c, d)
						}
					})
				}
				synctest.Wait()
				got := strings.Join(h.words(), " ")
				if len(s.doors) != tt.doors || !strings.Contains(got, tt.said) || tt.said == "" && got != "" {
					t.Errorf("doors %v, said %q", s.doors, got)
				}
			}, "door_code", "2468")
		})
	}
}

func TestAutoAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, rules, tone string
		said, notice      string
		withheld          string
		chimes            int
	}{
		{"both", "*=now", "on", "answer", "@alice:h is watching and listening.", "audio false video false", 1},
		{"audio", "@alice:h=now audio; *=never", "on", "answer", "@alice:h is listening.", "audio false video true", 1},
		{"video, no tone", "*=now video", "off", "answer", "@alice:h is watching.", "audio true video false", 0},
		{"never", "@alice:h=never; *=now", "on", "", "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s *senses
			board(t, func(c *Config) {
				with(t, "auto_answer", tt.rules, "privacy_tone", tt.tone)(c)
				s = &senses{}
				c.Devices = s
			}, func(h *house, m *media, _ *Agent) {
				h.put(invite(alice, ""))
				synctest.Wait()
				words := strings.Join(h.words(), "\n")
				if got := strings.Contains(words, call.TypeAnswer); got != (tt.said == "answer") {
					t.Errorf("answered: %t", got)
				}
				if !strings.Contains(words, tt.notice) || s.chimes != tt.chimes {
					t.Errorf("said %q, %d chimes", words, s.chimes)
				}
				if len(m.sessions) > 0 && m.sessions[0].withheld != tt.withheld {
					t.Errorf("withheld %q", m.sessions[0].withheld)
				}
			})
		})
	}
}

func TestSettingEvents(t *testing.T) {
	set := func(name, content string) Event {
		e := event(alice, SettingType, content)
		e.StateKey = &name
		return e
	}
	elsewhere := set("ring_mode", `{"value":"turn"}`)
	elsewhere.Room = "!other"
	stranger := set("ring_mode", `{"value":"turn"}`)
	stranger.Sender = bob
	for _, tt := range []struct {
		name string
		e    Event
		want string
	}{
		{"good", set("ring_mode", `{"value":"turn"}`), `ring_mode is "turn" now.`},
		{"taken back", set("ring_mode", `{}`), `ring_mode is "all" now.`},
		{"bad value", set("ring_mode", `{"value":"loud"}`), "not taken: ring_mode: it is all or turn"},
		{"unknown", set("volume", `{"value":"9"}`), "there is no setting"},
		{"no object", set("ring_mode", `[]`), "has to be an object"},
		{"a number", set("ring_mode", `{"value":3}`), "has to be an object"},
		{"a secret", set("door_code", `{"value":"2468"}`), "a room remembers"},
		{"tone without words", set("privacy_tone", `{"value":"off"}`), ToneWords},
		{"tone with words", set("privacy_tone", `{"value":"off","confirm":"`+ToneWords+`"}`), `privacy_tone is "off" now.`},
		{"another room", elsewhere, "Settings are made in this room."},
		{"another person", stranger, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			board(t, nil, func(h *house, _ *media, _ *Agent) {
				h.put(tt.e)
				synctest.Wait()
				got := strings.Join(h.words(), "\n")
				if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
					t.Errorf("the board said %q", got)
				}
			})
		})
	}
}

// TestWatch: a cry, a dead and an unplugged microphone, and one that comes back.
func TestWatch(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		loud := make([]int16, alert.SoundRate/50)
		for i := range loud {
			loud[i] = int16(8000 * (1 - 2*(i/48%2))) // 500 Hz
		}
		for range 100 {
			s.sounds <- loud
		}
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "I hear a cry or a call at 00:00:00. mxc://h/1") {
			t.Fatalf("at a cry the board said %q", got)
		}
		silent := make([]int16, alert.SoundRate/50)
		for range 600 {
			s.sounds <- silent
		}
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "perfect silence") {
			t.Errorf("at silence the board said %q", got)
		}
		if got := h.write("status"); !strings.Contains(got[0], "microphone has failed") {
			t.Errorf("status %q", got)
		}
		s.sounds <- loud
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "microphone works again") {
			t.Errorf("when it came back the board said %q", got)
		}
		time.Sleep(senseStall + time.Second)
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "nothing came from it") {
			t.Errorf("when nothing came the board said %q", got)
		}
		time.Sleep(senseRetry)
		for range faultHold / (10 * time.Second) { // it has failed twice
			s.sounds <- loud
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "works again") {
			t.Errorf("when it came again the board said %q", got)
		}
		close(s.sounds)
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "unplugged") {
			t.Errorf("unplugged: %q", got)
		}
		if err := a.Settings.Set(context.Background(), "sound_alert", "off", ""); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s.opened != 0 {
			t.Error("it goes on listening though it was told not to")
		}
	}, "sound_alert", "on")
}

func TestWatchMotion(t *testing.T) {
	pic := func(x int) *image.YCbCr {
		p := image.NewYCbCr(image.Rect(0, 0, 320, 240), image.YCbCrSubsampleRatio420)
		for y := range 60 {
			for i := range 60 {
				p.Y[y*p.YStride+x+i] = 200
			}
		}
		return p
	}
	for _, tt := range []struct {
		name, until string
		want        int
	}{{"by day", "", 1}, {"in quiet times", "2001-01-01T00:00:00Z", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			equipped(t, func(h *house, s *senses, _ *Agent) {
				for i := range 5 {
					s.pictures <- pic(40 * i)
				}
				synctest.Wait()
				got := h.words()
				if len(got) != 2*tt.want || tt.want > 0 && !strings.Contains(got[1], "!bob Something moves here at 00:00:00. mxc://h/1") {
					t.Errorf("the board said %q", got)
				}
			}, "motion_alert", "on", "alert_people", "@alice:h @bob:h", "quiet_until", tt.until)
		})
	}
}

func TestRingSendsAPicture(t *testing.T) {
	equipped(t, func(h *house, _ *senses, a *Agent) {
		if err := a.Ring(context.Background(), RingRequest{Timeout: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := h.words(); !slices.Contains(got, "!direct Somebody rings. mxc://h/1") {
			t.Errorf("the board said %q", got)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := h.words(); !slices.Contains(got, "!direct Somebody rang at 00:00 and nobody answered. mxc://h/1") {
			t.Errorf("the board said %q", got)
		}
	})
}
