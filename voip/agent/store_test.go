package agent

import (
	"strings"
	"testing"
	"time"

	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
)

func TestSettingValues(t *testing.T) {
	tests := []struct {
		name, value string
		want        string // as it is shown then; empty with fault: it is refused
		fault       string // part of the sentence
	}{
		{"ring_people", "@a:h, @b:h @a:h", "@a:h @b:h", ""},
		{"ring_people", "", "", ""},
		{"ring_people", "ann", "", "no user ID"},
		{"ring_people", strings.Repeat("@a", 1) + ":h " + manyUsers(MaxPeople), "", "too many"},
		{"ring_mode", "turn", "turn", ""},
		{"ring_mode", "both", "", "all or turn"},
		{"ring_timeout", "45s", "45s", ""},
		{"ring_timeout", "1s", "", "5s to 5m0s"},
		{"ring_timeout", "soon", "", "no length of time"},
		{"auto_answer", "@a:h = now audio; *=after 10s both", "@a:h=now audio; *=after 10s both", ""},
		{"auto_answer", "*=never", "*=never", ""},
		{"auto_answer", "", "", ""},
		{"auto_answer", "*=now video;", "*=now video", ""},
		{"auto_answer", "*=maybe", "", "neither never"},
		{"auto_answer", "*", "", "no \"=\""},
		{"auto_answer", "*=now loud", "", "ends neither"},
		{"auto_answer", "*=now;*=never", "", "two rules"},
		{"auto_answer", "*=after -5s", "", "no time to wait"},
		{"auto_answer", "ann=now", "", "neither a user ID"},
		{"quiet_hours", "22:00-07:00,13:00-14:30", "22:00-07:00, 13:00-14:30", ""},
		{"quiet_hours", "25:00-07:00", "", "no hours"},
		{"quiet_hours", "07:00", "", "no hours"},
		{"quiet_hours", "07:00-07:00", "", "begins when it ends"},
		{"quiet_until", "2026-05-01T07:00:00Z", "2026-05-01T07:00:00Z", ""},
		{"quiet_until", "tomorrow", "", "no time"},
		{"door_code", "2468", "(set, not shown)", ""},
		{"door_code", "12", "", "digits"},
		{"door_code", "12a4", "", "digits"},
		{"sound_level", "-42.5", "-42.5", ""},
		{"sound_level", "7", "", "no number"},
		{"sound_level", "NaN", "", "no number"},
		{"motion_mask", "0,0,50,100; 60,0,100,20", "0,0,50,100; 60,0,100,20", ""},
		{"motion_mask", "50,0,10,100", "", "no part"},
		{"motion_mask", "0,0,50", "", "no part"},
		{"motion_mask", "0,0,50,101", "", "no part"},
		{"sound_alert", "on", "on", ""},
		{"sound_alert", "yes", "", "on or off"},
		{"privacy_tone", "on", "on", ""},
		{"privacy_tone", "off", "", ToneWords},
		{"no_such", "1", "", "there is no setting"},
		{"allow", strings.Repeat("x", MaxSettingText+1), "", "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value[:min(len(tt.value), 20)], func(t *testing.T) {
			s := NewStore(nil, DefaultSettings(0), nil)
			err := s.Set(t.Context(), tt.name, tt.value, "")
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) || !matrix.IsCode(err, "M_INVALID_PARAM") {
					t.Errorf("got %v, want a sentence with %q", err, tt.fault)
				}
				return
			}
			got, gerr := s.Get(tt.name)
			if err != nil || gerr != nil || got.Value != tt.want || !got.Stored || got.Help == "" {
				t.Errorf("it is %+v, %v, %v", got, err, gerr)
			}
		})
	}
}

func manyUsers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" @u" + string(rune('a'+i)) + ":h")
	}
	return b.String()
}

// TestDefaultsCanBeWritten: what is shown can be set again.
func TestDefaultsCanBeWritten(t *testing.T) {
	s := NewStore(nil, DefaultSettings(3*time.Second), nil)
	for _, x := range s.List() {
		if err := s.Set(t.Context(), x.Name, x.Value, ""); err != nil {
			t.Errorf("%s=%q: %v", x.Name, x.Value, err)
		}
		if y, err := s.Get(x.Name); err != nil || y.Value != x.Value {
			t.Errorf("%s=%q became %q, %v", x.Name, x.Value, y.Value, err)
		}
	}
}

func TestStore(t *testing.T) {
	db := kvtest.Open(t)
	s := NewStore(db, DefaultSettings(0), nil)
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := s.Changed()
	if err := s.Set(t.Context(), "ring_timeout", "20s", ""); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	if err := s.Set(t.Context(), "privacy_tone", "off", ToneWords); err != nil {
		t.Fatal(err)
	}
	if got := s.Current(); got.RingTimeout != 20*time.Second || got.PrivacyTone {
		t.Errorf("in force: %+v", got)
	}
	if err := s.Unset(t.Context(), "privacy_tone"); err != nil {
		t.Fatal(err)
	}
	if err := s.Unset(t.Context(), "nothing"); err == nil {
		t.Error("an unknown setting was taken back")
	}
	if !s.Current().PrivacyTone {
		t.Error("the tone stayed off")
	}
	again := &Store{db: db, table: s.table, songTable: s.songTable, uploads: s.uploads, log: s.log, defaults: DefaultSettings(time.Second), all: settings(), changed: make(chan struct{})}
	if err := again.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := again.Current(); got.RingTimeout != 20*time.Second || got.AutoAnswer[0].After != time.Second {
		t.Errorf("after a restart: %+v", got)
	}
}

func TestQuiet(t *testing.T) {
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	s := Settings{QuietHours: []Hours{{22 * 60, 7 * 60}, {13 * 60, 14 * 60}}, QuietUntil: day.Add(9 * time.Hour)}
	for clock, want := range map[string]bool{
		"06:59": true, "07:00": true, "08:59": true, "09:00": false, "12:59": false, "13:00": true,
		"14:00": false, "21:59": false, "22:00": true, "23:59": true, "00:00": true,
	} {
		at, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		now := day.Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
		if got := s.quiet(now); got != want {
			t.Errorf("%s: quiet %t", clock, got)
		}
		if s.alerts(now) == want {
			t.Errorf("%s: alerts %t", clock, !want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	for _, x := range NewStore(nil, DefaultSettings(0), nil).List() {
		f.Add(x.Name, x.Value)
	}
	f.Add("auto_answer", "@a:h=after 1s video; *=never")
	f.Add("motion_mask", "0,0,50,100; 60,0,100,20")
	f.Fuzz(func(t *testing.T, name, text string) {
		s := NewStore(nil, DefaultSettings(0), nil)
		x, ok := s.find(name)
		if !ok || x.secret || s.Set(t.Context(), name, text, ToneWords) != nil {
			return
		}
		shown, err := s.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Set(t.Context(), name, shown.Value, ToneWords); err != nil {
			t.Errorf("%s=%q is shown as %q, which is refused: %v", name, text, shown.Value, err)
		}
		if again, err := s.Get(name); err != nil || again.Value != shown.Value {
			t.Errorf("%s=%q became %q", name, shown.Value, again.Value)
		}
	})
}
