package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/voip/agent"
	"porchlight/voip/call"
)

// lookBack is how old a call may be that the board still hears of after a restart; no
// invite is let ring for longer. So the place up to which it has read need not be stored,
// which would cost a page for every message in the house.
const lookBack = call.MaxLifetime

// boardHouse shows the homeserver to the agent.
type boardHouse struct {
	s     *Server
	start changes.Position // where the log ended before anybody could ask the house for anything
	begun bool
	pos   changes.Position // read up to here
}

// readAtOnce is how many changes are looked at until the board's other work has its turn, and
// rememberedEvents how many events of before the start it may be told of.
const (
	readAtOnce       = 512
	rememberedEvents = 1024
)

// Wait implements agent.House.
func (h *boardHouse) Wait() <-chan struct{} {
	news := h.s.Changes.Wait()
	if h.begun && h.pos < h.s.Changes.Published() {
		there := make(chan struct{})
		close(there)
		return there
	}
	return news
}

// Read implements agent.House. Only the agent's goroutine calls it.
func (h *boardHouse) Read(ctx context.Context) ([]agent.Event, error) {
	if h.begun && h.pos == h.s.Changes.Published() {
		return nil, nil
	}
	var events []agent.Event
	pos := h.pos
	err := h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		if !h.begun {
			events, pos = h.first(tx)
			return nil
		}
		looked := 0
		for p, c := range h.s.Changes.Since(tx, pos) {
			if looked++; looked > readAtOnce {
				break
			}
			pos = p
			if e, ok := h.event(tx, p, c); ok {
				events = append(events, e)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.begun, h.pos = true, pos
	return events, nil
}

// first is what a board that has just started needs to know: invitations that wait for
// it, calls that may still be going on, and all that came since the house started.
func (h *boardHouse) first(tx *kv.ReadTx) (events []agent.Event, last changes.Position) {
	last = h.s.Changes.Last(tx)
	for p, c := range h.s.Changes.Before(tx, last) {
		if c.Kind != changes.Event {
			continue
		}
		full, found := h.s.Rooms.EventAt(tx, c.Room, p)
		if found && h.s.Config.Now().UnixMilli()-full.TS > lookBack.Milliseconds() {
			break
		}
		if e, ok := h.event(tx, p, c); ok && (p > h.start || call.Known(e.Type)) {
			if p <= h.start && found && full.TS > h.s.Config.Now().UnixMilli() {
				// Boards without a clock of their own begin with an old time after a power
				// cut. How old it is cannot be told, so it must not ring.
				e.Age = lookBack
			}
			if events = append(events, e); len(events) == rememberedEvents {
				break
			}
		}
	}
	slices.Reverse(events)
	self := h.s.BoardUser()
	for room, m := range h.s.Rooms.Memberships(tx, self) {
		if m.State != "invite" || m.Position > h.start {
			continue
		}
		if e, ok := h.event(tx, m.Position, changes.Change{Kind: changes.Event, Room: room}); ok {
			events = append(events, e)
		}
	}
	return events, last
}

// event is the event of a change, if the board has to do with it.
func (h *boardHouse) event(tx *kv.ReadTx, pos changes.Position, c changes.Change) (agent.Event, bool) {
	if c.Kind != changes.Event {
		return agent.Event{}, false
	}
	self := h.s.BoardUser()
	m, known := h.s.Rooms.MembershipRow(tx, c.Room, self)
	if !known || m.State != "join" && m.Position != pos { // not even decoded: most rooms are others'
		return agent.Event{}, false
	}
	e, ok := h.s.Rooms.EventAt(tx, c.Room, pos)
	if !ok {
		return agent.Event{}, false
	}
	return agent.Event{
		Room: e.Room, Sender: e.Sender, Type: e.Type, StateKey: e.StateKey, Content: e.Content,
		Age: max(0, time.Duration(h.s.Config.Now().UnixMilli()-e.TS)*time.Millisecond),
	}, true
}

// Send implements agent.House.
func (h *boardHouse) Send(ctx context.Context, room matrix.RoomID, eventType string, content json.RawMessage) error {
	return h.s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		_, err := h.s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: h.s.BoardUser(), Type: eventType, Content: content})
		return err
	})
}

