//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The house that the scenarios find: alice owns it and may call the board, bob
// has an account and may not.
const (
	serverName = "e2e.test"
	owner      = "alice"
	guest      = "bob"
	password   = "correct horse battery staple"
)

// binary is the path of the server under test, set by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if name := os.Getenv(resolverName); name != "" {
			address, err := resolve(name)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			fmt.Println(address)
			return 0
		}
		if url := os.Getenv(secondBoardName); url != "" {
			if err := secondBoard(url); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
		if filepath.Base(os.Args[0]) == cameraName {
			if err := camera(os.Args[1:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
		if given := os.Getenv(phoneGiven); given != "" {
			if err := runPhone(given); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
		binary = os.Getenv("PORCHLIGHT_BIN")
		if binary == "" {
			folder, err := os.MkdirTemp("", "porchlight-e2e")
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer os.RemoveAll(folder)
			binary = filepath.Join(folder, "porchlight")
			build := exec.Command("go", "build", "-o", binary, "porchlight/cmd/porchlight")
			build.Stdout, build.Stderr = os.Stdout, os.Stderr
			if err := build.Run(); err != nil {
				fmt.Fprintln(os.Stderr, "building the server:", err)
				return 1
			}
		}
		return m.Run()
	}())
}

// porch is a house on a data folder of its own; its server can be killed and
// started again.
type porch struct {
	t    testing.TB
	data string
	url  string // of the server that runs now

	within []string // what the server's command stands behind; empty: nothing
	flags  []string // of the server

	cmd  *exec.Cmd
	done chan struct{} // closed when all of its output has been read
	log  *lockedBuffer
}

// newPorch makes a house with its owner and a guest, and starts its server.
func newPorch(t testing.TB) *porch {
	t.Helper()
	return newPorchAt(t, nil, quietFlags...)
}

// quietFlags switch off what all houses on one machine would quarrel about.
var quietFlags = []string{"--listen", "127.0.0.1:0", "--listen-https", "", "--local-name", "", "--turn", "off"}

// newPorchAt is newPorch with a server behind another command, and with its own flags.
func newPorchAt(t testing.TB, within []string, flags ...string) *porch {
	t.Helper()
	p := &porch{t: t, data: filepath.Join(t.TempDir(), "data"), log: &lockedBuffer{}, within: within, flags: flags}
	p.porchlight("setup", "--server-name", serverName, "--owner", owner, "--password", password)
	p.porchlight("user", "add", guest, "--password", password)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.log.String())
		}
	})
	p.start()
	return p
}

// porchlight runs a subcommand on the data folder and gives its output.
func (p *porch) porchlight(args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(args, "--data", p.data)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("porchlight %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// address is how the server names the port that it was given by the system.
var address = regexp.MustCompile(`ready at (http://(?:[0-9.]+|\[[0-9a-f:]+\]):\d+)`)

// start starts the server on a free port and waits until it says which.
func (p *porch) start() {
	p.t.Helper()
	command := append(append(slices.Clone(p.within), binary, "serve", "--data", p.data, "--server-name", serverName,
		"--rate-limits", "off", "--camera", "test", "--microphone", "test", "--loudspeaker", "meter"), p.flags...)
	if len(p.within) == 0 {
		command = append(command, "--call-loopback") // there may be no other address
	}
	p.cmd = exec.Command(command[0], command[1:]...)
	reader, writer, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	writer.Close() // the server has its own copy

	urls := make(chan string, 1)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		defer reader.Close()
		defer close(urls)
		found := false
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			fmt.Fprintln(p.log, lines.Text())
			if url := address.FindStringSubmatch(lines.Text()); url != nil && !found {
				found = true
				urls <- url[1]
			}
		}
	}()
	select {
	case url, ok := <-urls:
		if !ok {
			p.t.Fatalf("the server ended before it said its address:\n%s", p.log.String())
		}
		p.url = url
	case <-time.After(30 * time.Second):
		p.kill()
		p.t.Fatalf("the server did not say its address:\n%s", p.log.String())
	}
}

// kill ends the server as a power cut would, as far as a process can tell.
func (p *porch) kill() {
	p.cmd.Process.Kill()
	p.wait()
}

// stop ends the server properly, which may take it two seconds.
func (p *porch) stop() {
	if p.cmd == nil {
		return
	}
	began := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	process := p.cmd.Process
	late := time.AfterFunc(10*time.Second, func() { process.Signal(syscall.SIGQUIT) }) // it then tells what it waits for
	defer late.Stop()
	if err := p.wait(); err != nil {
		p.t.Errorf("the server ended with: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		p.t.Errorf("the server took %v to stop, two seconds are the limit", took)
	}
}

func (p *porch) wait() error {
	<-p.done
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// client is a logged-in device that speaks plain HTTP.
type client struct {
	porch *porch
	token string
}

// logIn logs a user in on a new device.
func (p *porch) logIn(user string) *client {
	p.t.Helper()
	c := &client{porch: p}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err := c.do("POST", "/_matrix/client/v3/login", map[string]any{
		"type":       "m.login.password",
		"identifier": map[string]any{"type": "m.id.user", "user": user},
		"password":   password,
	}, &answer)
	if err != nil {
		p.t.Fatal(err)
	}
	c.token = answer.AccessToken
	return c
}

// do sends a request and decodes its answer; any other status than 200 is an error.
func (c *client) do(method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.porch.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	return json.Unmarshal(text, out)
}

// lockedBuffer is a buffer that is written and read at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
