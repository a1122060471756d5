//go:build damage

package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"porchlight/server"
)

// freeAddress is a loopback address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitUp waits until the server answers.
func awaitUp(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), upTime)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/_matrix/client/versions", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			t.Fatalf("the server at %s does not answer", address)
		}
	}
}

// crashing is a server that is killed again and again.
type crashing struct {
	*testing.T
	binary, data string
	rng          *rand.Rand
	done         attempts
	token        string
	rooms        []string
}

// start runs the server.
func (c *crashing) start() (cmd *exec.Cmd, address string) {
	c.Helper()
	address = freeAddress(c.T)
	cmd = exec.CommandContext(c.Context(), c.binary, "serve", "--data", c.data, "--listen", address, "--listen-https", "",
		"--board", "off", "--turn", "off", "--local-name", "", "--rate-limits", "off", "--log-level", "error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return cmd, address
}

func (c *crashing) kill(cmd *exec.Cmd) {
	c.Helper()
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: that is its error
}

// after waits for a random time up to d.
func (c *crashing) after(d time.Duration) {
	<-time.After(time.Duration(c.rng.Int64N(int64(d))))
}

// underLoad has clients write to the server until until returns and the server is gone.
func (c *crashing) underLoad(address string, until func()) {
	c.Helper()
	ctx, cancel := context.WithCancel(c.Context())
	over := over("http://" + address)
	over.token = c.token
	ended := make(chan struct{})
	go func() {
		c.done.load(ctx, over, c.rooms, c.rng.Uint64())
		close(ended)
	}()
	until()
	cancel()
	<-ended
}

// command runs a command of the program, which is killed after a random time up to d.
func (c *crashing) command(d time.Duration, args ...string) {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), c.binary, args...)
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.after(d)
	c.kill(cmd)
}

// TestKills kills the server, or a command beside or after it, at random moments of what servers do, and looks each time
// at everything that was ever acknowledged.
func TestKills(t *testing.T) {
	c := &crashing{T: t, binary: program(t), data: founded(t), rng: rand.New(rand.NewPCG(*crashSeed, 1))}
	cmd, address := c.start()
	awaitUp(t, address)
	first := over("http://" + address)
	c.rooms = first.settle(t)
	c.token = first.token
	c.kill(cmd)

	moments := []struct {
		name string
		do   func()
	}{
		{"load", func() {
			cmd, address := c.start()
			awaitUp(t, address)
			c.underLoad(address, func() { c.after(400 * time.Millisecond); c.kill(cmd) })
		}},
		{"start", func() {
			cmd, _ := c.start()
			c.after(60 * time.Millisecond)
			c.kill(cmd)
		}},
		{"stop", func() {
			cmd, address := c.start()
			awaitUp(t, address)
			c.underLoad(address, func() {
				c.after(200 * time.Millisecond)
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				c.after(20 * time.Millisecond)
				c.kill(cmd)
			})
		}},
		{"backup", c.backup},
		{"compact", func() { c.command(80*time.Millisecond, "compact", "--data", c.data) }},
		{"restore", c.restore},
	}
	killed := map[string]int{}
	for n := range *crashRounds {
		moment := moments[n%len(moments)]
		killed[moment.name]++
		moment.do()
		if v := c.done.judge(t.Context(), c.data, c.token, time.Now()); len(v) > 0 {
			t.Errorf("round %d, killed at %s: %d faults, first %q", n, moment.name, len(v), v[0])
		}
	}
	acked := 0
	for _, one := range c.done.all {
		if !one.acked.IsZero() {
			acked++
		}
	}
	t.Logf("kills: %v; %d writes, %d of them acknowledged", killed, len(c.done.all), acked)
	if acked == 0 && *crashRounds > 0 {
		t.Error("nothing was ever acknowledged: the rounds were too short to show anything")
	}
}

// backup kills the server in the middle of a backup. The half archive must not be taken for a whole one.
func (c *crashing) backup() {
	cmd, address := c.start()
	awaitUp(c.T, address)
	file := filepath.Join(c.TempDir(), "backup.tar")
	c.underLoad(address, func() {
		backup := exec.CommandContext(c.Context(), c.binary, "backup", "--data", c.data, file)
		if err := backup.Start(); err != nil {
			c.Fatal(err)
		}
		c.after(120 * time.Millisecond)
		c.kill(cmd)
		if err := backup.Wait(); err == nil {
			return // it was done before
		}
	})
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		c.Fatal(err)
	}
	into := filepath.Join(c.TempDir(), "restored")
	if err := server.Restore(into, bytes.NewReader(raw)); err != nil {
		return // refused, as it has to be if it is cut short
	}
	if there, err := server.Exists(into); err != nil || !there {
		c.Errorf("a backup was restored to nothing: %v", err)
	}
}

// restore kills a restore, and restores again: everything from before the backup is there then.
func (c *crashing) restore() {
	file := filepath.Join(c.TempDir(), "whole.tar")
	if out, err := exec.CommandContext(c.Context(), c.binary, "backup", "--data", c.data, file).CombinedOutput(); err != nil {
		c.Fatalf("backup: %v\n%s", err, out)
	}
	into := filepath.Join(c.TempDir(), fmt.Sprintf("into-%d", c.rng.Uint32()))
	c.command(100*time.Millisecond, "restore", "--data", into, file)
	if there, err := server.Exists(into); err != nil {
		c.Fatal(err)
	} else if !there {
		if out, err := exec.CommandContext(c.Context(), c.binary, "restore", "--data", into, file).CombinedOutput(); err != nil {
			c.Errorf("restore after a killed restore: %v\n%s", err, out)
			return
		}
	}
	if v := c.done.judge(c.Context(), into, c.token, time.Now()); len(v) > 0 {
		c.Errorf("restored: %d faults, first %q", len(v), v[0])
	}
}
