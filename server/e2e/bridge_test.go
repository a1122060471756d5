//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The bridge test: how often bridge and server are killed while messages are sent, and how
// many between two of these.
const (
	bridgeRounds   = 4
	sentPerRound   = 60
	bridgePatience = time.Minute
)

const ghost = "@_joe:" + serverName

// wire stands between the server and the bridge and keeps what goes over it.
type wire struct {
	t      *testing.T
	bridge string // where the bridge listens

	mu     sync.Mutex
	bodies map[string]string // of transactions, by their IDs
	times  map[string]int    // how often each was sent
	in     map[string]string // the transaction that an event was in
	taken  int
}

func (w *wire) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was killed
	}
	// Also at the path of old, where a bridge is asked that answers 500.
	if _, id, is := strings.Cut(r.URL.Path, "/transactions/"); is {
		w.note(id, body)
	}
	on, err := http.NewRequestWithContext(r.Context(), r.Method, w.bridge+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return
	}
	on.Header = r.Header
	res, err := http.DefaultClient.Do(on)
	if err != nil {
		panic(http.ErrAbortHandler) // the bridge was killed
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Logf("%s %s: %s", r.Method, r.URL.Path, res.Status)
	}
	out.WriteHeader(res.StatusCode)
	if _, err := io.Copy(out, res.Body); err == nil && res.StatusCode == http.StatusOK {
		w.mu.Lock()
		w.taken++
		w.mu.Unlock()
	}
}

// note keeps a transaction, and fails the test if it is another one than before under its
// ID, or if an event is in two.
func (w *wire) note(id string, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times[id]++
	if before, ok := w.bodies[id]; ok {
		if before != string(body) {
			w.t.Errorf("transaction %s is another one when it is repeated", id)
		}
		return
	}
	w.bodies[id] = string(body)
	var transaction struct {
		Events []struct {
			ID string `json:"event_id"`
		}
	}
	if err := json.Unmarshal(body, &transaction); err != nil {
		w.t.Errorf("transaction %s: %v", id, err)
	}
	for _, e := range transaction.Events {
		if other, ok := w.in[e.ID]; ok {
			w.t.Errorf("event %s is in the transactions %s and %s", e.ID, other, id)
		}
		w.in[e.ID] = id
	}
}

// bridgeProcess is the process of bridge.cjs.
type bridgeProcess struct {
	t       *testing.T
	given   map[string]any
	journal string
	cmd     *exec.Cmd
	out     *lockedBuffer
}

func (b *bridgeProcess) start() {
	b.t.Helper()
	text, err := json.Marshal(b.given)
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd = exec.Command("node", "bridge.cjs")
	b.cmd.Env = append(os.Environ(), "PORCHLIGHT_E2E="+string(text), "NODE_NO_WARNINGS=1")
	b.cmd.Stderr = b.out
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "ready" {
			return
		}
	}
	b.t.Fatalf("the bridge ended before it was ready:\n%s", b.out.String())
}

func (b *bridgeProcess) kill() {
	b.cmd.Process.Kill()
	b.cmd.Wait() // it was killed: that is the error
}

// heard is what the journal has: event IDs and texts in the order of the handler's calls.
func (b *bridgeProcess) heard() (ids, texts []string) {
	b.t.Helper()
	raw, err := os.ReadFile(b.journal)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var entry []string
		if json.Unmarshal(line, &entry) == nil && len(entry) == 2 && entry[0] != "typing" {
			ids, texts = append(ids, entry[0]), append(texts, entry[1])
		}
	}
	return ids, texts
}

// freePort is a port of the loopback address that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newBridge is a house with a bridge made by matrix-bot-sdk, which runs.
func newBridge(t *testing.T) (*porch, *bridgeProcess, *wire) {
	flags := slices.Clone(quietFlags)
	flags[1] = fmt.Sprintf("127.0.0.1:%d", freePort(t)) // the same after a restart
	p := newPorchAt(t, nil, flags...)
	port := freePort(t)
	w := &wire{t: t, bridge: fmt.Sprintf("http://127.0.0.1:%d", port), bodies: map[string]string{}, times: map[string]int{}, in: map[string]string{}}
	between := httptest.NewServer(w)
	t.Cleanup(between.Close)
	registration := map[string]any{
		"id": "bot-sdk", "url": between.URL, "as_token": "token-of-the-bridge", "hs_token": "token-of-the-house",
		"sender_localpart": "_bot", "rate_limited": false, "de.sorunome.msc2409.push_ephemeral": true,
		"namespaces": map[string]any{
			"users":   []any{map[string]any{"exclusive": true, "regex": "@_.*:e2e.test"}},
			"aliases": []any{}, "rooms": []any{},
		},
	}
	folder := t.TempDir()
	text, err := json.Marshal(registration) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "registration.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.porchlight("appservice", "add", file)
	b := &bridgeProcess{t: t, journal: filepath.Join(folder, "journal"), out: &lockedBuffer{}, given: map[string]any{
		"server": p.url, "serverName": serverName, "port": port, "registration": registration,
		"storage": filepath.Join(folder, "storage.json"), "journal": filepath.Join(folder, "journal"), "ghost": ghost,
	}}
	b.start()
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("the bridge:\n%s", b.out.String())
		}
	})
	return p, b, w
}

