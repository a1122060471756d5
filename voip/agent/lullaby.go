package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"path"
	"slices"
	"strings"
	"time"

	"porchlight/server/matrix"
)

const (
	minLullaby = time.Minute
	maxLullaby = 12 * time.Hour
	// songCheckTime is how long looking at a song that is to be added may take.
	songCheckTime = 15 * time.Second
	// maxHeard is in how many rooms the board knows which sound was sent last.
	maxHeard = 32
)

// lullaby is a song or noise that is being played. Only Run's goroutine touches it.
type lullaby struct {
	name  string
	until time.Time // zero: when it is over
	stop  context.CancelFunc
	over  chan struct{} // closed when the loudspeaker is silent
}

// lullabyOrder is what is to be played.
type lullabyOrder struct {
	name   string // empty: what the settings say
	length time.Duration
	loop   bool
}

// parseLullaby reads "moon for 30m loop", in any order.
func parseLullaby(text string) (o lullabyOrder, err error) {
	var name []string
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "loop":
			o.loop = true
		case words[i] == "for":
			length := strings.Join(words[i+1:min(i+2, len(words))], "")
			if i+2 < len(words) && strings.Trim(length, "0123456789") == "" && words[i+2] != "loop" {
				length += words[i+2] // "30 m"
				i++
			}
			i++
			if o.length, err = time.ParseDuration(length); err != nil || o.length < minLullaby || o.length > maxLullaby {
				return o, fmt.Errorf("write for how long, from %s to %s: \"lullaby for 30m\"", minLullaby, maxLullaby)
			}
		default:
			name = append(name, words[i])
		}
	}
	if n := len(name); n == 2 && name[1] == "noise" {
		name = name[:1]
	}
	o.name = strings.Join(name, " ")
	return o, nil
}

// commandLullaby plays something, or keeps the list of what can be played.
func (a *Agent) commandLullaby(ctx context.Context, r *request, rest string) {
	word, more, _ := strings.Cut(rest, " ")
	switch word {
	case "stop", "off":
		a.stopLullaby(ctx, r)
	case "list":
		a.reply(ctx, r, "I can play "+a.repertoire()+".")
	case "add":
		a.addSong(ctx, r, more)
	case "remove":
		if err := a.Settings.removeSong(ctx, more); err != nil {
			a.reply(ctx, r, capital(sentence(err))+".")
			return
		}
		a.reply(ctx, r, fmt.Sprintf("I do not know %q any more.", more))
	case "volume":
		if err := a.Settings.Set(ctx, "lullaby_volume", more, ""); err != nil {
			a.reply(ctx, r, capital(sentence(err))+".")
			return
		}
		a.reply(ctx, r, fmt.Sprintf("The volume is %g of 100 now.", a.Settings.Current().LullabyVolume))
	default:
		a.sing(ctx, r, rest)
	}
}

// capital makes the first letter a large one.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// repertoire is all that can be played, for a sentence.
func (a *Agent) repertoire() string {
	var names []string
	for _, n := range noises {
		names = append(names, n+" noise")
	}
	for _, n := range a.Settings.Songs() {
		names = append(names, fmt.Sprintf("%q", n))
	}
	return strings.Join(names, ", ")
}

// sing begins to play, in the place of what is playing.
func (a *Agent) sing(ctx context.Context, r *request, order string) {
	o, err := parseLullaby(order)
	if err != nil {
		a.reply(ctx, r, capital(err.Error())+".")
		return
	}
	if a.Devices == nil {
		a.reply(ctx, r, "There is no loudspeaker.")
		return
	}
	settings := a.Settings.Current()
	o.name = cmp.Or(o.name, settings.Lullaby)
	tune := Tune{
		Fade: settings.LullabyFade, For: o.length, Loop: o.loop || o.length > 0,
		Volume: func() float64 { return a.Settings.Current().LullabyVolume / 100 },
	}
	what := fmt.Sprintf("%q", o.name)
	if slices.Contains(noises, o.name) {
		tune.Noise, tune.Loop, what = o.name, true, o.name+" noise"
	} else if uri, ok := a.Settings.song(o.name); ok {
		tune.Open = func(ctx context.Context) (io.Reader, error) { return a.House.Content(ctx, uri) }
	} else {
		a.reply(ctx, r, fmt.Sprintf("I do not know %q. I can play %s.", o.name, a.repertoire()))
		return
	}
	if tune.Loop && tune.For == 0 {
		tune.For = settings.LullabyFor
	}
	text, until := "I play "+what+" once.", time.Time{}
	if tune.For > 0 {
		until = a.Now().Add(tune.For)
		text = fmt.Sprintf("I play %s until %s.", what, until.Format("15:04"))
	}
	a.reply(ctx, r, text)
	a.perform(ctx, r, &lullaby{name: what, until: until}, tune)
}

