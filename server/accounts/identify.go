package accounts

import (
	"net/http"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// The ways in which a client may say which user it means (spec: client-server API,
// identifier types).
const (
	IDUser       = "m.id.user"
	IDThirdParty = "m.id.thirdparty"
	IDPhone      = "m.id.phone"
)

// Identifier is a client's way to name a user.
type Identifier struct {
	Type    string `json:"type"`
	User    string `json:"user"`    // m.id.user: user ID or localpart
	Medium  string `json:"medium"`  // m.id.thirdparty
	Address string `json:"address"` // m.id.thirdparty
	Country string `json:"country"` // m.id.phone
	Phone   string `json:"phone"`   // m.id.phone
}

// Identify is the user that an identifier names, whether there is such an account or
// not. The errors are M_MISSING_PARAM, M_UNKNOWN for a type that the standard does not
// know, and M_FORBIDDEN for a third-party identifier that is nobody's.
func (k *Keeper) Identify(r kv.Reader, id Identifier) (matrix.UserID, error) {
	switch id.Type {
	case "":
		return "", matrix.MissingParam("\"identifier\" is missing")
	case IDUser:
		if id.User == "" {
			return "", matrix.MissingParam("\"user\" is missing in the identifier")
		}
		return k.Resolve(r, id.User), nil
	case IDThirdParty, IDPhone: // this house knows nobody's phone
		if user, ok := k.ThreepidOwner(r, id.Medium, id.Address); ok && id.Type == IDThirdParty {
			return user, nil
		}
		return "", matrix.Forbidden("no account has that third-party identifier")
	}
	return "", matrix.Unknown(http.StatusBadRequest, "this server does not know that type of identifier")
}
