package agent

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestNetworkAlarm: who relies on the board hears it while its network is gone, and reads
// later from when to when.
func TestNetworkAlarm(t *testing.T) {
	var up atomic.Bool
	up.Store(true)
	var s *senses
	board(t, func(c *Config) {
		with(t, "network_chime", "on", "alert_people", "@bob:h")(c)
		s = &senses{}
		c.Devices, c.Network = s, up.Load
	}, func(h *house, _ *media, a *Agent) {
		look := func(is bool, d time.Duration) []string {
			up.Store(is)
			time.Sleep(d)
			synctest.Wait()
			return h.words()
		}
		if got := look(true, time.Hour); len(got) != 0 || s.chimes != 0 {
			t.Errorf("while all is well: %q, %d chimes", got, s.chimes)
		}
		look(false, networkHold-networkLook)
		if got := look(true, time.Minute); len(got) != 0 || s.chimes != 0 {
			t.Errorf("after a short gap: %q, %d chimes", got, s.chimes)
		}
		gone := a.Now()
		if got := look(false, 10*time.Minute); len(got) != 0 {
			t.Errorf("while it is gone: %q", got)
		}
		if s.chimes < 9*chimesInARow || s.chimes > 10*chimesInARow {
			t.Errorf("%d chimes in ten minutes", s.chimes)
		}
		if got := h.write("status"); !strings.Contains(got[0], "The network has been gone since "+gone.Add(networkLook).Format("15:04:05")) {
			t.Errorf("status %q", got)
		}
		look(true, networkHold-networkLook) // it flaps
		look(false, networkLook)
		if got := look(true, time.Minute); len(got) != 2 || !strings.HasPrefix(got[0], "!bob The network was gone from 01:01:15 to 01:11:30, for 10m15s") ||
			!strings.HasPrefix(got[1], "!direct The network was gone") {
			t.Errorf("when it is back: %q", got)
		}
		if got := h.write("status"); strings.Contains(got[0], "network") {
			t.Errorf("status %q", got)
		}
	})
}
