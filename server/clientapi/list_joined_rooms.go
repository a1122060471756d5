package clientapi

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getJoinedRoomsOut struct {
	Joined []matrix.RoomID `json:"joined_rooms"`
}

// getJoinedRooms: spec: client-server API, GET joined_rooms.
func (a *API) getJoinedRooms(c *web.Call, tx *kv.ReadTx, _ web.Empty) (getJoinedRoomsOut, error) {
	return getJoinedRoomsOut{a.Rooms.JoinedRooms(tx, c.User)}, nil
}
