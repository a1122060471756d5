package main

import (
	"os"
	"runtime/debug"
)

// softMemoryLimit, in bytes, is where the collector works harder, so that a large house
// still fits a board of 512 MB. Below it Go's own pace is kept: a lazier collector saves a
// fifth of the time of a message, but lets one large upload take 20 MB instead of 13.
const softMemoryLimit = 160 << 20

// tuneMemory sets the collector up, unless the environment does.
func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemoryLimit)
	}
}
