package clientapi

// The operations of old_sync.yaml, peeking_events.yaml and room_initial_sync.yaml:
// deprecated, or for looking into rooms from outside.

import (
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/syncv2"
	"porchlight/server/web"
)

// getEventsIn is also what peekEvents takes: the two operations share their path.
type getEventsIn struct {
	From    string        `query:"from"`
	Timeout int64         `query:"timeout"` // ms
	Room    matrix.RoomID `query:"room_id"`
}

// getEvents: spec: client-server API, GET events, in both of its forms.
func (a *API) getEvents(c *web.Call, in getEventsIn) (syncv2.Streamed, error) {
	return a.Sync.Events(c.Ctx, syncv2.EventsRequest{
		Viewer: viewer(c), From: in.From, Room: in.Room,
		Timeout: time.Duration(min(in.Timeout, maxSyncTimeout)) * time.Millisecond,
	})
}

type initialSyncIn struct {
	Limit    *int `query:"limit"`
	Archived bool `query:"archived"`
}

// initialSync: spec: client-server API, GET initialSync.
func (a *API) initialSync(c *web.Call, tx *kv.ReadTx, in initialSyncIn) (syncv2.Initial, error) {
	if in.Limit != nil && *in.Limit < 0 {
		return syncv2.Initial{}, matrix.InvalidParam("limit must not be negative")
	}
	return a.Sync.Initial(tx, syncv2.InitialRequest{Viewer: viewer(c), Limit: in.Limit, Archived: in.Archived})
}

type getOneEventIn struct {
	Event matrix.EventID `path:"eventId"`
}

// getOneEvent: spec: client-server API, GET events by ID.
func (a *API) getOneEvent(c *web.Call, tx *kv.ReadTx, in getOneEventIn) (matrix.ClientEvent, error) {
	var room matrix.RoomID
	if e, ok := a.Rooms.Event(tx, in.Event); ok {
		room = e.Room
	}
	return a.History.Event(tx, viewer(c), room, in.Event)
}

type roomInitialSyncIn struct {
	Room  matrix.RoomID `path:"roomId"`
	Limit *int          `query:"limit"` // no longer of the standard, but clients give it
}

// roomInitialSync: spec: client-server API, GET rooms initialSync.
func (a *API) roomInitialSync(c *web.Call, tx *kv.ReadTx, in roomInitialSyncIn) (syncv2.RoomInfo, error) {
	return a.Sync.RoomInitial(tx, viewer(c), in.Room, in.Limit)
}
