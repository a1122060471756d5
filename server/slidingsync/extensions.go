package slidingsync

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"porchlight/server/changes"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
)

// all stands for every list or subscription.
const all = "*"

// wants says whether an extension is about a room.
func (x *RoomExtension) wants(room matrix.RoomID, w *wish) bool {
	if len(w.lists) > 0 && (x.Lists == nil || slices.Contains(x.Lists, all) ||
		slices.ContainsFunc(w.lists, func(name string) bool { return slices.Contains(x.Lists, name) })) {
		return true
	}
	if w.subscribed && (x.Rooms == nil || slices.Contains(x.Rooms, all)) {
		return true
	}
	return slices.Contains(x.Rooms, room)
}

func (l *looker) extensions() error {
	x := &l.req.Extensions
	if x.ToDevice != nil && x.ToDevice.Enabled && l.req.Viewer.Device != "" {
		if err := l.toDevice(x.ToDevice); err != nil {
			return err
		}
	}
	if x.E2EE != nil && x.E2EE.Enabled {
		l.e2ee()
	}
	if x.AccountData != nil && x.AccountData.Enabled {
		l.accountData(x.AccountData)
	}
	if x.Receipts != nil && x.Receipts.Enabled {
		l.receipts(x.Receipts)
	}
	if x.Typing != nil && x.Typing.Enabled {
		l.typing(x.Typing)
	}
	return nil
}

// toDevice tells the messages to the device; how far is a token of its own.
func (l *looker) toDevice(x *ToDeviceExtension) error {
	since := changes.Position(0)
	if x.Since != "" {
		var err error
		if since, _, err = l.v.parseToDevice(l.req.Viewer.User, x.Since); err != nil {
			return err
		}
		if l.v.foreign(l.r, since) {
			since = 0 // nothing is known to have arrived
		}
	}
	limit := maxToDevice
	if x.Limit > 0 {
		limit = min(x.Limit, maxToDevice)
	}
	messages, next, err := l.v.Crypto.ToDevice(l.r, l.req.Viewer.User, l.req.Viewer.Device, since, l.upTo, limit)
	if err != nil {
		return err
	}
	if messages == nil {
		messages = []json.RawMessage{}
	}
	place := l.v.Seal.On(l.req.Viewer.User, strconv.FormatUint(uint64(next), 10))
	l.res.Extensions.ToDevice = &ToDeviceResult{Next: place, Events: messages}
	l.res.news = l.res.news || len(messages) > 0
	return nil
}

// parseToDevice reads a token of the messages to a device: a position and, but for tokens
// of earlier releases, a seal.
func (v *View) parseToDevice(user matrix.UserID, s string) (at changes.Position, sealed bool, err error) {
	bad := matrix.InvalidParam("since is not a token of the to_device extension, or it belongs to another user.")
	if strings.Contains(s, "_") {
		if s, sealed = v.Seal.Cut(user, s); !sealed {
			return 0, false, bad
		}
	}
	pos, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, false, bad
	}
	return changes.Position(pos), sealed, nil
}

// e2ee tells what end-to-end encryption needs (spec: e2e extensions to sync).
func (l *looker) e2ee() {
	viewer := l.req.Viewer
	out := &E2EEResult{OneTimeKeys: map[string]int{}, UnusedFallback: []string{}}
	l.res.Extensions.E2EE = out
	if viewer.Device != "" {
		out.OneTimeKeys = l.v.Crypto.KeyCounts(l.r, viewer.User, viewer.Device)
		out.UnusedFallback = l.v.Crypto.UnusedFallback(l.r, viewer.User, viewer.Device)
	}
	l.res.news = l.res.news || l.news.keyCounts
	if l.first || !l.news.lists {
		return
	}
	changed, left := l.v.Crypto.DeviceListChanges(l.r, viewer.User, l.base.at, l.upTo)
	if len(changed)+len(left) > 0 {
		out.Lists = &DeviceLists{changed, left}
		l.res.news = true
	}
}

