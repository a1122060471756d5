//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBot is a bot on matrix-bot-sdk: it comes when invited, answers, and goes on
// after the server was away.
func TestBot(t *testing.T) {
	// A bot is told its server's address once, so the port has to stay.
	p := newPorchAt(t, nil, append([]string{"--listen", freeAddress(t)}, quietFlags[2:]...)...)
	p.porchlight("user", "add", third, "--password", password)
	startBot(t, map[string]any{
		"server": p.url, "token": p.logIn(third).token, "memory": filepath.Join(t.TempDir(), "bot.json"),
	})

	alice := p.logIn(owner)
	var room struct {
		ID string `json:"room_id"`
	}
	bot := "@" + third + ":" + serverName
	err := alice.do("POST", "/_matrix/client/v3/createRoom", map[string]any{"preset": "private_chat", "invite": []string{bot}}, &room)
	if err != nil {
		t.Fatal(err)
	}
	ear := &ear{client: alice, room: room.ID}
	joined := ear.hear(t, func(e heard) bool {
		return e.Type == "m.room.member" && e.StateKey == bot && e.Content["membership"] == "join"
	})
	t.Logf("the bot accepted the invitation after %v", ear.waited)

	hello := alice.say(t, room.ID, "!hello porch")
	answer := ear.hear(t, func(e heard) bool { return e.Sender == bot && e.Content["msgtype"] == "m.text" })
	if body, _ := answer.Content["body"].(string); !strings.HasSuffix(body, "Hello porch") {
		t.Errorf("the bot answered %q", body)
	}
	if to := answer.repliesTo(); to != hello {
		t.Errorf("the bot replied to %s, want %s (joined by %s)", to, hello, joined.ID)
	}
	t.Logf("the bot answered after %v", ear.waited)

	p.stop()
	p.start()
	alice.say(t, room.ID, "!members")
	notice := ear.hear(t, func(e heard) bool { return e.Sender == bot && e.Content["msgtype"] == "m.notice" })
	if want := "@" + owner + ":" + serverName + ", " + bot; notice.Content["body"] != want {
		t.Errorf("the bot says that here are %v, want %s", notice.Content["body"], want)
	}
	t.Logf("after the server's restart the bot answered after %v", ear.waited)
	if n := ear.answers(bot); n != 2 {
		t.Errorf("the bot wrote %d messages, want one for each command", n)
	}
	p.checkLog()
}

// freeAddress is an address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startBot runs the bot until the end of the test.
func startBot(t *testing.T, given map[string]any) {
	t.Helper()
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	out := &lockedBuffer{}
	bot := exec.Command("node", "bot.mjs")
	bot.Env = append(os.Environ(), "PORCHLIGHT_E2E="+string(text))
	bot.Stdout, bot.Stderr = out, out
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bot.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("the bot ended by itself: %v", err)
		default:
			bot.Process.Kill()
			<-ended
		}
		t.Logf("the bot:\n%s", out.String())
	})
}

// say sends a text message and gives its event ID.
func (c *client) say(t *testing.T, room, body string) string {
	t.Helper()
	var sent struct {
		ID string `json:"event_id"`
	}
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/%d", url.PathEscape(room), time.Now().UnixNano())
	if err := c.do("PUT", path, map[string]any{"msgtype": "m.text", "body": body}, &sent); err != nil {
		t.Fatal(err)
	}
	return sent.ID
}

// heard is an event of a room as /sync tells it.
type heard struct {
	ID       string         `json:"event_id"`
	Type     string         `json:"type"`
	Sender   string         `json:"sender"`
	StateKey string         `json:"state_key"`
	Content  map[string]any `json:"content"`
}

// repliesTo is the event that this one replies to.
func (h heard) repliesTo() string {
	relates, _ := h.Content["m.relates_to"].(map[string]any)
	reply, _ := relates["m.in_reply_to"].(map[string]any)
	id, _ := reply["event_id"].(string)
	return id
}

// ear follows a room by /sync.
type ear struct {
	client *client
	room   string
	since  string
	events []heard // all of the room so far
	seen   int     // how many of them hear has gone through
	waited time.Duration
}

// hear waits for the next event that is wanted, a minute at the longest.
func (e *ear) hear(t *testing.T, wanted func(heard) bool) heard {
	t.Helper()
	began := time.Now()
	for time.Since(began) < time.Minute {
		for ; e.seen < len(e.events); e.seen++ {
			if event := e.events[e.seen]; wanted(event) {
				e.seen++
				e.waited = time.Since(began).Round(time.Millisecond)
				return event
			}
		}
		var answer struct {
			Next  string `json:"next_batch"`
			Rooms struct {
				Join map[string]struct {
					Timeline struct {
						Events []heard `json:"events"`
					} `json:"timeline"`
				} `json:"join"`
			} `json:"rooms"`
		}
		query := url.Values{"timeout": {"5000"}, "since": {e.since}, "filter": {`{"room":{"timeline":{"limit":100}}}`}}
		if e.since == "" {
			query.Del("since")
		}
		if err := e.client.do("GET", "/_matrix/client/v3/sync?"+query.Encode(), nil, &answer); err != nil {
			t.Fatal(err)
		}
		e.since = answer.Next
		e.events = append(e.events, answer.Rooms.Join[e.room].Timeline.Events...)
	}
	t.Fatalf("heard nothing of what was waited for in %d events", len(e.events))
	return heard{}
}

// answers counts the messages of a user.
func (e *ear) answers(user string) int {
	n := 0
	for _, event := range e.events {
		if event.Type == "m.room.message" && event.Sender == user {
			n++
		}
	}
	return n
}
