package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"porchlight/server"
)

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(app *kong.Kong) error {
	_, err := fmt.Fprintln(app.Stdout, "porchlight", server.Version())
	return err
}
