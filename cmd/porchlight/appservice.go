package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"porchlight/server"
)

type appserviceCmd struct {
	Add    appserviceAddCmd    `cmd:"" help:"Register an application service at once, or register it anew: it keeps what it still has to be told."`
	List   appserviceListCmd   `cmd:"" help:"List the application services: who they are, where, how far behind, and why if they fail."`
	Remove appserviceRemoveCmd `cmd:"" help:"Forget an application service. Its users stay."`
}

// maxRegistrationFile is how much of a registration is read; the house takes less.
const maxRegistrationFile = 40 << 10

type appserviceAddCmd struct {
	serverFlag
	File string `arg:"" help:"The registration file (YAML) that the service has written."`
}

// Run registers a service.
func (a *appserviceAddCmd) Run(ctx context.Context) error {
	file, err := os.Open(a.File)
	if err != nil {
		return err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxRegistrationFile))
	if err != nil {
		return fmt.Errorf("read the registration: %w", err)
	}
	return ask(ctx, a.serverFlag, server.Order{Do: "appservice add", Registration: string(raw)})
}

type appserviceListCmd struct{ serverFlag }

// Run lists the services.
func (a *appserviceListCmd) Run(ctx context.Context) error {
	return ask(ctx, a.serverFlag, server.Order{Do: "appservice list"})
}

type appserviceRemoveCmd struct {
	serverFlag
	ID string `arg:"" help:"The service's ID, as list tells it."`
}

// Run forgets a service.
func (a *appserviceRemoveCmd) Run(ctx context.Context) error {
	return ask(ctx, a.serverFlag, server.Order{Do: "appservice remove", Service: a.ID})
}
