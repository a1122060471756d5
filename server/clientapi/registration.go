package clientapi

import (
	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// Registration says who may make an account by themselves.
type Registration string

// The kinds of registration. The zero value is closed.
const (
	RegistrationClosed Registration = "closed"
	RegistrationToken  Registration = "token" // who has a registration token
	RegistrationOpen   Registration = "open"
)

// flows are the ways through interactive authentication; nil if nobody may register.
func (r Registration) flows() [][]string {
	switch r {
	case RegistrationToken:
		return [][]string{{accounts.StageRegistrationToken}}
	case RegistrationOpen:
		return [][]string{{accounts.StageDummy}}
	}
	return nil
}

// refuseRegistration is what everybody is told while registration is closed.
func (a *API) refuseRegistration() error {
	if a.Registration.flows() == nil {
		return matrix.Forbidden("this server gives out accounts by itself: ask whoever runs it")
	}
	return nil
}

type registerIn struct {
	Kind         string `query:"kind"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	InhibitLogin bool   `json:"inhibit_login"`
	newDevice
	uiaIn
}

// register: spec: client-server API, POST register.
func (a *API) register(c *web.Call, in registerIn) (out loginOut, err error) {
	switch in.Kind {
	case "", "user":
	case "guest":
		return out, matrix.Forbidden("this server takes no guests")
	default:
		return out, matrix.InvalidParam("kind has to be user or guest")
	}
	if err := a.refuseRegistration(); err != nil {
		return out, err
	}
	// What is wrong with the request is said before the client goes through the stages.
	if err := a.checkNewUser(c, in); err != nil {
		return out, err
	}
	proof, err := a.Accounts.Interact(c.Ctx, accounts.Operation{
		Name: "register", Flows: a.Registration.flows(), IP: c.IP,
	}, in.Auth)
	if err != nil {
		return out, err
	}
	hash, err := a.Accounts.HashPassword(c.Ctx, in.Password)
	if err != nil {
		return out, err
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		if proof.RegistrationToken != "" {
			if err := a.Accounts.UseRegistrationToken(tx, proof.RegistrationToken); err != nil {
				return err
			}
		}
		user, err := a.Accounts.Create(tx, accounts.NewUser{Localpart: in.Username, PasswordHash: hash})
		if err != nil {
			return err
		}
		if in.InhibitLogin {
			out = loginOut{User: user}
			return nil
		}
		l, err := a.Accounts.Login(tx, in.of(user))
		out = a.loginOut(l)
		return err
	})
	return out, err
}

// checkNewUser refuses a name that cannot be had, and a request that claims to be
// complete and lacks its password.
func (a *API) checkNewUser(c *web.Call, in registerIn) error {
	if in.Username != "" {
		err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
			_, err := a.Accounts.Available(tx, in.Username)
			return err
		})
		if err != nil {
			return err
		}
	}
	if in.Password != "" {
		return accounts.CheckPassword(in.Password)
	}
	if len(in.Auth) > 0 {
		return matrix.MissingParam("\"password\" is missing")
	}
	return nil
}

type checkUsernameAvailabilityIn struct {
	Username string `query:"username,required"`
}

type checkUsernameAvailabilityOut struct {
	Available bool `json:"available"`
}

// checkUsernameAvailability: spec: client-server API, GET register/available.
func (a *API) checkUsernameAvailability(_ *web.Call, tx *kv.ReadTx, in checkUsernameAvailabilityIn) (checkUsernameAvailabilityOut, error) {
	if err := a.refuseRegistration(); err != nil { // else anybody could list who lives here
		return checkUsernameAvailabilityOut{}, err
	}
	_, err := a.Accounts.Available(tx, in.Username)
	return checkUsernameAvailabilityOut{Available: err == nil}, err
}
