package clientapi

// The operations of receipts.yaml, read_markers.yaml and typing.yaml: what is true only
// for a while, and the marker that goes along with it.

import (
	"encoding/json"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type postReceiptIn struct {
	Room   matrix.RoomID   `path:"roomId"`
	Type   string          `path:"receiptType"`
	Event  matrix.EventID  `path:"eventId"`
	Thread json.RawMessage `json:"thread_id"`
}

// postReceipt: spec: client-server API, POST receipt.
func (a *API) postReceipt(c *web.Call, in postReceiptIn) (web.Empty, error) {
	thread := ""
	if in.Thread != nil {
		if json.Unmarshal(in.Thread, &thread) != nil || thread == "" {
			return web.Empty{}, matrix.InvalidParam("thread_id has to be the root of a thread or \"main\"")
		}
		if in.Type == accounts.TypeFullyRead {
			return web.Empty{}, matrix.InvalidParam("the fully read marker is for the whole room: leave thread_id out")
		}
	}
	if in.Type == accounts.TypeFullyRead {
		return web.Empty{}, a.setFullyRead(c, in.Room, in.Event)
	}
	return web.Empty{}, a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		return a.Ephemeral.SetReceipt(tx, in.Room, c.User, in.Type, in.Event, thread)
	})
}

// setFullyRead writes the marker, which is account data (spec: read and unread markers).
func (a *API) setFullyRead(c *web.Call, room matrix.RoomID, event matrix.EventID) error {
	return a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error { return a.storeFullyRead(tx, c.User, room, event) })
}

func (a *API) storeFullyRead(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID, event matrix.EventID) error {
	if _, err := a.Ephemeral.Readable(tx, room, user, event); err != nil {
		return err
	}
	content, err := json.Marshal(map[string]matrix.EventID{"event_id": event})
	if err != nil {
		return err
	}
	return a.Accounts.StoreAccountData(tx, user, room, accounts.TypeFullyRead, content)
}

// setReadMarkerIn has no event where there is none, or an empty one, as clients send it that
// have nothing to mark yet.
type setReadMarkerIn struct {
	Room      matrix.RoomID `path:"roomId"`
	FullyRead string        `json:"m.fully_read"`
	Read      string        `json:"m.read"`
	Private   string        `json:"m.read.private"`
}

// setReadMarker: spec: client-server API, POST read_markers. All of it is done, or nothing.
func (a *API) setReadMarker(c *web.Call, in setReadMarkerIn) (web.Empty, error) {
	var set []func()
	check := func(r kv.Reader) error {
		set = nil
		if a.Rooms.Membership(r, in.Room, c.User) != "join" {
			return matrix.Forbidden("you are not in that room")
		}
		for _, mark := range []struct{ kind, event string }{{ephemeral.Read, in.Read}, {ephemeral.ReadPrivate, in.Private}} {
			if mark.event == "" {
				continue
			}
			event, err := matrix.ParseEventID(mark.event)
			if err != nil {
				return err
			}
			one, err := a.Ephemeral.Receipt(r, in.Room, c.User, mark.kind, event, "")
			if err != nil {
				return err
			}
			set = append(set, one)
		}
		return nil
	}
	var err error
	if in.FullyRead == "" {
		err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error { return check(tx) })
	} else {
		err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
			event, err := matrix.ParseEventID(in.FullyRead)
			if err != nil {
				return err
			}
			if err := check(tx); err != nil {
				return err
			}
			return a.storeFullyRead(tx, c.User, in.Room, event)
		})
	}
	if err != nil {
		return web.Empty{}, err
	}
	for _, one := range set {
		one()
	}
	return web.Empty{}, nil
}

type setTypingIn struct {
	Room    matrix.RoomID `path:"roomId"`
	User    matrix.UserID `path:"userId"`
	Typing  bool          `json:"typing" required:"true"`
	Timeout int64         `json:"timeout"` // ms
}

// setTyping: spec: client-server API, PUT typing.
func (a *API) setTyping(c *web.Call, tx *kv.ReadTx, in setTypingIn) (web.Empty, error) {
	if in.User != c.User {
		return web.Empty{}, matrix.Forbidden("you can only say of yourself that you are typing")
	}
	// The keeper cuts long times; here it is only kept from overflowing.
	timeout := time.Duration(min(in.Timeout, ephemeral.MaxTyping.Milliseconds())) * time.Millisecond
	return web.Empty{}, a.Ephemeral.SetTyping(tx, in.Room, c.User, in.Typing, max(timeout, 0))
}
