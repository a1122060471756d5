package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"porchlight/kv"
	"porchlight/server"
	"porchlight/server/matrix"
)

// TestExitCodes calls the program as people do who mistype, and looks at its exit code and at the length of what it says.
func TestExitCodes(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string // in the only line of standard error, or in standard output where the code is 0
	}{
		{"--version", 0, "porchlight "},
		{"-v", 0, "porchlight "},
		{"version", 0, "porchlight "},
		{"--help", 0, "Usage: porchlight"},
		{"user --help", 0, "Accounts"},
		{"serv", 2, `there is no command "serv"; did you mean "serve"?`},
		{"nonsense", 2, `there is no command "nonsense"`},
		{"serve --lisen :1", 2, `did you mean "--listen"?`},
		{"serve extra", 2, "unexpected argument extra"},
		{"serve --registration maybe", 2, "closed"},
		{"user ad anna", 2, `"add"`},
		{"user add", 2, "<name>"},
		{"user list --data " + empty, 1, "there is no Porchlight server in " + empty},
		{"check --data " + empty, 1, "there is no Porchlight server in " + empty},
		{"compact --data " + empty, 1, "there is no Porchlight server in " + empty},
		{"backup --data " + empty + " " + filepath.Join(empty, "b.tar"), 1, "there is no Porchlight server in " + empty},
		{"restore --data " + filepath.Join(empty, "new") + " /dev/null", 1, "not a backup"},
		{"setup --server-name my_house --data " + filepath.Join(empty, "other"), 1, "letters, digits, dots and hyphens"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		said := stderr.String()
		if code == 0 {
			said = stdout.String()
		}
		if code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("porchlight %s: exit code %d, want %d\n%s%s", c.args, code, c.code, &stdout, &stderr)
		}
		if lines := strings.Count(stderr.String(), "\n"); code != 0 && (lines > 2 || stdout.Len() > 0) {
			t.Errorf("porchlight %s: a mistake is answered with %d lines and\n%s", c.args, lines, &stdout)
		}
	}
	if files, err := os.ReadDir(empty); err != nil || slices.ContainsFunc(files, func(f os.DirEntry) bool { return f.Name() == "porchlight.db" || f.Name() == "b.tar" }) {
		t.Errorf("something was made: %v, %v", files, err)
	}
}

// TestChoose: one running server is meant; of several, or of stopped ones, the person at the terminal says which, and
// without a person it is an error that names them all.
func TestChoose(t *testing.T) {
	one := server.Running{Data: "/one", Name: "one.test"}
	two := server.Running{Data: "/two", Name: "two.test"}
	foreign := server.Running{Data: "/foreign", Denied: true}
	for name, c := range map[string]struct {
		running []server.Running
		stopped []string
		typed   string // empty: no terminal
		want    string
		named   []string // in the error or the question
	}{
		"one running":                  {running: []server.Running{one}, want: "/one"},
		"one running, one stopped":     {running: []server.Running{one}, stopped: []string{"/data"}, want: "/one"},
		"none":                         {named: []string{"no Porchlight server"}},
		"none, at a terminal":          {typed: "1\n", named: []string{"no Porchlight server"}},
		"one stopped":                  {stopped: []string{"/data"}, named: []string{"/data (not running)"}},
		"several":                      {running: []server.Running{one, two, foreign}, stopped: []string{"/data"}, named: []string{"one.test in /one", "two.test in /two", "/foreign", "/data"}},
		"several, the second":          {running: []server.Running{one, two}, typed: "2\n", want: "/two", named: []string{"1  one.test", "2  two.test"}},
		"one stopped, taken":           {stopped: []string{"/data"}, typed: "1\n", want: "/data", named: []string{"/data"}},
		"several, nothing typed":       {running: []server.Running{one, two}, typed: "\n", named: []string{"one.test"}},
		"several, a number too high":   {running: []server.Running{one, two}, typed: "3\n", named: []string{"one.test"}},
		"several, zero":                {running: []server.Running{one, two}, typed: "0\n", named: []string{"one.test"}},
		"several, end of the terminal": {running: []server.Running{one, two}, typed: "y", named: []string{"one.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			var at *terminal
			if c.typed != "" {
				at = &terminal{in: strings.NewReader(c.typed), out: &said}
			}
			got, err := choose(c.running, c.stopped, at)
			var usage *usageError
			if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.As(err, &usage) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			text := said.String() + fmt.Sprint(err)
			for _, name := range c.named {
				if !strings.Contains(text, name) {
					t.Errorf("%q is not named in %s", name, text)
				}
			}
		})
	}
}

