//go:build damage

package server_test

import (
	"context"
	"encoding/hex"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	sector   = 512              // what a disk writes as a whole
	loadTime = 4 * time.Second  // how long the server is recorded
	upTime   = 60 * time.Second // how long a start may take
)

// diskOp is a system call that changes or syncs a file or a folder.
type diskOp struct {
	begun, ended time.Time
	call         string
	path, to     string
	data         []byte
	at           int64 // offset, or the new length
}

var traced = []string{
	"openat", "pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat",
}

// record runs the program under strace while load works on it, and returns what it did to its files, in order.
func record(t *testing.T, binary, data string, load func(url string)) []diskOp {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	address := freeAddress(t)
	cmd := exec.CommandContext(t.Context(), "strace", "-ff", "--seccomp-bpf", "-ttt", "-T", "-y", "-xx", "-s", strconv.Itoa(64<<20),
		"-e", "trace="+strings.Join(traced, ","), "-e", "signal=none", "-o", trace,
		binary, "serve", "--data", data, "--listen", address, "--listen-https", "", "--board", "off", "--turn", "off", "--local-name", "",
		"--rate-limits", "off", "--log-level", "error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitUp(t, address)
	load("http://" + address)
	if err := killTree(cmd); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(trace + ".*")
	if err != nil || len(files) == 0 {
		t.Fatalf("strace wrote nothing: %v", err)
	}
	var all []diskOp
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if op, ok := readOp(line, data); ok {
				all = append(all, op)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b diskOp) int { return a.begun.Compare(b.begun) })
	return all
}

var (
	opLine   = regexp.MustCompile(`^(\d+)\.(\d{6}) (\w+)\((.*)\) = (-?\d+)[^"]*<(\d+)\.(\d{6})>$`)
	fdPath   = regexp.MustCompile(`^\w+<((?:\\x[0-9a-f]{2}|[^>])*)>`)
	hexText  = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	lastArgs = regexp.MustCompile(`, (\d+)(?:, (\d+))?$`)
)

func unhex(s string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return []byte(s)
	}
	return raw
}

// readOp reads a line of strace; false for what failed or is outside of the folder.
func readOp(line, folder string) (op diskOp, ok bool) {
	m := opLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
	if m == nil || strings.HasPrefix(m[5], "-") {
		return op, false
	}
	second, _ := strconv.ParseInt(m[1], 10, 64)
	micro, _ := strconv.ParseInt(m[2], 10, 64)
	took, _ := strconv.ParseInt(m[6], 10, 64)
	tookMicro, _ := strconv.ParseInt(m[7], 10, 64)
	op.begun = time.Unix(second, micro*1000)
	op.ended = op.begun.Add(time.Duration(took)*time.Second + time.Duration(tookMicro)*time.Microsecond)
	op.call = m[3]
	args := m[4]
	texts := hexText.FindAllStringSubmatch(args, -1)
	switch op.call {
	case "pwrite64", "write", "fdatasync", "fsync", "ftruncate":
		at := fdPath.FindStringSubmatch(args)
		if at == nil {
			return op, false
		}
		op.path = string(unhex(at[1]))
		numbers := lastArgs.FindStringSubmatch(args)
		switch {
		case op.call == "pwrite64":
			op.data = unhex(texts[0][1])
			op.at, _ = strconv.ParseInt(numbers[2], 10, 64)
		case op.call == "ftruncate":
			op.at, _ = strconv.ParseInt(numbers[1], 10, 64)
		case op.call == "write":
			op.data, op.at = unhex(texts[0][1]), -1
		}
	default:
		if len(texts) == 0 || op.call == "openat" && !strings.Contains(args, "O_CREAT") {
			return op, false
		}
		op.path = string(unhex(texts[0][1]))
		if len(texts) > 1 {
			op.to = string(unhex(texts[1][1]))
		}
	}
	inside := strings.HasPrefix(op.path, folder)
	return op, inside && filepath.Base(op.path) != "control.sock"
}

// disk is the contents of a folder: names of files that have a number each, so that a renamed one is the same.
type disk struct {
	names map[string]int
	files map[int][]byte
	next  int
}

