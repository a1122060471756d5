package clientapi

import (
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// wellKnown tells clients where the server is (spec: client-server API, GET
// .well-known/matrix/client).
type wellKnown struct {
	Homeserver struct {
		BaseURL string `json:"base_url"`
	} `json:"m.homeserver"`
}

// wellKnown is nil while no public address is configured.
func (a *API) wellKnown() *wellKnown {
	if a.PublicURL == "" {
		return nil
	}
	w := new(wellKnown)
	w.Homeserver.BaseURL = a.PublicURL
	return w
}

// getWellknown: spec: client-server API, GET .well-known/matrix/client.
func (a *API) getWellknown(*web.Call, web.Empty) (*wellKnown, error) {
	w := a.wellKnown()
	if w == nil {
		return nil, matrix.NotFound("this server has no public address configured")
	}
	return w, nil
}
