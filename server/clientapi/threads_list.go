package clientapi

import (
	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getThreadRootsIn struct {
	Room    matrix.RoomID `path:"roomId"`
	Include string        `query:"include"`
	Limit   *int          `query:"limit"`
	From    string        `query:"from"`
}

// getThreadRoots: spec: client-server API, GET rooms/{roomId}/threads.
func (a *API) getThreadRoots(c *web.Call, tx *kv.ReadTx, in getThreadRootsIn) (history.Threads, error) {
	if in.Include != "" && in.Include != "all" && in.Include != "participated" {
		return history.Threads{}, matrix.InvalidParam("include has to be all or participated")
	}
	return a.History.Threads(tx, viewer(c), history.ThreadsArgs{
		Room: in.Room, Participated: in.Include == "participated", From: in.From, Limit: in.Limit,
	})
}
