package clientapi

// The operations of directory.yaml and, for single rooms, list_public_rooms.yaml.

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type aliasIn struct {
	Alias matrix.RoomAlias `path:"roomAlias"`
}

type setRoomAliasIn struct {
	Alias matrix.RoomAlias `path:"roomAlias"`
	Room  matrix.RoomID    `json:"room_id" required:"true"`
}

// setRoomAlias: spec: client-server API, PUT directory room.
func (a *API) setRoomAlias(c *web.Call, tx *kv.WriteTx, in setRoomAliasIn) (web.Empty, error) {
	if err := a.Services.MayCreateAlias(in.Alias, a.service(c)); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Rooms.SetAlias(tx, in.Alias, in.Room, c.User)
}

type getRoomIDByAliasOut struct {
	Room    matrix.RoomID       `json:"room_id"`
	Servers []matrix.ServerName `json:"servers"`
}

// getRoomIdByAlias: spec: client-server API, GET directory room.
func (a *API) getRoomIdByAlias(c *web.Call, in aliasIn) (out getRoomIDByAliasOut, err error) {
	var room matrix.RoomID
	var ok bool
	look := func(tx *kv.ReadTx) error {
		room, ok = a.Rooms.Resolve(tx, in.Alias)
		return nil
	}
	if err = a.DB.View(c.Ctx, look); err == nil && !ok && c.User != "" { // a query makes a room, and asks others
		var made bool
		if made, err = a.Services.QueryAlias(c.Ctx, in.Alias, a.service(c)); made {
			err = a.DB.View(c.Ctx, look)
		}
	}
	switch {
	case err != nil:
		return out, err
	case !ok:
		return getRoomIDByAliasOut{}, matrix.NotFound("there is no room with the alias " + string(in.Alias))
	}
	return getRoomIDByAliasOut{room, []matrix.ServerName{a.Rooms.Server}}, nil
}

// deleteRoomAlias: spec: client-server API, DELETE directory room.
func (a *API) deleteRoomAlias(c *web.Call, tx *kv.WriteTx, in aliasIn) (web.Empty, error) {
	s := a.service(c)
	if err := a.Services.MayDeleteAlias(in.Alias, s); err != nil {
		return web.Empty{}, err
	}
	return web.Empty{}, a.Rooms.DeleteAlias(tx, in.Alias, c.User, c.Owner || s != nil && s.HasAlias(in.Alias))
}

type roomIn struct {
	Room matrix.RoomID `path:"roomId"`
}

type getLocalAliasesOut struct {
	Aliases []matrix.RoomAlias `json:"aliases"`
}

// getLocalAliases: spec: client-server API, GET aliases.
func (a *API) getLocalAliases(c *web.Call, tx *kv.ReadTx, in roomIn) (getLocalAliasesOut, error) {
	if a.Rooms.Membership(tx, in.Room, c.User) != "join" && !a.Rooms.WorldReadable(tx, in.Room) {
		return getLocalAliasesOut{}, matrix.Forbidden("you are not in that room")
	}
	return getLocalAliasesOut{a.Rooms.Aliases(tx, in.Room)}, nil
}
