package clientapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// uiaIn is the part of a request that goes to interactive authentication.
type uiaIn struct {
	Auth json.RawMessage `json:"auth"`
}

// confirm has the user who is logged in prove with the password that it is they who
// ask for this. It returns the 401 that tells the client how, or nil once it is done.
// Not to be called in a transaction.
func (a *API) confirm(c *web.Call, operationID string, about any, in uiaIn) error {
	_, err := a.Accounts.Interact(c.Ctx, accounts.Operation{
		Name: operationID, User: c.User, Device: c.Device, About: about, IP: c.IP,
		Flows: [][]string{{accounts.StagePassword}},
	}, in.Auth)
	return err
}

type generateLoginTokenOut struct {
	Token     string `json:"login_token"`
	ExpiresMS int64  `json:"expires_in_ms"`
	// Expires is in seconds, for clients of the proposal's first revision.
	Expires int64 `json:"expires_in,omitempty"`
}

// The paths of MSC3882's two revisions before it was part of the standard.
const (
	loginTokenRevision0 = "/_matrix/client/unstable/org.matrix.msc3882/login/token"
	loginTokenRevision1 = "/_matrix/client/unstable/org.matrix.msc3882/login/get_token"
)

// generateLoginToken: spec: client-server API, POST login/get_token.
func (a *API) generateLoginToken(c *web.Call, in uiaIn) (out generateLoginTokenOut, err error) {
	able := false
	err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		able = a.Accounts.HasPassword(tx, c.User)
		return nil
	})
	if err == nil && !able {
		err = matrix.Unknown(http.StatusBadRequest, "this account has no password to confirm this with")
	}
	if err == nil {
		err = a.Accounts.CheckLoginTokenTurn(c.User) // before the person is asked for anything
	}
	if err == nil {
		err = a.confirm(c, "generateLoginToken", c.Device, in)
	}
	if err == nil {
		err = a.Accounts.TakeLoginTokenTurn(c.User)
	}
	if err != nil {
		return out, err
	}
	life := a.Accounts.LoginTokenLife()
	out.ExpiresMS = life.Milliseconds()
	if strings.HasSuffix(c.R.URL.Path, "/login/token") {
		out.Expires = int64(life.Seconds())
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		out.Token = a.Accounts.NewLoginToken(tx, c.User, c.Device)
		return nil
	})
	return out, err
}
