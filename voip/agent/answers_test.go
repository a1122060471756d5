package agent

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/alert"
	"porchlight/voip/call"
)

// reading says that a person comes to be able to read what is sent to the room in which the
// board and alice talk, in each of the ways in which that can be.
var reading = map[string]func(h *house){
	"a stranger is invited":         func(h *house) { h.invited[room] = []matrix.UserID{bob} },
	"anybody may read or come in":   func(h *house) { h.open[room] = true },
	"a stranger and a friend is in": func(h *house) { h.invited[room] = []matrix.UserID{carol, bob} },
}

// loudly lets the microphone hear a cry.
func loudly(s *senses) {
	loud := make([]int16, alert.SoundRate/50)
	for i := range loud {
		loud[i] = int16(8000 * (1 - 2*(i/48%2)))
	}
	for range 100 {
		s.sounds <- loud
	}
}

// TestNothingGoesToAPreparedRoom: whatever the board begins of its own accord, and what it
// answers, does not go into a room that others can read, whoever is in it at the moment; in
// such a room it says at most that it answers elsewhere.
func TestNothingGoesToAPreparedRoom(t *testing.T) {
	ring := func(people ...matrix.UserID) func(*testing.T, *house, *senses, *Agent) {
		return func(t *testing.T, _ *house, _ *senses, a *Agent) {
			if err := a.Ring(context.Background(), RingRequest{People: people}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			time.Sleep(6 * time.Minute) // it is missed
		}
	}
	writes := func(all ...string) func(*testing.T, *house, *senses, *Agent) {
		return func(_ *testing.T, h *house, _ *senses, _ *Agent) {
			for _, text := range all {
				body, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
				if err != nil {
					panic(err)
				}
				h.put(event(alice, "m.room.message", string(body)))
				time.Sleep(time.Minute)
			}
		}
	}
	begins := map[string]struct {
		do   func(*testing.T, *house, *senses, *Agent)
		said string // part of what has to be said elsewhere
	}{
		"a ring, missed":   {ring(), "nobody answered"},
		"a ring of others": {ring(alice, bob), "Somebody rings"},
		"a ring by button": {func(_ *testing.T, _ *house, _ *senses, a *Agent) { a.Press() }, "Somebody rings"},
		"a ring in quiet times": {func(t *testing.T, _ *house, _ *senses, a *Agent) {
			if err := a.Settings.Set(context.Background(), "quiet_until", "2001-01-01T00:00:00Z", ""); err != nil {
				t.Error(err)
			}
			a.Press()
		}, "quiet time"},
		"an alert with a clip":     {func(_ *testing.T, _ *house, s *senses, _ *Agent) { loudly(s) }, "I hear a cry"},
		"a fault":                  {func(_ *testing.T, _ *house, s *senses, _ *Agent) { close(s.sounds) }, "has failed"},
		"the network was gone":     {func(_ *testing.T, _ *house, _ *senses, a *Agent) { a.networkBack(context.Background(), 0, 0) }, "network was gone"},
		"the camera is not tuned":  {func(_ *testing.T, _ *house, s *senses, a *Agent) { untuned(a, s) }, "could not tune"},
		"somebody looks in":        {func(_ *testing.T, h *house, _ *senses, _ *Agent) { h.put(invite(alice, "")) }, "is watching and listening"},
		"too many wrong codes":     {func(_ *testing.T, h *house, _ *senses, a *Agent) { wrongCodes(h, a) }, "Too many wrong codes"},
		"the door, by its code":    {func(_ *testing.T, h *house, _ *senses, a *Agent) { digits(h, a, "2468") }, "opened the door"},
		"the door, in writing":     {writes("open", "yes"), "I open the door"},
		"a picture that was asked": {writes("snapshot"), "This is what I see"},
		"a clip that was asked":    {writes("clip 2s"), "A clip from"},
		"status":                   {writes("status"), "Nobody is calling"},
		"other words":              {writes("what?"), "did not understand"},
		"a lullaby":                {writes("lullaby rain", "lullaby list", "lullaby stop", "lullaby volume 20", "lullaby remove x", "lullaby add x"), "I play"},
		"night and quiet":          {writes("night on", "quiet 1h", "listen", "hang up", "help"), "quiet until"},
		"a setting": {func(_ *testing.T, h *house, _ *senses, _ *Agent) {
			e := event(alice, SettingType, `{"value":"turn"}`)
			e.StateKey = new("ring_mode")
			h.put(e)
		}, "ring_mode is"},
		"a sound": {func(_ *testing.T, h *house, _ *senses, _ *Agent) {
			h.put(event(alice, "m.room.message", `{"msgtype":"m.audio","body":"a.wav","url":"mxc://h/a"}`))
		}, "lullaby add"},
		"a call that is too long": {func(t *testing.T, h *house, _ *senses, a *Agent) {
			if err := a.Settings.Set(context.Background(), "call_limit", "10s", ""); err != nil {
				t.Error(err)
			}
			h.put(invite(alice, ""))
			time.Sleep(time.Minute)
		}, "calls last"},
	}
	for how, prepare := range reading {
		for what, begin := range begins {
			t.Run(what+", "+how, func(t *testing.T) {
				equipped(t, func(h *house, s *senses, a *Agent) {
					h.mu.Lock()
					h.own = map[matrix.UserID]matrix.RoomID{alice: "!own-alice", bob: "!own-bob"}
					prepare(h)
					h.mu.Unlock()
					s.noFilm, s.film = nil, Film{Data: []byte("film"), Type: "video/webm", Ending: ".webm", Width: 1, Height: 1}
					begin.do(t, h, s, a)
					time.Sleep(time.Minute)
					synctest.Wait()
					h.mu.Lock()
					sent := h.sent
					h.mu.Unlock()
					said := false
					for _, e := range sent {
						text := string(e.Content)
						said = said || e.Room != room && strings.Contains(text, begin.said)
						answered := e.Type == call.TypeAnswer || e.Type == call.TypeHangup || e.Type == call.TypeReject
						if e.Room == room && !answered && !strings.Contains(text, elsewhereText) {
							t.Errorf("in the room: %s %s", e.Type, text)
						}
					}
					if !said {
						t.Errorf("nothing like %q was said elsewhere, only %q", begin.said, h.words())
					}
				}, "sound_alert", "on", "alert_clip", "on", "door_code", "2468", "allow", string(alice)+" "+string(carol))
			})
		}
	}
}

// untuned has a camera refuse what it is told.
func untuned(a *Agent, s *senses) {
	s.mu.Lock()
	s.noTune = errors.New("it is stuck")
	s.mu.Unlock()
	if err := a.Settings.Set(context.Background(), "day_camera", "gain=8", ""); err != nil {
		panic(err)
	}
}

// digits dials into a call of alice's.
func digits(h *house, a *Agent, code string) {
	h.put(invite(alice, ""))
	synctest.Wait()
	for _, d := range code {
		a.later(context.Background(), func(ctx context.Context) {
			for _, c := range a.calls {
				a.dialled(ctx, c, d)
			}
		})
	}
	synctest.Wait()
}

func wrongCodes(h *house, a *Agent) { digits(h, a, strings.Repeat("1357", maxWrongCodes)) }

// TestAnswersStayWhereAllMayAsk: in a room of people who all may ask, the board answers there.
func TestAnswersStayWhereAllMayAsk(t *testing.T) {
	equipped(t, func(h *house, _ *senses, _ *Agent) {
		h.mu.Lock()
		h.own = map[matrix.UserID]matrix.RoomID{alice: "!own-alice"}
		h.invited[room] = []matrix.UserID{carol}
		h.mu.Unlock()
		if got := h.write("status"); len(got) != 1 || !strings.HasPrefix(got[0], string(room)) {
			t.Errorf("the board said %q", got)
		}
		// Carol may ask for much, but not for the door.
		if got := h.write("open"); len(got) != 2 || got[0] != string(room)+" "+elsewhereText || !strings.HasPrefix(got[1], "!own-alice Shall I open") {
			t.Errorf("the board said %q", got)
		}
	}, "allow", string(alice)+" "+string(carol))
}
