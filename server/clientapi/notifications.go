package clientapi

// The operations of notifications.yaml.

import (
	"encoding/json"
	"strconv"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

const (
	defaultNotifications = 20
	maxNotifications     = 100
)

type getNotificationsIn struct {
	From  string `query:"from"`
	Limit *int   `query:"limit"`
	Only  string `query:"only"`
}

type getNotificationsOut struct {
	NextToken     string         `json:"next_token,omitempty"`
	Notifications []notification `json:"notifications"`
}

type notification struct {
	Actions json.RawMessage    `json:"actions"`
	Event   matrix.ClientEvent `json:"event"`
	Read    bool               `json:"read"`
	Room    matrix.RoomID      `json:"room_id"`
	TS      int64              `json:"ts"` // ms
}

// getNotifications: spec: client-server API, GET notifications.
func (a *API) getNotifications(c *web.Call, tx *kv.ReadTx, in getNotificationsIn) (out getNotificationsOut, err error) {
	limit := defaultNotifications
	if in.Limit != nil {
		limit = min(*in.Limit, maxNotifications)
	}
	if limit <= 0 {
		return out, matrix.InvalidParam("limit has to be greater than zero")
	}
	var from uint64
	if in.From != "" {
		if from, err = strconv.ParseUint(in.From, 10, 63); err != nil {
			return out, matrix.InvalidParam("from is not a token of this operation")
		}
	}
	page, next := a.Push.Notifications(tx, c.User, changes.Position(from), limit, in.Only == "highlight")
	out.Notifications = []notification{}
	for _, n := range page {
		event := a.Rooms.ClientEvent(tx, n.Event, rooms.Viewer{User: c.User, Device: c.Device})
		event.RoomID = ""
		out.Notifications = append(out.Notifications, notification{n.Actions, event, n.Read, n.Event.Room, n.Event.TS})
	}
	if next != 0 {
		out.NextToken = strconv.FormatUint(uint64(next), 10)
	}
	return out, nil
}
