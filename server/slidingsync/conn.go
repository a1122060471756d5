package slidingsync

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"time"

	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// maxMembers is how many member events a connection remembers to have told; beyond, it
// forgets them all, and tells some again.
const maxMembers = 10_000

// connID names a connection.
type connID struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Conn   string
}

// conn is what is remembered of a connection.
type conn struct {
	base    memory  // what the client is known to have
	pending *memory // what it has besides if the last answer reached it
	cancel  context.CancelFunc
	used    time.Time
	turn    uint64 // counts the requests: only the newest may commit

	looking sync.Mutex // guards order
	order   order
}

// memory is what has been told up to an answer. That of a pending answer holds only what
// it adds.
type memory struct {
	pos     string
	at      changes.Position // how far the change log was read
	count   uint64           // of package ephemeral
	rooms   map[matrix.RoomID]toldRoom
	members map[memberID]changes.Position
}

type memberID struct {
	room matrix.RoomID
	user matrix.UserID
}

// toldRoom is what the client has of a room.
type toldRoom struct {
	membership string
	upTo       changes.Position // the state is that of here
	start      changes.Position // every visible event behind it, up to upTo, has been told
	timeline   int              // how many events the client wanted
	rules      []StateRule      // which state it wanted
	key        string           // of the rules
	bump       changes.Position
	dm         bool
	// What has changed while nobody asked for the room.
	oldData, oldReceipts bool
}

// conns are all connections.
type conns struct {
	mu                 sync.Mutex
	all                map[connID]*conn
	now                func() time.Time
	most, mostOfDevice int
	serial             uint64
}

// session is one request on a connection.
type session struct {
	*conns
	id   connID
	conn *conn
	base memory // as it was when the request came; nobody changes its maps
	turn uint64
	stop context.CancelFunc
}

func unknownPos() *matrix.Error {
	return &matrix.Error{Status: 400, Code: "M_UNKNOWN_POS", Message: "The house does not know this place any more: please begin anew."}
}

// begin finds the connection and takes pos as the sign that the answer with that pos has
// arrived. A request that still waits on the same connection ends.
func (c *conns) begin(ctx context.Context, id connID, pos string) (*session, context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	known := c.all[id]
	if pos == "" {
		if known != nil {
			known.drop()
		}
		c.makeRoom(id)
		known = &conn{}
		c.all[id] = known
	}
	switch {
	case known == nil:
		return nil, nil, unknownPos()
	case known.pending != nil && pos == known.pending.pos:
		known.base = known.base.with(known.pending)
		known.pending = nil
	case pos == known.base.pos:
		known.pending = nil // the answer got lost, or the client has changed its mind
	default:
		return nil, nil, unknownPos()
	}
	known.drop()
	known.used = now
	known.turn++
	ctx, known.cancel = context.WithCancel(ctx)
	return &session{c, id, known, known.base, known.turn, known.cancel}, ctx, nil
}

// drop ends the request that waits on the connection. The caller holds mu.
func (c *conn) drop() {
	if c.cancel != nil {
		c.cancel()
	}
}

// makeRoom forgets the connections that were not used for longest, until one more fits.
// The caller holds mu.
func (c *conns) makeRoom(id connID) {
	for {
		var oldest, oldestOfDevice *connID
		ofDevice := 0
		for at, other := range c.all {
			if at == id {
				continue
			}
			if oldest == nil || other.used.Before(c.all[*oldest].used) {
				oldest = &at
			}
			if at.User != id.User || at.Device != id.Device {
				continue
			}
			ofDevice++
			if oldestOfDevice == nil || other.used.Before(c.all[*oldestOfDevice].used) {
				oldestOfDevice = &at
			}
		}
		switch {
		case ofDevice >= c.mostOfDevice:
			c.forget(*oldestOfDevice)
		case len(c.all) >= c.most && oldest != nil:
			c.forget(*oldest)
		default:
			return
		}
	}
}

func (c *conns) forget(id connID) {
	c.all[id].drop()
	delete(c.all, id)
}

// with is the memory after an answer has arrived. Its maps are new, since a request that
// is about to end may still read the old ones.
func (m memory) with(added *memory) memory {
	next := memory{added.pos, added.at, added.count, maps.Clone(m.rooms), maps.Clone(m.members)}
	if next.rooms == nil {
		next.rooms = map[matrix.RoomID]toldRoom{}
	}
	if next.members == nil || len(next.members)+len(added.members) > maxMembers {
		next.members = map[memberID]changes.Position{}
	}
	maps.Copy(next.rooms, added.rooms)
	maps.Copy(next.members, added.members)
	return next
}

// commit gives the answer its pos and remembers what it tells. A request that another one
// has overtaken must not be answered.
func (s *session) commit(res *Response, told *memory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[s.id] != s.conn || s.conn.turn != s.turn {
		return unknownPos()
	}
	s.serial++
	// Operations that read pages take it for a place in the change log.
	told.pos = fmt.Sprintf("s%d_%d_%s", told.at, s.serial, rand.Text()[:8])
	s.conn.pending = told
	res.Pos = told.pos
	return nil
}

// end gives up what the request holds.
func (s *session) end() { s.stop() }
