package ephemeral

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// The types of receipts (spec: receipts).
const (
	Read        = "m.read"
	ReadPrivate = "m.read.private" // seen by nobody but its owner
)

// MainThread is the thread of all events that are in no other.
const MainThread = "main"

const (
	// maxRecent is how many receipts stay in memory after they reached the disk.
	maxRecent = 5000
	// keepRecent is how long a receipt stays in memory after it reached the disk, so that
	// no answer that is being made misses it in both places.
	keepRecent = time.Minute
	// maxThreadHops is how far relations are followed to find an event's thread
	// (spec: threaded read receipts).
	maxThreadHops = 3
)

type receiptKey struct {
	Room   matrix.RoomID
	User   matrix.UserID
	Type   string
	Thread string // empty: unthreaded
}

type receiptRow struct {
	Event    matrix.EventID   `cbor:"1,keyasint"`
	Position changes.Position `cbor:"2,keyasint"`           // of the event
	TS       int64            `cbor:"3,keyasint"`           // ms
	Stored   changes.Position `cbor:"4,keyasint,omitempty"` // where the log tells of it; 0 for those of old
}

// recentReceipt is a receipt that was set since the start.
type recentReceipt struct {
	receiptRow
	changed uint64
	stored  time.Time // when it reached the disk; zero before that
}

// Receipt says how far a user has read in a room, or in a thread of it.
type Receipt struct {
	Room     matrix.RoomID
	User     matrix.UserID
	Type     string
	Thread   string // root of the thread, MainThread, or empty for all of the room
	Event    matrix.EventID
	Position changes.Position // of the event
	TS       int64            // when it was set, in ms
}

func newReceipt(key receiptKey, row receiptRow) Receipt {
	return Receipt{key.Room, key.User, key.Type, key.Thread, row.Event, row.Position, row.TS}
}

// SetReceipt moves a receipt forward to an event; an event before the present one is
// passed over. thread is empty for a receipt of the whole room. The errors are M_FORBIDDEN
// for somebody who is not in the room, M_NOT_FOUND for an event that is not there to see,
// M_INVALID_PARAM for another type of receipt or a thread that the event is not in.
func (k *Keeper) SetReceipt(r kv.Reader, room matrix.RoomID, user matrix.UserID, kind string, event matrix.EventID, thread string) error {
	set, err := k.Receipt(r, room, user, kind, event, thread)
	if err != nil {
		return err
	}
	set()
	return nil
}

// Receipt is SetReceipt for who has more to check first: nothing is set before set is called.
func (k *Keeper) Receipt(r kv.Reader, room matrix.RoomID, user matrix.UserID, kind string, event matrix.EventID, thread string) (set func(), err error) {
	if kind != Read && kind != ReadPrivate {
		return nil, matrix.InvalidParam("a receipt is m.read or m.read.private")
	}
	e, err := k.Readable(r, room, user, event)
	if err != nil {
		return nil, err
	}
	if thread != "" && thread != string(event) && thread != k.Thread(r, e) && !k.relatesTo(r, e, matrix.EventID(thread)) {
		return nil, matrix.InvalidParam("the event is not in that thread")
	}
	key := receiptKey{room, user, kind, thread}
	old, had := k.receipts.Get(r, key)
	return func() { k.move(key, old, had, event, e.Position) }, nil
}

// move moves a receipt forward, if it is not further already; old is that on disk, if any.
func (k *Keeper) move(key receiptKey, old receiptRow, had bool, event matrix.EventID, to changes.Position) {
	k.mu.Lock()
	if recent, ok := k.recent[key]; ok {
		old, had = recent.receiptRow, true
	}
	if had && old.Position >= to {
		k.mu.Unlock()
		return
	}
	k.recent[key] = recentReceipt{
		receiptRow: receiptRow{Event: event, Position: to, TS: k.Now().UnixMilli()},
		changed:    k.next(),
	}
	k.mu.Unlock()
	k.DB.Defer("ephemeral receipts", k.store)
	k.changed()
	k.Active(key.User)
}

// Readable finds an event of a room that the user, who has to be in the room, may see.
// The errors are M_FORBIDDEN and M_NOT_FOUND.
func (k *Keeper) Readable(r kv.Reader, room matrix.RoomID, user matrix.UserID, event matrix.EventID) (*rooms.Event, error) {
	if k.Rooms.Membership(r, room, user) != "join" {
		return nil, matrix.Forbidden("you are not in that room")
	}
	e, ok := k.Rooms.Event(r, event)
	if !ok || e.Room != room || !k.Rooms.Visible(r, user, e) {
		return nil, matrix.NotFound("there is no such event in that room")
	}
	return e, nil
}

// relation is what an event says that it relates to.
func relation(e *rooms.Event) (kind string, parent matrix.EventID) {
	var c struct {
		Relation struct {
			Type  string         `json:"rel_type"`
			Event matrix.EventID `json:"event_id"`
		} `json:"m.relates_to"`
	}
	if json.Unmarshal(e.Content, &c) != nil {
		return "", ""
	}
	return c.Relation.Type, c.Relation.Event
}