func contents(t *testing.T, folder string) *disk {
	t.Helper()
	d := &disk{names: map[string]int{}, files: map[int][]byte{}}
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		d.names[path], d.files[d.next] = d.next, raw
		d.next++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// step is an operation on numbered files.
type step struct {
	diskOp
	file int
}

// number gives the operations the numbers of the files that they are on. What a file is called matters no more then.
func (d *disk) number(ops []diskOp) []step {
	names, next := maps.Clone(d.names), d.next
	var all []step
	for _, op := range ops {
		file, known := names[op.path]
		switch op.call {
		case "openat":
			if known {
				continue
			}
			file = next
			next++
			names[op.path] = file
		case "rename", "renameat", "renameat2":
			delete(names, op.path)
			names[op.to] = file
		case "unlink", "unlinkat":
			delete(names, op.path)
		case "mkdir", "mkdirat":
			continue // folders are made where a file wants one
		case "fsync", "fdatasync":
			if !known {
				file = -1 // a folder
			}
		}
		all = append(all, step{op, file})
	}
	return all
}

func isSync(s step) bool { return s.call == "fsync" || s.call == "fdatasync" }
func isName(s step) bool {
	return strings.HasPrefix(s.call, "rename") || strings.HasPrefix(s.call, "unlink") || s.call == "openat"
}

// after is the folder after a power cut at a time: what a sync had covered by then, and of the rest a random part, in
// whole sectors; of lengths and names a random number of the first. skipped syncs did nothing.
func (d *disk) after(cut time.Time, steps []step, skipped map[int]bool, rng *rand.Rand) *disk {
	covered := make([]bool, len(steps))
	for i, sync := range steps {
		if !isSync(sync) || sync.ended.After(cut) || skipped[i] {
			continue
		}
		for j := range i {
			s := steps[j]
			sameFile := sync.file >= 0 && s.file == sync.file && !isName(s)
			inFolder := sync.file < 0 && isName(s) && filepath.Dir(s.path) == sync.path
			if (sameFile || inFolder) && !s.ended.After(sync.begun) {
				covered[j] = true
			}
		}
	}
	out := &disk{names: maps.Clone(d.names), files: map[int][]byte{}}
	for n, raw := range d.files {
		out.files[n] = slices.Clone(raw)
	}
	share := []float64{0, 0.5, 1}[rng.IntN(3)] // of what was not synced
	ended := map[int]bool{}                    // files whose later lengths are lost; -1: names
	for i, s := range steps {
		if s.begun.After(cut) || isSync(s) {
			continue
		}
		lost := !covered[i] && rng.Float64() >= share
		switch {
		case isName(s):
			if ended[-1] = ended[-1] || lost; covered[i] || !ended[-1] {
				out.rename(s)
			}
		case s.call == "ftruncate":
			if ended[s.file] = ended[s.file] || lost; covered[i] || !ended[s.file] {
				out.resize(s.file, s.at)
			}
		case covered[i]:
			out.put(s.file, s.data, s.at)
		default:
			for from := 0; from < len(s.data); from += sector {
				if rng.Float64() < share {
					out.put(s.file, s.data[from:min(from+sector, len(s.data))], s.at+int64(from))
				}
			}
		}
	}
	return out
}

func (d *disk) rename(s step) {
	switch {
	case s.call == "openat":
		d.names[s.path] = s.file
	case strings.HasPrefix(s.call, "unlink"):
		delete(d.names, s.path)
	default:
		if n, there := d.names[s.path]; there {
			delete(d.names, s.path)
			d.names[s.to] = n
		}
	}
}

func (d *disk) resize(file int, length int64) {
	raw := d.files[file]
	if int64(len(raw)) > length {
		d.files[file] = raw[:length]
		return
	}
	d.files[file] = append(raw, make([]byte, length-int64(len(raw)))...)
}

func (d *disk) put(file int, data []byte, at int64) {
	if at < 0 { // an appending write
		at = int64(len(d.files[file]))
	}
	if end := at + int64(len(data)); end > int64(len(d.files[file])) {
		d.resize(file, end)
	}
	copy(d.files[file][at:], data)
}

// save writes the contents to another folder.
func (d *disk) save(t *testing.T, from, to string) {
	t.Helper()
	for name, n := range d.names {
		path := filepath.Join(to, strings.TrimPrefix(name, from))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, d.files[n], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCuts records what a server under load writes, and reconstructs the disk after power cuts at random moments:
// nothing that was acknowledged is lost, nothing comes twice. Then the control: with half of the syncs ignored, the same
// suite has to find losses, or it could not find any.
func TestPowerCuts(t *testing.T) {
	binary, data := program(t), founded(t)
	before := contents(t, data)
	var done attempts
	var token string
	var from time.Time
	ops := record(t, binary, data, func(url string) {
		c := over(url)
		rooms := c.settle(t)
		token, from = c.token, time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), loadTime)
		defer cancel()
		done.load(ctx, c, rooms, *crashSeed)
	})
	steps := before.number(ops)
	until := time.Now()
	for _, one := range done.all {
		if one.acked.After(from) {
			until = one.acked
		}
	}
	run := func(points int, skip float64) (bad int, lines []string) {
		rng := rand.New(rand.NewPCG(*crashSeed, 7))
		skipped := map[int]bool{}
		for i, s := range steps {
			if isSync(s) && rng.Float64() < skip {
				skipped[i] = true
			}
		}
		for n := range points {
			cut := from.Add(time.Duration(rng.Int64N(int64(until.Sub(from)))))
			folder := filepath.Join(t.TempDir(), strconv.Itoa(n))
			before.after(cut, steps, skipped, rng).save(t, data, folder)
			if v := done.judge(t.Context(), folder, token, cut); len(v) > 0 {
				bad++
				lines = append(lines, cut.Sub(from).String()+": "+strings.Join(v[:min(3, len(v))], "; "))
			}
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
		}
		return bad, lines
	}
	bad, lines := run(*crashPoints, 0)
	t.Logf("%d system calls, %d writes asked for, %d power cuts: %d bad", len(ops), len(done.all), *crashPoints, bad)
	for _, line := range lines {
		t.Error(line)
	}
	control := max(10, *crashPoints/4)
	bad, _ = run(control, 0.5)
	t.Logf("control: half of the syncs ignored: %d of %d power cuts are noticed", bad, control)
	if bad == 0 {
		t.Error("the suite notices no loss where half of the syncs are ignored")
	}
}

// killTree ends a program and what it has started, at once.
func killTree(cmd *exec.Cmd) error {
	children, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/task/" + strconv.Itoa(cmd.Process.Pid) + "/children")
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(children)) {
		n, err := strconv.Atoi(pid)
		if err != nil {
			return err
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			return err
		}
	}
	_ = cmd.Wait() // it was killed: that is its error
	return nil
}
