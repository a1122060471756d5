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
// Invariants: no event leaves this package that rooms.Visible denies; the state that a
// former member is shown is that of the end of the last stay; one request reads at most
// Config.ScanLimit events of a timeline, however few of them match.
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

// Horizon is the position up to which a user sees a room: without end for members and for
// a room that anybody may look into, else the event that ended the last stay. It is an
// M_FORBIDDEN for everybody else, those invited included.
func (k *Keeper) Horizon(r kv.Reader, room matrix.RoomID, user matrix.UserID) (changes.Position, error) {
	m, _ := k.Rooms.MembershipRow(r, room, user)
	if m.State == "join" || k.Rooms.WorldReadable(r, room) {
		return now, nil
	}
	if end, ok := k.EndOfStay(r, room, m); ok && !m.Forgotten {
		return end, nil
	}
	return 0, notInRoom()
}

// EndOfStay is the position of the event that ended a former member's last stay; false if
// there never was a stay, or it lasts.
func (k *Keeper) EndOfStay(r kv.Reader, room matrix.RoomID, m rooms.Membership) (changes.Position, bool) {
	if !m.WasJoined || m.State == "join" {
		return 0, false
	}
	for e, ok := k.Rooms.EventAt(r, room, m.Position); ok && e.Replaces != 0; {
		before, found := k.Rooms.EventAt(r, room, e.Replaces)
		if found && before.Membership() == "join" {
			return e.Position, true
		}
		e, ok = before, found
	}
	return 0, false
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
