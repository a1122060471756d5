package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

// maxCreateBody is the largest body of createRoom in bytes: initial_state may hold many
// events of up to 64 KiB.
const maxCreateBody = 1 << 20

type createRoomIn struct {
	Visibility      string            `json:"visibility"`
	AliasLocalpart  string            `json:"room_alias_name"`
	Name            string            `json:"name"`
	Topic           string            `json:"topic"`
	Invite          []matrix.UserID   `json:"invite"`
	Invite3pid      []json.RawMessage `json:"invite_3pid"`
	Version         string            `json:"room_version"`
	CreationContent json.RawMessage   `json:"creation_content"`
	InitialState    []rooms.StateArgs `json:"initial_state"`
	Preset          string            `json:"preset"`
	IsDirect        bool              `json:"is_direct"`
	PowerLevels     json.RawMessage   `json:"power_level_content_override"`
}

type roomIDOut struct {
	Room matrix.RoomID `json:"room_id"`
}

// createRoom: spec: client-server API, POST createRoom.
func (a *API) createRoom(c *web.Call, tx *kv.WriteTx, in createRoomIn) (roomIDOut, error) {
	switch in.Visibility {
	case "", "private", "public":
	default:
		return roomIDOut{}, matrix.InvalidParam("visibility has to be public or private")
	}
	if len(in.Invite3pid) > 0 {
		return roomIDOut{}, noIdentityServer()
	}
	if in.AliasLocalpart != "" {
		alias := matrix.RoomAlias("#" + in.AliasLocalpart + ":" + string(a.Rooms.Server))
		if err := a.Services.MayCreateAlias(alias, a.service(c)); err != nil {
			return roomIDOut{}, err
		}
	}
	room, err := a.Rooms.Create(tx, rooms.CreateArgs{
		Creator: c.User, Device: c.Device, Version: in.Version, Preset: in.Preset, Public: in.Visibility == "public",
		AliasLocalpart: in.AliasLocalpart, Name: in.Name, Topic: in.Topic, Invite: in.Invite, IsDirect: in.IsDirect,
		CreationContent: in.CreationContent, InitialState: in.InitialState, PowerLevels: in.PowerLevels,
	})
	return roomIDOut{room}, err
}

// noIdentityServer refuses what needs an identity server: none is trusted by a box that
// has to work off line.
func noIdentityServer() error {
	return matrix.Refusal(400, "M_SERVER_NOT_TRUSTED", "this server does not use identity servers: please invite by user ID")
}
