//go:build damage

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"porchlight/server"
)

var (
	damages    = flag.Int("damages", 500, "how many damages to try")
	damageSeed = flag.Uint64("damage-seed", 1, "seed of the first damage")
)

// damageTime is how long a start, a check and salvaging may take after a damage.
const damageTime = 60 * time.Second

// TestDamages damages the files of a small server in many ways, each followed by a start
// with requests, a check and salvaging, all by the real program. Allowed are: it works; a
// sentence and exit code 1; a request refused with 5xx while the rest goes on.
func TestDamages(t *testing.T) {
	program := filepath.Join(t.TempDir(), "porchlight")
	if out, err := exec.Command("go", "build", "-o", program, "porchlight/cmd/porchlight").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	d := newDamageRun(t, program)
	counts := map[string]int{}
	for i := range *damages {
		seed := *damageSeed + uint64(i)
		for _, what := range d.one(seed) {
			counts[what]++
		}
	}
	for what, n := range counts {
		t.Logf("%5d %s", n, what)
	}
}

// command runs the program to its end.
func (d *damageRun) command(args ...string) (out string, code int) {
	ctx, stop := context.WithTimeout(context.Background(), damageTime)
	defer stop()
	cmd := exec.CommandContext(ctx, d.program, args...)
	raw, err := cmd.CombinedOutput()
	exit, isExit := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return string(raw), hung
	case isExit:
		return string(raw), exit.ExitCode()
	case err != nil:
		return err.Error(), -1
	}
	return string(raw), 0
}

const hung = -2

// bad says what must never come out of the program.
func bad(out string, code int) string {
	switch {
	case code == hung:
		return "hang"
	case strings.Contains(out, "SIGBUS"), strings.Contains(out, "SIGSEGV"):
		return "signal"
	case strings.Contains(out, "goroutine "), strings.Contains(out, "panic:"), strings.Contains(out, "fatal error:"):
		return "stack"
	case code != 0 && code != 1:
		return fmt.Sprintf("exit code %d", code)
	}
	return ""
}

// damageOne changes a copy of the data in one place and says where.
func (d *damageRun) damageOne(seed uint64, folder string) (what string) {
	random := rand.New(rand.NewPCG(seed, 5))
	name := d.files[random.IntN(len(d.files))]
	data := bytes.Clone(d.data[name])
	at := random.IntN(len(data))
	kind := [...]string{"bit", "bit", "bit", "sector", "page", "cut"}[random.IntN(6)]
	switch kind {
	case "bit":
		data[at] ^= 1 << random.IntN(8)
	case "sector":
		for i := range data[at&^511 : at|511] {
			data[at&^511+i] = byte(random.Uint32())
		}
	case "page":
		clear(data[at&^4095 : at|4095])
	default:
		data = data[:at]
	}
	for file, content := range d.data {
		if file == name {
			content = data
		}
		path := filepath.Join(folder, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			d.t.Fatal(err)
		}
	}
	return fmt.Sprintf("%s of %s at byte %d", kind, name, at)
}

// damageRun is a small server's data and what is known of it.
type damageRun struct {
	t       *testing.T
	program string
	files   []string // names in the data folder, the database more often than the others
	data    map[string][]byte
	token   string
	rooms   []string
	media   map[string][]byte // by path
}

// newDamageRun makes a server with rooms, messages and media, and stops it.
func newDamageRun(t *testing.T, program string) *damageRun {
	t.Helper()
	d := &damageRun{t: t, program: program, data: map[string][]byte{}, media: map[string][]byte{}}
	c := quiet(t.TempDir())
	c.Board.Off, c.RateLimitsOff = true, true
	s, stop := running(t, c)
	if _, err := server.Ask(t.Context(), c, server.Order{Do: "user add", User: "owner", Password: "long enough", Owner: true}); err != nil {
		t.Fatal(err)
	}
	h := &damageHTTP{base: s.URL()}
	var login struct {
		Token string `json:"access_token"`
	}
	h.must(t, "POST", "/_matrix/client/v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"owner"},"password":"long enough"}`, &login)
	d.token, h.token = login.Token, login.Token
	for range 3 {
		var room struct {
			ID string `json:"room_id"`
		}
		h.must(t, "POST", "/_matrix/client/v3/createRoom", `{}`, &room)
		d.rooms = append(d.rooms, room.ID)
		for n := range 60 {
			h.must(t, "PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/%s%d", room.ID, room.ID[1:5], n),
				fmt.Sprintf(`{"msgtype":"m.text","body":"message %d %s"}`, n, strings.Repeat("x", n*n%900)), nil)
		}
	}
	random := rand.NewChaCha8([32]byte{7})
	for n := range 10 {
		content := make([]byte, 300*(1+n*n*n))
		_, _ = random.Read(content)
		var up struct {
			URI string `json:"content_uri"`
		}
		h.must(t, "POST", "/_matrix/media/v3/upload", string(content), &up)
		d.media["/_matrix/client/v1/media/download/"+strings.TrimPrefix(up.URI, "mxc://")] = content
	}
	stop()
	names, err := filepath.Glob(filepath.Join(c.Data, "media", "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, filepath.Join(c.Data, "porchlight.db")) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		short, err := filepath.Rel(c.Data, name)
		if err != nil {
			t.Fatal(err)
		}
		d.data[short] = content
		d.files = append(d.files, short)
	}
	d.files = append(d.files, "porchlight.db", "porchlight.db")
	return d
}

// damageHTTP asks a server.
type damageHTTP struct{ base, token string }

// ask returns status 0 where the answer broke off or did not come.
func (h *damageHTTP) ask(method, path, body string) (status int, answer []byte) {
	ctx, stop := context.WithTimeout(context.Background(), damageTime)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		return 0, answer
	}
	return res.StatusCode, answer
}