// accountData tells the user's account data: all, or what is new.
func (l *looker) accountData(x *RoomExtension) {
	out := &AccountDataResult{Rooms: map[matrix.RoomID][]ContentEvent{}}
	l.res.Extensions.AccountData = out
	out.Global = l.dataOf("", l.first, l.news.accountData)
	for room, w := range l.wishes {
		told, known := l.known(room)
		if !known || !x.wants(room, w) {
			continue
		}
		_, before := l.base.rooms[room]
		if data := l.dataOf(room, !before || told.oldData, l.news.roomData[room]); len(data) > 0 {
			out.Rooms[room] = data
		}
		if told.oldData {
			told.oldData = false
			l.told.rooms[room] = told
		}
	}
	for room := range l.news.roomData {
		if w := l.wishes[room]; w == nil || !x.wants(room, w) {
			l.leaveForLater(room, func(t *toldRoom) { t.oldData = true })
		}
	}
	l.res.news = l.res.news || len(out.Global)+len(out.Rooms) > 0
}

// leaveForLater notes what changed in a room that the client has but does not ask for now.
func (l *looker) leaveForLater(room matrix.RoomID, note func(*toldRoom)) {
	if t, ok := l.known(room); ok {
		note(&t)
		l.told.rooms[room] = t
	}
}

// dataOf is the account data of a room or of none: all of it, or that of some types.
func (l *looker) dataOf(room matrix.RoomID, whole bool, types []string) []ContentEvent {
	var out []ContentEvent
	user := l.req.Viewer.User
	if whole {
		for t, content := range l.v.Accounts.AllAccountData(l.r, user, room) {
			out = append(out, ContentEvent{t, content})
		}
		return out
	}
	for _, t := range types {
		content, ok := l.v.Accounts.AccountData(l.r, user, room, t)
		if !ok {
			content = json.RawMessage(`{}`) // deleted
		}
		out = append(out, ContentEvent{t, content})
	}
	return out
}

// receipts tells how far people have read in the rooms of the answer.
func (l *looker) receipts(x *RoomExtension) {
	out := &RoomsResult{Rooms: map[matrix.RoomID]json.RawMessage{}}
	l.res.Extensions.Receipts = out
	var fresh map[matrix.RoomID][]ephemeral.Receipt
	if !l.first {
		fresh = l.v.Ephemeral.ReceiptsSince(l.r, l.req.Viewer.User, l.moment(), l.isIn)
	}
	for room, w := range l.wishes {
		told, known := l.known(room)
		if !known || !x.wants(room, w) || !l.isIn(room) {
			continue
		}
		news := fresh[room]
		if _, before := l.base.rooms[room]; !before || told.oldReceipts {
			news = l.v.Ephemeral.Receipts(l.r, room, l.req.Viewer.User)
		}
		if told.oldReceipts {
			told.oldReceipts = false
			l.told.rooms[room] = told
		}
		if len(news) > 0 {
			out.Rooms[room] = ephemeral.ReceiptEvent(news)
		}
	}
	for room := range fresh {
		if w := l.wishes[room]; w == nil || !x.wants(room, w) {
			l.leaveForLater(room, func(t *toldRoom) { t.oldReceipts = true })
		}
	}
	l.res.news = l.res.news || len(out.Rooms) > 0
}

func (l *looker) isIn(room matrix.RoomID) bool {
	e := l.order.entries[room]
	return e != nil && e.member.State == "join"
}

// typing tells who is typing in the rooms of the answer.
func (l *looker) typing(x *RoomExtension) {
	out := &RoomsResult{Rooms: map[matrix.RoomID]json.RawMessage{}}
	l.res.Extensions.Typing = out
	for room, users := range l.v.Ephemeral.TypingSince(l.moment().Counter) {
		if w := l.wishes[room]; w != nil && x.wants(room, w) && l.isIn(room) {
			out.Rooms[room] = ephemeral.TypingEvent(users)
		}
	}
	l.res.news = l.res.news || len(out.Rooms) > 0
}
