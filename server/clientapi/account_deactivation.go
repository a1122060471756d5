package clientapi

import (
	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/web"
)

type deactivateAccountIn struct {
	Erase          bool   `json:"erase"`
	IdentityServer string `json:"id_server"` // there is none that anything could be bound at
	uiaIn
}

type deactivateAccountOut struct {
	Unbound string `json:"id_server_unbind_result"`
}

// deactivateAccount: spec: client-server API, POST account/deactivate.
func (a *API) deactivateAccount(c *web.Call, in deactivateAccountIn) (deactivateAccountOut, error) {
	user, ghost, err := c.User, false, error(nil)
	if c.Service != "" { // spec: application service API, server admin style permissions
		err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
			ghost = !a.Accounts.HasPassword(tx, user)
			return nil
		})
	}
	if err == nil && !ghost {
		var proof accounts.Proof
		proof, err = a.prove(c, "deactivateAccount", in.Erase, in.uiaIn)
		user = proof.User
	}
	if err != nil {
		return deactivateAccountOut{}, err
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error { return a.Accounts.Deactivate(tx, user, in.Erase) })
	return deactivateAccountOut{Unbound: "success"}, err // nothing was bound
}
