package clientapi

import (
	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type changePasswordIn struct {
	NewPassword   string `json:"new_password"`
	LogoutDevices *bool  `json:"logout_devices"`
	uiaIn
}

// prove is confirm for operations that may be used without being logged in: the
// password then says who it is.
func (a *API) prove(c *web.Call, operationID string, about any, in uiaIn, flows ...[]string) (accounts.Proof, error) {
	return a.Accounts.Interact(c.Ctx, accounts.Operation{
		Name: operationID, User: c.User, Device: c.Device, About: about, IP: c.IP, Email: accounts.PurposeReset,
		Flows: append([][]string{{accounts.StagePassword}}, flows...),
	}, in.Auth)
}

// changePassword: spec: client-server API, POST account/password.
func (a *API) changePassword(c *web.Call, in changePasswordIn) (web.Empty, error) {
	logout := in.LogoutDevices == nil || *in.LogoutDevices
	if in.NewPassword == "" {
		if len(in.Auth) > 0 {
			return web.Empty{}, matrix.MissingParam("\"new_password\" is missing")
		}
	} else if err := accounts.CheckPassword(in.NewPassword, c.User.Localpart()); err != nil {
		return web.Empty{}, err
	}
	var byEmail [][]string
	if a.Mail != nil && c.User == "" { // whoever forgot the password has no session
		byEmail = [][]string{{accounts.StageEmail}}
	}
	proof, err := a.prove(c, "changePassword", []any{in.NewPassword, logout}, in.uiaIn, byEmail...)
	if err != nil {
		return web.Empty{}, err
	}
	hash, err := a.Accounts.HashPassword(c.Ctx, in.NewPassword, proof.User.Localpart(), asker(c))
	if err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		if err := a.Accounts.SetPasswordHash(tx, proof.User, hash); err != nil {
			return err
		}
		if proof.Validation != "" {
			a.Accounts.SpendValidation(tx, proof.Validation)
		}
		if !logout {
			return nil
		}
		return a.Accounts.DeleteAllDevices(tx, proof.User, c.Device)
	})
}
