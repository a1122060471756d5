package slidingsync

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// Accounts is what is asked of a user's account data.
type Accounts interface {
	AccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID, dataType string) (json.RawMessage, bool)
	AllAccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID) iter.Seq2[string, json.RawMessage]
}

// maxBumpScan is how many events are read back to find the last one that counts as
// activity.
const maxBumpScan = 100

// bumps are the events that count as activity (MSC4186, bump_stamp).
var bumps = map[string]bool{
	"m.room.create": true, "m.room.message": true, "m.room.encrypted": true, "m.sticker": true,
	"m.call.invite": true, "m.poll.start": true, "m.beacon_info": true,
}

// entry is a room in the user's list.
type entry struct {
	room       matrix.RoomID
	member     rooms.Membership
	latest     changes.Position // of the last event that the user hears of
	bump       changes.Position
	encrypted  bool
	roomType   *string // nil: none
	onlyIfTold bool    // not in the list unless the client has been told of the room
}

// order is the user's rooms, the most active first, as of a position. It is made once for a
// connection and then follows the change log.
type order struct {
	at      changes.Position
	entries map[matrix.RoomID]*entry
	sorted  []*entry
}

// refresh brings the list up to date. changed are the rooms with events since, or nil for
// all rooms.
func (l *looker) refresh(o *order, changed map[matrix.RoomID]bool) {
	user := l.req.Viewer.User
	if o.entries == nil {
		o.entries = map[matrix.RoomID]*entry{}
		for room, m := range l.v.Rooms.Memberships(l.r, user) {
			l.enter(o, room, m)
		}
	} else {
		for room := range changed {
			if m, ok := l.v.Rooms.MembershipRow(l.r, room, user); ok {
				l.enter(o, room, m)
			}
		}
		if len(changed) == 0 {
			o.at = l.upTo
			return
		}
	}
	o.at = l.upTo
	o.sorted = o.sorted[:0]
	for _, e := range o.entries {
		o.sorted = append(o.sorted, e)
	}
	slices.SortFunc(o.sorted, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.latest, a.latest), strings.Compare(string(a.room), string(b.room)))
	})
}

// enter puts a room into the list as it is now, or takes it out.
func (l *looker) enter(o *order, room matrix.RoomID, m rooms.Membership) {
	before := o.entries[room]
	delete(o.entries, room)
	e := &entry{room: room, member: m, latest: m.Position, bump: m.Position}
	switch m.State {
	case "join":
		l.lookAt(e, before)
	case "invite":
		if !l.listener.WantsInvite(room, m) {
			return
		}
	case "knock":
	default:
		// Who has left knows it; who was made to leave may not.
		own, ok := l.v.Rooms.EventAt(l.r, room, m.Position)
		e.onlyIfTold = !m.WasJoined || ok && own.Sender == l.req.Viewer.User
	}
	if row, ok := l.v.Rooms.Room(l.r, room); ok && row.Type != "" {
		e.roomType = &row.Type
	}
	_, e.encrypted = l.v.Rooms.State(l.r, room, "m.room.encryption", "")
	o.entries[room] = e
}

// lookAt finds the latest events of a room that the user is in.
func (l *looker) lookAt(e, before *entry) {
	read := 0
	for event := range l.v.Rooms.Backwards(l.r, e.room, l.upTo) {
		if read == 0 {
			e.latest = event.Position
		}
		if before != nil && before.member.State == "join" && event.Position <= before.latest {
			e.bump = before.bump
			return
		}
		if read++; bumps[event.Type] {
			e.bump = event.Position
			return
		}
		if read == maxBumpScan {
			return
		}
	}
}

// over says whether a room that the user has forgotten is nothing to the client: it was never
// told of it, or has been told that the user is not in it any more.
func (l *looker) over(e *entry) bool {
	if !e.member.Forgotten {
		return false
	}
	switch l.base.rooms[e.room].membership {
	case "join", "invite", "knock":
		return false
	}
	return true
}

// choose are the rooms that a list is about, and how many there are whatever the ranges.
func (l *looker) choose(list List) (chosen []*entry, count int) {
	var spaces map[matrix.RoomID]bool
	if list.Filter.Spaces != nil {
		spaces = l.children(list.Filter.Spaces)
	}
	for _, e := range l.order.sorted {
		_, told := l.base.rooms[e.room]
		if e.onlyIfTold && !told || l.over(e) || !l.passes(e, &list.Filter, spaces) {
			continue
		}
		in := list.Ranges == nil || slices.ContainsFunc(list.Ranges, func(r [2]int) bool { return r[0] <= count && count <= r[1] })
		if in {
			chosen = append(chosen, e)
		}
		count++
	}
	return chosen, count
}

// children are the rooms that the spaces among these that the user is in hold directly.
func (l *looker) children(spaces []matrix.RoomID) map[matrix.RoomID]bool {
	all := map[matrix.RoomID]bool{}
	for _, space := range spaces {
		if l.v.Rooms.Membership(l.r, space, l.req.Viewer.User) != "join" {
			continue
		}
		for e := range l.v.Rooms.StateOfType(l.r, space, "m.space.child") {
			// A child without servers to find it by is none (spec: m.space.child).
			if content, err := matrix.ParseObject(e.Content); err == nil && content.Has("via") {
				all[matrix.RoomID(*e.StateKey)] = true
			}
		}
	}
	return all
}

func (l *looker) passes(e *entry, f *Filter, spaces map[matrix.RoomID]bool) bool {
	same := func(s *string) bool {
		return s == nil && e.roomType == nil || s != nil && e.roomType != nil && *s == *e.roomType
	}
	switch {
	case f.DM != nil && *f.DM != l.dms[e.room],
		f.Encrypted != nil && *f.Encrypted != e.encrypted,
		f.Invited != nil && *f.Invited != (e.member.State == "invite"),
		f.Spaces != nil && !spaces[e.room],
		f.RoomTypes != nil && !slices.ContainsFunc(f.RoomTypes, same),
		slices.ContainsFunc(f.NotRoomTypes, same):
		return false
	}
	if f.Tags == nil && f.NotTags == nil {
		return true
	}
	tags := l.tags(e.room)
	tagged := func(tag string) bool { return tags.Has(tag) }
	return (f.Tags == nil || slices.ContainsFunc(f.Tags, tagged)) && !slices.ContainsFunc(f.NotTags, tagged)
}

// tags are what the user calls a room by (spec: room tagging).
func (l *looker) tags(room matrix.RoomID) matrix.Object {
	content, ok := l.v.Accounts.AccountData(l.r, l.req.Viewer.User, room, "m.tag")
	if !ok {
		return nil
	}
	data, err := matrix.ParseObject(content)
	if err != nil {
		return nil
	}
	tags, _ := data.Object("tags")
	return tags
}

// readDMs finds the rooms that the user has for one other person (spec: direct messaging).
func (l *looker) readDMs() {
	l.dms = map[matrix.RoomID]bool{}
	content, ok := l.v.Accounts.AccountData(l.r, l.req.Viewer.User, "", "m.direct")
	if !ok {
		return
	}
	var direct map[string]json.RawMessage
	if json.Unmarshal(content, &direct) != nil {
		return // the user's own data, of any form
	}
	for _, raw := range direct {
		var all []matrix.RoomID
		if json.Unmarshal(raw, &all) != nil {
			continue
		}
		for _, room := range all {
			l.dms[room] = true
		}
	}
}
