package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"porchlight/server"
)

// serverFlag says which server a command is for.
type serverFlag struct {
	Data string `help:"Folder of the server. Default: that of the server that is running on this machine." placeholder:"DIR"`
}

// usualFolders are where a server that is not running is looked for: where the README puts it, and where a package does.
var usualFolders = []string{"data", "/var/lib/porchlight"}

// config is the server that is meant: the one in the folder that was named, or the only one that is running.
func (f serverFlag) config(ctx context.Context) (server.Config, error) {
	if f.Data != "" {
		return server.Config{Data: f.Data}, nil
	}
	running, err := server.FindRunning(ctx)
	if err != nil {
		return server.Config{}, fmt.Errorf("look for running servers: %w", err)
	}
	var t *terminal
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) {
		t = &terminal{in: os.Stdin, out: os.Stderr}
	}
	data, err := choose(running, stopped(running), t)
	if err == nil {
		fmt.Fprintln(os.Stderr, "server:", data)
	}
	return server.Config{Data: data}, err
}

// stopped are the usual folders that hold a server which is not running.
func stopped(running []server.Running) (folders []string) {
	for _, folder := range usualFolders {
		full, err := filepath.Abs(folder)
		if err != nil {
			continue
		}
		there, err := server.Exists(full)
		isThis := func(r server.Running) bool { return r.Data == full }
		if err == nil && there && !slices.ContainsFunc(running, isThis) {
			folders = append(folders, full)
		}
	}
	return folders
}

// terminal is where a person can be asked.
type terminal struct {
	in  io.Reader
	out io.Writer
}

// usageError is a mistake in how the program was called; it ends with exit code 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// choose takes the only running server. Otherwise it asks, where there is somebody to ask: a command that acts on a
// server must never guess which one is meant.
func choose(running []server.Running, stopped []string, t *terminal) (data string, err error) {
	if len(running) == 1 {
		return running[0].Data, nil
	}
	var folders, lines []string
	for _, r := range running {
		folders, lines = append(folders, r.Data), append(lines, r.String()+" (running)")
	}
	for _, folder := range stopped {
		folders, lines = append(folders, folder), append(lines, folder+" (not running)")
	}
	question := "no Porchlight server is running on this machine"
	if len(running) > 1 {
		question = "several Porchlight servers are running on this machine"
	}
	switch {
	case len(folders) == 0:
		return "", &usageError{question + "; name the folder of a stopped one with --data"}
	case t == nil:
		return "", &usageError{question + "; name one of these folders with --data:\n  " + strings.Join(lines, "\n  ")}
	}
	fmt.Fprintln(t.out, strings.ToUpper(question[:1])+question[1:]+".")
	for i, line := range lines {
		fmt.Fprintf(t.out, "  %d  %s\n", i+1, line)
	}
	fmt.Fprint(t.out, "Which one do you mean? ")
	answer, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(answer))
	if err != nil || n < 1 || n > len(folders) {
		return "", &usageError{"no server was chosen, and nothing was done"}
	}
	return folders[n-1], nil
}
