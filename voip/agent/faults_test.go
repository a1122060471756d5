package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFaultsAreTold: a camera that dies while nobody watches, comes back, and then has a
// loose cable.
func TestFaultsAreTold(t *testing.T) {
	equipped(t, func(h *house, s *senses, a *Agent) {
		h.words()
		camera := func(err error, wait time.Duration, want ...string) {
			t.Helper()
			s.mu.Lock()
			s.fault = err
			s.mu.Unlock()
			time.Sleep(wait)
			synctest.Wait()
			got := h.words()
			same := len(got) == len(want)
			for i := range got {
				same = same && strings.Contains(got[i], want[i])
			}
			if !same {
				t.Errorf("with the fault %v the board said %q, not %q", err, got, want)
			}
		}
		unplugged := errors.New("it is unplugged")
		const failed, good = "The camera has failed: you cannot rely on it now. (it is unplugged)", "The camera works again."
		camera(nil, time.Hour)
		camera(unplugged, 2*faultLook, failed)
		camera(unplugged, time.Hour/2)
		if got := h.write("status"); !strings.Contains(got[0], "The camera has failed.") {
			t.Errorf("status: %q", got)
		}
		camera(nil, 2*faultLook, good)
		if got := h.write("status"); strings.Contains(got[0], "has failed") {
			t.Errorf("status: %q", got)
		}
		camera(unplugged, 2*faultLook, failed)
		camera(nil, faultHold/2)
		camera(unplugged, 2*faultLook) // people know
		camera(nil, faultHold+faultLook, good)
		camera(unplugged, 2*faultLook, failed)
		camera(nil, faultHold+faultLook)
		camera(nil, faultHold+faultLook, good)
		camera(nil, faultMemory)
		camera(unplugged, 2*faultLook, failed)
		camera(nil, 2*faultLook, good)
		if err := a.Settings.Set(context.Background(), "fault_alert", "off", ""); err != nil {
			t.Fatal(err)
		}
		camera(unplugged, 2*faultLook)
		if got := h.write("status"); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "The camera has failed.") }) {
			t.Errorf("status: %q", got)
		}
	})
}
