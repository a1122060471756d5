package agent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/alert"
)

// ToneWords are what the owner writes to switch the privacy tone off.
const ToneWords = "people near the board know that they may be seen and heard"

// setting is how one of the Settings is written. parse and show are each other's inverse.
type setting struct {
	name   string
	help   string
	secret bool // never shown, and never set in a room
	words  string
	// names writes the users that a text names in full; nil: it names none.
	names func(text string, server matrix.ServerName) (string, error)
	parse func(s *Settings, text string) error
	show  func(s *Settings) string
}

// needsWords says whether a value takes effect only with the words of the setting.
func (x setting) needsWords(text string) bool { return x.words != "" && text == "off" }

// settings is the table of all settings, by name.
func settings() []setting {
	all := []setting{
		people("ring_people", "whom the ring button calls; none: the owner", func(s *Settings) *[]matrix.UserID { return &s.RingPeople }),
		{name: "ring_mode", help: "all: everybody at once; turn: one after the other", parse: parseRingMode, show: showRingMode},
		length("ring_timeout", "how long each is called", minRingTimeout, maxRingTimeout, func(s *Settings) *time.Duration { return &s.RingTimeout }),
		length("ring_pause", "how long after a press a further one is the same visitor's", 0, maxRingPause, func(s *Settings) *time.Duration { return &s.RingPause }),
		people("allow", "who may call the board, besides the owner; none: as started", func(s *Settings) *[]matrix.UserID { return &s.Allow }),
		{name: "auto_answer", help: "rules such as \"@ann:home=now audio; *=after 10s both\": never, now or after a time; audio, video or both", parse: parseAnswers, show: showAnswers, names: namesInRules},
		people("commands", "who may write commands to the board, besides the owner; none: who may call it", func(s *Settings) *[]matrix.UserID { return &s.Commands }),
		hours("quiet_hours", "times such as \"22:00-07:00, 13:00-14:30\" in which the board neither rings nor answers by itself", func(s *Settings) *[]Hours { return &s.QuietHours }),
		{name: "night", help: "auto: the camera sees by night as night_hours say; on or off: always or never", parse: parseNight, show: func(s *Settings) string { return s.Night }},
		hours("night_hours", "times in which the camera's controls are as night_camera says, and its lamp is on while it runs", func(s *Settings) *[]Hours { return &s.NightHours }),
		controls("night_camera", "what the camera's controls are by night, such as \"gain=8, ev=1\"", func(s *Settings) *[]CameraControl { return &s.NightCamera }),
		controls("day_camera", "what they are by day; those that are not named are as the camera has them", func(s *Settings) *[]CameraControl { return &s.DayCamera }),
		{name: "quiet_until", help: "a time such as 2026-05-01T07:00:00Z up to which it is quiet", parse: parseQuietUntil, show: showQuietUntil},
		onOff("quiet_alerts", "on: alerts are sent in quiet times, too", func(s *Settings) *bool { return &s.QuietAlerts }),
		people("door_people", "who may open the door by a message, besides the owner", func(s *Settings) *[]matrix.UserID { return &s.DoorPeople }),
		{name: "door_code", help: "4 to 12 digits that open the door when dialled in a call", secret: true, parse: parseDoorCode, show: func(s *Settings) string { return s.DoorCode }},
		length("door_pulse", "how long the door's relay is on", 100*time.Millisecond, 30*time.Second, func(s *Settings) *time.Duration { return &s.DoorPulse }),
		onOff("door_confirm", "on: the board asks before it opens by a message", func(s *Settings) *bool { return &s.DoorConfirm }),
		people("alert_people", "who is told of alerts; none: the ring list", func(s *Settings) *[]matrix.UserID { return &s.AlertPeople }),
		length("alert_pause", "the least time between two alerts of a kind", time.Second, time.Hour, func(s *Settings) *time.Duration { return &s.AlertPause }),
		onOff("sound_alert", "on: tell of cries and calls", func(s *Settings) *bool { return &s.SoundAlert }),
		number("sound_level", "how loud it has to be, in dB below full scale", -90, 0, func(s *Settings) *float64 { return &s.SoundLevel }),
		length("sound_attack", "how long it has to be loud", 100*time.Millisecond, 30*time.Second, func(s *Settings) *time.Duration { return &s.SoundAttack }),
		length("sound_hold", "how long a pause may be, as for breath", 0, 10*time.Second, func(s *Settings) *time.Duration { return &s.SoundHold }),
		length("sound_release", "how long it has to be quiet behind such a pause until all is forgotten", 0, time.Minute, func(s *Settings) *time.Duration { return &s.SoundRelease }),
		onOff("network_alert", "on: tell from when to when the network was gone", func(s *Settings) *bool { return &s.NetworkAlert }),
		onOff("network_chime", "on: the board is heard once a minute while its network is gone", func(s *Settings) *bool { return &s.NetworkChime }),
		onOff("listen_only", "on: what callers say is not played at the board", func(s *Settings) *bool { return &s.ListenOnly }),
		limit("call_limit", "after which time the board hangs up calls that came in; 0s: never", func(s *Settings) *time.Duration { return &s.CallLimit }),
		limit("ring_call_limit", "after which time the board hangs up calls that it placed; 0s: never", func(s *Settings) *time.Duration { return &s.RingLimit }),
		{name: "viewers", help: "how many calls the board takes at once", parse: parseViewers, show: func(s *Settings) string { return strconv.Itoa(s.Viewers) }},
		onOff("motion_alert", "on: tell of what moves in the picture", func(s *Settings) *bool { return &s.MotionAlert }),
		number("motion_share", "how much of the picture has to change, in percent", 0.1, 80, func(s *Settings) *float64 { return &s.MotionShare }),
		{name: "motion_mask", help: "parts of the picture that are not looked at, in percent: \"left,top,right,bottom; …\"", parse: parseMask, show: showMask},
		span("keep_time", "how long pictures and clips are kept that the board made; 0s: for ever", time.Hour, 10*365*24*time.Hour, func(s *Settings) *time.Duration { return &s.KeepTime }),
		{name: "keep_space", help: "how many MiB of pictures and clips that the board made are kept, the newest; 0: any number", parse: parseSpace, show: func(s *Settings) string { return strconv.FormatInt(s.KeepSpace>>20, 10) }},
		onOff("alert_clip", "on: a clip follows an alert", func(s *Settings) *bool { return &s.AlertClip }),
		length("clip_length", "how long a clip is where nothing else is said", minClip, maxClip, func(s *Settings) *time.Duration { return &s.ClipLength }),
		length("clip_max", "how long a clip may be that somebody asks for", minClip, maxClip, func(s *Settings) *time.Duration { return &s.ClipMax }),
		length("clip_before", "how much of the time before an alert its clip shows; more than 0s keeps the encoder running while alerts are on", 0, maxClipBefore, func(s *Settings) *time.Duration { return &s.ClipBefore }),
		{name: "lullaby", help: "what \"lullaby\" alone plays: white, pink or brown noise, or the name of a song", parse: parseSong, show: func(s *Settings) string { return s.Lullaby }},
		number("lullaby_volume", "how loud songs and noise are, from 0 to 100", 0, 100, func(s *Settings) *float64 { return &s.LullabyVolume }),
		length("lullaby_for", "how long noise is played, and songs that are repeated, where nothing else is said", minLullaby, maxLullaby, func(s *Settings) *time.Duration { return &s.LullabyFor }),
		length("lullaby_fade", "how long songs and noise take to go when their time is over", 0, 10*time.Minute, func(s *Settings) *time.Duration { return &s.LullabyFade }),
		onOff("fault_alert", "on: tell when camera or microphone die and come back", func(s *Settings) *bool { return &s.FaultAlert }),
		number("loudspeaker_volume", "how loud callers are at the board, in percent; 0: not at all", 0, 400, func(s *Settings) *float64 { return &s.LoudspeakerVolume }),
		number("microphone_volume", "how loud the board is for callers, in percent; 0: not at all", 0, 400, func(s *Settings) *float64 { return &s.MicrophoneVolume }),
		{name: "echo", help: "against callers hearing themselves: duck turns the microphone down while the loudspeaker plays, cancel takes the echo out, off does nothing", parse: parseEcho, show: func(s *Settings) string { return s.Echo }},
	}
	tone := onOff("privacy_tone", "on: a tone is heard at the board when it answers by itself", func(s *Settings) *bool { return &s.PrivacyTone })
	tone.words = ToneWords
	all = append(all, tone)
	slices.SortFunc(all, func(x, y setting) int { return strings.Compare(x.name, y.name) })
	return all
}

