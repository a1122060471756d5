package main

import (
	"context"
	"time"

	"porchlight/server"
)

type tokenCmd struct {
	Add    tokenAddCmd    `cmd:"" help:"Make a registration token and print it."`
	List   tokenListCmd   `cmd:"" help:"List the registration tokens."`
	Remove tokenRemoveCmd `cmd:"" help:"Withdraw a registration token."`
}

type tokenAddCmd struct {
	serverFlag
	Token string        `arg:"" optional:"" help:"The token; one is made up if there is none."`
	Uses  uint32        `help:"How many accounts can be made with it; 0 is any number." default:"1"`
	Life  time.Duration `help:"How long it is valid; 0 is for ever." default:"168h"`
}

// Run makes a token.
func (t *tokenAddCmd) Run(ctx context.Context) error {
	return ask(ctx, t.serverFlag, server.Order{Do: "token add", Token: t.Token, Uses: t.Uses, Life: t.Life})
}

type tokenListCmd struct{ serverFlag }

// Run lists the tokens.
func (t *tokenListCmd) Run(ctx context.Context) error {
	return ask(ctx, t.serverFlag, server.Order{Do: "token list"})
}

type tokenRemoveCmd struct {
	serverFlag
	Token string `arg:"" help:"The token."`
}

// Run withdraws a token.
func (t *tokenRemoveCmd) Run(ctx context.Context) error {
	return ask(ctx, t.serverFlag, server.Order{Do: "token remove", Token: t.Token})
}
