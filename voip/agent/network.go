package agent

import (
	"context"
	"fmt"
	"time"

	"porchlight/voip/alert"
)

const (
	// networkLook is how often the board looks whether it still has its network.
	networkLook = 5 * time.Second
	// networkHold is how long the network has to be gone, or back, until that counts: less
	// is a cable that is plugged in anew, or an access point that restarts a radio.
	networkHold = 15 * time.Second
	// networkChime is how often the board is heard while its network is gone.
	networkChime = time.Minute
	chimesInARow = 3
)

// watchNetwork follows whether the board has its network. Nobody can be told while it is
// gone; who relies on the board can hear it then, and reads later from when to when.
func (a *Agent) watchNetwork(ctx context.Context) {
	link := &alert.Link{Hold: networkHold}
	look := time.NewTicker(networkLook)
	defer look.Stop()
	lost := false
	var chimed time.Time
	for {
		switch now := time.Now(); link.Add(a.Network(), now) {
		case alert.LinkLost:
			lost = true
			since, d := link.Gone(now)
			a.Log.Error("the network is gone", "since", since)
			a.later(ctx, func(context.Context) { a.offline = a.Now().Add(-d) })
		case alert.LinkBack:
			lost = false
			since, d := link.Gone(now)
			ago := now.Sub(since)
			a.later(ctx, func(ctx context.Context) { a.networkBack(ctx, ago, d) })
		}
		if now := time.Now(); lost && now.Sub(chimed) >= networkChime && a.Settings.Current().NetworkChime {
			chimed = now
			a.chimeAlarm(ctx)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// networkBack tells that the network was gone, since some time ago and for some time. The
// times of day are reckoned now, when the clock may have been set right again.
func (a *Agent) networkBack(ctx context.Context, ago, d time.Duration) {
	a.offline = time.Time{}
	from := a.Now().Add(-ago)
	text := fmt.Sprintf("The network was gone from %s to %s, for %s: I could reach nobody.",
		from.Format("15:04:05"), from.Add(d).Format("15:04:05"), d.Round(time.Second))
	a.Log.Info("the network is back", "from", from, "for", d)
	if a.Settings.Current().NetworkAlert {
		a.warn(ctx, text)
	}
}

// chimeAlarm makes the board heard.
func (a *Agent) chimeAlarm(ctx context.Context) {
	if a.Devices == nil {
		return
	}
	for range chimesInARow {
		if err := a.Devices.Chime(ctx); err != nil {
			a.Log.Warn("the alarm could not be heard", "error", err)
			return
		}
	}
}
