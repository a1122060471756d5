package clientapi

// The operations of support.yaml, policy_server.yaml, oauth_server_metadata.yaml and
// sso_login_redirect.yaml: what the owner has named, and what this server has not.

import (
	"net/http"

	"porchlight/server/matrix"
	"porchlight/server/web"
)

// Contact is a way to reach whoever runs the house; it has a role and a user or an address.
type Contact struct {
	User  matrix.UserID `json:"matrix_id,omitempty"`
	Email string        `json:"email_address,omitempty"`
	Role  string        `json:"role"` // "m.role.admin", "m.role.security", or a name like org.example.role
}

// Support is where people find help. The zero value is: nowhere.
type Support struct {
	Contacts []Contact `json:"contacts,omitempty"`
	Page     string    `json:"support_page,omitempty"` // a web page
}

// getWellknownSupport: spec: client-server API, GET .well-known/matrix/support.
func (a *API) getWellknownSupport(*web.Call, web.Empty) (Support, error) {
	if len(a.Support.Contacts) == 0 && a.Support.Page == "" {
		return Support{}, matrix.NotFound("whoever runs this server has named no contact")
	}
	return a.Support, nil
}

type getWellknownPolicyOut struct {
	Keys map[string]string `json:"public_keys"`
}

// getWellknownPolicy: spec: client-server API, GET .well-known/matrix/policy_server.
func (a *API) getWellknownPolicy(*web.Call, web.Empty) (getWellknownPolicyOut, error) {
	if a.PolicyKey == "" {
		return getWellknownPolicyOut{}, matrix.NotFound("there is no policy server here")
	}
	return getWellknownPolicyOut{map[string]string{"ed25519": a.PolicyKey}}, nil
}

// getAuthMetadata: spec: client-server API, GET auth_metadata. This answer tells clients to
// use the operations for logging in that this API has.
func (a *API) getAuthMetadata(*web.Call, web.Empty) (web.Empty, error) {
	return web.Empty{}, matrix.Unrecognized(http.StatusNotFound, "this server does not use OAuth 2.0")
}

type redirectToSSOIn struct {
	URL string `query:"redirectUrl,required"`
}

// redirectToSSO: spec: client-server API, GET login/sso/redirect. GET login does not name it.
func (a *API) redirectToSSO(*web.Call, redirectToSSOIn) (web.Empty, error) {
	return web.Empty{}, matrix.NotFound("people log in to this server with a password, not through another service")
}

type redirectToIDPIn struct {
	IDP string `path:"idpId"`
	redirectToSSOIn
}

// redirectToIdP: spec: client-server API, GET login/sso/redirect/{idpId}.
func (a *API) redirectToIdP(c *web.Call, in redirectToIDPIn) (web.Empty, error) {
	return a.redirectToSSO(c, in.redirectToSSOIn)
}
