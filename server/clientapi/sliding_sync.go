package clientapi

import (
	"cmp"
	"encoding/json"
	"time"

	"porchlight/server/slidingsync"
	"porchlight/server/web"
)

type slidingSyncIn struct {
	Body json.RawMessage `body:"raw"`
}

// slidingSync: MSC4186, POST sync.
func (a *API) slidingSync(c *web.Call, in slidingSyncIn) (*slidingsync.Response, error) {
	req, err := slidingsync.ParseRequest(in.Body, false)
	if err != nil {
		return nil, err
	}
	req.Viewer = viewer(c)
	return a.Sliding.Sync(c.Ctx, req)
}

type unstableSlidingSyncIn struct {
	Pos         string          `query:"pos"`
	Timeout     int64           `query:"timeout"` // ms
	SetPresence string          `query:"set_presence"`
	Body        json.RawMessage `body:"raw"`
}

// unstableSlidingSync is slidingSync as clients know it from before it was accepted: some
// of the request is in the query, and some names are others.
func (a *API) unstableSlidingSync(c *web.Call, in unstableSlidingSyncIn) (*slidingsync.Response, error) {
	req, err := slidingsync.ParseRequest(in.Body, true)
	if err != nil {
		return nil, err
	}
	req.Viewer = viewer(c)
	req.Pos, req.SetPresence = cmp.Or(in.Pos, req.Pos), cmp.Or(in.SetPresence, req.SetPresence)
	if in.Timeout > 0 {
		req.Timeout = time.Duration(min(in.Timeout, maxSyncTimeout)) * time.Millisecond
	}
	return a.Sliding.Sync(c.Ctx, req)
}
