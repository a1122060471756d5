package syncv2

import (
	"context"
	"encoding/json"
	"slices"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// look gathers one answer in one read transaction.
func (v *View) look(ctx context.Context, q *query) (*Response, error) {
	var res *Response
	count := v.Ephemeral.Counter() // before reading: rather tell a thing twice than never
	err := v.DB.View(ctx, func(tx *kv.ReadTx) error {
		l := &looker{v: v, r: tx, q: q, since: q.since, first: q.first, upTo: v.Changes.Last(tx)}
		if !l.first && v.Foreign(tx, l.since) {
			// The file was restored from an older copy: what the client has heard of
			// may not have happened. Only telling everything again is right.
			l.since, l.first, l.gap = Token{}, true, true
		}
		l.res = &Response{Rooms: Rooms{
			Join: map[matrix.RoomID]*JoinedRoom{}, Invite: map[matrix.RoomID]*InvitedRoom{},
			Knock: map[matrix.RoomID]*KnockedRoom{}, Leave: map[matrix.RoomID]*LeftRoom{},
		}}
		res = l.res
		res.next = Token{Position: l.upTo, ToDevice: l.upTo, Boot: v.Ephemeral.Boot(), Count: count}
		res.news = l.gap
		return l.gather()
	})
	return res, err
}

// looker gathers one answer.
type looker struct {
	v     *View
	r     kv.Reader
	q     *query
	since Token
	first bool
	gap   bool             // first, but for a client that believes to know something
	upTo  changes.Position // what this transaction sees

	news     *news
	typing   map[matrix.RoomID][]matrix.UserID
	receipts map[matrix.RoomID][]ephemeral.Receipt
	presence []ephemeral.Presence
	listener *rooms.Listener
	res      *Response
}

// roomNews is what a scan of the change log found about a room.
type roomNews struct {
	events      bool
	accountData []string // types
	// unknown: nobody looked what else than events is new, so all of it is told.
	unknown bool
	counts  bool // what is unread may count otherwise than before
}

// news is what a scan of the change log found for a user and device, and what came to
// light on the way.
type news struct {
	rooms       map[matrix.RoomID]*roomNews
	accountData []string
	far         bool // the token is far behind: all that may be new counts as new
	deviceLists bool // there may be some: keys changed, or members came and went
	toDevice    bool
	keyCounts   bool
}

func (n *news) room(id matrix.RoomID) *roomNews {
	if n.rooms[id] == nil {
		n.rooms[id] = &roomNews{}
	}
	return n.rooms[id]
}

// scan reads the change log behind the token.
func (l *looker) scan() *news {
	if l.upTo-l.since.Position > l.v.FarBehind {
		return l.survey()
	}
	n := &news{rooms: map[matrix.RoomID]*roomNews{}}
	me := l.q.Viewer
	for _, c := range l.v.Changes.Since(l.r, l.since.Position) {
		switch c.Kind {
		case changes.Event:
			n.room(c.Room).events = true
		case changes.AccountData:
			if c.User != me.User {
				continue
			}
			types := &n.accountData
			if c.Room != "" {
				types = &n.room(c.Room).accountData
			}
			if !slices.Contains(*types, c.Key) {
				*types = append(*types, c.Key)
			}
		case changes.DeviceList:
			n.deviceLists = n.deviceLists || c.Key == "" || c.Key == string(me.User)
		case changes.ToDevice:
			n.toDevice = n.toDevice || c.User == me.User && c.Device == me.Device
		case changes.KeyCount:
			n.keyCounts = n.keyCounts || c.User == me.User && c.Device == me.Device
		}
	}
	if slices.Contains(n.accountData, accounts.TypeIgnored) {
		for room, m := range l.v.Rooms.Memberships(l.r, me.User) {
			if m.State == "join" && l.hidden(room) {
				n.room(room).counts = true
			}
		}
	}
	return n
}

// survey is scan for a token that is far behind: it looks at the user's rooms, and at no
// change.
func (l *looker) survey() *news {
	n := &news{rooms: map[matrix.RoomID]*roomNews{}, far: true, deviceLists: true, toDevice: true, keyCounts: true}
	for room, m := range l.v.Rooms.Memberships(l.r, l.q.Viewer.User) {
		if m.State == "join" {
			n.rooms[room] = &roomNews{events: l.v.Rooms.Latest(l.r, room) > l.since.Position, unknown: true, counts: l.hidden(room)}
		} else if m.Position > l.since.Position {
			n.rooms[room] = &roomNews{events: true, unknown: true}
		}
	}
	return n
}

func (l *looker) gather() error {
	l.listener = l.v.Rooms.Listener(l.r, l.q.Viewer.User)
	l.news = &news{}
	if l.first {
		l.v.members.forget(l.q.Viewer)
	} else {
		l.news = l.scan()
	}
	l.readMoment()
	for _, part := range []func() error{l.allRooms, l.others, l.globalData, l.toDevice, l.keys} {
		if err := part(); err != nil {
			return err
		}
	}
	l.res.NextBatch = l.v.Seal.On(l.q.Viewer.User, l.res.next.String())
	return nil
}

// allRooms tells of the rooms that have news, or of all.
func (l *looker) allRooms() error {
	if l.first || l.q.FullState {
		for room, m := range l.v.Rooms.Memberships(l.r, l.q.Viewer.User) {
			if err := l.room(room, m, l.news.rooms[room]); err != nil {
				return err
			}
		}
		return nil
	}
	for room, n := range l.news.rooms {
		m, ok := l.v.Rooms.MembershipRow(l.r, room, l.q.Viewer.User)
		if !ok {
			continue
		}
		if err := l.room(room, m, n); err != nil {
			return err
		}
	}
	return nil
}

// room tells of one room; n is nil if the change log says nothing about it.
func (l *looker) room(room matrix.RoomID, m rooms.Membership, n *roomNews) error {
	if !l.q.filter.Room.MatchRoom(room) {
		// Whose keys matter does not depend on what the client wants to be told of.
		l.news.deviceLists = l.news.deviceLists || n != nil && n.events
		return nil
	}
	if n == nil {
		n = &roomNews{}
	}
	fresh := l.first || m.Position > l.since.Position // the user does not know of m yet
	switch m.State {
	case "join":
		return l.joined(room, m, n)
	case "invite":
		if fresh && l.listener.WantsInvite(room, m) {
			l.res.Rooms.Invite[room] = &InvitedRoom{l.stripped(room)}
			l.res.news = true
		}
	case "knock":
		if fresh {
			l.res.Rooms.Knock[room] = &KnockedRoom{l.stripped(room)}
			l.res.news = true
		}
	default:
		if l.first || l.q.FullState && !fresh {
			// Over a gap, the client may believe to be in the room still.
			if (l.q.filter.Room.IncludeLeave || l.gap) && !m.Forgotten {
				return l.left(room, m, n)
			}
			return nil
		}
		if fresh && (!m.Forgotten || l.hadTo(room, m)) {
			return l.left(room, m, n)
		}
	}
	return nil
}

// hadTo says whether the user had to do with the room when the token was made: then the client
// has to hear that this is over, though the user has forgotten the room since.
func (l *looker) hadTo(room matrix.RoomID, m rooms.Membership) bool {
	before, entered := l.v.Rooms.StaySince(l.r, room, m, l.since.Position)
	return entered || before != "leave" && before != "ban"
}

func (l *looker) stripped(room matrix.RoomID) StrippedEvents {
	return StrippedEvents{l.v.Rooms.StrippedState(l.r, room, l.q.Viewer.User)}
}

// globalData tells the account data that belongs to no room.
func (l *looker) globalData() error {
	told := l.accountData("", l.q.filter.AccountData.Match, l.first || l.news.far, l.news.accountData)
	if len(told) > 0 {
		l.res.AccountData = &Events{told}
		l.res.news = true
	}
	return nil
}

// accountData is the account data of a room or of none: all of it, or that of some types.
func (l *looker) accountData(room matrix.RoomID, match func(string, matrix.UserID) bool, all bool, types []string) []any {
	told := []any{}
	if all {
		for t, content := range l.v.Accounts.AllAccountData(l.r, l.q.Viewer.User, room) {
			if match(t, "") {
				told = append(told, contentEvent{t, content})
			}
		}
		return told
	}
	for _, t := range types {
		content, ok := l.v.Accounts.AccountData(l.r, l.q.Viewer.User, room, t)
		if !ok {
			content = json.RawMessage(`{}`) // deleted, as the standard shows it
		}
		if match(t, "") {
			told = append(told, contentEvent{t, content})
		}
	}
	return told
}

// toDevice tells the messages to the device, and how far in the token.
func (l *looker) toDevice() error {
	me := l.q.Viewer
	if me.Device == "" || !l.first && !l.news.toDevice && l.since.ToDevice == l.since.Position {
		return nil
	}
	messages, next, err := l.v.Crypto.ToDevice(l.r, me.User, me.Device, l.since.ToDevice, l.upTo, maxToDevice)
	if err != nil {
		return err
	}
	l.res.next.ToDevice = next
	if len(messages) > 0 {
		told := &Events{}
		for _, m := range messages {
			told.Events = append(told.Events, m)
		}
		l.res.ToDevice, l.res.news = told, true
	}
	return nil
}

// keys tells what end-to-end encryption needs (spec: e2e extensions to sync).
func (l *looker) keys() error {
	me := l.q.Viewer
	l.res.OneTimeKeys, l.res.UnusedFallback = map[string]int{}, []string{}
	if me.Device != "" {
		l.res.OneTimeKeys = l.v.Crypto.KeyCounts(l.r, me.User, me.Device)
		l.res.UnusedFallback = l.v.Crypto.UnusedFallback(l.r, me.User, me.Device)
	}
	if l.news.keyCounts {
		l.res.news = true
	}
	if l.gap {
		l.res.DeviceLists = &DeviceLists{l.v.Crypto.WholeDeviceList(l.r, me.User), []matrix.UserID{}}
		return nil
	}
	if l.first || !l.news.deviceLists {
		return nil
	}
	changed, left := l.v.Crypto.DeviceListChanges(l.r, me.User, l.since.Position, l.upTo)
	if len(changed)+len(left) > 0 {
		l.res.DeviceLists = &DeviceLists{changed, left}
		l.res.news = true
	}
	return nil
}
