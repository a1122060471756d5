package clientapi

import (
	"time"

	"porchlight/server/rooms"
	"porchlight/server/syncv2"
	"porchlight/server/web"
)

type syncIn struct {
	Filter        string `query:"filter"`
	Since         string `query:"since"`
	FullState     bool   `query:"full_state"`
	SetPresence   string `query:"set_presence"`
	Timeout       int64  `query:"timeout"` // ms
	UseStateAfter bool   `query:"use_state_after"`
}

// maxSyncTimeout keeps a time-out in milliseconds from overflowing; the view bounds it
// further.
const maxSyncTimeout = int64(24 * time.Hour / time.Millisecond)

// sync: spec: client-server API, GET sync.
func (a *API) sync(c *web.Call, in syncIn) (*syncv2.Response, error) {
	if in.Since == "" || in.FullState {
		if err := a.expectEverything(c); err != nil {
			return nil, err
		}
	}
	return a.Sync.Sync(c.Ctx, syncv2.Request{
		Viewer: viewer(c), Since: in.Since, FullState: in.FullState, Filter: in.Filter,
		Timeout:     time.Duration(min(in.Timeout, maxSyncTimeout)) * time.Millisecond,
		SetPresence: in.SetPresence, UseStateAfter: in.UseStateAfter,
	})
}

// viewer is who asks.
func viewer(c *web.Call) rooms.Viewer { return rooms.Viewer{User: c.User, Device: c.Device} }