// TestEnvironment: settings of the server have a twin in the environment; what is for one call has none.
func TestEnvironment(t *testing.T) {
	var c cli
	parser, err := newParser(t.Context(), &c, io.Discard, io.Discard, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	with := map[string][]string{} // variable → commands
	var walk func(node *kong.Node)
	walk = func(node *kong.Node) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				with[name] = append(with[name], node.FullPath())
			}
		}
		for _, child := range node.Children {
			walk(child)
		}
	}
	walk(parser.Model.Node)
	for _, name := range []string{"PORCHLIGHT_DATA", "PORCHLIGHT_LISTEN", "PORCHLIGHT_SMTP_PASSWORD", "PORCHLIGHT_REGISTRATION_SHARED_SECRET"} {
		if !slices.Contains(with[name], "porchlight serve") {
			t.Errorf("%s is not serve's, but of %v", name, with[name])
		}
	}
	for name, commands := range with {
		if !slices.Contains(commands, "porchlight serve") {
			t.Errorf("%s is a variable of %v alone", name, commands)
		}
	}
	if n := len(with["PORCHLIGHT_DATA"]); n < 25 {
		t.Errorf("only %d commands know PORCHLIGHT_DATA", n)
	}
	var said bytes.Buffer
	warnOfEnvironment(&said, parser, []string{"PORCHLIGHT_LISTN=:1", "PORCHLIGHT_LISTEN=:2", "PORCHLIGHT_PASSWORD=secret", "HOME=/x"})
	want := `PORCHLIGHT_LISTN is no setting and has no effect; did you mean "PORCHLIGHT_LISTEN"?`
	if !strings.Contains(said.String(), want) || !strings.Contains(said.String(), "PORCHLIGHT_PASSWORD") || strings.Contains(said.String(), "secret") {
		t.Errorf("it said %q", &said)
	}
}

// TestSentences: no code of the standard reaches a person, however deep in an error it is, and no cause is lost.
func TestSentences(t *testing.T) {
	code := regexp.MustCompile(`\bM_[A-Z_]+`)
	taken := matrix.InvalidParam("that user name is taken")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{taken, []string{"that user name is taken"}},
		{fmt.Errorf("r.yaml: %w", taken), []string{"r.yaml: that user name is taken"}},
		{errors.Join(taken, errors.New("close: bad file")), []string{"that user name is taken", "close: bad file"}},
		{errors.Join(fmt.Errorf("one: %w", taken), fmt.Errorf("two: %w", matrix.NotFound("no such room"))), []string{"one: that user name is taken", "two: no such room"}},
		{fmt.Errorf("both: %w, %w", taken, matrix.NotFound("no such room")), []string{"both: that user name is taken, no such room"}},
		{fmt.Errorf("d/porchlight.db: %w", kv.ErrInUse), []string{"d/porchlight.db", "already running"}},
		{fmt.Errorf("listen tcp :8008: %w", syscall.EADDRINUSE), []string{"listen tcp :8008", "another address"}},
		{fmt.Errorf("listen tcp :80: %w", syscall.EACCES), []string{"listen tcp :80", "higher port"}},
		{&os.PathError{Op: "open", Path: "d", Err: syscall.EACCES}, []string{"open d", "sudo"}},
	} {
		got := sentence(c.err)
		if found := code.FindString(got); found != "" {
			t.Errorf("%q has the code %s", got, found)
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q lacks %q", got, want)
			}
		}
	}
}

// TestByteSizes reads sizes as people write them.
func TestByteSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "52428800": 52428800, "50M": 50 << 20, "50m": 50 << 20, "50MB": 50 << 20, "50 MiB": 50 << 20, "2G": 2 << 30,
		"1K": 1 << 10, "1T": 1 << 40, "7B": 7, "-1": -1, "-2K": -2 << 10, "8191P": -9, "": -9, "M": -9, "1.5G": -9, "1e3": -9,
		"9999999999G": -9, "99999999999999999999": -9,
	} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); want == -9 && err == nil || want != -9 && (err != nil || int64(got) != want) {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
}
