package clientapi

import (
	"porchlight/kv"
	"porchlight/server/web"
)

// logout: spec: client-server API, POST logout.
func (a *API) logout(c *web.Call, tx *kv.WriteTx, _ web.Empty) (web.Empty, error) {
	return web.Empty{}, a.Accounts.DeleteDevice(tx, c.User, c.Device)
}

// logoutAll: spec: client-server API, POST logout/all (logout_all).
func (a *API) logoutAll(c *web.Call, tx *kv.WriteTx, _ web.Empty) (web.Empty, error) {
	return web.Empty{}, a.Accounts.DeleteAllDevices(tx, c.User, "")
}