// Thread is the root of the thread that an event is in, or MainThread. A redaction is in the
// thread of what it redacts.
func (k *Keeper) Thread(r kv.Reader, e *rooms.Event) string {
	if e.Type == "m.room.redaction" && e.Redacts != "" && (e.Notice == nil || e.Notice.Thread == "") {
		target, ok := k.Rooms.Event(r, e.Redacts)
		if !ok || target.Room != e.Room {
			return MainThread
		}
		e = target
	}
	for range maxThreadHops {
		if e.Notice != nil && e.Notice.Thread != "" {
			return string(e.Notice.Thread) // known also of what was redacted since
		}
		kind, parent := relation(e)
		if parent == "" {
			return MainThread
		}
		if kind == "m.thread" {
			return string(parent)
		}
		before, ok := k.Rooms.Event(r, parent)
		if !ok || before.Room != e.Room {
			return MainThread
		}
		e = before
	}
	return MainThread
}

// relatesTo says whether an event relates to another one in any way, be it through others
// (spec: POST receipt, thread_id).
func (k *Keeper) relatesTo(r kv.Reader, e *rooms.Event, root matrix.EventID) bool {
	for range maxThreadHops {
		_, parent := relation(e)
		if parent == root {
			return true
		}
		before, ok := k.Rooms.Event(r, parent)
		if parent == "" || !ok || before.Room != e.Room {
			return false
		}
		e = before
	}
	return false
}

// store writes the receipts that are in memory only; it is a deferred write.
func (k *Keeper) store(tx *kv.WriteTx) error {
	k.mu.Lock()
	var stored []receiptKey
	rows := map[receiptKey]recentReceipt{}
	for key, recent := range k.recent {
		if recent.stored.IsZero() {
			rows[key] = recent
			stored = append(stored, key)
		}
	}
	k.mu.Unlock()
	slices.SortFunc(stored, func(a, b receiptKey) int {
		if c := strings.Compare(string(a.Room), string(b.Room)); c != 0 {
			return c
		}
		return strings.Compare(string(a.User), string(b.User))
	})
	written := map[receiptKey]uint64{}
	var at changes.Position
	for i, key := range stored {
		if i == 0 || key.Room != stored[i-1].Room || key.User != stored[i-1].User {
			at = k.Changes.Append(tx, changes.Change{Kind: changes.Receipt, Room: key.Room, User: key.User})
		}
		row := rows[key]
		written[key] = row.changed
		row.Stored = at
		k.receipts.Put(tx, key, row.receiptRow)
	}
	tx.AfterCommit(func() { k.stored(written) })
	return nil
}

// stored notes what reached the disk, and drops what has been there for long if there is
// too much in memory.
func (k *Keeper) stored(written map[receiptKey]uint64) {
	now := k.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, changed := range written {
		if recent, ok := k.recent[key]; ok && recent.changed == changed {
			recent.stored = now
			k.recent[key] = recent
		}
	}
	if len(k.recent) <= maxRecent {
		return
	}
	for key, recent := range k.recent {
		if !recent.stored.IsZero() && now.Sub(recent.stored) > keepRecent {
			delete(k.recent, key)
			k.floor = max(k.floor, recent.changed)
		}
	}
}

// Since is how much of the receipts a client has heard: what its token says. The counter
// counts only with today's Boot.
type Since struct {
	Position changes.Position
	Boot     string
	Counter  uint64
}

// ReceiptsSince are the receipts that the viewer has not heard of in the rooms for which
// in says yes. They come by room, in no order.
func (k *Keeper) ReceiptsSince(r kv.Reader, viewer matrix.UserID, since Since, in func(matrix.RoomID) bool) map[matrix.RoomID][]Receipt {
	all := map[receiptKey]receiptRow{}
	shown := func(key receiptKey) bool {
		return (key.Type != ReadPrivate || key.User == viewer) && in(key.Room)
	}
	k.mu.Lock()
	current := since.Boot == k.boot && since.Counter >= k.floor
	if !current {
		since.Counter = 0
	}
	recent := map[receiptKey]receiptRow{}
	for key, row := range k.recent {
		if row.changed > since.Counter && shown(key) {
			recent[key] = row.receiptRow
		}
	}
	k.mu.Unlock()
	if !current {
		seen := map[receiptKey]bool{} // by room and user
		for _, c := range k.Changes.Since(r, since.Position) {
			at := receiptKey{Room: c.Room, User: c.User}
			if c.Kind != changes.Receipt || seen[at] || !in(c.Room) {
				continue
			}
			seen[at] = true
			for key, row := range k.receipts.Scan(r, kv.Prefix(c.Room, c.User)) {
				if shown(key) {
					all[key] = row
				}
			}
		}
	}
	maps.Copy(all, recent)
	return byRoom(all)
}

// Receipts are all receipts of a room that the viewer may see, in no order.
func (k *Keeper) Receipts(r kv.Reader, room matrix.RoomID, viewer matrix.UserID) []Receipt {
	return byRoom(k.current(r, kv.Prefix(room), func(key receiptKey) bool {
		return key.Room == room && (key.Type != ReadPrivate || key.User == viewer)
	}))[room]
}

