package history

import (
	"fmt"
	"iter"
	"math"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// timestampWindow is how many events on either side of a place are looked at for one whose
// time is nearer: events are numbered as they come in, and their senders' clocks differ.
const timestampWindow = 100

// Moment is an event and its time.
type Moment struct {
	Event matrix.EventID `json:"event_id"`
	TS    int64          `json:"origin_server_ts"` // ms
}

// EventAt is the event nearest to a time, at or behind it or, backwards, at or before it
// (spec: client-server API, GET timestamp_to_event). The error is M_NOT_FOUND if the user
// can see none.
//
// There is no index of times, which would cost each message a page: times grow with
// positions but for small disorder, so the place is found by halving, and the events
// around it are read.
func (k *Keeper) EventAt(r kv.Reader, user matrix.UserID, room matrix.RoomID, ts int64, backwards bool) (Moment, error) {
	horizon, err := k.Horizon(r, room, user)
	if err != nil {
		return Moment{}, err
	}
	behind := ts
	if backwards && ts < math.MaxInt64 {
		behind++ // events of that very time count
	}
	start := min(k.placeOf(r, room, behind), horizon)
	var best *rooms.Event
	better := func(e *rooms.Event) bool {
		if backwards && e.TS > ts || !backwards && e.TS < ts || e.Position > horizon || !k.Rooms.Visible(r, user, e) {
			return false
		}
		// Of two events at one time, the one further on in the direction is nearer to
		// what comes next.
		return best == nil || backwards && (e.TS > best.TS || e.TS == best.TS && e.Position > best.Position) ||
			!backwards && (e.TS < best.TS || e.TS == best.TS && e.Position < best.Position)
	}
	look := func(events iter.Seq[*rooms.Event], until func(read int) bool) {
		read := 0
		for e := range events {
			if read++; until(read) {
				return
			}
			if better(e) {
				best = e
			}
		}
	}
	// First the side where it should be, as far as is needed; then what strayed to the
	// other one.
	ahead := func(read int) bool { return read > k.ScanLimit || best != nil && read > timestampWindow }
	astray := func(read int) bool { return read > timestampWindow }
	if backwards {
		look(k.Rooms.Backwards(r, room, start), ahead)
		look(k.Rooms.Forwards(r, room, start), astray)
	} else {
		look(k.Rooms.Forwards(r, room, start), ahead)
		look(k.Rooms.Backwards(r, room, start), astray)
	}
	if best == nil {
		direction := "forward"
		if backwards {
			direction = "backward"
		}
		return Moment{}, matrix.NotFound(fmt.Sprintf("Unable to find event from %d in %s direction", ts, direction))
	}
	return Moment{best.ID, best.TS}, nil
}

// placeOf is a position such that the events behind it are of that time or later and the
// others earlier, as far as the times of a room are in order.
func (k *Keeper) placeOf(r kv.Reader, room matrix.RoomID, ts int64) changes.Position {
	low, high := changes.Position(0), k.end(r, room, now)
	for low < high {
		middle := low + (high-low)/2
		earlier := false // the event behind the middle is earlier than ts
		for e := range k.Rooms.Forwards(r, room, middle) {
			if earlier = e.TS < ts; earlier {
				middle = e.Position
			}
			break
		}
		if earlier {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}
