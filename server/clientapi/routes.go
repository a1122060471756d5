package clientapi

import (
	"net/http"

	"porchlight/server/web"
)

// The methods, short enough for a table.
const (
	get    = http.MethodGet
	put    = http.MethodPut
	post   = http.MethodPost
	remove = http.MethodDelete
)

// Routes is the table of all operations, grouped by the files of the OpenAPI
// description, in alphabetical order. RateLimited, Access and Guests are as the spec
// marks them; MaxBody is given where the default of 64 KiB is too little.
func (a *API) Routes() []web.Route {
	return []web.Route{
		// versions.yaml
		{Op: "getVersions", Method: get, Path: "/_matrix/client/versions", Access: web.Anyone, Handler: web.Plain(a.getVersions)},
	}
}
