package clientapi

import (
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getTokenOwnerOut struct {
	User   matrix.UserID   `json:"user_id"`
	Device matrix.DeviceID `json:"device_id,omitempty"`
	Guest  bool            `json:"is_guest"`
}

// getTokenOwner: spec: client-server API, GET account/whoami.
func (a *API) getTokenOwner(c *web.Call, _ web.Empty) (getTokenOwnerOut, error) {
	return getTokenOwnerOut{User: c.User, Device: c.Device, Guest: c.Guest}, nil
}
