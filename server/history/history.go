// Package history reads rooms back for those who may see them: pages of the timeline,
// what stands around an event, and the state and members of a room.
//
// It owns no rows: the rooms keeper has them. It owns the form of pagination tokens and
// of filters, which /sync shares.
//
// A pagination token is a place between two events, written "t" and the position of the
// event before it: "t0" stands before everything. A position never moves, so a token
// stays good for ever. A sync token is good in its place, since both count the same
// positions.
//
// Invariants: who may see what is decided in package rooms alone, and no event or state
// leaves this package that it denies; one request reads at most Config.ScanLimit events of a
// timeline, however few of them match.
package history

import (
	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// The limits, where Config names no others.
const (
	// DefaultPage is how many events a request is given that asks for no number.
	DefaultPage = 10
	// DefaultMaxPage is the most events that one page holds.
	DefaultMaxPage = 250
	// MaxRecursion is how many levels of relations are followed, from child to child.
	MaxRecursion = 3
	// DefaultScanLimit is the most events that one request reads to fill its page.
	DefaultScanLimit = 5000
)

// Config is what a Keeper is made with.
type Config struct {
	Rooms     *rooms.Keeper
	MaxPage   int // events in a page at most; 0: DefaultMaxPage
	ScanLimit int // events read for a page at most; 0: DefaultScanLimit
}

// Keeper reads the history of rooms.
type Keeper struct{ Config }

// New makes a Keeper.
func New(c Config) *Keeper {
	if c.MaxPage <= 0 {
		c.MaxPage = DefaultMaxPage
	}
	if c.ScanLimit <= 0 {
		c.ScanLimit = DefaultScanLimit
	}
	return &Keeper{c}
}

// now is a position behind every event.
const now = changes.Position(1<<63 - 1)

// notInRoom is the one answer to those who may not look into a room, whether or not there
// is such a room.
func notInRoom() error {
	return matrix.Forbidden("You aren't a member of the room and weren't previously a member of the room.")
}

// Horizon is the position up to which a user sees a room, as of rooms.Horizon. It is an
// M_FORBIDDEN for who may not look into it.
func (k *Keeper) Horizon(r kv.Reader, room matrix.RoomID, user matrix.UserID) (changes.Position, error) {
	end, ok := k.Rooms.Horizon(r, room, user)
	if !ok {
		return 0, notInRoom()
	}
	return end, nil
}

// Event is one event, as the viewer may see it. What the viewer may not see and what does
// not exist have the same answer.
func (k *Keeper) Event(r kv.Reader, v rooms.Viewer, room matrix.RoomID, id matrix.EventID) (matrix.ClientEvent, error) {
	e, err := k.visibleEvent(r, v, room, id)
	if err != nil {
		return matrix.ClientEvent{}, err
	}
	return k.Rooms.ClientEvent(r, e, v), nil
}

func (k *Keeper) visibleEvent(r kv.Reader, v rooms.Viewer, room matrix.RoomID, id matrix.EventID) (*rooms.Event, error) {
	e, ok := k.Rooms.Event(r, id)
	if !ok || e.Room != room || !k.Rooms.Visible(r, v.User, e) {
		return nil, matrix.NotFound("Event not found.")
	}
	return e, nil
}

// clientEvents is a list of events as the viewer's client is told them.
func (k *Keeper) clientEvents(r kv.Reader, v rooms.Viewer, events []*rooms.Event) []matrix.ClientEvent {
	shown := make([]matrix.ClientEvent, len(events))
	for i, e := range events {
		shown[i] = k.Rooms.ClientEvent(r, e, v)
	}
	return shown
}
