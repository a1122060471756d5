package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/web"
)

// maxAccountDataBody is larger than what is stored, so that white space does not count
// against the client.
const maxAccountDataBody = 2 * accounts.MaxAccountDataBytes

type accountDataIn struct {
	userIn
	Type string `path:"type"`
}

type roomAccountDataIn struct {
	userIn
	Room matrix.RoomID `path:"roomId"`
	Type string        `path:"type"`
}

// getAccountData: spec: client-server API, GET user/{userId}/account_data/{type}.
func (a *API) getAccountData(c *web.Call, tx *kv.ReadTx, in accountDataIn) (json.RawMessage, error) {
	return a.getAccountDataPerRoom(c, tx, roomAccountDataIn{userIn: in.userIn, Type: in.Type})
}

// getAccountDataPerRoom: spec: client-server API, GET
// user/{userId}/rooms/{roomId}/account_data/{type}.
func (a *API) getAccountDataPerRoom(c *web.Call, tx *kv.ReadTx, in roomAccountDataIn) (json.RawMessage, error) {
	if err := own(c, in.User); err != nil {
		return nil, err
	}
	content, ok := push.AccountData{Keeper: a.Accounts, Push: a.Push}.AccountData(tx, c.User, in.Room, in.Type)
	if !ok {
		return nil, matrix.NotFound("you have no account data of that type")
	}
	return content, nil
}

type setAccountDataIn struct {
	accountDataIn
	Body json.RawMessage `body:"raw"`
}

// setAccountData: spec: client-server API, PUT user/{userId}/account_data/{type}.
func (a *API) setAccountData(c *web.Call, tx *kv.WriteTx, in setAccountDataIn) (web.Empty, error) {
	if err := own(c, in.User); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Accounts.SetAccountData(tx, c.User, "", in.Type, in.Body)
}

type setAccountDataPerRoomIn struct {
	roomAccountDataIn
	Body json.RawMessage `body:"raw"`
}

// setAccountDataPerRoom: spec: client-server API, PUT
// user/{userId}/rooms/{roomId}/account_data/{type}.
func (a *API) setAccountDataPerRoom(c *web.Call, tx *kv.WriteTx, in setAccountDataPerRoomIn) (web.Empty, error) {
	if err := own(c, in.User); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Accounts.SetAccountData(tx, c.User, in.Room, in.Type, in.Body)
}
