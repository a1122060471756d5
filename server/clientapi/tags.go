package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type roomTagsIn struct {
	userIn
	Room matrix.RoomID `path:"roomId"`
}

type roomTagIn struct {
	roomTagsIn
	Tag string `path:"tag"`
}

type getRoomTagsOut struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

// getRoomTags: spec: client-server API, GET user/{userId}/rooms/{roomId}/tags.
func (a *API) getRoomTags(c *web.Call, tx *kv.ReadTx, in roomTagsIn) (getRoomTagsOut, error) {
	if err := own(c, in.User); err != nil {
		return getRoomTagsOut{}, err
	}
	return getRoomTagsOut{Tags: a.Accounts.Tags(tx, c.User, in.Room)}, nil
}

type setRoomTagIn struct {
	roomTagIn
	Body json.RawMessage `body:"raw"`
}

// setRoomTag: spec: client-server API, PUT user/{userId}/rooms/{roomId}/tags/{tag}.
func (a *API) setRoomTag(c *web.Call, tx *kv.WriteTx, in setRoomTagIn) (web.Empty, error) {
	if err := own(c, in.User); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Accounts.SetTag(tx, c.User, in.Room, in.Tag, in.Body)
}

// deleteRoomTag: spec: client-server API, DELETE user/{userId}/rooms/{roomId}/tags/{tag}.
func (a *API) deleteRoomTag(c *web.Call, tx *kv.WriteTx, in roomTagIn) (web.Empty, error) {
	if err := own(c, in.User); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Accounts.DeleteTag(tx, c.User, in.Room, in.Tag)
}
