package main

import (
	"fmt"

	"porchlight/server"
)

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run() error {
	fmt.Println("porchlight", server.Version())
	return nil
}
