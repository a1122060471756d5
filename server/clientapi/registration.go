package clientapi

import (
	"net/http"
	"slices"

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

// EmailUse says whether whoever makes an account gives an address.
type EmailUse string

// The uses of addresses. The zero value is optional. Without a mail relay none is asked.
const (
	EmailOff      EmailUse = "off"
	EmailOptional EmailUse = "optional"
	EmailRequired EmailUse = "required"
)

// registrationFlows are the ways through interactive authentication; nil if nobody may
// register.
func (a *API) registrationFlows() [][]string {
	var first []string
	switch a.Registration {
	case RegistrationToken:
		first = append(first, accounts.StageRegistrationToken)
	case RegistrationOpen:
	default:
		return nil
	}
	if a.Terms != nil {
		first = append(first, accounts.StageTerms)
	}
	withEmail := append(slices.Clone(first), accounts.StageEmail)
	switch {
	case a.Mail != nil && a.RegistrationEmail == EmailRequired:
		return [][]string{withEmail}
	case a.Mail != nil && a.RegistrationEmail != EmailOff:
		// A flow must not be the beginning of another one: the other would never be gone.
		return [][]string{append(first, accounts.StageDummy), withEmail}
	case len(first) == 0:
		return [][]string{{accounts.StageDummy}}
	}
	return [][]string{first}
}

// refuseRegistration is what everybody is told while registration is closed.
func (a *API) refuseRegistration() error {
	if a.registrationFlows() == nil {
		return matrix.Forbidden("this server gives out accounts by itself: ask whoever runs it")
	}
	return nil
}

type registerIn struct {
	Kind         string `query:"kind"`
	Type         string `json:"type"` // of application services
	Username     string `json:"username"`
	Password     string `json:"password"`
	InhibitLogin bool   `json:"inhibit_login"`
	GuestToken   string `json:"guest_access_token"` // of a guest who wants to stay
	newDevice
	uiaIn
}

// register: spec: client-server API, POST register.
func (a *API) register(c *web.Call, in registerIn) (out loginOut, err error) {
	switch in.Kind {
	case "", "user":
	case "guest":
		return a.registerGuest(c, in)
	default:
		return out, matrix.InvalidParam("kind has to be user or guest")
	}
	if in.Type == loginAppservice {
		return a.registerByService(c, in)
	}
	if err := a.refuseRegistration(); err != nil {
		return out, err
	}
	// What is wrong with the request is said before the client goes through the stages.
	guest, err := a.checkNewUser(c, in)
	if err != nil {
		return out, err
	}
	newUser := guest
	if newUser == "" && in.Username != "" {
		if newUser, err = a.Accounts.ParseLocalpart(in.Username); err != nil {
			return out, err
		}
	}
	proof, err := a.Accounts.Interact(c.Ctx, accounts.Operation{
		Name: "register", NewUser: newUser, Flows: a.registrationFlows(), IP: c.IP, Email: accounts.PurposeRegister, Terms: a.Terms,
	}, in.Auth)
	if err != nil {
		return out, err
	}
	hash, err := a.Accounts.HashPassword(c.Ctx, in.Password, in.Username, asker(c))
	if err != nil {
		return out, err
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		user, err := a.makeUser(tx, in.Username, hash, guest, proof)
		if err != nil {
			return err
		}
		if in.InhibitLogin {
			out = loginOut{User: user}
			return nil
		}
		l, err := a.Accounts.Login(tx, in.of(c, user))
		out = a.loginOut(l)
		return err
	})
	return out, err
}

// makeUser makes the account with what the stages have shown, or makes the guest's one a
// full account.
func (a *API) makeUser(tx *kv.WriteTx, localpart, hash string, guest matrix.UserID, proof accounts.Proof) (user matrix.UserID, err error) {
	if proof.RegistrationToken != "" {
		if err := a.Accounts.UseRegistrationToken(tx, proof.RegistrationToken); err != nil {
			return "", err
		}
	}
	n := accounts.NewUser{Localpart: localpart, PasswordHash: hash}
	if a.Terms != nil {
		n.Terms = a.Terms.Versions
	}
	if user = guest; guest != "" {
		err = a.Accounts.UpgradeGuest(tx, guest, n)
	} else {
		user, err = a.Accounts.Create(tx, n)
		if err == nil && localpart != "" {
			err = a.Services.MayCreateUser(user, nil) // there may be a new service by now
		}
	}
	if err != nil || proof.Validation == "" {
		return user, err
	}
	a.Accounts.SpendValidation(tx, proof.Validation)
	return user, a.Accounts.AddThreepid(tx, user, proof.Threepid)
}

// checkNewUser refuses a name that cannot be had, and a request that claims to be
// complete and lacks its password. It returns the guest whose account is to become a full
// one, if the client shows a guest's token.
func (a *API) checkNewUser(c *web.Call, in registerIn) (guest matrix.UserID, err error) {
	err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		if in.GuestToken != "" {
			guest, err = a.upgrading(c, tx, in)
			return err
		}
		if in.Username != "" {
			err = a.available(tx, in.Username)
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case in.Password != "":
		return guest, accounts.CheckPassword(in.Password, in.Username)
	case len(in.Auth) > 0:
		return "", matrix.MissingParam("\"password\" is missing")
	}
	return guest, nil
}

// available refuses a name that is taken, none, or reserved for an application service.
func (a *API) available(r kv.Reader, name string) error {
	user, err := a.Accounts.Available(r, name)
	if err != nil {
		return err
	}
	return a.Services.MayCreateUser(user, nil)
}

// upgrading is the guest who shows their token to become a full user under the same name
// (spec: client-server API, guest access).
func (a *API) upgrading(c *web.Call, r kv.Reader, in registerIn) (matrix.UserID, error) {
	session, err := a.Accounts.Authenticate(r, in.GuestToken, c.Now)
	if err != nil {
		return "", err
	}
	user, err := a.Accounts.ParseLocalpart(in.Username)
	if err != nil {
		return "", err
	}
	if !session.Guest || user != session.User {
		return "", matrix.Forbidden("the token is no guest's, or the user name is another one than the guest's")
	}
	return user, nil
}

// registerGuest makes a guest's account. All else than the name of the device is ignored,
// as the standard asks.
func (a *API) registerGuest(c *web.Call, in registerIn) (out loginOut, err error) {
	if !a.Guests {
		return out, matrix.Refusal(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "this server takes no guests")
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		user, err := a.Accounts.Create(tx, accounts.NewUser{Guest: true})
		if err != nil {
			return err
		}
		l, err := a.Accounts.Login(tx, accounts.NewLogin{User: user, DeviceName: in.DeviceName})
		out = a.loginOut(l)
		return err
	})
	return out, err
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
	err := a.available(tx, in.Username)
	return checkUsernameAvailabilityOut{Available: err == nil}, err
}
