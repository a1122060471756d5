//go:build guest

package devices

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The house and its owner, who is also who calls the board.
const (
	serverName = "guest.test"
	owner      = "@ada:guest.test"
	board      = "@porch:guest.test"
	password   = "correct horse battery staple"
)

// patience is how long anything may take, by the virtual machine's clock, which does not
// know how slow the real machine is.
const patience = 30 * time.Second

// house is a running server.
type house struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	claim string // the secret of the link that makes an owner

	ended chan struct{} // closed when all of its output has been read
	mu    sync.Mutex
	log   strings.Builder
}

// startHouse starts the binary on an empty folder with the board's devices, and waits
// until it is ready.
func startHouse(t *testing.T, flags ...string) *house {
	t.Helper()
	h := &house{t: t, ended: make(chan struct{})}
	h.cmd = exec.Command("porchlight", append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--server-name", serverName,
		"--listen", "127.0.0.1:0", "--listen-https", "", "--local-name", "", "--turn", "off", "--rate-limits", "off", "--call-loopback",
		"--media-min-free", "1000000"}, flags...)...)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.cmd.Stdout, h.cmd.Stderr = writer, writer
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close() // the server has its own copy
	ready := make(chan struct{})
	go h.read(reader, ready)
	t.Cleanup(h.stop)
	select {
	case <-ready:
	case <-h.ended:
		t.Fatal("the server ended before it was ready")
	case <-time.After(patience):
		t.Fatal("the server did not get ready")
	}
	return h
}

var (
	addressLine = regexp.MustCompile(`ready at (http://[0-9.]+:\d+)`)
	claimLine   = regexp.MustCompile(`#claim=(\S+)`)
)

// read keeps what the server writes; it is ready when it has said how to claim it.
func (h *house) read(from io.ReadCloser, ready chan<- struct{}) {
	defer close(h.ended)
	defer from.Close()
	for lines := bufio.NewScanner(from); lines.Scan(); {
		line := lines.Text()
		h.mu.Lock()
		fmt.Fprintln(&h.log, line)
		if found := addressLine.FindStringSubmatch(line); found != nil {
			h.url = found[1]
		}
		if found := claimLine.FindStringSubmatch(line); found != nil && h.claim == "" {
			h.claim = found[1]
			close(ready)
		}
		h.mu.Unlock()
	}
}

func (h *house) written() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// stop ends the server properly.
func (h *house) stop() {
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Error(err)
	}
	late := time.AfterFunc(patience, func() { _ = h.cmd.Process.Kill() })
	defer late.Stop()
	<-h.ended
	if err := h.cmd.Wait(); err != nil {
		h.t.Error("the server ended with:", err)
	}
	if h.t.Failed() {
		h.t.Logf("the server's log:\n%s", h.written())
	}
}

// memory is the server's memory in MiB: what is resident, and how much of it is its own
// and not the binary's file.
func (h *house) memory() (resident, own float64) {
	h.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			resident = kib / 1024
		}
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kib); err == nil {
			own = kib / 1024
		}
	}
	return resident, own
}

