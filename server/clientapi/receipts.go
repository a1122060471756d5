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
	return a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		if _, err := a.Ephemeral.Readable(tx, room, c.User, event); err != nil {
			return err
		}
		content, err := json.Marshal(map[string]matrix.EventID{"event_id": event})
		if err != nil {
			return err
		}
		return a.Accounts.StoreAccountData(tx, c.User, room, accounts.TypeFullyRead, content)
	})
}

type setReadMarkerIn struct {
	Room      matrix.RoomID  `path:"roomId"`
	FullyRead matrix.EventID `json:"m.fully_read"`
	Read      matrix.EventID `json:"m.read"`
	Private   matrix.EventID `json:"m.read.private"`
}

// setReadMarker: spec: client-server API, POST read_markers.
func (a *API) setReadMarker(c *web.Call, in setReadMarkerIn) (web.Empty, error) {
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		if a.Rooms.Membership(tx, in.Room, c.User) != "join" {
			return matrix.Forbidden("you are not in that room")
		}
		for kind, event := range map[string]matrix.EventID{ephemeral.Read: in.Read, ephemeral.ReadPrivate: in.Private} {
			if event == "" {
				continue
			}
			if err := a.Ephemeral.SetReceipt(tx, in.Room, c.User, kind, event, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || in.FullyRead == "" {
		return web.Empty{}, err
	}
	return web.Empty{}, a.setFullyRead(c, in.Room, in.FullyRead)
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
