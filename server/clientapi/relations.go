package clientapi

import (
	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type getRelatingEventsIn struct {
	Room    matrix.RoomID  `path:"roomId"`
	Event   matrix.EventID `path:"eventId"`
	From    string         `query:"from"`
	To      string         `query:"to"`
	Dir     string         `query:"dir"`
	Limit   *int           `query:"limit"`
	Recurse *bool          `query:"recurse"`
}

// getRelatingEvents: spec: client-server API, GET rooms/{roomId}/relations/{eventId}.
func (a *API) getRelatingEvents(c *web.Call, tx *kv.ReadTx, in getRelatingEventsIn) (history.Relations, error) {
	return a.relations(c, tx, in, "", "")
}

type getRelatingEventsWithRelTypeIn struct {
	getRelatingEventsIn
	RelType string `path:"relType"`
}

// getRelatingEventsWithRelType: spec: client-server API,
// GET rooms/{roomId}/relations/{eventId}/{relType}.
func (a *API) getRelatingEventsWithRelType(c *web.Call, tx *kv.ReadTx, in getRelatingEventsWithRelTypeIn) (history.Relations, error) {
	return a.relations(c, tx, in.getRelatingEventsIn, in.RelType, "")
}

type getRelatingEventsWithRelTypeAndEventTypeIn struct {
	getRelatingEventsWithRelTypeIn
	EventType string `path:"eventType"`
}

// getRelatingEventsWithRelTypeAndEventType: spec: client-server API,
// GET rooms/{roomId}/relations/{eventId}/{relType}/{eventType}.
func (a *API) getRelatingEventsWithRelTypeAndEventType(c *web.Call, tx *kv.ReadTx, in getRelatingEventsWithRelTypeAndEventTypeIn) (history.Relations, error) {
	return a.relations(c, tx, in.getRelatingEventsIn, in.RelType, in.EventType)
}

func (a *API) relations(c *web.Call, tx *kv.ReadTx, in getRelatingEventsIn, relType, eventType string) (history.Relations, error) {
	if in.Dir != "" && in.Dir != "b" && in.Dir != "f" {
		return history.Relations{}, matrix.InvalidParam("dir has to be b or f")
	}
	return a.History.Relations(tx, viewer(c), history.RelationsArgs{
		Room: in.Room, Event: in.Event, RelType: relType, EventType: eventType,
		From: in.From, To: in.To, Backwards: in.Dir != "f", Limit: in.Limit, Recurse: in.Recurse,
	})
}
