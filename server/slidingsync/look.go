package slidingsync

import (
	"context"
	"maps"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// look gathers one answer in one read transaction, and what the client has when it gets it.
func (v *View) look(ctx context.Context, req *Request, s *session) (*Response, *memory, error) {
	s.conn.looking.Lock()
	defer s.conn.looking.Unlock()
	count := v.Ephemeral.Counter() // before reading: rather tell a thing twice than never
	l := &looker{v: v, req: req, base: s.base, first: req.Pos == "", order: &s.conn.order, wishes: map[matrix.RoomID]*wish{}}
	err := v.DB.View(ctx, func(tx *kv.ReadTx) error {
		l.r, l.upTo = tx, v.Changes.Last(tx)
		if !l.first && v.foreign(tx, l.base.at) {
			return unknownPos()
		}
		l.told = &memory{at: l.upTo, count: count, rooms: map[matrix.RoomID]toldRoom{}, members: map[memberID]changes.Position{}}
		l.res = &Response{TxnID: req.TxnID, Lists: map[string]ListResult{}, Rooms: map[matrix.RoomID]*RoomResult{}}
		return l.gather()
	})
	if ctx.Err() != nil {
		return nil, nil, unknownPos() // the client is gone, or has asked again
	}
	return l.res, l.told, err
}

// looker gathers one answer.
type looker struct {
	v     *View
	r     kv.Reader
	req   *Request
	base  memory
	first bool
	upTo  changes.Position // what this transaction sees

	news     news
	order    *order
	listener *rooms.Listener
	dms      map[matrix.RoomID]bool
	wishes   map[matrix.RoomID]*wish // of the rooms that the client asks for

	told *memory
	res  *Response
}

// news is what a scan of the change log found for a user and device.
type news struct {
	rooms       map[matrix.RoomID]bool
	accountData []string // types of the global kind
	roomData    map[matrix.RoomID][]string
	lists       bool // there may be changes in whose keys the user follows
	keyCounts   bool
}

func (l *looker) gather() error {
	l.listener = l.v.Rooms.Listener(l.r, l.req.Viewer.User)
	l.readDMs()
	if !l.first {
		l.scan()
	}
	l.refresh(l.order, l.news.rooms)
	for _, name := range slices.Sorted(maps.Keys(l.req.Lists)) {
		list := l.req.Lists[name]
		chosen, count := l.choose(list)
		l.res.Lists[name] = ListResult{count}
		for _, e := range chosen {
			w := l.wish(e.room)
			w.add(list.RoomConfig, l.req.Viewer.User)
			w.lists = append(w.lists, name)
		}
	}
	for room, config := range l.req.Subscriptions {
		if e := l.order.entries[room]; e == nil || l.over(e) {
			continue // there is none, or the user has nothing to do with it
		}
		w := l.wish(room)
		w.add(config, l.req.Viewer.User)
		w.subscribed = true
	}
	for room, w := range l.wishes {
		l.room(l.order.entries[room], w)
	}
	return l.extensions()
}

func (l *looker) wish(room matrix.RoomID) *wish {
	if l.wishes[room] == nil {
		l.wishes[room] = &wish{}
	}
	return l.wishes[room]
}

// scan reads the change log behind what the client has.
func (l *looker) scan() {
	n := news{rooms: map[matrix.RoomID]bool{}, roomData: map[matrix.RoomID][]string{}}
	viewer := l.req.Viewer
	for _, c := range l.v.Changes.Since(l.r, l.base.at) {
		switch c.Kind {
		case changes.Event:
			n.rooms[c.Room] = true
			n.lists = true // it may be about a member
		case changes.Forgotten:
			if c.User == viewer.User {
				n.rooms[c.Room] = true
			}
		case changes.AccountData:
			if c.User != viewer.User {
				continue
			}
			if c.Room == "" {
				n.accountData = addNew(n.accountData, c.Key)
			} else {
				n.roomData[c.Room] = addNew(n.roomData[c.Room], c.Key)
			}
		case changes.DeviceList:
			n.lists = n.lists || c.Key == "" || c.Key == string(viewer.User)
		case changes.KeyCount:
			n.keyCounts = n.keyCounts || c.User == viewer.User && c.Device == viewer.Device
		}
	}
	l.news = n
}

func addNew(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// known is what the client has of a room when it gets this answer.
func (l *looker) known(room matrix.RoomID) (toldRoom, bool) {
	if t, ok := l.told.rooms[room]; ok {
		return t, true
	}
	t, ok := l.base.rooms[room]
	return t, ok
}

// moment reads what is true only for a while and new to the client.
func (l *looker) moment() ephemeral.Since {
	since := ephemeral.Since{Position: l.base.at, Boot: l.v.Ephemeral.Boot(), Counter: l.base.count}
	if l.first {
		since.Counter = 0
	}
	return since
}
