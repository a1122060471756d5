package clientapi

// The operation of voip.yaml.

import "porchlight/server/web"

// getTurnServer: spec: client-server API, GET voip/turnServer. This house has no TURN
// server, and an empty answer says so.
func (a *API) getTurnServer(*web.Call, web.Empty) (web.Empty, error) { return web.Empty{}, nil }
