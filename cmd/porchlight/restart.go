package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// faultVariable tells the next start of this process when the disk refused a write, in
	// seconds since 1970. It is no setting.
	faultVariable = "_PORCHLIGHT_STORAGE_FAULT"
	// restartPause is how long the process does not start itself again after that.
	restartPause = 10 * time.Minute
)

// faultedLately says whether the process was started for a fault of the disk less than
// restartPause ago. A time to come is of a clock that was wrong, and counts.
func faultedLately(value string, now time.Time) bool {
	at, err := strconv.ParseInt(value, 10, 64)
	return err == nil && now.Sub(time.Unix(at, 0)) < restartPause
}

// restart puts a fresh process in the place of this one; it returns only if that fails. The
// process keeps its number, so that whoever supervises it notices nothing.
func restart(now time.Time) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	env := []string{faultVariable + "=" + strconv.FormatInt(now.Unix(), 10)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, faultVariable+"=") {
			env = append(env, v)
		}
	}
	return fmt.Errorf("start again: %w", syscall.Exec(program, os.Args, env))
}