// TestEncryptedBridge is a ghost in an encrypted room, which hears all that it needs for that
// with its transactions.
func TestEncryptedBridge(t *testing.T) {
	p := newPorch(t)
	given := p.given()
	port := freePort(t)
	const token = "token-of-the-bridge"
	file := filepath.Join(t.TempDir(), "registration.yaml")
	registration := fmt.Sprintf("{id: encrypted, url: 'http://127.0.0.1:%d', as_token: %s, hs_token: token-of-the-house, sender_localpart: _bot, "+
		"receive_ephemeral: true, org.matrix.msc3202: true, namespaces: {users: [{exclusive: true, regex: '@_.*'}]}}", port, token)
	if err := os.WriteFile(file, []byte(registration), 0o600); err != nil {
		t.Fatal(err)
	}
	p.porchlight("appservice", "add", file)
	given["port"], given["asToken"], given["ghost"] = port, token, "@_ghost:"+serverName
	given["alice"] = given["users"].(map[string]any)[owner]
	run(t, given, "node", "bridge_encrypted.mjs")
}

// until waits until something outside of this process is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(bridgePatience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestBridge is a bridge that other people's framework makes: it is asked for a ghost when
// somebody is invited, hears messages, and answers. Then it and the server are killed by
// turns while messages are sent: the bridge's handler hears of each, in order, and twice only
// of those whose transaction was repeated.
func TestBridge(t *testing.T) {
	p, b, w := newBridge(t)
	alice := p.logIn(owner)
	var room struct {
		RoomID string `json:"room_id"`
	}
	if err := alice.do("POST", "/_matrix/client/v3/createRoom", map[string]any{"preset": "private_chat", "invite": []string{ghost}}, &room); err != nil {
		t.Fatal(err)
	}
	at := "/_matrix/client/v3/rooms/" + url.PathEscape(room.RoomID)
	until(t, "the ghost joins", func() bool {
		var members struct {
			Joined map[string]any `json:"joined"`
		}
		err := alice.do("GET", at+"/joined_members", nil, &members)
		return err == nil && members.Joined[ghost] != nil
	})
	if err := alice.do("PUT", at+"/typing/"+url.PathEscape("@"+owner+":"+serverName), map[string]any{"typing": true, "timeout": 60000}, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	until(t, "the bridge hears that alice types", func() bool {
		raw, err := os.ReadFile(b.journal)
		return err == nil && strings.Contains(string(raw), `["typing","@alice:e2e.test"]`)
	})
	if _, err := alice.sendText(room.RoomID, "hello", "hello, ghost"); err != nil {
		t.Fatal(err)
	}
	until(t, "the ghost answers", func() bool { return len(alice.messages(t, room.RoomID)["hello yourself"]) == 1 })

	acknowledged := killByTurns(t, p, b, alice, room.RoomID)
	if _, err := alice.sendText(room.RoomID, "last", "the last one"); err != nil {
		t.Fatal(err)
	}
	until(t, "the bridge hears the last message", func() bool {
		_, texts := b.heard()
		return slices.Contains(texts, "the last one")
	})

	ids, _ := b.heard()
	w.mu.Lock()
	defer w.mu.Unlock()
	first, repeated := []string{}, 0
	for _, id := range ids {
		if !slices.Contains(first, id) {
			first = append(first, id)
			continue
		}
		if repeated++; w.times[w.in[id]] < 2 {
			t.Errorf("%s was handled twice, its transaction was sent once", id)
		}
	}
	said := timeline(t, alice, room.RoomID)
	if !slices.Equal(first, said) {
		t.Errorf("alice said %d messages, the bridge handled %d, or in another order", len(said), len(first))
	}
	for _, id := range acknowledged {
		if !slices.Contains(first, id) {
			t.Errorf("%s was acknowledged, and the bridge never heard of it", id)
		}
	}
	again := 0
	for _, n := range w.times {
		again += n - 1
	}
	t.Logf("%d messages in %d transactions, %d of them sent again, %d messages handled twice", len(first), len(w.bodies), again, repeated)
}

// killByTurns sends messages while bridge and server are killed and started again, and gives
// the event IDs of those that were acknowledged.
func killByTurns(t *testing.T, p *porch, b *bridgeProcess, alice *client, room string) (acknowledged []string) {
	sender := &client{porch: &porch{t: t, url: p.url}, token: alice.token} // the address stays
	for round := range bridgeRounds {
		var sending sync.WaitGroup
		half := make(chan struct{})
		sending.Go(func() {
			for n := range sentPerRound {
				if n == sentPerRound/2 {
					close(half)
				}
				text := fmt.Sprintf("round %d, message %d", round, n)
				for {
					id, err := sender.sendText(room, text, text)
					if err == nil {
						acknowledged = append(acknowledged, id)
						break
					}
					time.Sleep(100 * time.Millisecond) // the server is being started again
				}
			}
		})
		<-half
		if round%2 == 0 {
			b.kill()
			b.start()
		} else {
			p.kill()
			p.start()
		}
		sending.Wait()
	}
	return acknowledged
}

// timeline are the event IDs of a user's own messages in a room, oldest first.
func timeline(t *testing.T, c *client, room string) (ids []string) {
	t.Helper()
	from := ""
	for {
		var page struct {
			Chunk []struct {
				ID     string `json:"event_id"`
				Type   string
				Sender string
			}
			End string
		}
		path := "/_matrix/client/v3/rooms/" + url.PathEscape(room) + "/messages?dir=f&limit=100"
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		if err := c.do("GET", path, nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Chunk {
			if e.Type == "m.room.message" && e.Sender == "@"+owner+":"+serverName {
				ids = append(ids, e.ID)
			}
		}
		if page.End == "" {
			return ids
		}
		from = page.End
	}
}
