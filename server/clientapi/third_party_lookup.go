package clientapi

// The operations of third_party_lookup.yaml. Other networks are reached through
// application services; where there are none, there is nothing to be found.

import (
	"encoding/json"
	"net/url"

	"porchlight/kv"
	"porchlight/server/appservice"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// getProtocols: spec: client-server API, GET thirdparty protocols.
func (a *API) getProtocols(c *web.Call, _ web.Empty) (map[string]appservice.Protocol, error) {
	return a.Services.Protocols(c.Ctx, ""), nil
}

type protocolIn struct {
	Protocol string `path:"protocol"`
}

func unknownProtocol() error { return matrix.NotFound("this server knows no such protocol") }

// getProtocolMetadata: spec: client-server API, GET thirdparty protocol.
func (a *API) getProtocolMetadata(c *web.Call, in protocolIn) (appservice.Protocol, error) {
	if p, ok := a.Services.Protocols(c.Ctx, in.Protocol)[in.Protocol]; ok && in.Protocol != "" {
		return p, nil
	}
	return appservice.Protocol{}, unknownProtocol()
}

// queryLocationByProtocol: spec: client-server API, GET thirdparty location by protocol.
func (a *API) queryLocationByProtocol(c *web.Call, in protocolIn) ([]json.RawMessage, error) {
	return a.searchNetwork(c, appservice.Locations, in.Protocol, "no portal rooms were found")
}

// queryUserByProtocol: spec: client-server API, GET thirdparty user by protocol.
func (a *API) queryUserByProtocol(c *web.Call, in protocolIn) ([]json.RawMessage, error) {
	return a.searchNetwork(c, appservice.Users, in.Protocol, "no such user was found")
}

func (a *API) searchNetwork(c *web.Call, what appservice.Lookup, protocol, none string) ([]json.RawMessage, error) {
	found, known := a.Services.Search(c.Ctx, what, protocol, searchFields(c))
	switch {
	case !known:
		return nil, unknownProtocol()
	case len(found) == 0:
		return nil, matrix.NotFound(none)
	}
	return found, nil
}

// searchFields is what of a query is meant for the services, and not for this server.
func searchFields(c *web.Call) url.Values {
	query := c.R.URL.Query()
	query.Del("access_token")
	if c.Service != "" {
		for _, ours := range []string{"user_id", "device_id", "org.matrix.msc3202.device_id"} {
			query.Del(ours)
		}
	}
	return query
}

type queryLocationByAliasIn struct {
	Alias matrix.RoomAlias `query:"alias,required"`
}

// queryLocationByAlias: spec: client-server API, GET thirdparty location. An alias that is
// known may lead to no other network.
func (a *API) queryLocationByAlias(c *web.Call, in queryLocationByAliasIn) ([]json.RawMessage, error) {
	known := false
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		_, known = a.Rooms.Resolve(tx, in.Alias)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := a.Services.Reverse(c.Ctx, appservice.Locations, string(in.Alias))
	if len(found) == 0 && !known {
		return nil, matrix.NotFound("there is no room with that alias")
	}
	return found, nil
}

type queryUserByIDIn struct {
	User matrix.UserID `query:"userid,required"`
}

// queryUserByID: spec: client-server API, GET thirdparty user. A user who is known may be of
// no other network.
func (a *API) queryUserByID(c *web.Call, in queryUserByIDIn) ([]json.RawMessage, error) {
	known := false
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		known = a.Accounts.Exists(tx, in.User)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := a.Services.Reverse(c.Ctx, appservice.Users, string(in.User))
	if len(found) == 0 && !known {
		return nil, matrix.NotFound("there is no such user here")
	}
	return found, nil
}
