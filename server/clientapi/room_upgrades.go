package clientapi

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

type upgradeRoomIn struct {
	Room               matrix.RoomID `path:"roomId"`
	Version            string        `json:"new_version" required:"true"`
	AdditionalCreators []string      `json:"additional_creators"`
}

type upgradeRoomOut struct {
	Room matrix.RoomID `json:"replacement_room"`
}

// upgradeRoom: spec: client-server API, POST upgrade.
func (a *API) upgradeRoom(c *web.Call, tx *kv.WriteTx, in upgradeRoomIn) (upgradeRoomOut, error) {
	room, err := a.Rooms.Upgrade(tx, rooms.UpgradeArgs{
		Room: in.Room, User: c.User, Device: c.Device, Version: in.Version, AdditionalCreators: in.AdditionalCreators,
	})
	return upgradeRoomOut{room}, err
}
