package clientapi

import (
	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getSpaceHierarchyIn struct {
	Room          matrix.RoomID `path:"roomId"`
	SuggestedOnly bool          `query:"suggested_only"`
	Limit         *int          `query:"limit"`
	MaxDepth      *int          `query:"max_depth"`
	From          string        `query:"from"`
}

// getSpaceHierarchy: spec: client-server API, GET hierarchy.
func (a *API) getSpaceHierarchy(c *web.Call, tx *kv.ReadTx, in getSpaceHierarchyIn) (history.Hierarchy, error) {
	return a.History.Hierarchy(tx, c.User, history.HierarchyArgs{
		Room: in.Room, SuggestedOnly: in.SuggestedOnly, Limit: in.Limit, MaxDepth: in.MaxDepth, From: in.From,
	})
}
