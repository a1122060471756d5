package clientapi

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

type getRoomSummaryIn struct {
	RoomOrAlias string `path:"roomIdOrAlias"`
}

type getRoomSummaryOut struct {
	rooms.Summary
	Membership string `json:"membership,omitempty"`
}

// getRoomSummary: spec: client-server API, GET room_summary. What is not there and what may
// not be known have the same answer.
func (a *API) getRoomSummary(c *web.Call, tx *kv.ReadTx, in getRoomSummaryIn) (getRoomSummaryOut, error) {
	room, err := a.roomOf(tx, in.RoomOrAlias)
	if matrix.IsCode(err, "M_INVALID_PARAM") {
		return getRoomSummaryOut{}, err
	}
	if err != nil || !a.Rooms.MayKnow(tx, room, c.User) {
		return getRoomSummaryOut{}, matrix.NotFound("Room not found.")
	}
	out := getRoomSummaryOut{Summary: a.Rooms.Summary(tx, room)}
	if c.User != "" {
		out.Membership = a.Rooms.Membership(tx, room, c.User)
	}
	return out, nil
}
