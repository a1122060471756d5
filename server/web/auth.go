package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Authenticator knows whose a token is. server/accounts implements it.
type Authenticator interface {
	// Authenticate finds the holder of an access token, which is not empty. A token
	// that is unknown or expired is refused with the *matrix.Error that the client is
	// to see.
	Authenticate(r kv.Reader, token string, now time.Time) (Requester, error)
}

// Requester is who holds an access token.
type Requester struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Guest  bool
	Owner  bool // owner of the house
	Locked bool // may do nothing but log out (spec: client-server API, account locking)
	// Suspended users may read and leave (spec: client-server API, account suspension).
	Suspended bool
	// Service is the ID of the application service that acts for the user; empty: none.
	Service string
	// Unlimited requests are not counted against rate limits.
	Unlimited bool
}

// accessToken is the token of a request: of the Authorization header, else of the
// query (spec: client-server API, using access tokens); empty if there is none.
func accessToken(r *http.Request, query url.Values) string {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return ""
		}
		return strings.TrimSpace(token)
	}
	return query.Get("access_token")
}

// Token is the access token of the request, empty if there is none: for operations of which
// only one form needs one.
func (c *Call) Token() string { return accessToken(c.R, c.R.URL.Query()) }

// authenticate fills in who the caller is. It is run once before the body is read and
// again inside a write transaction, since the token may be gone by then.
func (x *exchange) authenticate(r kv.Reader) error {
	access := x.op.route.Access
	if access == Anyone || (access == Optional && x.token == "") {
		return nil
	}
	if x.token == "" {
		return matrix.MissingToken()
	}
	who, err := x.server.auth.Authenticate(r, x.token, x.call.Now)
	if err != nil {
		return err
	}
	if who.Service != "" && x.server.assert != nil {
		user, device := x.query.Get("user_id"), x.query.Get("device_id")
		if device == "" {
			device = x.query.Get("org.matrix.msc3202.device_id") // as services called it before v1.17
		}
		if who, err = x.server.assert(r, who, matrix.UserID(user), matrix.DeviceID(device)); err != nil {
			return err
		}
	}
	if who.Locked && !x.op.route.Locked {
		return matrix.UserLocked()
	}
	if who.Guest && !x.op.route.Guests {
		return matrix.Refusal(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot do this.")
	}
	if who.Suspended && x.op.route.NotSuspended {
		return matrix.UserSuspended()
	}
	x.call.User, x.call.Device, x.call.Guest, x.call.Owner = who.User, who.Device, who.Guest, who.Owner
	x.call.Suspended, x.call.Service, x.call.unlimited = who.Suspended, who.Service, who.Unlimited
	return nil
}
