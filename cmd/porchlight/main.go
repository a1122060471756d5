// Command porchlight is a Matrix homeserver for the thing by the door: one binary, one
// folder of data, and the board's own camera, microphone and loudspeaker as somebody who
// can be called.
//
// Each subcommand has a file of its own. They only read flags and print: what they do is
// in package server.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"porchlight/server"
	"porchlight/server/matrix"
)

// cli is the command line. Each flag has a twin in the environment, PORCHLIGHT_ and its
// name in capitals.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the house. This is what happens when no command is given." default:"withargs"`
	Setup      setupCmd      `cmd:"" help:"Prepare the data folder: server name, owner. Without it the first start prints a claim link."`
	User       userCmd       `cmd:"" help:"Accounts: add, list, passwd, deactivate."`
	Token      tokenCmd      `cmd:"" help:"Registration tokens: add, list, remove."`
	Appservice appserviceCmd `cmd:"" help:"Application services (bridges): add, list, remove."`
	Report     reportCmd     `cmd:"" help:"What users report as inappropriate: list, remove."`
	Media      mediaCmd      `cmd:"" help:"Uploads: list, quarantine, delete."`
	Ring       ringCmd       `cmd:"" help:"Have the board call the people of its ring list, as its button does."`
	Board      boardCmd      `cmd:"" help:"The board's settings: get, set, unset."`
	Backup     backupCmd     `cmd:"" help:"Write everything into one file, while the house goes on."`
	Restore    restoreCmd    `cmd:"" help:"Fill an empty data folder from a backup."`
	Check      checkCmd      `cmd:"" help:"Read everything and say what is wrong with it."`
	Compact    compactCmd    `cmd:"" help:"Give back the space of deleted rows. The house must not be running."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// dataFlag is where everything lies.
type dataFlag struct {
	Data string `help:"Folder that holds everything." default:"./data" placeholder:"DIR"`
}

func (d dataFlag) config() server.Config { return server.Config{Data: d.Data} }

func main() {
	tuneMemory()
	var c cli
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed := kong.Parse(&c,
		kong.Name("porchlight"),
		kong.Description("A Matrix homeserver for the thing by the door."),
		kong.UsageOnError(),
		kong.DefaultEnvars("PORCHLIGHT"),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "porchlight:", sentence(err))
		os.Exit(1)
	}
}

// sentence is what a person is told: the message alone where the error is one of the
// standard's.
func sentence(err error) string {
	if refused, ok := err.(*matrix.Error); ok {
		return refused.Message
	}
	return err.Error()
}

// ask gives an order to the house in the folder and prints what comes back.
func ask(ctx context.Context, d dataFlag, o server.Order) error { return askWith(ctx, d.config(), o) }

func askWith(ctx context.Context, c server.Config, o server.Order) error {
	lines, err := server.Ask(ctx, c, o)
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}
