package main

import (
	"strconv"
	"testing"
	"time"
)

// TestRestartsOnce: the process does not start itself again and again.
func TestRestartsOnce(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	for value, want := range map[string]bool{
		"": false, "x": false, at(0): true, at(-restartPause + time.Second): true, at(-restartPause): false, at(time.Hour): true,
	} {
		if got := faultedLately(value, now); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