func people(name, help string, at func(*Settings) *[]matrix.UserID) setting {
	return setting{name: name, help: help, names: fullNames, parse: func(s *Settings, text string) error {
		var list []matrix.UserID
		for _, word := range strings.FieldsFunc(text, separator) {
			user, err := matrix.ParseUserID(word)
			if err != nil {
				return fmt.Errorf("%q is no user ID: it looks like @ann:home", word)
			}
			if !slices.Contains(list, user) {
				list = append(list, user)
			}
		}
		if len(list) > MaxPeople {
			return fmt.Errorf("%d people are too many: %d are possible", len(list), MaxPeople)
		}
		*at(s) = list
		return nil
	}, show: func(s *Settings) string {
		var b strings.Builder
		for i, u := range *at(s) {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(string(u))
		}
		return b.String()
	}}
}

func separator(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }

func onOff(name, help string, at func(*Settings) *bool) setting {
	return setting{name: name, help: help, parse: func(s *Settings, text string) error {
		if text != "on" && text != "off" {
			return fmt.Errorf("it is on or off, not %q", text)
		}
		*at(s) = text == "on"
		return nil
	}, show: func(s *Settings) string {
		if *at(s) {
			return "on"
		}
		return "off"
	}}
}

func length(name, help string, least, most time.Duration, at func(*Settings) *time.Duration) setting {
	return setting{name: name, help: help, parse: func(s *Settings, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no length of time: it looks like 500ms, 45s or 2m", text)
		}
		if d < least || d > most {
			return fmt.Errorf("%s is out of range: %s to %s are possible", d, least, most)
		}
		*at(s) = d
		return nil
	}, show: func(s *Settings) string { return at(s).String() }}
}

