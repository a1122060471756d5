package clientapi

// The operation of voip.yaml.

import "porchlight/server/web"

// TurnServer is what a client needs to have its calls relayed.
type TurnServer struct {
	URIs     []string `json:"uris,omitempty"`
	Username string   `json:"username,omitempty"`
	Password string   `json:"password,omitempty"`
	TTL      int      `json:"ttl,omitempty"` // seconds that username and password last
}

// getTurnServer: spec: client-server API, GET voip/turnServer. Where there is no TURN
// server, an empty answer says so: clients take any list, and browsers refuse an empty one.
func (a *API) getTurnServer(c *web.Call, _ web.Empty) (TurnServer, error) {
	if a.Turn != nil {
		if turn := a.Turn(c.User, c.Base); turn != nil {
			return *turn, nil
		}
	}
	return TurnServer{}, nil
}
