package clientapi

// The operations of administrative_contact.yaml, and those of registration.yaml and
// password_management.yaml that have an address validated.

import (
	"net/http"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// noSupport says that an identity server was not, and could not be, asked to forget
// something: this house binds nothing there.
const noSupport = "no-support"

type threepidOut struct {
	Medium    string `json:"medium"`
	Address   string `json:"address"`
	Validated int64  `json:"validated_at"`
	Added     int64  `json:"added_at"`
}

type getAccount3PIDsOut struct {
	Threepids []threepidOut `json:"threepids"`
}

// getAccount3PIDs: spec: client-server API, GET account/3pid.
func (a *API) getAccount3PIDs(c *web.Call, tx *kv.ReadTx, _ web.Empty) (getAccount3PIDsOut, error) {
	out := getAccount3PIDsOut{Threepids: []threepidOut{}}
	for t := range a.Accounts.Threepids(tx, c.User) {
		out.Threepids = append(out.Threepids, threepidOut(t))
	}
	return out, nil
}

// untrusted is what the house says of every identity server: it asks none.
func untrusted(status int) error {
	return matrix.Refusal(status, "M_SERVER_NOT_TRUSTED", "this server works with no identity server")
}

type identityCreds struct {
	Secret   string `json:"client_secret" required:"true"`
	IDServer string `json:"id_server" required:"true"`
	IDToken  string `json:"id_access_token" required:"true"`
	SID      string `json:"sid" required:"true"`
}

type post3PIDsIn struct {
	Creds *identityCreds `json:"three_pid_creds" required:"true"`
}

// post3PIDs: spec: client-server API, POST account/3pid: bind3PID by its former name.
func (a *API) post3PIDs(*web.Call, post3PIDsIn) (web.Empty, error) {
	return web.Empty{}, untrusted(http.StatusForbidden)
}

// bind3PID: spec: client-server API, POST account/3pid/bind.
func (a *API) bind3PID(*web.Call, identityCreds) (web.Empty, error) {
	return web.Empty{}, untrusted(http.StatusBadRequest)
}

type add3PIDIn struct {
	Secret string `json:"client_secret" required:"true"`
	SID    string `json:"sid" required:"true"`
	uiaIn
}

// add3PID: spec: client-server API, POST account/3pid/add.
func (a *API) add3PID(c *web.Call, in add3PIDIn) (web.Empty, error) {
	if a.Mail == nil {
		return web.Empty{}, mediumNotSupported("this server validates no addresses")
	}
	if err := a.confirm(c, "add3PID", []string{in.Secret, in.SID}, in.uiaIn); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		t, err := a.Accounts.Validated(tx, accounts.PurposeAdd, c.User, in.SID, in.Secret)
		if err != nil {
			return err
		}
		a.Accounts.SpendValidation(tx, in.SID)
		return a.Accounts.AddThreepid(tx, c.User, t)
	})
}

type threepidIn struct {
	Medium   string `json:"medium" required:"true"`
	Address  string `json:"address" required:"true"`
	IDServer string `json:"id_server"`
}

func (in threepidIn) check() error {
	if in.Medium != accounts.MediumEmail && in.Medium != "msisdn" {
		return matrix.InvalidParam("the medium has to be email or msisdn")
	}
	return nil
}

type unboundOut struct {
	Result string `json:"id_server_unbind_result"`
}

// delete3pidFromAccount: spec: client-server API, POST account/3pid/delete.
func (a *API) delete3pidFromAccount(c *web.Call, tx *kv.WriteTx, in threepidIn) (unboundOut, error) {
	if err := in.check(); err != nil {
		return unboundOut{}, err
	}
	return unboundOut{noSupport}, a.Accounts.DeleteThreepid(tx, c.User, in.Medium, in.Address)
}

// unbind3pidFromAccount: spec: client-server API, POST account/3pid/unbind.
func (a *API) unbind3pidFromAccount(_ *web.Call, in threepidIn) (unboundOut, error) {
	return unboundOut{noSupport}, in.check()
}

// requestTokenToRegisterEmail: spec: client-server API, POST register/email/requestToken.
func (a *API) requestTokenToRegisterEmail(c *web.Call, in emailTokenIn) (tokenOut, error) {
	if err := a.refuseRegistration(); err != nil {
		return tokenOut{}, err
	}
	return a.requestEmailToken(c, accounts.PurposeRegister, in)
}

// requestTokenTo3PIDEmail: spec: client-server API, POST account/3pid/email/requestToken.
func (a *API) requestTokenTo3PIDEmail(c *web.Call, in emailTokenIn) (tokenOut, error) {
	return a.requestEmailToken(c, accounts.PurposeAdd, in)
}

// requestTokenToResetPasswordEmail: spec: client-server API, POST
// account/password/email/requestToken.
func (a *API) requestTokenToResetPasswordEmail(c *web.Call, in emailTokenIn) (tokenOut, error) {
	return a.requestEmailToken(c, accounts.PurposeReset, in)
}

type phoneTokenIn struct {
	Secret  string `json:"client_secret" required:"true"`
	Country string `json:"country" required:"true"`
	Phone   string `json:"phone_number" required:"true"`
	Attempt int64  `json:"send_attempt" required:"true"`
	Next    string `json:"next_link"`
}

// requestPhoneToken refuses: the house sends no short messages.
func (a *API) requestPhoneToken(_ *web.Call, in phoneTokenIn) (tokenOut, error) {
	if err := checkClientSecret(in.Secret); err != nil {
		return tokenOut{}, err
	}
	return tokenOut{}, mediumNotSupported("this server cannot validate phone numbers")
}

func mediumNotSupported(msg string) error {
	return matrix.Refusal(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", msg)
}
