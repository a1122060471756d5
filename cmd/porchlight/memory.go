package main

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent lets garbage grow to 16 MB before it is collected at all. The house keeps
	// little alive, and at Go's 100 % a busy one would spend a quarter of its time collecting.
	gcPercent = 400
	// softMemoryLimit, in bytes, is where the collector works harder again, so that a large
	// house still fits a board of 512 MB.
	softMemoryLimit = 160 << 20
)

// tuneMemory sets the collector up, unless the environment does.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemoryLimit)
	}
}