// Join implements agent.House.
func (h *boardHouse) Join(ctx context.Context, room matrix.RoomID) error {
	self := h.s.BoardUser()
	return h.s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		_, err := h.s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: self, Target: self, Membership: "join"})
		return err
	})
}

// Joined implements agent.House.
func (h *boardHouse) Joined(ctx context.Context, room matrix.RoomID) (joined []matrix.UserID, err error) {
	err = h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		for user, state := range h.s.Rooms.Members(tx, room) {
			if state == "join" {
				joined = append(joined, user)
			}
		}
		return nil
	})
	return joined, err
}

// Owner implements agent.House.
func (h *boardHouse) Owner(ctx context.Context) (owner matrix.UserID, err error) {
	err = h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		owner = h.s.Setup.Owner(tx)
		return nil
	})
	return owner, err
}

// ControlRoom implements agent.House.
func (h *boardHouse) ControlRoom(ctx context.Context) (room matrix.RoomID, err error) {
	err = h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		room = h.s.ownRoom(tx, h.s.Setup.Owner(tx))
		if h.s.Rooms.Membership(tx, room, h.s.BoardUser()) != "join" {
			room = ""
		}
		return nil
	})
	return room, err
}

// Upload implements agent.House.
func (h *boardHouse) Upload(ctx context.Context, contentType, name string, data []byte) (string, error) {
	item, err := h.s.Media.Upload(ctx, h.s.BoardUser(), contentType, name, bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	return item.URI(), nil
}

// mediaAddress takes the address of something in the content repository apart.
func mediaAddress(uri string) (name matrix.ServerName, id string, err error) {
	server, id, ok := strings.Cut(strings.TrimPrefix(uri, "mxc://"), "/")
	if !ok {
		return "", "", matrix.InvalidParam("this is no address of the content repository: " + uri)
	}
	return matrix.ServerName(server), id, nil
}

// Delete implements agent.House.
func (h *boardHouse) Delete(ctx context.Context, uri string) error {
	name, id, err := mediaAddress(uri)
	if err != nil {
		return err
	}
	return h.s.Media.Delete(ctx, name, id)
}

// Content implements agent.House.
func (h *boardHouse) Content(ctx context.Context, uri string) (content io.Reader, err error) {
	name, id, err := mediaAddress(uri)
	if err != nil {
		return nil, err
	}
	err = h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		item, err := h.s.Media.Item(tx, name, id)
		content = h.s.Media.Open(item)
		return err
	})
	return content, err
}

// Event implements agent.House.
func (h *boardHouse) Event(ctx context.Context, room matrix.RoomID, id matrix.EventID) (e agent.Event, found bool, err error) {
	err = h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		full, ok := h.s.Rooms.Event(tx, id)
		if !ok || full.Room != room || !h.s.Rooms.Visible(tx, h.s.BoardUser(), full) {
			return nil
		}
		e, found = agent.Event{Room: full.Room, Sender: full.Sender, Type: full.Type, StateKey: full.StateKey, Content: full.Content}, true
		return nil
	})
	return e, found, err
}

// MayCall implements agent.House: those on the list, or the owner where there is none.
func (h *boardHouse) MayCall(ctx context.Context, user matrix.UserID) (may bool, err error) {
	if allow := h.s.Config.Board.Allow; len(allow) > 0 {
		return slices.Contains(allow, user), nil
	}
	err = h.s.DB.View(ctx, func(tx *kv.ReadTx) error {
		may = h.s.Setup.Owner(tx) == user
		return nil
	})
	return may, err
}
