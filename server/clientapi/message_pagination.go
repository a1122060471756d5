package clientapi

import (
	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getRoomEventsIn struct {
	Room   matrix.RoomID `path:"roomId"`
	From   string        `query:"from"`
	To     string        `query:"to"`
	Dir    string        `query:"dir,required"`
	Limit  *int          `query:"limit"`
	Filter string        `query:"filter"`
}

// getRoomEvents: spec: client-server API, GET rooms/{roomId}/messages.
func (a *API) getRoomEvents(c *web.Call, tx *kv.ReadTx, in getRoomEventsIn) (history.Page, error) {
	if in.Dir != "b" && in.Dir != "f" {
		return history.Page{}, matrix.InvalidParam("dir has to be b or f")
	}
	filter, err := history.ParseRoomEventFilter(in.Filter)
	if err != nil {
		return history.Page{}, err
	}
	return a.History.Messages(tx, viewer(c), history.PageArgs{
		Room: in.Room, From: in.From, To: in.To, Backwards: in.Dir == "b", Limit: in.Limit, Filter: filter,
	})
}