// ReadUpTo is how far a user has read in a room: the position of the furthest receipt, be
// it public or private, of the whole room and of each thread by its root. What has no
// receipt is 0 or not in the map (spec: private read receipts).
func (k *Keeper) ReadUpTo(r kv.Reader, room matrix.RoomID, user matrix.UserID) (all changes.Position, threads map[string]changes.Position) {
	threads = map[string]changes.Position{}
	for key, row := range k.current(r, kv.Prefix(room, user), func(key receiptKey) bool {
		return key.Room == room && key.User == user
	}) {
		if key.Thread == "" {
			all = max(all, row.Position)
		} else {
			threads[key.Thread] = max(threads[key.Thread], row.Position)
		}
	}
	return all, threads
}

// StoredAt are the receipts that a change of kind Receipt at a position tells of, private
// ones included: those that nobody has moved on since.
func (k *Keeper) StoredAt(r kv.Reader, room matrix.RoomID, user matrix.UserID, at changes.Position) []Receipt {
	var all []Receipt
	for key, row := range k.receipts.Scan(r, kv.Prefix(room, user)) {
		if row.Stored == at {
			all = append(all, newReceipt(key, row))
		}
	}
	return all
}

// current reads rows of the disk with those in memory laid over them.
func (k *Keeper) current(r kv.Reader, rg kv.Range, shown func(receiptKey) bool) map[receiptKey]receiptRow {
	all := map[receiptKey]receiptRow{}
	for key, row := range k.receipts.Scan(r, rg) {
		if shown(key) {
			all[key] = row
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, row := range k.recent {
		if shown(key) {
			all[key] = row.receiptRow
		}
	}
	return all
}

func byRoom(rows map[receiptKey]receiptRow) map[matrix.RoomID][]Receipt {
	all := map[matrix.RoomID][]Receipt{}
	for key, row := range rows {
		all[key.Room] = append(all[key.Room], newReceipt(key, row))
	}
	return all
}

// ReceiptEvents are the m.receipt events that tell of receipts: one for each thread, since
// an event can hold only one receipt of a user for the same event (spec: receipts, server
// behaviour).
func ReceiptEvents(all []Receipt) []json.RawMessage {
	threads := map[string]receiptContent{}
	for _, x := range all {
		if threads[x.Thread] == nil {
			threads[x.Thread] = receiptContent{}
		}
		threads[x.Thread].add(x)
	}
	var events []json.RawMessage
	for _, thread := range slices.Sorted(maps.Keys(threads)) {
		events = append(events, threads[thread].event())
	}
	return events
}

// receiptContent is the content of an m.receipt event.
type receiptContent map[matrix.EventID]map[string]map[matrix.UserID]receiptMark

type receiptMark struct {
	TS     int64  `json:"ts"`
	Thread string `json:"thread_id,omitempty"`
}

func (c receiptContent) add(x Receipt) {
	if c[x.Event] == nil {
		c[x.Event] = map[string]map[matrix.UserID]receiptMark{}
	}
	if c[x.Event][x.Type] == nil {
		c[x.Event][x.Type] = map[matrix.UserID]receiptMark{}
	}
	c[x.Event][x.Type][x.User] = receiptMark{x.TS, x.Thread}
}

func (c receiptContent) event() json.RawMessage {
	raw, err := json.Marshal(struct {
		Type    string         `json:"type"`
		Content receiptContent `json:"content"`
	}{"m.receipt", c})
	if err != nil {
		panic(err) // maps of strings and numbers: cannot happen
	}
	return raw
}

// ReceiptEvent is one m.receipt event that tells of receipts, for where there is room for
// one only. Of a user's receipts for the same event it keeps that of the whole room.
func ReceiptEvent(all []Receipt) json.RawMessage {
	one := map[receiptKey]Receipt{} // Thread holds the event
	for _, x := range all {
		key := receiptKey{User: x.User, Type: x.Type, Thread: string(x.Event)}
		if have, ok := one[key]; !ok || have.Thread != "" {
			one[key] = x
		}
	}
	c := receiptContent{}
	for _, x := range one {
		c.add(x)
	}
	return c.event()
}

// TypingEvent is the m.typing event of a room.
func TypingEvent(users []matrix.UserID) json.RawMessage {
	if users == nil {
		users = []matrix.UserID{}
	}
	raw, err := json.Marshal(map[string]any{"type": "m.typing", "content": map[string]any{"user_ids": users}})
	if err != nil {
		panic(err) // strings only: cannot happen
	}
	return raw
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	last := k.Changes.Last(r)
	for key, row := range k.receipts.Scan(r, kv.All()) {
		if row.Event == "" || row.Position == 0 || row.Position > last {
			report("the receipt %v is for no event: %+v", key, row)
		}
		if key.Type != Read && key.Type != ReadPrivate {
			report("the receipt %v is of no known type", key)
		}
	}
}
