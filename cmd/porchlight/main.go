// Command porchlight is a Matrix homeserver for the thing by the door: one binary, one
// folder of data, and the board's own camera, microphone and loudspeaker as somebody who
// can be called.
//
// Each subcommand has a file of its own. They only read flags and print: what they do is
// in package server.
//
// It exits with 0, with 1 if what was asked failed, and with 2 if it was asked wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"porchlight/server"
)

// cli is the command line. Each flag of serve has a twin in the environment, PORCHLIGHT_ and
// its name in capitals.
type cli struct {
	Version kong.VersionFlag `short:"v" help:"Print the version and exit."`

	Serve        serveCmd      `cmd:"" help:"Run the server. This is what happens when no command is given." default:"withargs"`
	Setup        setupCmd      `cmd:"" help:"Prepare the data folder: server name, owner. Without it the first start prints a claim link."`
	User         userCmd       `cmd:"" help:"Accounts: add, list, passwd, deactivate."`
	Token        tokenCmd      `cmd:"" help:"Registration tokens: add, list, remove."`
	Appservice   appserviceCmd `cmd:"" help:"Application services (bridges): add, list, remove."`
	Report       reportCmd     `cmd:"" help:"What users report as inappropriate: list, remove."`
	Media        mediaCmd      `cmd:"" help:"Uploads: list, quarantine, delete."`
	Ring         ringCmd       `cmd:"" help:"Have the board call the people of its ring list, as its button does."`
	Board        boardCmd      `cmd:"" help:"The board's settings: get, set, unset."`
	Backup       backupCmd     `cmd:"" help:"Write everything into one file, while the server goes on."`
	Restore      restoreCmd    `cmd:"" help:"Fill an empty data folder from a backup."`
	Check        checkCmd      `cmd:"" help:"Read everything and say what is wrong with it."`
	Compact      compactCmd    `cmd:"" help:"Give back the space of deleted rows. The server must not be running."`
	Salvage      salvageCmd    `cmd:"" help:"Copy what can be read of a damaged server into a new folder, and list what was lost."`
	PrintVersion versionCmd    `cmd:"" name:"version" help:"Print the version."`
}

// dataFlag is where everything lies, for the commands that may make it.
type dataFlag struct {
	Data string `help:"Folder that holds everything; the default is ./data." default:"./data" placeholder:"DIR"`
}

func (d dataFlag) config() server.Config { return server.Config{Data: d.Data} }

// The exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run carries out a command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	tuneMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	exit := -1 // what --help and --version end with
	parser, err := newParser(ctx, &c, stdout, stderr, func(code int) { exit = code })
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	if err := unknownCommand(parser, args); err != nil {
		return complain(stderr, err)
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err == nil {
		if command := parsed.Selected(); command != nil && command.Name == "serve" {
			warnOfEnvironment(stderr, parser, os.Environ())
		}
		err = parsed.Run()
	}
	return complain(stderr, err)
}

// newParser declares the command line to kong.
func newParser(ctx context.Context, c *cli, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("porchlight"),
		kong.Description("A Matrix homeserver for the thing by the door."),
		kong.Vars{"version": "porchlight " + server.Version()},
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.DefaultEnvars(envPrefix),
		kong.PostBuild(ownEnvironment),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
}

// complain prints an error and returns the exit code: one line, and where to read on if the
// command line was wrong.
func complain(stderr io.Writer, err error) int {
	var usage *usageError
	var parse *kong.ParseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "porchlight:", err)
		return exitUsage
	case errors.As(err, &parse):
		command := "porchlight"
		if node := parse.Context.Selected(); node != nil {
			command = node.FullPath()
		}
		fmt.Fprintf(stderr, "porchlight: %v\nRun \"%s --help\" to see how it is used.\n", err, command)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "porchlight:", sentence(err))
		return exitFailed
	}
}

// ask gives an order to the server that is meant and prints what comes back.
func ask(ctx context.Context, f serverFlag, o server.Order) error {
	c, err := f.config(ctx)
	if err != nil {
		return err
	}
	return report(server.Ask(ctx, c, o))
}

// report prints the lines that an order came back with, also beside an error.
func report(lines []string, err error) error {
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}
