package clientapi

// The operations of presence.yaml.

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type setPresenceIn struct {
	User     matrix.UserID `path:"userId"`
	Presence string        `json:"presence" required:"true"`
	Status   *string       `json:"status_msg"`
}

// setPresence: spec: client-server API, PUT presence.
func (a *API) setPresence(c *web.Call, in setPresenceIn) (web.Empty, error) {
	if in.User != c.User {
		return web.Empty{}, matrix.Forbidden("you can only set your own presence")
	}
	if c.Suspended && in.Status != nil && *in.Status != "" {
		return web.Empty{}, matrix.UserSuspended() // a text that others are shown
	}
	return web.Empty{}, a.Ephemeral.SetPresence(c.User, c.Device, in.Presence, in.Status)
}

type getPresenceIn struct {
	User matrix.UserID `path:"userId"`
}

type getPresenceOut struct {
	Presence        string `json:"presence"`
	LastActiveAgo   int64  `json:"last_active_ago"` // ms
	Status          string `json:"status_msg,omitempty"`
	CurrentlyActive bool   `json:"currently_active"`
}

// getPresence: spec: client-server API, GET presence.
func (a *API) getPresence(c *web.Call, tx *kv.ReadTx, in getPresenceIn) (getPresenceOut, error) {
	if in.User != c.User && !a.Rooms.SharesRoom(tx, c.User, in.User) {
		return getPresenceOut{}, matrix.Forbidden("you share no room with that user")
	}
	p := a.Ephemeral.Presence(in.User)
	return getPresenceOut{p.State, p.LastActiveAgo, p.Status, p.CurrentlyActive}, nil
}
