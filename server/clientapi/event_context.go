package clientapi

import (
	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getEventContextIn struct {
	Room   matrix.RoomID  `path:"roomId"`
	Event  matrix.EventID `path:"eventId"`
	Limit  *int           `query:"limit"`
	Filter string         `query:"filter"`
}

// getEventContext: spec: client-server API, GET rooms/{roomId}/context/{eventId}.
func (a *API) getEventContext(c *web.Call, tx *kv.ReadTx, in getEventContextIn) (history.Context, error) {
	filter, err := history.ParseRoomEventFilter(in.Filter)
	if err != nil {
		return history.Context{}, err
	}
	return a.History.Context(tx, viewer(c), in.Room, in.Event, in.Limit, filter)
}
