package main

import (
	"context"
	"time"

	"porchlight/server"
)

// pinFlags are the lines of the board's pins.
type pinFlags struct {
	Button string `name:"button-pin" help:"Line of the ring button, such as GPIO17 or gpiochip0:17; \",high\" behind it if a press makes it high." placeholder:"LINE"`
	Light  string `name:"light-pin" help:"Line of the light that is on while camera or microphone are; \",low\" behind it if low means on." placeholder:"LINE"`
	Night  string `name:"night-pin" help:"Line of the lamp that is lit by night while the camera runs." placeholder:"LINE"`
	Door   string `name:"door-pin" help:"Line of the door's relay; \",low\" behind it if low means on." placeholder:"LINE"`
}

func (p pinFlags) config() server.BoardPins {
	return server.BoardPins{Button: p.Button, Light: p.Light, Night: p.Night, Door: p.Door}
}

type ringCmd struct {
	serverFlag
	People  []string      `arg:"" optional:"" help:"Whom to call, names or user IDs. Default: the ring list."`
	Mode    string        `help:"all at once, or one after the other: all or turn. Default: as set." enum:",all,turn" default:""`
	Timeout time.Duration `help:"How long each is called; 0 is as set." default:"0s"`
}

// Run has the board ring.
func (r *ringCmd) Run(ctx context.Context) error {
	return ask(ctx, r.serverFlag, server.Order{Do: "ring", People: r.People, Mode: r.Mode, Life: r.Timeout})
}

type boardCmd struct {
	Get   boardGetCmd   `cmd:"" help:"Show the board's settings, or one of them."`
	Set   boardSetCmd   `cmd:"" help:"Make a setting, at once and for good."`
	Unset boardUnsetCmd `cmd:"" help:"Take a setting back to what the house is started with."`
}

type boardGetCmd struct {
	serverFlag
	Name string `arg:"" optional:"" help:"The setting."`
}

// Run shows settings.
func (b *boardGetCmd) Run(ctx context.Context) error {
	return ask(ctx, b.serverFlag, server.Order{Do: "board get", Setting: b.Name})
}

type boardSetCmd struct {
	serverFlag
	Name    string `arg:"" help:"The setting."`
	Value   string `arg:"" help:"Its value."`
	Confirm string `help:"The words that switching some settings off takes." placeholder:"TEXT"`
}

// Run makes a setting.
func (b *boardSetCmd) Run(ctx context.Context) error {
	return ask(ctx, b.serverFlag, server.Order{Do: "board set", Setting: b.Name, Value: b.Value, Confirm: b.Confirm})
}

type boardUnsetCmd struct {
	serverFlag
	Name string `arg:"" help:"The setting."`
}

// Run takes a setting back.
func (b *boardUnsetCmd) Run(ctx context.Context) error {
	return ask(ctx, b.serverFlag, server.Order{Do: "board unset", Setting: b.Name})
}
