package push

import (
	"encoding/json"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// typeCall is the event by which somebody calls.
const typeCall = "m.call.invite"

// payload is what a push gateway is told (spec: push gateway API, notify).
type payload struct {
	Notification notification `json:"notification"`

	sent time.Time // when the event was
}

type notification struct {
	EventID      matrix.EventID     `json:"event_id,omitempty"`
	Room         matrix.RoomID      `json:"room_id,omitempty"`
	Type         string             `json:"type,omitempty"`
	Sender       matrix.UserID      `json:"sender,omitempty"`
	SenderName   string             `json:"sender_display_name,omitempty"`
	RoomName     string             `json:"room_name,omitempty"`
	RoomAlias    string             `json:"room_alias,omitempty"`
	UserIsTarget bool               `json:"user_is_target,omitempty"`
	Prio         string             `json:"prio,omitempty"`
	Content      json.RawMessage    `json:"content,omitempty"`
	Counts       notificationCounts `json:"counts"`
	Devices      []notifiedDevice   `json:"devices,omitempty"` // never empty for gateways
}

// notificationCounts has zero in it where that is news: when everything was read.
type notificationCounts struct {
	Unread *int `json:"unread,omitempty"`
}

type notifiedDevice struct {
	AppID   string                     `json:"app_id"`
	Pushkey string                     `json:"pushkey"`
	Since   int64                      `json:"pushkey_ts"` // s
	Data    matrix.Object              `json:"data,omitempty"`
	Tweaks  map[string]json.RawMessage `json:"tweaks,omitempty"`
}

// device is the pusher as its gateway is told of it: all of its data but the address.
func (row *pusherRow) device(key pusherKey) notifiedDevice {
	d := notifiedDevice{AppID: key.AppID, Pushkey: key.Pushkey, Since: row.Set / 1000}
	if data, err := matrix.ParseObject(row.Data); err == nil {
		delete(data, "url")
		d.Data = data
	}
	return d
}

// payload is what to tell of an event; false if there is nothing to tell any more, since it
// was read or redacted, or the user has left and forgotten the room.
func (k *Keeper) payload(r kv.Reader, key pusherKey, row *pusherRow, room matrix.RoomID, pos changes.Position) (*payload, bool) {
	e, ok := k.Rooms.EventAt(r, room, pos)
	if !ok {
		return nil, false
	}
	g := k.notified(r, e.Notice, key.User, e.Sender, room, pos)
	if g == nil || k.isRead(r, key.User, room, e.Notice, pos) || !k.Rooms.Visible(r, key.User, e) {
		return nil, false
	}
	device := row.device(key)
	unread := k.UnreadTotal(r, key.User).Notifications
	n := notification{EventID: e.ID, Room: room, Prio: "low"}
	if unread > 0 {
		n.Counts.Unread = &unread
	}
	actions := actionsOf(g)
	if actions.Highlight || actions.Tweaks["sound"] != nil || e.Type == "m.room.encrypted" || e.Type == typeCall {
		n.Prio = "high"
	}
	if _, format := row.data(); format != eventIDOnly {
		device.Tweaks = actions.Tweaks
		k.describe(r, &n, e, key.User)
	}
	n.Devices = []notifiedDevice{device}
	return &payload{n, time.UnixMilli(e.TS)}, true
}

// describe adds all that a gateway may be told of an event.
func (k *Keeper) describe(r kv.Reader, n *notification, e *rooms.Event, user matrix.UserID) {
	e = k.Rooms.Served(r, e, user)
	sight := k.Rooms.Sight(r, user, e.Room)
	n.Type, n.Sender, n.Content = e.Type, e.Sender, e.Content
	n.SenderName = sight.DisplayName(e.Sender)
	n.RoomName, n.RoomAlias = sight.Called()
	n.UserIsTarget = e.Is("m.room.member", string(user))
}

// badge is what to tell when the counts alone have changed.
func (k *Keeper) badge(r kv.Reader, key pusherKey, row *pusherRow) (p *payload, unread int) {
	unread = k.UnreadTotal(r, key.User).Notifications
	return &payload{Notification: notification{
		Prio: "low", Counts: notificationCounts{&unread}, Devices: []notifiedDevice{row.device(key)},
	}}, unread
}

// notified is how an event by sender notifies a user; nil if it does not.
func (k *Keeper) notified(r kv.Reader, n *rooms.Notice, user, sender matrix.UserID, room matrix.RoomID, pos changes.Position) *rooms.NoticeGroup {
	if n == nil {
		return nil
	}
	g := n.For(user)
	if g == nil || len(g.Users) == 0 && k.Rooms.MembershipAt(r, room, user, pos) != "join" || k.Rooms.Ignored(r, user)[sender] {
		return nil
	}
	return g
}

// isRead says whether a user has read an event.
func (k *Keeper) isRead(r kv.Reader, user matrix.UserID, room matrix.RoomID, n *rooms.Notice, pos changes.Position) bool {
	if t := k.tally(r, user, room); t != nil {
		return pos <= t.read(threadOf(n))
	}
	all, threads := k.Ephemeral.ReadUpTo(r, room, user) // who has left may have read before
	return pos <= max(all, threads[threadOf(n)])
}
