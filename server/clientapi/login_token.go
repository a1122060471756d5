package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/accounts"
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
		Name: operationID, User: c.User, About: about, IP: c.IP,
		Flows: [][]string{{accounts.StagePassword}},
	}, in.Auth)
	return err
}

type generateLoginTokenOut struct {
	Token     string `json:"login_token"`
	ExpiresMS int64  `json:"expires_in_ms"`
}

// generateLoginToken: spec: client-server API, POST login/get_token.
func (a *API) generateLoginToken(c *web.Call, in uiaIn) (out generateLoginTokenOut, err error) {
	if err := a.confirm(c, "generateLoginToken", c.Device, in); err != nil {
		return out, err
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		out = generateLoginTokenOut{Token: a.Accounts.NewLoginToken(tx, c.User), ExpiresMS: accounts.LoginTokenLife.Milliseconds()}
		return nil
	})
	return out, err
}
