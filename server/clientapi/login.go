package clientapi

import (
	"net/http"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// The ways to log in.
const (
	loginPassword   = "m.login.password"
	loginToken      = "m.login.token"
	loginAppservice = "m.login.application_service"
)

type loginFlow struct {
	Type          string `json:"type"`
	GetLoginToken bool   `json:"get_login_token,omitempty"`
	// Unstable is GetLoginToken as it was called before.
	Unstable bool `json:"org.matrix.msc3882.get_login_token,omitempty"`
}

type getLoginFlowsOut struct {
	Flows []loginFlow `json:"flows"`
}

// getLoginFlows: spec: client-server API, GET login.
func (a *API) getLoginFlows(*web.Call, web.Empty) (getLoginFlowsOut, error) {
	flows := []loginFlow{{Type: loginPassword}, {Type: loginToken, GetLoginToken: true, Unstable: true}}
	if len(a.Services.Services()) > 0 { // bridges look for it before they try
		flows = append(flows, loginFlow{Type: loginAppservice})
	}
	return getLoginFlowsOut{Flows: flows}, nil
}

type loginIn struct {
	Type       string              `json:"type" required:"true"`
	Identifier accounts.Identifier `json:"identifier"`
	User       string              `json:"user"`    // older clients, in place of identifier
	Medium     string              `json:"medium"`  // older clients, in place of identifier
	Address    string              `json:"address"` // older clients, in place of identifier
	Password   *string             `json:"password"`
	Token      string              `json:"token"`
	newDevice
}

// newDevice is how login and register say which device gets the tokens.
type newDevice struct {
	Device       string `json:"device_id"` // empty: a new one
	DeviceName   string `json:"initial_device_display_name"`
	RefreshToken bool   `json:"refresh_token"` // the client knows how to refresh
}

// of is the device as the accounts want it.
func (d newDevice) of(c *web.Call, user matrix.UserID) accounts.NewLogin {
	return accounts.NewLogin{User: user, IP: c.IP, Device: matrix.DeviceID(d.Device), DeviceName: d.DeviceName, Refresh: d.RefreshToken}
}

// loginOut is the answer of login and register.
type loginOut struct {
	User      matrix.UserID   `json:"user_id"`
	Device    matrix.DeviceID `json:"device_id,omitempty"`
	Access    string          `json:"access_token,omitempty"`
	Refresh   string          `json:"refresh_token,omitempty"`
	ExpiresMS int64           `json:"expires_in_ms,omitempty"`
	WellKnown *wellKnown      `json:"well_known,omitempty"`
}

func (a *API) loginOut(l accounts.Login) loginOut {
	return loginOut{
		User: l.User, Device: l.Device, Access: l.AccessToken, Refresh: l.RefreshToken,
		ExpiresMS: l.ExpiresIn.Milliseconds(), WellKnown: a.wellKnown(a.PublicURL),
	}
}

// login: spec: client-server API, POST login.
func (a *API) login(c *web.Call, in loginIn) (out loginOut, err error) {
	var user matrix.UserID
	switch in.Type {
	case loginPassword:
		if user, err = a.loginByPassword(c, in); err != nil {
			return out, err
		}
	case loginToken:
		if in.Token == "" {
			return out, matrix.MissingParam("\"token\" is missing")
		}
	case loginAppservice:
		if user, err = a.loginByService(c, in); err != nil {
			return out, err
		}
	default:
		return out, matrix.Unknown(http.StatusBadRequest, "this server does not know that way to log in")
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		if in.Type == loginToken {
			if user, err = a.Accounts.UseLoginToken(tx, in.Token); err != nil {
				return err
			}
		}
		if in.Device != "" && a.E2EE.IsCrossSigningKey(tx, user, in.Device) {
			return matrix.Forbidden("a device cannot be called like one of your cross-signing keys")
		}
		l, err := a.Accounts.Login(tx, in.of(c, user))
		out = a.loginOut(l)
		return err
	})
	return out, err
}

// loginByPassword is the user whom the identifier and the password prove.
func (a *API) loginByPassword(c *web.Call, in loginIn) (user matrix.UserID, err error) {
	id := in.Identifier
	switch {
	case id.Type == "" && in.User != "":
		id = accounts.Identifier{Type: accounts.IDUser, User: in.User}
	case id.Type == "" && in.Medium != "":
		id = accounts.Identifier{Type: accounts.IDThirdParty, Medium: in.Medium, Address: in.Address}
	case id.Type == "" && id.Medium != "":
		id.Type = accounts.IDThirdParty
	}
	if in.Password == nil {
		return "", matrix.MissingParam("\"password\" is missing")
	}
	err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		user, err = a.Accounts.Identify(tx, id)
		return err
	})
	if matrix.IsCode(err, "M_FORBIDDEN") {
		user, err = "", nil // nobody: refused as a wrong password is, and after the same time
	}
	if err != nil {
		return "", err
	}
	return user, a.Accounts.VerifyPassword(c.Ctx, user, *in.Password, asker(c))
}

// asker is who asks, to whom passwords that are looked at and hashed are counted.
func asker(c *web.Call) accounts.Asker {
	return accounts.Asker{User: c.User, Device: c.Device, IP: c.IP}
}
