package clientapi

import (
	"encoding/json"
	"net/http"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type requestOpenIDTokenOut struct {
	Token   string            `json:"access_token"`
	Type    string            `json:"token_type"`
	Server  matrix.ServerName `json:"matrix_server_name"`
	Expires int64             `json:"expires_in"` // s
}

type requestOpenIDTokenIn struct {
	userIn
	Body json.RawMessage `body:"raw"` // an object for later versions of the standard
}

// requestOpenIdToken: spec: client-server API, POST user/{userId}/openid/request_token.
func (a *API) requestOpenIdToken(c *web.Call, tx *kv.WriteTx, in requestOpenIDTokenIn) (requestOpenIDTokenOut, error) {
	if err := own(c, in.User); err != nil {
		return requestOpenIDTokenOut{}, err
	}
	return requestOpenIDTokenOut{
		Token: a.Accounts.NewOpenIDToken(tx, c.User, c.Device), Type: "Bearer",
		Server: a.Accounts.ServerName(), Expires: int64(accounts.OpenIDTokenLife.Seconds()),
	}, nil
}

type exchangeOpenIDTokenIn struct {
	Token string `query:"access_token"`
}

type exchangeOpenIDTokenOut struct {
	User matrix.UserID `json:"sub"`
}

// exchangeOpenIdToken is an operation of the server-server API that services ask which know
// nothing of federation: spec: server-server API, GET openid/userinfo.
func (a *API) exchangeOpenIdToken(_ *web.Call, tx *kv.ReadTx, in exchangeOpenIDTokenIn) (exchangeOpenIDTokenOut, error) {
	if in.Token == "" {
		return exchangeOpenIDTokenOut{}, matrix.Refusal(http.StatusUnauthorized, "M_MISSING_TOKEN", "the token is missing")
	}
	user, err := a.Accounts.OpenIDUser(tx, in.Token)
	return exchangeOpenIDTokenOut{user}, err
}
