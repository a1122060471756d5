package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

type visibilityOut struct {
	Visibility string `json:"visibility"` // public or private
}

// visibility is what the directory's two states are called.
func visibility(public bool) string {
	if public {
		return "public"
	}
	return "private"
}

// getRoomVisibilityOnDirectory: spec: client-server API, GET directory list room.
func (a *API) getRoomVisibilityOnDirectory(_ *web.Call, tx *kv.ReadTx, in roomIn) (visibilityOut, error) {
	if !a.Rooms.Exists(tx, in.Room) {
		return visibilityOut{}, matrix.NotFound("this server does not know that room")
	}
	return visibilityOut{visibility(a.Rooms.IsPublic(tx, in.Room))}, nil
}

type setRoomVisibilityOnDirectoryIn struct {
	Room       matrix.RoomID `path:"roomId"`
	Visibility *string       `json:"visibility"`
}

// setRoomVisibilityOnDirectory: spec: client-server API, PUT directory list room.
func (a *API) setRoomVisibilityOnDirectory(c *web.Call, tx *kv.WriteTx, in setRoomVisibilityOnDirectoryIn) (web.Empty, error) {
	public := in.Visibility == nil || *in.Visibility == "public"
	if !public && *in.Visibility != "private" {
		return web.Empty{}, matrix.InvalidParam("visibility has to be public or private")
	}
	return web.Empty{}, a.Rooms.SetVisibility(tx, in.Room, c.User, c.Owner, public)
}

type getPublicRoomsIn struct {
	Limit  int               `query:"limit"`
	Since  string            `query:"since"`
	Server matrix.ServerName `query:"server"`
}

// getPublicRooms: spec: client-server API, GET publicRooms.
func (a *API) getPublicRooms(_ *web.Call, tx *kv.ReadTx, in getPublicRoomsIn) (rooms.DirectoryPage, error) {
	if err := a.ownDirectory(in.Server); err != nil {
		return rooms.DirectoryPage{}, err
	}
	return a.Rooms.Directory(tx, rooms.DirectoryArgs{Since: in.Since, Limit: in.Limit})
}

type queryPublicRoomsIn struct {
	Server matrix.ServerName `query:"server"`
	Limit  int               `json:"limit"`
	Since  string            `json:"since"`
	Filter struct {
		Term  string            `json:"generic_search_term"`
		Types []json.RawMessage `json:"room_types"` // strings and null
	} `json:"filter"`
	AllNetworks bool    `json:"include_all_networks"`
	Network     *string `json:"third_party_instance_id"`
}

// queryPublicRooms: spec: client-server API, POST publicRooms.
func (a *API) queryPublicRooms(_ *web.Call, tx *kv.ReadTx, in queryPublicRoomsIn) (rooms.DirectoryPage, error) {
	if err := a.ownDirectory(in.Server); err != nil {
		return rooms.DirectoryPage{}, err
	}
	args := rooms.DirectoryArgs{Since: in.Since, Limit: in.Limit, Search: in.Filter.Term}
	if in.Filter.Types != nil {
		args.Types = []string{}
	}
	for _, raw := range in.Filter.Types {
		var roomType *string
		if err := json.Unmarshal(raw, &roomType); err != nil {
			return rooms.DirectoryPage{}, matrix.BadJSON("room_types has to be a list of texts and null")
		}
		if roomType == nil {
			roomType = new(string) // a room without a type
		}
		args.Types = append(args.Types, *roomType)
	}
	switch {
	case in.Network != nil && in.AllNetworks:
		return rooms.DirectoryPage{}, matrix.InvalidParam("third_party_instance_id can only be used if include_all_networks is false")
	case in.AllNetworks:
		args.Others = a.Services.Listed(tx, "")
	case in.Network != nil && *in.Network != "":
		args.Others, args.OthersOnly = a.Services.Listed(tx, *in.Network), true
	}
	return a.Rooms.Directory(tx, args)
}

// ownDirectory refuses to ask other servers for their rooms.
func (a *API) ownDirectory(server matrix.ServerName) error {
	if server != "" && server != a.Rooms.Server {
		return matrix.NotFound("this server does not speak with other servers")
	}
	return nil
}
