package main

import (
	"context"

	"porchlight/server"
	"porchlight/server/matrix"
)

type setupCmd struct {
	dataFlag
	nameFlag
	passwordFlags
	Owner     string `help:"Name of the owner's account. Without it the first start prints a claim link." placeholder:"NAME"`
	BoardUser string `help:"Name of the board's user." default:"porch" placeholder:"NAME"`
	BoardName string `help:"Display name of the board's user." default:"Porch" placeholder:"TEXT"`
}

// Run prepares the data folder.
func (s *setupCmd) Run(ctx context.Context) error {
	c := s.dataFlag.config()
	c.ServerName = matrix.ServerName(s.ServerName)
	c.Board = server.BoardConfig{User: s.BoardUser, Name: s.BoardName}
	o := server.Order{Do: "identity"}
	if s.Owner != "" {
		password, err := s.password()
		if err != nil {
			return err
		}
		o = server.Order{Do: "user add", User: s.Owner, Password: password, Owner: true}
	}
	lines, err := server.Prepare(ctx, c, o)
	return report(lines, err)
}