func (h *damageHTTP) must(t *testing.T, method, path, body string, out any) {
	t.Helper()
	status, answer := h.ask(method, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
	}
}

// one damages a copy and looks at what comes of it.
func (d *damageRun) one(seed uint64) (outcomes []string) {
	folder := d.t.TempDir()
	data := filepath.Join(folder, "data")
	what := d.damageOne(seed, data)
	say := func(step, outcome, out string) {
		outcomes = append(outcomes, step+": "+outcome)
		if strings.HasPrefix(outcome, "BAD") {
			d.t.Errorf("seed %d, %s: %s: %s\n%.3000s", seed, what, step, outcome, out)
		}
	}
	served, failed := d.serve(data, say)
	out, code := d.command("check", "--data", data)
	switch b := bad(out, code); {
	case b != "":
		say("check", "BAD "+b, out)
	case code == 0 && failed:
		say("check", "BAD in order over damage", out+served)
	case code == 0:
		say("check", "in order", out)
	default:
		say("check", "names damage", out)
	}
	into := filepath.Join(folder, "into")
	out, code = d.command("salvage", "--data", data, "--into", into)
	switch b := bad(out, code); {
	case b != "":
		say("salvage", "BAD "+b, out)
		return outcomes
	case code != 0:
		say("salvage", "refused with a sentence", out)
		return outcomes
	}
	say("salvage", "done", out)
	again, code := d.command("check", "--data", into)
	switch b := bad(again, code); {
	case b != "":
		say("check of what was salvaged", "BAD "+b, again)
	case code != 0:
		say("check of what was salvaged", "names what is missing", again)
	default:
		say("check of what was salvaged", "in order", again)
	}
	return outcomes
}

// serve starts the program on the data and asks it this and that. failed says that something
// that was stored did not come back.
func (d *damageRun) serve(data string, say func(step, outcome, out string)) (log string, failed bool) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		d.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(d.program, "serve", "--data", data, "--listen", addr, "--listen-https", "", "--local-name", "",
		"--turn", "off", "--board", "off", "--rate-limits", "off")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	h := &damageHTTP{base: "http://" + addr, token: d.token}
	up := waitUp(h, ended)
	outcome := "works"
	if up {
		outcome, failed = d.requests(h)
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-ended:
	case <-time.After(damageTime):
		_ = cmd.Process.Kill()
		<-ended
		say("start", "BAD hang", out.String())
		return out.String(), failed
	}
	code := cmd.ProcessState.ExitCode()
	switch b := bad(out.String(), code); {
	case b != "":
		say("start", "BAD "+b, out.String())
	case !up && code == 1:
		say("start", "refused with a sentence", out.String())
		failed = true
	case !up:
		say("start", fmt.Sprintf("BAD ended with %d", code), out.String())
	default:
		say("requests", outcome, out.String())
	}
	return out.String(), failed
}

// waitUp waits until the server answers or has ended.
func waitUp(h *damageHTTP, ended chan struct{}) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range int(damageTime / (20 * time.Millisecond)) {
		select {
		case <-ended:
			return false
		case <-tick.C:
		}
		if status, _ := h.ask("GET", "/_matrix/client/versions", ""); status == http.StatusOK {
			return true
		}
	}
	return false
}

// requests reads everything and writes a little.
func (d *damageRun) requests(h *damageHTTP) (outcome string, failed bool) {
	refused := 0
	see := func(status int) {
		if status != http.StatusOK {
			refused++
			failed = true
		}
	}
	for path, content := range d.media {
		status, answer := h.ask("GET", path, "")
		see(status)
		if status == http.StatusOK && !bytes.Equal(answer, content) {
			return "BAD damaged content served", true
		}
	}
	status, _ := h.ask("GET", "/_matrix/client/v3/sync", "")
	see(status)
	for i, room := range d.rooms {
		status, _ = h.ask("GET", "/_matrix/client/v3/rooms/"+room+"/messages?dir=b&limit=100", "")
		see(status)
		_, _ = h.ask("PUT", fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/new%d", room, i), `{"msgtype":"m.text","body":"new"}`)
	}
	_, _ = h.ask("POST", "/_matrix/media/v3/upload", "new content")
	if refused > 0 {
		return "some are refused", failed
	}
	return "works", failed
}