// perform plays a tune when what is playing has ended.
func (a *Agent) perform(ctx context.Context, r *request, l *lullaby, tune Tune) {
	before := a.playing
	if before != nil {
		before.stop()
	}
	playing, stop := context.WithCancel(ctx)
	l.stop, l.over = stop, make(chan struct{})
	a.playing = l
	a.singing.Store(true)
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		defer stop()
		if before != nil {
			<-before.over
		}
		err := a.Devices.Play(playing, tune)
		close(l.over)
		return func(ctx context.Context) {
			if a.playing == l {
				a.playing = nil
				a.singing.Store(false)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				a.Log.Warn("a lullaby could not be played", "error", err)
				a.reply(ctx, r, "I could not play "+l.name+": "+sentence(err)+".")
			}
		}
	})
}

func (a *Agent) stopLullaby(ctx context.Context, r *request) {
	if a.playing == nil {
		a.reply(ctx, r, "I play nothing.")
		return
	}
	a.playing.stop()
	a.reply(ctx, r, "I stop playing "+a.playing.name+".")
}

// lullabyText says what is playing; empty: nothing.
func (a *Agent) lullabyText() string {
	switch l := a.playing; {
	case l == nil:
		return ""
	case l.until.IsZero():
		return "I play " + l.name + "."
	default:
		return "I play " + l.name + " until " + l.until.Format("15:04") + "."
	}
}

// sound is a message with sound in it.
type sound struct {
	Type string `json:"msgtype"`
	Name string `json:"filename"`
	Body string `json:"body"`
	URI  string `json:"url"`
	Info struct {
		Type string `json:"mimetype"`
	} `json:"info"`
}

// isSound says whether a message is a file that may be played.
func (s sound) isSound() bool {
	kind, _, err := mime.ParseMediaType(s.Info.Type)
	looks := err == nil && strings.HasPrefix(kind, "audio/") || kind == "application/ogg" ||
		slices.Contains([]string{".wav", ".ogg", ".opus", ".oga", ".mp3"}, strings.ToLower(path.Ext(cmp.Or(s.Name, s.Body))))
	return s.URI != "" && (s.Type == "m.audio" || s.Type == "m.file" && looks)
}

// heard notes that somebody sent a sound, which may become a song.
func (a *Agent) heard(ctx context.Context, r *request, s sound) {
	if len(a.sounds) >= maxHeard {
		clear(a.sounds)
	}
	a.sounds[r.Room] = s
	a.reply(ctx, r, "Write \"lullaby add\" and a name, and I can play this.")
}

// addSong takes the sound that the command replies to, or that was sent last in the room,
// among the songs.
func (a *Agent) addSong(ctx context.Context, r *request, name string) {
	if err := checkSongName(name); err != nil {
		a.reply(ctx, r, capital(sentence(err))+".")
		return
	}
	s, ok := a.sounds[r.Room]
	if to := repliesTo(r.Content); to != "" {
		replied, found, err := a.House.Event(ctx, r.Room, to)
		if err != nil {
			a.fail(ctx, r, err)
			return
		}
		s = sound{}
		ok = found && replied.Type == "m.room.message" && json.Unmarshal(replied.Content, &s) == nil && s.isSound()
	}
	if !ok || a.Devices == nil {
		a.reply(ctx, r, "Send me a WAV or Ogg Opus file here first, or reply to one.")
		return
	}
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, songCheckTime)
		defer cancel()
		content, err := a.House.Content(ctx, s.URI)
		if err == nil {
			err = a.Devices.CheckSong(content)
		}
		if err == nil {
			err = a.Settings.addSong(ctx, name, s.URI, r.Sender)
		}
		return func(ctx context.Context) {
			if err != nil {
				a.reply(ctx, r, "I did not take it: "+sentence(err)+".")
				return
			}
			a.reply(ctx, r, fmt.Sprintf("I know %q now. Write \"lullaby %s\", and I play it.", name, name))
		}
	})
}

// repliesTo is the event that a message replies to; empty: none.
func repliesTo(content json.RawMessage) matrix.EventID {
	var m struct {
		Relates struct {
			To struct {
				ID matrix.EventID `json:"event_id"`
			} `json:"m.in_reply_to"`
		} `json:"m.relates_to"`
	}
	if json.Unmarshal(content, &m) != nil {
		return ""
	}
	return m.Relates.To.ID
}
