package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getOneRoomEventIn struct {
	Room  matrix.RoomID  `path:"roomId"`
	Event matrix.EventID `path:"eventId"`
}

// getOneRoomEvent: spec: client-server API, GET rooms/{roomId}/event/{eventId}.
func (a *API) getOneRoomEvent(c *web.Call, tx *kv.ReadTx, in getOneRoomEventIn) (matrix.ClientEvent, error) {
	return a.History.Event(tx, viewer(c), in.Room, in.Event)
}

type getRoomStateWithKeyIn struct {
	Room     matrix.RoomID `path:"roomId"`
	Type     string        `path:"eventType"`
	StateKey string        `path:"stateKey"`
	Format   string        `query:"format"`
}

// getRoomStateWithKey: spec: client-server API, GET rooms/{roomId}/state/{eventType}/{stateKey}.
// The answer is the content of the event, or the event.
func (a *API) getRoomStateWithKey(c *web.Call, tx *kv.ReadTx, in getRoomStateWithKeyIn) (any, error) {
	if in.Format != "" && in.Format != "content" && in.Format != "event" {
		return nil, matrix.InvalidParam("format has to be content or event")
	}
	e, err := a.History.StateEvent(tx, viewer(c), in.Room, in.Type, in.StateKey)
	if err != nil {
		return nil, err
	}
	if in.Format == "event" {
		return e, nil
	}
	return json.RawMessage(e.Content), nil
}

// getRoomState: spec: client-server API, GET rooms/{roomId}/state.
func (a *API) getRoomState(c *web.Call, tx *kv.ReadTx, in roomIn) ([]matrix.ClientEvent, error) {
	return a.History.State(tx, viewer(c), in.Room)
}

type getMembersByRoomIn struct {
	Room          matrix.RoomID `path:"roomId"`
	At            string        `query:"at"`
	Membership    string        `query:"membership"`
	NotMembership string        `query:"not_membership"`
}

type getMembersByRoomOut struct {
	Chunk []matrix.ClientEvent `json:"chunk"`
}

// getMembersByRoom: spec: client-server API, GET rooms/{roomId}/members.
func (a *API) getMembersByRoom(c *web.Call, tx *kv.ReadTx, in getMembersByRoomIn) (getMembersByRoomOut, error) {
	chunk, err := a.History.Members(tx, viewer(c), in.Room, in.At, in.Membership, in.NotMembership)
	return getMembersByRoomOut{chunk}, err
}

type getJoinedMembersByRoomOut struct {
	Joined map[matrix.UserID]history.JoinedMember `json:"joined"`
}

// getJoinedMembersByRoom: spec: client-server API, GET rooms/{roomId}/joined_members.
func (a *API) getJoinedMembersByRoom(c *web.Call, tx *kv.ReadTx, in roomIn) (getJoinedMembersByRoomOut, error) {
	joined, err := a.History.JoinedMembers(tx, viewer(c), in.Room)
	return getJoinedMembersByRoomOut{joined}, err
}
