package clientapi

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

const (
	defaultFound = 10 // users that a search returns if the client names no limit
	maxFound     = 50
)

type searchUserDirectoryIn struct {
	Term  string `json:"search_term" required:"true"`
	Limit *int64 `json:"limit"`
}

type userFound struct {
	User        matrix.UserID `json:"user_id"`
	DisplayName string        `json:"display_name,omitempty"`
	AvatarURL   string        `json:"avatar_url,omitempty"`
}

type searchUserDirectoryOut struct {
	Results []userFound `json:"results"`
	Limited bool        `json:"limited"`
}

// searchUserDirectory: spec: client-server API, POST user_directory/search.
func (a *API) searchUserDirectory(c *web.Call, tx *kv.ReadTx, in searchUserDirectoryIn) (searchUserDirectoryOut, error) {
	limit := int64(defaultFound)
	if in.Limit != nil {
		limit = min(*in.Limit, maxFound)
	}
	if limit < 0 {
		return searchUserDirectoryOut{}, matrix.InvalidParam("the limit cannot be negative")
	}
	visible := func(user matrix.UserID) bool { return user != c.User }
	if !a.AllUsers {
		met := a.canMeet(c, tx)
		visible = func(user matrix.UserID) bool { return user != c.User && met[user] }
	}
	found, more := a.Accounts.SearchUsers(tx, in.Term, int(limit), visible)
	out := searchUserDirectoryOut{Results: []userFound{}, Limited: more}
	for _, f := range found {
		out.Results = append(out.Results, userFound(f))
	}
	return out, nil
}

// canMeet are the users whom the caller can come across in rooms: those of their own, and
// those of rooms that anybody may join or read.
func (a *API) canMeet(c *web.Call, tx *kv.ReadTx) map[matrix.UserID]bool {
	met := map[matrix.UserID]bool{}
	for _, user := range a.Rooms.UsersSharingRoomsWith(tx, c.User) {
		met[user] = true
	}
	for room := range a.Rooms.All(c.Ctx, tx) {
		if a.Rooms.JoinRule(tx, room) != "public" && !a.Rooms.WorldReadable(tx, room) {
			continue
		}
		for user, membership := range a.Rooms.Members(tx, room) {
			met[user] = met[user] || membership == "join"
		}
	}
	return met
}