// work is how long the server has kept a processor busy.
func (h *house) work() time.Duration {
	h.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	if err != nil {
		h.t.Fatal(err)
	}
	// The 14th and 15th word, in ticks of 10 ms; the second is in parentheses.
	_, rest, _ := strings.Cut(string(stat), ") ")
	words := strings.Fields(rest)
	var ticks time.Duration
	for _, word := range words[11:13] {
		n, err := strconv.Atoi(word)
		if err != nil {
			h.t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// event is what a client sees of one.
type event struct {
	Type    string          `json:"type"`
	Sender  string          `json:"sender"`
	Content json.RawMessage `json:"content"`
	Room    string          `json:"-"`
}

// message is an event's content, as far as these tests look at it.
type message struct {
	MsgType string `json:"msgtype"`
	Body    string `json:"body"`
	URL     string `json:"url"`
	Info    struct {
		Type      string `json:"mimetype"`
		Size      int    `json:"size"`
		Width     int    `json:"w"`
		Height    int    `json:"h"`
		Duration  int    `json:"duration"` // in milliseconds
		Thumbnail string `json:"thumbnail_url"`
	} `json:"info"`
}

func (e event) message() (m message) {
	_ = json.Unmarshal(e.Content, &m) // what is no message has no words
	return m
}

// client is the owner's device.
type client struct {
	t     *testing.T
	url   string
	token string
	room  string   // with the board
	words [][]byte // what its owner says in a call, in Opus

	mu     sync.Mutex
	events []event // seen and not yet taken by wait
	news   chan struct{}
	txn    int
}

// claimAndLogIn makes the owner's account with the link that the server printed, and
// logs in.
func claimAndLogIn(h *house) *client {
	t := h.t
	t.Helper()
	c := &client{t: t, url: h.url, news: make(chan struct{}, 1)}
	c.must("POST", "/_porchlight/claim", map[string]any{"code": h.claim, "username": "ada", "password": password}, nil)
	var login struct {
		Token string `json:"access_token"`
	}
	c.must("POST", "/_matrix/client/v3/login", map[string]any{
		"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": "ada"}, "password": password,
	}, &login)
	c.token = login.Token
	var direct map[string][]string
	c.must("GET", "/_matrix/client/v3/user/"+url.PathEscape(owner)+"/account_data/m.direct", nil, &direct)
	if len(direct[board]) != 1 {
		t.Fatalf("the owner has no room with the board: %v", direct)
	}
	c.room = direct[board][0]
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.sync(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	return c
}

// request sends a request, with in as JSON or, if it is bytes, as it is, and gives its
// answer's body; any other status than 200 is an error.
func (c *client) request(ctx context.Context, method, path string, in any) ([]byte, error) {
	body, raw := in.([]byte)
	if in != nil && !raw {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json") // the claim is taken with it only
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	return text, err
}

// must is request with a decoded answer, and ends the test if there is none.
func (c *client) must(method, path string, in, out any) {
	c.t.Helper()
	text, err := c.request(context.Background(), method, path, in)
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// sync follows the rooms until ctx ends.
func (c *client) sync(ctx context.Context) {
	since := ""
	for ctx.Err() == nil {
		text, err := c.request(ctx, "GET", "/_matrix/client/v3/sync?timeout=20000&since="+url.QueryEscape(since), nil)
		var answer struct {
			Next  string `json:"next_batch"`
			Rooms struct {
				Join map[string]struct {
					Timeline struct {
						Events []event `json:"events"`
					} `json:"timeline"`
				} `json:"join"`
			} `json:"rooms"`
		}
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.t.Error("sync:", err)
			}
			return
		}
		c.mu.Lock()
		for room, r := range answer.Rooms.Join {
			for _, e := range r.Timeline.Events {
				e.Room = room
				c.events = append(c.events, e)
			}
		}
		c.mu.Unlock()
		since = answer.Next
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// wait takes the next event of the board's that fits; those before it are forgotten.
func (c *client) wait(t *testing.T, what string, fits func(event) bool) event {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		for len(c.events) > 0 {
			e := c.events[0]
			c.events = c.events[1:]
			if e.Sender == board && fits(e) {
				c.mu.Unlock()
				return e
			}
		}
		c.mu.Unlock()
		select {
		case <-c.news:
		case <-deadline:
			t.Fatalf("the board did not send %s", what)
		}
	}
}

// hears waits for a message of the board's with these words.
func (c *client) hears(t *testing.T, words string) message {
	t.Helper()
	return c.wait(t, fmt.Sprintf("%q", words), func(e event) bool {
		return e.Type == "m.room.message" && strings.Contains(e.message().Body, words)
	}).message()
}

// send puts an event into the room with the board.
func (c *client) send(eventType string, content any) {
	c.t.Helper()
	c.mu.Lock()
	c.txn++
	txn := c.txn
	c.mu.Unlock()
	c.must("PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/%s/t%d", url.PathEscape(c.room), eventType, txn), content, nil)
}

func (c *client) say(words string) {
	c.t.Helper()
	c.send("m.room.message", map[string]string{"msgtype": "m.text", "body": words})
}

// set makes a setting of the board's, in the room with it, and waits until it is in force.
func (c *client) set(name, value string) {
	c.t.Helper()
	if answer := c.trySet(name, value); !strings.HasPrefix(answer, name+" is ") {
		c.t.Fatalf("%s=%s: %s", name, value, answer)
	}
}

// trySet is set for a setting that the board may refuse: it gives what the board says to it.
func (c *client) trySet(name, value string) string {
	c.t.Helper()
	c.must("PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/state/local.porchlight.board/%s", url.PathEscape(c.room), name), map[string]string{"value": value}, nil)
	return c.wait(c.t, "an answer to the setting "+name, func(e event) bool {
		body := e.message().Body
		return strings.HasPrefix(body, name+" is ") || strings.HasPrefix(body, "The setting was not taken")
	}).message().Body
}

// upload puts a file into the content repository.
func (c *client) upload(name string, data []byte) (uri string) {
	c.t.Helper()
	var answer struct {
		URI string `json:"content_uri"`
	}
	c.must("POST", "/_matrix/media/v3/upload?filename="+url.QueryEscape(name), data, &answer)
	return answer.URI
}

// download gives a file of the content repository.
func (c *client) download(uri string) []byte {
	c.t.Helper()
	text, err := c.request(context.Background(), "GET", "/_matrix/client/v1/media/download/"+strings.TrimPrefix(uri, "mxc://"), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}
