package main

import (
	"context"

	"porchlight/server"
)

type reportCmd struct {
	List   reportListCmd   `cmd:"" help:"List what users have reported as inappropriate."`
	Remove reportRemoveCmd `cmd:"" help:"Remove a report that has been dealt with."`
}

type reportListCmd struct{ serverFlag }

// Run lists the reports.
func (r *reportListCmd) Run(ctx context.Context) error {
	return ask(ctx, r.serverFlag, server.Order{Do: "report list"})
}

type reportRemoveCmd struct {
	serverFlag
	Number uint64 `arg:"" help:"The number of the report."`
}

// Run removes a report.
func (r *reportRemoveCmd) Run(ctx context.Context) error {
	return ask(ctx, r.serverFlag, server.Order{Do: "report remove", Report: r.Number})
}
