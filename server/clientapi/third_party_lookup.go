package clientapi

// The operations of third_party_lookup.yaml. Other networks are reached through
// application services; where there are none, there is nothing to be found.

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// getProtocols: spec: client-server API, GET thirdparty protocols.
func (a *API) getProtocols(*web.Call, web.Empty) (web.Empty, error) { return web.Empty{}, nil }

type protocolIn struct {
	Protocol string `path:"protocol"`
}

// getProtocolMetadata: spec: client-server API, GET thirdparty protocol.
func (a *API) getProtocolMetadata(*web.Call, protocolIn) (web.Empty, error) {
	return web.Empty{}, matrix.NotFound("this server knows no such protocol")
}

// queryLocationByProtocol: spec: client-server API, GET thirdparty location by protocol.
func (a *API) queryLocationByProtocol(*web.Call, protocolIn) ([]web.Empty, error) {
	return nil, matrix.NotFound("no portal rooms were found")
}

// queryUserByProtocol: spec: client-server API, GET thirdparty user by protocol.
func (a *API) queryUserByProtocol(*web.Call, protocolIn) ([]web.Empty, error) {
	return nil, matrix.NotFound("no such user was found")
}

type queryLocationByAliasIn struct {
	Alias matrix.RoomAlias `query:"alias,required"`
}

// queryLocationByAlias: spec: client-server API, GET thirdparty location. An alias that is
// known leads to no other network.
func (a *API) queryLocationByAlias(_ *web.Call, tx *kv.ReadTx, in queryLocationByAliasIn) ([]web.Empty, error) {
	if _, ok := a.Rooms.Resolve(tx, in.Alias); !ok {
		return nil, matrix.NotFound("there is no room with that alias")
	}
	return []web.Empty{}, nil
}

type queryUserByIDIn struct {
	User matrix.UserID `query:"userid,required"`
}

// queryUserByID: spec: client-server API, GET thirdparty user. A user who is known is of no
// other network.
func (a *API) queryUserByID(_ *web.Call, tx *kv.ReadTx, in queryUserByIDIn) ([]web.Empty, error) {
	if !a.Accounts.Exists(tx, in.User) {
		return nil, matrix.NotFound("there is no such user here")
	}
	return []web.Empty{}, nil
}