func limit(name, help string, at func(*Settings) *time.Duration) setting {
	return span(name, help, minCallLimit, maxCallLimit, at)
}

func parseSpace(s *Settings, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<30 {
		return fmt.Errorf("%q is no number of MiB", text)
	}
	s.KeepSpace = n << 20
	return nil
}

// span is a length that may also be none.
func span(name, help string, least, most time.Duration, at func(*Settings) *time.Duration) setting {
	x := length(name, help, least, most, at)
	parse := x.parse
	x.parse = func(s *Settings, text string) error {
		if text == "0s" || text == "0" {
			*at(s) = 0
			return nil
		}
		return parse(s, text)
	}
	return x
}

func parseViewers(s *Settings, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxViewers {
		return fmt.Errorf("%q is no number of calls: 1 to %d are possible", text, MaxViewers)
	}
	s.Viewers = n
	return nil
}

func number(name, help string, least, most float64, at func(*Settings) *float64) setting {
	return setting{name: name, help: help, parse: func(s *Settings, text string) error {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f >= least && f <= most) { // also what is no number
			return fmt.Errorf("%q is no number from %g to %g", text, least, most)
		}
		*at(s) = f
		return nil
	}, show: func(s *Settings) string { return strconv.FormatFloat(*at(s), 'g', -1, 64) }}
}

func parseRingMode(s *Settings, text string) error {
	if text != "all" && text != "turn" {
		return fmt.Errorf("it is all or turn, not %q", text)
	}
	s.RingInTurn = text == "turn"
	return nil
}

func showRingMode(s *Settings) string {
	if s.RingInTurn {
		return "turn"
	}
	return "all"
}

func parseEcho(s *Settings, text string) error {
	if text != "off" && text != "duck" && text != "cancel" {
		return fmt.Errorf("it is off, duck or cancel, not %q", text)
	}
	s.Echo = text
	return nil
}

func parseAnswers(s *Settings, text string) error {
	var rules []AnswerRule
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		rule, err := parseAnswer(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(rules, func(r AnswerRule) bool { return r.Who == rule.Who }) {
			return fmt.Errorf("there are two rules for %s", cmp.Or(string(rule.Who), "*"))
		}
		rules = append(rules, rule)
	}
	if len(rules) > MaxPeople {
		return fmt.Errorf("%d rules are too many: %d are possible", len(rules), MaxPeople)
	}
	s.AutoAnswer = rules
	return nil
}

// parseAnswer reads a rule like "@ann:home=after 10s both".
func parseAnswer(text string) (r AnswerRule, err error) {
	who, how, ok := strings.Cut(text, "=")
	who = strings.TrimSpace(who)
	if !ok {
		return r, fmt.Errorf("the rule %q has no \"=\"", text)
	}
	if who != "*" {
		if r.Who, err = matrix.ParseUserID(who); err != nil {
			return r, fmt.Errorf("%q is neither a user ID nor *", who)
		}
	}
	words := strings.Fields(how)
	switch {
	case len(words) == 1 && words[0] == "never":
		r.Never = true
		return r, nil
	case len(words) > 0 && words[0] == "now":
		words = words[1:]
	case len(words) > 1 && words[0] == "after":
		if r.After, err = time.ParseDuration(words[1]); err != nil || r.After < 0 || r.After > maxAnswerAfter {
			return r, fmt.Errorf("%q is no time to wait: 0s to %s are possible", words[1], maxAnswerAfter)
		}
		words = words[2:]
	default:
		return r, fmt.Errorf("the rule %q says neither never, nor now, nor after how long", text)
	}
	switch strings.Join(words, " ") {
	case "both", "":
		r.Audio, r.Video = true, true
	case "audio":
		r.Audio = true
	case "video":
		r.Video = true
	default:
		return r, fmt.Errorf("the rule %q ends neither with audio, nor with video, nor with both", text)
	}
	return r, nil
}

