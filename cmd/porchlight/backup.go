package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"porchlight/server"
)

type backupCmd struct {
	serverFlag
	File string `arg:"" help:"File to write; it must not exist. - is standard output."`
}

// Run writes a backup.
func (b *backupCmd) Run(ctx context.Context) (err error) {
	c, err := b.config(ctx)
	if err != nil {
		return err
	}
	if b.File == "-" {
		return server.AskBackup(ctx, c, os.Stdout)
	}
	f, err := os.OpenFile(b.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(server.AskBackup(ctx, c, f), f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(b.File)) // half a backup is worse than none
	}
	st, err := os.Stat(b.File)
	if err != nil {
		return err
	}
	fmt.Printf("wrote %s, %d bytes\n", b.File, st.Size())
	return nil
}

type restoreCmd struct {
	dataFlag
	File string `arg:"" help:"Backup to read. - is standard input."`
}

// Run fills an empty data folder.
func (r *restoreCmd) Run() (err error) {
	f := os.Stdin
	if r.File != "-" {
		if f, err = os.Open(r.File); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	if err := server.Restore(r.Data, f); err != nil {
		return err
	}
	fmt.Println("restored into", r.Data)
	return nil
}

type checkCmd struct {
	serverFlag
	Repair bool `help:"Remove what no row refers to."`
}

// Run checks the data.
func (c *checkCmd) Run(ctx context.Context) error {
	return ask(ctx, c.serverFlag, server.Order{Do: "check", Repair: c.Repair})
}

type compactCmd struct{ serverFlag }

// Run compacts the database.
func (c *compactCmd) Run(ctx context.Context) error {
	conf, err := c.config(ctx)
	if err != nil {
		return err
	}
	switch there, err := server.Exists(conf.Data); {
	case err != nil:
		return err
	case !there:
		return &server.NoServerError{Data: conf.Data}
	}
	before, after, err := server.Compact(conf.Data)
	if err != nil {
		return err
	}
	fmt.Printf("%d bytes before, %d after\n", before, after)
	return nil
}
