package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
)

func TestParseLullaby(t *testing.T) {
	for _, tt := range []struct {
		text string
		want lullabyOrder
		ok   bool
	}{
		{"", lullabyOrder{}, true},
		{"moon", lullabyOrder{name: "moon"}, true},
		{"white noise", lullabyOrder{name: "white"}, true},
		{"for 30m", lullabyOrder{length: 30 * time.Minute}, true},
		{"moon river for 30 m loop", lullabyOrder{"moon river", 30 * time.Minute, true}, true},
		{"loop moon for 1h30m", lullabyOrder{"moon", 90 * time.Minute, true}, true},
		{"moon for 30 loop", lullabyOrder{}, false},
		{"moon for", lullabyOrder{}, false},
		{"for ever", lullabyOrder{}, false},
		{"for 1s", lullabyOrder{}, false},
		{"for 100h", lullabyOrder{}, false},
		{"for -5m", lullabyOrder{}, false},
	} {
		got, err := parseLullaby(tt.text)
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
}

func FuzzParseLullaby(f *testing.F) {
	f.Add("moon for 30 m loop")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseLullaby(text)
		if err == nil && o.length != 0 && (o.length < minLullaby || o.length > maxLullaby) {
			t.Errorf("%q plays for %s", text, o.length)
		}
	})
}

// TestLullaby: noise and songs, their times, and that one follows the other.
func TestLullaby(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		if err := a.Settings.addSong(context.Background(), "moon", "mxc://h/moon", alice); err != nil {
			t.Fatal(err)
		}
		playing := func() bool { // as Run's goroutine sees it
			is := make(chan bool, 1)
			a.later(context.Background(), func(context.Context) { is <- a.playing != nil })
			return <-is
		}
		for _, tt := range []struct {
			write, said string
			played      []string
		}{
			{"lullaby stop", "I play nothing.", nil},
			{"lullaby", "I play pink noise until 00:45.", []string{"pink loop true for 45m0s at 0.2"}},
			{"status", "I play pink noise until 00:45.", nil},
			{"lullaby moon", `I play "moon" once.`, []string{"over", "mxc://h/moon loop false for 0s at 0.2"}},
			{"lullaby moon for 20m", `I play "moon" until 00:20.`, []string{"over", "mxc://h/moon loop true for 20m0s at 0.2"}},
			{"lullaby moon loop", `I play "moon" until 00:45.`, []string{"over", "mxc://h/moon loop true for 45m0s at 0.2"}},
			{"lullaby sun", `I do not know "sun". I can play white noise, pink noise, brown noise, "moon".`, nil},
			{"lullaby for ever", "Write for how long, from 1m0s to 12h0m0s", nil},
			{"lullaby volume 50", "The volume is 50 of 100 now.", nil},
			{"lullaby volume loud", "no number from 0 to 100", nil},
			{"lullaby list", `"moon"`, nil},
			{"lullaby stop", `I stop playing "moon".`, []string{"over"}},
			{"lullaby Brown Noise for 2 h", "I play brown noise until 02:00.", []string{"brown loop true for 2h0m0s at 0.5"}},
		} {
			if got := h.write(tt.write); len(got) != 1 || !strings.Contains(got[0], tt.said) {
				t.Errorf("%q is answered with %q", tt.write, got)
			}
			if got := s.plays(); !slices.Equal(got, tt.played) {
				t.Errorf("%q played %q", tt.write, got)
			}
			if a.singing.Load() != playing() {
				t.Errorf("after %q those who listen are told: %t", tt.write, a.singing.Load())
			}
		}
		time.Sleep(2*time.Hour + time.Second)
		synctest.Wait()
		if got := h.write("status"); playing() || strings.Contains(got[0], "I play") {
			t.Errorf("when its time is over: %q", got)
		}
		s.mu.Lock()
		s.noPlay = errors.New("there is no loudspeaker")
		s.mu.Unlock()
		if got := h.write("lullaby"); len(got) != 2 || !strings.Contains(got[1], "could not play pink noise: there is no loudspeaker.") || playing() {
			t.Errorf("without a loudspeaker: %q", got)
		}
	}, "lullaby_volume", "20", "lullaby_for", "45m")
}