func showAnswers(s *Settings) string {
	var parts []string
	for _, r := range s.AutoAnswer {
		what := "both"
		switch {
		case !r.Video:
			what = "audio"
		case !r.Audio:
			what = "video"
		}
		how := "now " + what
		switch {
		case r.Never:
			how = "never"
		case r.After > 0:
			how = "after " + r.After.String() + " " + what
		}
		parts = append(parts, cmp.Or(string(r.Who), "*")+"="+how)
	}
	return strings.Join(parts, "; ")
}

// hours is a setting of times of day: "22:00-07:00, 13:00-14:30".
func hours(name, help string, at func(*Settings) *[]Hours) setting {
	return setting{name: name, help: help, parse: func(s *Settings, text string) error {
		var all []Hours
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			from, to, _ := strings.Cut(part, "-")
			a, err1 := time.Parse("15:04", strings.TrimSpace(from))
			b, err2 := time.Parse("15:04", strings.TrimSpace(to))
			if err1 != nil || err2 != nil {
				return fmt.Errorf("%q are no hours: they look like 22:00-07:00", part)
			}
			if a.Equal(b) {
				return fmt.Errorf("%q begins when it ends", part)
			}
			all = append(all, Hours{a.Hour()*60 + a.Minute(), b.Hour()*60 + b.Minute()})
		}
		if len(all) > maxHours {
			return fmt.Errorf("%d times are too many: %d are possible", len(all), maxHours)
		}
		*at(s) = all
		return nil
	}, show: func(s *Settings) string { return showTimes(*at(s)) }}
}

func showTimes(all []Hours) string {
	var parts []string
	for _, h := range all {
		parts = append(parts, fmt.Sprintf("%02d:%02d-%02d:%02d", h.From/60, h.From%60, h.To/60, h.To%60))
	}
	return strings.Join(parts, ", ")
}

func parseQuietUntil(s *Settings, text string) (err error) {
	s.QuietUntil = time.Time{}
	if text == "" {
		return nil
	}
	if s.QuietUntil, err = time.Parse(time.RFC3339, text); err != nil {
		return fmt.Errorf("%q is no time: it looks like 2026-05-01T07:00:00Z", text)
	}
	return nil
}

func showQuietUntil(s *Settings) string {
	if s.QuietUntil.IsZero() {
		return ""
	}
	return s.QuietUntil.Format(time.RFC3339)
}

func parseDoorCode(s *Settings, text string) error {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	if text != "" && (len(text) < minDoorCode || len(text) > maxDoorCode || strings.ContainsFunc(text, func(r rune) bool { return !isDigit(r) })) {
		return fmt.Errorf("a code is %d to %d digits", minDoorCode, maxDoorCode)
	}
	s.DoorCode = text
	return nil
}

func parseSong(s *Settings, text string) error {
	if !slices.Contains(noises, text) {
		if err := checkSongName(text); err != nil {
			return errors.New(sentence(err))
		}
	}
	s.Lullaby = text
	return nil
}

func parseMask(s *Settings, text string) error {
	var mask []alert.Rect
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		var edges [4]int
		words := strings.Split(part, ",")
		ok := len(words) == len(edges)
		for i := 0; ok && i < len(edges); i++ {
			n, err := strconv.Atoi(strings.TrimSpace(words[i]))
			edges[i], ok = n, err == nil && n >= 0 && n <= 100
		}
		r := alert.Rect{Left: edges[0], Top: edges[1], Right: edges[2], Bottom: edges[3]}
		if !ok || r.Left >= r.Right || r.Top >= r.Bottom {
			return fmt.Errorf("%q is no part of a picture: it is left,top,right,bottom in percent, from the top left", part)
		}
		mask = append(mask, r)
	}
	if len(mask) > maxMasks {
		return fmt.Errorf("%d parts are too many: %d are possible", len(mask), maxMasks)
	}
	s.MotionMask = mask
	return nil
}

func showMask(s *Settings) string {
	var parts []string
	for _, r := range s.MotionMask {
		parts = append(parts, fmt.Sprintf("%d,%d,%d,%d", r.Left, r.Top, r.Right, r.Bottom))
	}
	return strings.Join(parts, "; ")
}
