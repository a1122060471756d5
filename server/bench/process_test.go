package bench_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	starts    = 5                // how often each kind of start is measured in a round
	idle      = 10 * time.Second // before the memory of a quiet house is read
	giveUp    = 30 * time.Second // on a house that does not answer
	arm64File = "../../bin/porchlight-linux-arm64"
)

// process is the real binary, serving.
type process struct {
	cmd *exec.Cmd
	url string
}

// buildBinary builds the server as "make build" does.
func buildBinary(b *testing.B) string {
	path := filepath.Join(b.TempDir(), "porchlight")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-o", path, "porchlight/cmd/porchlight").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// start runs the binary and returns how long it took from exec to the first answer.
func start(b *testing.B, binary, data string) (*process, time.Duration) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	p := &process{url: "http://" + addr}
	p.cmd = exec.CommandContext(b.Context(), binary, "serve", "--data", data, "--server-name", "bench.test", "--listen", addr)
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for time.Since(began) < giveUp {
		resp, err := client.Get(p.url + "/_matrix/client/versions")
		if err != nil {
			time.Sleep(500 * time.Microsecond) // the door is not open yet
			continue
		}
		took := time.Since(began)
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		return p, took
	}
	b.Fatal("the house does not answer")
	return nil, 0
}

func (p *process) stop(b *testing.B) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// memory is what the process occupies now, and the part of it that is its own and not
// pages of the binary, which are the page cache's and can be dropped at any time.
func (p *process) memory(b *testing.B) string {
	file := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	return fmt.Sprintf("%.1f MB, of it anonymous %.1f MB",
		float64(procNumber(b, file, "VmRSS"))*1024/1e6, float64(procNumber(b, file, "RssAnon"))*1024/1e6)
}

// BenchmarkStart is the time from exec to the first answered /versions.
func BenchmarkStart(b *testing.B) {
	binary := buildBinary(b)
	var fresh, again times
	for b.Loop() {
		for range starts {
			data := b.TempDir()
			for _, kind := range []*times{&fresh, &again} {
				p, took := start(b, binary, data)
				*kind = append(*kind, took)
				p.stop(b)
			}
		}
	}
	b.ReportMetric(float64(fresh.at(0.5).Milliseconds()), "fresh-ms")
	b.ReportMetric(float64(again.at(0.5).Milliseconds()), "again-ms")
	for _, c := range []struct {
		data string
		took times
	}{{"fresh", fresh}, {"existing", again}} {
		set("exec to first answer, "+c.data+" data", "≤ 150 ms", "%v, at most %v (of %d)",
			c.took.at(0.5).Round(time.Millisecond), c.took.at(1).Round(time.Millisecond), len(c.took))
	}
}

// BenchmarkMemory is what a house occupies that nobody uses, and after a login.
func BenchmarkMemory(b *testing.B) {
	if testing.Short() {
		b.Skip("waits for an idle house")
	}
	const password = "correct horse battery"
	binary, data := buildBinary(b), b.TempDir()
	ctx, cancel := context.WithTimeout(b.Context(), giveUp)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "setup", "--data", data, "--server-name", "bench.test", "--owner", "ada", "--password", password).CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	const name, target = "resident memory ", "< 40 MB"
	for b.Loop() {
		p, _ := start(b, binary, data)
		set(name+"after start", target, "%s", p.memory(b))
		time.Sleep(idle)
		set(name+"after 10 s idle", target, "%s", p.memory(b))
		resp, err := http.Post(p.url+"/_matrix/client/v3/login", "application/json", strings.NewReader(
			`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"ada"},"password":"`+password+`"}`))
		if err != nil {
			b.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		set(name+"after a login", "", "%s", p.memory(b))
		time.Sleep(idle)
		set(name+"10 s after a login", target, "%s", p.memory(b))
		p.stop(b)
	}
}

// BenchmarkBinary is the size of the static binary for the boards, where "make cross" has
// left one.
func BenchmarkBinary(b *testing.B) {
	st, err := os.Stat(arm64File)
	if err != nil {
		b.Skip("make cross has not built it: ", err)
	}
	set("static arm64 binary", "< 30 MB", "%.1f MB", float64(st.Size())/1e6)
	for b.Loop() {
	}
	b.ReportMetric(float64(st.Size()), "B")
}
