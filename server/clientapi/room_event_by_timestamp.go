package clientapi

import (
	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getEventByTimestampIn struct {
	Room matrix.RoomID `path:"roomId"`
	TS   int64         `query:"ts,required"` // ms
	Dir  string        `query:"dir,required"`
}

// getEventByTimestamp: spec: client-server API, GET timestamp_to_event.
func (a *API) getEventByTimestamp(c *web.Call, tx *kv.ReadTx, in getEventByTimestampIn) (history.Moment, error) {
	if in.Dir != "b" && in.Dir != "f" {
		return history.Moment{}, matrix.InvalidParam("dir has to be b or f")
	}
	return a.History.EventAt(tx, c.User, in.Room, in.TS, in.Dir == "b")
}
