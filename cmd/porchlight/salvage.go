package main

import (
	"context"
	"fmt"

	"porchlight/server"
)

type salvageCmd struct {
	Data string `help:"Folder of the damaged server, which must not be running." required:"" placeholder:"DIR"`
	Into string `help:"New folder for what can be read." required:"" placeholder:"DIR"`
}

// Run copies what can be read.
func (s *salvageCmd) Run(ctx context.Context) error {
	lines, err := server.Salvage(ctx, s.Data, s.Into)
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}
