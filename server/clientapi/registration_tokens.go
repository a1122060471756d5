package clientapi

import (
	"porchlight/kv"
	"porchlight/server/web"
)

type registrationTokenValidityIn struct {
	Token string `query:"token,required"`
}

type registrationTokenValidityOut struct {
	Valid bool `json:"valid"`
}

// registrationTokenValidity: spec: client-server API, GET
// register/m.login.registration_token/validity.
func (a *API) registrationTokenValidity(_ *web.Call, tx *kv.ReadTx, in registrationTokenValidityIn) (registrationTokenValidityOut, error) {
	if err := a.refuseRegistration(); err != nil {
		return registrationTokenValidityOut{}, err
	}
	return registrationTokenValidityOut{Valid: a.Accounts.RegistrationTokenValid(tx, in.Token)}, nil
}