// TestSongs: a sound that was sent becomes a song, by a reply or as the last one.
func TestSongs(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		send := func(content string) []string {
			h.put(event(alice, "m.room.message", content))
			synctest.Wait()
			return h.words()
		}
		h.events = map[matrix.EventID]Event{
			"$old":       event(alice, "m.room.message", `{"msgtype":"m.file","body":"old.wav","url":"mxc://h/old"}`),
			"$text":      event(alice, "m.room.message", `{"msgtype":"m.text","body":"old.wav"}`),
			"$elsewhere": {Room: "!other", Sender: alice, Type: "m.room.message", Content: []byte(`{"msgtype":"m.audio","body":"a","url":"mxc://h/x"}`)},
		}
		reply := func(to, text string) string {
			return fmt.Sprintf(`{"msgtype":"m.text","body":%q,"m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, text, to)
		}
		for _, tt := range []struct{ send, said string }{
			{`{"msgtype":"m.text","body":"lullaby add moon"}`, "Send me a WAV or Ogg Opus file here first"},
			{`{"msgtype":"m.audio","body":"a.ogg","url":"mxc://h/new","info":{"mimetype":"audio/ogg"}}`, `Write "lullaby add"`},
			{`{"msgtype":"m.text","body":"lullaby add Moon"}`, `I know "moon" now.`},
			{reply("$old", "> <@alice:h> old.wav\n\nlullaby add old one"), `I know "old one" now.`},
			{reply("$text", "lullaby add text"), "reply to one"},
			{reply("$elsewhere", "lullaby add secret"), "reply to one"},
			{reply("$none", "lullaby add none"), "reply to one"},
			{`{"msgtype":"m.text","body":"lullaby add stop"}`, "is no name for a song"},
			{`{"msgtype":"m.text","body":"lullaby add"}`, "is no name for a song"},
			{`{"msgtype":"m.text","body":"lullaby add <b>"}`, "is no name for a song"},
			{`{"msgtype":"m.file","body":"loud.mp3","url":"mxc://h/mp3"}`, `Write "lullaby add"`},
			{`{"msgtype":"m.text","body":"lullaby add loud"}`, "I did not take it: it is MP3."},
			{`{"msgtype":"m.audio","body":"gone","url":"mxc://elsewhere/1"}`, `Write "lullaby add"`},
			{`{"msgtype":"m.text","body":"lullaby add gone"}`, "I did not take it: there is no such media here."},
			{`{"msgtype":"m.text","body":"lullaby list"}`, `brown noise, "moon", "old one".`},
			{`{"msgtype":"m.text","body":"lullaby remove sun"}`, `There is no song "sun".`},
			{`{"msgtype":"m.text","body":"lullaby remove moon"}`, `I do not know "moon" any more.`},
			{`{"msgtype":"m.text","body":"lullaby old one"}`, `I play "old one" once.`},
		} {
			if got := send(tt.send); len(got) != 1 || !strings.Contains(got[0], tt.said) {
				t.Errorf("%s is answered with %q", tt.send, got)
			}
		}
		if got := s.plays(); !slices.Equal(got, []string{"mxc://h/old loop false for 0s at 0.3"}) {
			t.Errorf("played %q", got)
		}
		for _, quiet := range []string{
			`{"msgtype":"m.file","body":"letter.pdf","url":"mxc://h/pdf","info":{"mimetype":"application/pdf"}}`,
			`{"msgtype":"m.audio","body":"secret","file":{"url":"mxc://h/x"}}`,
			`{"msgtype":"m.image","body":"a.png","url":"mxc://h/x"}`,
		} {
			if got := send(quiet); len(got) != 0 {
				t.Errorf("%s is answered with %q", quiet, got)
			}
		}
	})
}

// TestSongsAreKept: over a restart, up to their number.
func TestSongsAreKept(t *testing.T) {
	db := kvtest.Open(t)
	s := NewStore(db, DefaultSettings(0), nil)
	for i := range MaxSongs {
		if err := s.addSong(t.Context(), fmt.Sprintf("song %d", i), "mxc://h/1", alice); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.addSong(t.Context(), "one more", "mxc://h/1", alice); !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Error("one too many:", err)
	}
	if err := s.addSong(t.Context(), "song 7", "mxc://h/7", bob); err != nil {
		t.Error("in the place of another:", err)
	}
	if err := s.removeSong(t.Context(), "song 8"); err != nil {
		t.Error(err)
	}
	if err := s.removeSong(t.Context(), "song 8"); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Error("twice:", err)
	}
	s.takeSongs(nil)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if uri, ok := s.song("song 7"); len(s.Songs()) != MaxSongs-1 || uri != "mxc://h/7" || !ok {
		t.Errorf("%d songs, one at %q", len(s.Songs()), uri)
	}
}
