package clientapi

import (
	"porchlight/kv"
	"porchlight/server/web"
)

type refreshIn struct {
	Token string `json:"refresh_token" required:"true"`
}

type refreshOut struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token,omitempty"`
	ExpiresMS int64  `json:"expires_in_ms,omitempty"`
}

// refresh: spec: client-server API, POST refresh.
func (a *API) refresh(_ *web.Call, tx *kv.WriteTx, in refreshIn) (refreshOut, error) {
	l, err := a.Accounts.Refresh(tx, in.Token)
	return refreshOut{Access: l.AccessToken, Refresh: l.RefreshToken, ExpiresMS: l.ExpiresIn.Milliseconds()}, err
}
