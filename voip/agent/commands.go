package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// listenTime is how long the board waits for the call of somebody who wants to listen.
const listenTime = 10 * time.Minute

// command is something that a person may write to the board.
type command struct {
	word string
	help string
	do   func(a *Agent, ctx context.Context, r *request, rest string)
}

// commands is the table of all commands.
func commands() []command {
	return []command{
		{"status", "I tell how I am", func(a *Agent, ctx context.Context, r *request, _ string) { a.reply(ctx, r, a.statusText()) }},
		{"snapshot", "I send a picture", (*Agent).commandSnapshot},
		{"clip", "I send a short film; \"clip 20s\" says how long", (*Agent).commandClip},
		{"night", "the camera sees by night: \"night on\", \"night off\", or \"night auto\" as the owner has set the hours", (*Agent).commandNight},
		{"listen", "I answer your next call at once, with sound only, and do not play what you say", (*Agent).commandListen},
		{"lullaby", "I play a song or noise: \"lullaby\", \"lullaby moon for 30m\", \"lullaby rain loop\"; also \"lullaby stop\", \"list\", \"volume 40\", \"add moon\" behind a sound file, \"remove moon\"", (*Agent).commandLullaby},
		{"hang up", "I end our call", func(a *Agent, ctx context.Context, r *request, _ string) { a.reply(ctx, r, a.hangUpIn(ctx, r.Room)) }},
		{"quiet", "with a time such as \"quiet 2h\": I neither ring nor answer by myself; \"quiet off\" ends it", (*Agent).commandQuiet},
		{"open", "I open the door, if there is one", (*Agent).commandOpen},
		{"yes", "I do what I asked about", (*Agent).commandYes},
		{"help", "I list all this", (*Agent).commandHelp},
	}
}

// message answers what somebody writes to the board in a room of two. It answers text
// only, never a notice, so that two robots do not talk for ever.
func (a *Agent) message(ctx context.Context, e Event) {
	var m struct {
		sound
		Relates struct {
			Type string `json:"rel_type"` // set on edits and the like, which are no new words
		} `json:"m.relates_to"`
	}
	if json.Unmarshal(e.Content, &m) != nil || m.Type == "m.notice" || m.Relates.Type != "" && m.Relates.Type != "m.thread" {
		return
	}
	may := a.mayCommand(ctx, e.Sender)
	if !may && !a.strange.left(e.Sender, a.Now()) {
		return
	}
	joined, err := a.House.Joined(ctx, e.Room)
	if err != nil || len(joined) != 2 {
		return
	}
	if !may {
		a.strange.allow(e.Sender, a.Now())
		a.say(ctx, e.Room, "I take no commands from you. The owner of this server decides who may write to me.")
		return
	}
	r := &request{Event: e}
	if m.isSound() {
		a.heard(ctx, r, m.sound)
	}
	if m.Type != "m.text" {
		return
	}
	text := strings.ToLower(strings.Join(strings.Fields(withoutQuote(e.Content, m.Body)), " "))
	for _, c := range commands() {
		if rest, ok := strings.CutPrefix(text, c.word); ok && (rest == "" || rest[0] == ' ') {
			c.do(a, ctx, r, strings.TrimSpace(rest))
			return
		}
	}
	a.reply(ctx, r, "I did not understand that. Write \"help\" to see what I can do, or call me.")
}

// withoutQuote takes off what older clients quote of the message that they reply to.
// spec: fallbacks for rich replies, until v1.13
func withoutQuote(content json.RawMessage, body string) string {
	for repliesTo(content) != "" && strings.HasPrefix(body, "> ") {
		_, body, _ = strings.Cut(body, "\n")
	}
	return body
}

// mayCommand says whether the board does what this user writes.
func (a *Agent) mayCommand(ctx context.Context, user matrix.UserID) bool {
	if list := a.Settings.Current().Commands; len(list) > 0 {
		return slices.Contains(list, user) || a.isOwner(ctx, user)
	}
	return a.mayCall(ctx, user)
}

// mayTalk says whether the board has to do with this user at all.
func (a *Agent) mayTalk(ctx context.Context, user matrix.UserID) bool {
	return a.mayCommand(ctx, user) || a.mayCall(ctx, user)
}

func (a *Agent) commandHelp(ctx context.Context, r *request, _ string) {
	var b strings.Builder
	b.WriteString("I am the board by the door. Call me to see and hear what I see and hear, or write to me:")
	for _, c := range commands() {
		fmt.Fprintf(&b, "\n%s: %s.", c.word, c.help)
	}
	a.reply(ctx, r, b.String())
}

func (a *Agent) commandSnapshot(ctx context.Context, r *request, _ string) {
	a.aside(ctx, func(ctx context.Context) func(context.Context) {
		p, err := a.snapshot(ctx)
		return func(ctx context.Context) {
			if err != nil {
				a.Log.Warn("no picture could be taken", "error", err)
				a.reply(ctx, r, "I could not take a picture: "+sentence(err)+".")
				return
			}
			if room, ok := a.answerRoom(ctx, r); ok {
				a.post(ctx, room, *p, "This is what I see at "+a.Now().Format("15:04:05")+".")
			}
		}
	})
}

// commandListen has the sender's next call answered with sound only.
func (a *Agent) commandListen(ctx context.Context, r *request, _ string) {
	settings := a.Settings.Current()
	switch {
	case settings.answers(r.Sender).Never:
		a.reply(ctx, r, "I do not answer your calls by myself: the owner of the house decides that.")
	case settings.quiet(a.Now()):
		a.reply(ctx, r, "It is a quiet time, in which I answer nobody by myself. \"quiet off\" or the owner's settings end it.")
	default:
		a.listens[r.Sender] = a.Now().Add(listenTime)
		text := "Call me by voice within 10 minutes: I answer at once with sound only, and what you say is not played here."
		if settings.PrivacyTone {
			text += " The privacy tone is heard here first."
		}
		a.reply(ctx, r, text)
	}
}

// commandQuiet makes a quiet time from now on, or ends it.
func (a *Agent) commandQuiet(ctx context.Context, r *request, rest string) {
	if rest == "off" {
		if err := a.Settings.Unset(ctx, "quiet_until"); err != nil {
			a.fail(ctx, r, err)
			return
		}
		a.reply(ctx, r, "The quiet time is over.")
		return
	}
	d, err := time.ParseDuration(strings.ReplaceAll(rest, " ", ""))
	if err != nil || d <= 0 || d > maxQuiet {
		a.reply(ctx, r, "Write for how long, up to a week: \"quiet 2h\" or \"quiet 30m\". \"quiet off\" ends it.")
		return
	}
	until := a.Now().Add(d)
	if err := a.Settings.Set(ctx, "quiet_until", until.Format(time.RFC3339), ""); err != nil {
		a.fail(ctx, r, err)
		return
	}
	a.reply(ctx, r, "I am quiet until "+until.Format("Monday 15:04")+": I neither ring nor answer by myself.")
}

// fail says what went wrong with a command.
func (a *Agent) fail(ctx context.Context, r *request, err error) {
	a.Log.Error("a command failed", "room", r.Room, "error", err)
	a.reply(ctx, r, "That did not work: "+sentence(err)+".")
}

// hangUpIn ends the calls of a room and says so.
func (a *Agent) hangUpIn(ctx context.Context, room matrix.RoomID) string {
	text := "Nobody is calling me here."
	for _, c := range a.calls {
		if c.key.room == room {
			a.step(ctx, c, call.HangUp{})
			text = "I hung up."
		}
	}
	return text
}
