package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// envPrefix begins the names of our environment variables.
const envPrefix = "PORCHLIGHT"

// ownEnvironment leaves a twin in the environment to flags of serve, and to those of other commands that mean the same:
// the folder, the server's name. A variable such as PORCHLIGHT_PASSWORD would silently become every new account's.
func ownEnvironment(k *kong.Kong) error {
	settings := map[string]bool{}
	for _, node := range k.Model.Children {
		if node.Name == "serve" {
			for _, flag := range node.Flags {
				settings[flag.Name] = true
			}
		}
	}
	var strip func(node *kong.Node)
	strip = func(node *kong.Node) {
		for _, flag := range node.Flags {
			if !settings[flag.Name] {
				flag.Envs, flag.Tag.Envs = nil, nil
			}
		}
		for _, child := range node.Children {
			strip(child)
		}
	}
	strip(k.Model.Node)
	return nil
}

// warnOfEnvironment names variables that look like settings and are none, such as a mistyped one.
func warnOfEnvironment(stderr io.Writer, k *kong.Kong, environment []string) {
	var known []string
	for _, node := range k.Model.Children {
		for _, flag := range node.Flags {
			known = append(known, flag.Envs...)
		}
	}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !slices.Contains(known, name) {
			fmt.Fprintf(stderr, "porchlight: the environment variable %s is no setting and has no effect%s\n", name, meant(name, known))
		}
	}
}

// unknownCommand refuses a first word that is no command. Kong takes it for an argument of serve, the default command,
// which has none, and does not say what may have been meant.
func unknownCommand(k *kong.Kong, args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil
	}
	var names []string
	for _, node := range k.Model.Children {
		names = append(names, node.Name)
	}
	if slices.Contains(names, args[0]) {
		return nil
	}
	return &usageError{fmt.Sprintf("there is no command %q%s\nRun \"porchlight --help\" to see the commands.", args[0], meant(args[0], names))}
}

// maxTypos is how many letters may differ between what was written and what is suggested.
const maxTypos = 2

// meant suggests the name that something mistyped is closest to; empty if none is close.
func meant(written string, names []string) string {
	best, least := "", maxTypos+1
	for _, name := range names {
		if d := distance(written, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many letters have to be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
