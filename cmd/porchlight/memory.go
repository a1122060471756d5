package main

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// machineShare and cgroupShare are how much of its memory, in hundredths, Go may use
	// before its collector works harder: the rest is for the system, what the processes of
	// cameras take, and the pages of the database, which the kernel keeps as it likes. A
	// control group holds less than a machine.
	machineShare = 40
	cgroupShare  = 60
	// leastMemory, in bytes, is what a server needs that does nothing.
	leastMemory = 48 << 20
)

// tuneMemory sets the collector up, unless the environment does. Below the limit, Go's own
// pace is kept: a lazier collector saves a fifth of the time of a message, but lets one large
// upload take 20 MB instead of 13.
func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := memoryLimit(os.DirFS("/")); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit is the soft limit in bytes that fits the machine and the control group of this
// process, whose files are in root; 0 if neither says how much there is.
func memoryLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	if total := machineMemory(root); total > 0 {
		limit = total / 100 * machineShare
	}
	if most := cgroupMemory(root); most > 0 {
		limit = min(limit, most/100*cgroupShare)
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return max(limit, leastMemory)
}

// machineMemory is the memory of the machine in bytes, 0 if it is not known.
func machineMemory(root fs.FS) int64 {
	raw, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil && n < math.MaxInt64/1024 {
				return n * 1024
			}
		}
	}
	return 0
}

// cgroupMemory is the least that a control group around this process allows, in bytes; 0 if
// none does. The groups of both versions are looked at, since they can be there together.
func cgroupMemory(root fs.FS) (least int64) {
	raw, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		group := path.Clean("/" + parts[2])
		var places, files []string
		switch {
		case parts[1] == "": // version 2
			places = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
			files = []string{"memory.max", "memory.high"}
		case strings.Contains(","+parts[1]+",", ",memory,"):
			places, files = []string{"sys/fs/cgroup/memory"}, []string{"memory.limit_in_bytes"}
		}
		for _, place := range places {
			for dir := group; ; dir = path.Dir(dir) { // a container may see its own group as the top
				for _, file := range files {
					if n := limitIn(root, path.Join(place, dir, file)); n > 0 && (least == 0 || n < least) {
						least = n
					}
				}
				if dir == "/" {
					break
				}
			}
		}
	}
	return least
}

// limitIn is the number in a file of a control group, 0 if there is no limit.
func limitIn(root fs.FS, name string) int64 {
	raw, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
	if err != nil || n > math.MaxInt64/2 { // "max", or what version 1 says for none
		return 0
	}
	return n
}
