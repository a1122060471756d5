package appservice

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// maxEvents is how many events and messages to devices a transaction has at most.
	maxEvents = 100
	// maxTransactionBytes is from what size on nothing more goes into a transaction.
	maxTransactionBytes = 1 << 20
	// maxScan is how many changes are looked through in one reading transaction.
	maxScan = 10_000
)

// transaction is what a service gets (spec: application service API, PUT transactions).
type transaction struct {
	Events []matrix.ClientEvent `json:"events"`
	extras
}

// extras are what a transaction holds beside events. Messages to devices are MSC4203, what
// devices need to encrypt is MSC3202; neither is in the standard, so the names are those of
// the proposals.
type extras struct {
	Ephemeral    []json.RawMessage    `json:"ephemeral,omitempty"`
	OldEphemeral []json.RawMessage    `json:"de.sorunome.msc2409.ephemeral,omitempty"`
	ToDevice     []toDevice           `json:"de.sorunome.msc2409.to_device,omitempty"`
	Lists        *deviceLists         `json:"org.matrix.msc3202.device_lists,omitempty"`
	KeyCounts    byDevice[keyCounts]  `json:"org.matrix.msc3202.device_one_time_keys_count,omitempty"`
	Fallback     byDevice[algorithms] `json:"org.matrix.msc3202.device_unused_fallback_key_types,omitempty"`
}

type (
	byDevice[T any] map[matrix.UserID]map[matrix.DeviceID]T
	keyCounts       map[string]int // unclaimed one-time keys by algorithm
	algorithms      []string
)

type toDevice struct {
	User    matrix.UserID   `json:"to_user_id"`
	Device  matrix.DeviceID `json:"to_device_id"`
	Sender  matrix.UserID   `json:"sender"`
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

type deviceLists struct {
	Changed []matrix.UserID `json:"changed"`
	Left    []matrix.UserID `json:"left"`
}

// setEphemeral fills in ephemeral data under the names that the registration asked for it.
func (x *extras) setEphemeral(s *Service, all []json.RawMessage) {
	if s.Ephemeral {
		x.Ephemeral = all
	}
	if s.OldEphemeral {
		x.OldEphemeral = all
	}
}

func (x *extras) empty() bool {
	return len(x.Ephemeral)+len(x.OldEphemeral)+len(x.ToDevice)+len(x.KeyCounts) == 0 && x.Lists == nil
}

// device is one device of a user.
type device struct {
	user matrix.UserID
	id   matrix.DeviceID
}

// gathering puts the next transaction together, change by change.
type gathering struct {
	*interest
	r        kv.Reader
	now      *now
	events   []uint64
	extras   extras
	bytes    int
	receipts map[matrix.RoomID][]ephemeral.Receipt
	devices  map[device]bool        // whose keys are to be counted
	changed  map[matrix.UserID]bool // their devices or keys may be others
	parted   map[matrix.UserID]bool // they may share no room any more
}

func (i *interest) gather(r kv.Reader) *gathering {
	return &gathering{
		interest: i, r: r, now: i.now(r), receipts: map[matrix.RoomID][]ephemeral.Receipt{},
		devices: map[device]bool{}, changed: map[matrix.UserID]bool{}, parted: map[matrix.UserID]bool{},
	}
}

func (g *gathering) full() bool {
	return len(g.events)+len(g.extras.ToDevice) >= maxEvents || g.bytes >= maxTransactionBytes
}

// add takes the next change into the transaction, if the service has to do with it.
func (g *gathering) add(pos changes.Position, c changes.Change) {
	s := g.service
	switch c.Kind {
	case changes.Event:
		e, ok := g.keeper.Rooms.EventAt(g.r, c.Room, pos)
		if ok && g.in(g.r, e) {
			g.events = append(g.events, uint64(pos))
			g.bytes += len(e.PDU)
			g.member(e)
		}
	case changes.Receipt:
		if s.wantsEphemeral() && g.interest.room(g.r, c.Room, pos) {
			for _, x := range g.keeper.Ephemeral.StoredAt(g.r, c.Room, c.User, pos) {
				if x.Type != ephemeral.ReadPrivate || s.HasUser(x.User) {
					g.receipts[c.Room] = append(g.receipts[c.Room], x)
					g.bytes += len(x.Event)
				}
			}
		}
	case changes.ToDevice:
		if s.wantsToDevice() && s.HasUser(c.User) {
			if m, ok := g.keeper.E2EE.MessageAt(g.r, c.User, c.Device, pos); ok {
				g.extras.ToDevice = append(g.extras.ToDevice, toDevice{c.User, c.Device, m.Sender, m.Type, m.Content})
				g.bytes += len(m.Content)
				g.devices[device{c.User, c.Device}] = s.Encryption
			}
		}
	case changes.KeyCount:
		if s.Encryption && s.HasUser(c.User) {
			g.devices[device{c.User, c.Device}] = true
		}
	case changes.DeviceList:
		if s.Encryption && (c.Key == "" || s.HasUser(matrix.UserID(c.Key))) {
			g.changed[c.User] = true
		}
	}
}

// member looks at an event that may be somebody's coming or going, for the lists of devices.
func (g *gathering) member(e *rooms.Event) {
	if !g.service.Encryption || e.Type != "m.room.member" || e.StateKey == nil {
		return
	}
	user := matrix.UserID(*e.StateKey)
	was := g.keeper.Rooms.MembershipAt(g.r, e.Room, user, e.Position-1) == "join"
	is := g.keeper.Rooms.MembershipAt(g.r, e.Room, user, e.Position) == "join"
	if was == is {
		return // a new name or picture, an invitation
	}
	into := g.parted
	if is {
		into = g.changed
	}
	if !g.service.HasUser(user) {
		into[user] = true
		return
	}
	for other, membership := range g.keeper.Rooms.Members(g.r, e.Room) {
		if membership == "join" && !g.service.HasUser(other) {
			into[other] = true
		}
	}
}

// finish returns what there is beside events, frozen; nil if there is nothing.
func (g *gathering) finish() ([]byte, error) {
	x := &g.extras
	if len(g.receipts) > 0 {
		all, err := receiptEvents(g.receipts)
		if err != nil {
			return nil, err
		}
		x.setEphemeral(g.service, all)
	}
	lists := deviceLists{[]matrix.UserID{}, []matrix.UserID{}}
	for _, user := range slices.Sorted(maps.Keys(g.changed)) {
		if g.now.user(user) {
			lists.Changed = append(lists.Changed, user)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(g.parted)) {
		if !g.now.user(user) {
			lists.Left = append(lists.Left, user)
		}
	}
	if len(lists.Changed)+len(lists.Left) > 0 {
		x.Lists = &lists
	}
	for d, counted := range g.devices {
		if counted {
			x.count(g.r, g.keeper.E2EE, d)
		}
	}
	if x.empty() {
		return nil, nil
	}
	return json.Marshal(x)
}

// count notes what a device has left to begin encrypted conversations with.
func (x *extras) count(r kv.Reader, keys *e2ee.Keeper, d device) {
	if x.KeyCounts == nil {
		x.KeyCounts, x.Fallback = byDevice[keyCounts]{}, byDevice[algorithms]{}
	}
	if x.KeyCounts[d.user] == nil {
		x.KeyCounts[d.user], x.Fallback[d.user] = map[matrix.DeviceID]keyCounts{}, map[matrix.DeviceID]algorithms{}
	}
	x.KeyCounts[d.user][d.id] = keys.KeyCounts(r, d.user, d.id)
	x.Fallback[d.user][d.id] = keys.UnusedFallback(r, d.user, d.id)
}

// receiptEvents are the m.receipt events of rooms, in the order of the rooms' IDs.
func receiptEvents(all map[matrix.RoomID][]ephemeral.Receipt) (events []json.RawMessage, err error) {
	for _, room := range slices.Sorted(maps.Keys(all)) {
		for _, raw := range ephemeral.ReceiptEvents(all[room]) {
			if raw, err = inRoom(raw, room); err != nil {
				return nil, err
			}
			events = append(events, raw)
		}
	}
	return events, nil
}

// inRoom is ephemeral data that says of which room it is (spec: application service API,
// pushing ephemeral data).
func inRoom(raw json.RawMessage, room matrix.RoomID) (json.RawMessage, error) {
	o, err := matrix.ParseObject(raw)
	if err != nil {
		return nil, err
	}
	o.SetText("room_id", string(room))
	return o.Encode(), nil
}

// next is the next transaction; without one, how far there is nothing to tell. End says
// that this is the end of the log.
func (w *worker) next(ctx context.Context) (q queueRow, end bool, err error) {
	err = w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		q, end = queueRow{Done: w.queue.Done}, true
		g := w.interest.gather(tx)
		n, last := 0, q.Done
		for pos, c := range w.k.Changes.Since(tx, changes.Position(q.Done)) {
			if n++; n > maxScan || g.full() {
				end = false
				break
			}
			last = uint64(pos)
			g.add(pos, c)
		}
		rest, err := g.finish()
		if err != nil {
			return err
		}
		if len(g.events) == 0 && rest == nil {
			q.Done = last
			return nil
		}
		q.Through, q.Events, q.Rest, q.Made = last, g.events, rest, w.k.Now().UnixMilli()
		return nil
	})
	if err != nil {
		w.interest.forget()
	}
	return q, end, err
}

// body is the transaction that a queue holds. It is the same each time, but that what was
// redacted meanwhile is not told again (spec: application service API, pushing events).
func (w *worker) body(ctx context.Context, q queueRow) ([]byte, error) {
	t := transaction{Events: []matrix.ClientEvent{}}
	if q.Rest != nil {
		if err := json.Unmarshal(q.Rest, &t.extras); err != nil {
			return nil, fmt.Errorf("the transaction %d of %s: %w", q.Through, w.service.ID, err)
		}
	}
	err := w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		viewer := rooms.Viewer{User: w.service.Sender, Plain: true, Whole: true}
		for _, pos := range q.Events {
			for _, c := range w.k.Changes.Since(tx, changes.Position(pos-1)) {
				if e, ok := w.k.Rooms.EventAt(tx, c.Room, changes.Position(pos)); ok {
					shown := w.k.Rooms.ClientEvent(tx, e, viewer)
					ageAt(&shown, q.Made)
					t.Events = append(t.Events, shown)
				}
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// ageAt makes the age of an event that of the time at which a transaction was made.
func ageAt(e *matrix.ClientEvent, ms int64) {
	if e.Unsigned == nil {
		return
	}
	e.Unsigned.Age = max(0, ms-e.TS)
	if why := e.Unsigned.RedactedBecause; why != nil {
		ageAt(why, ms)
	}
}

// send sends the transaction that the queue holds. It returns nil once the service has
// taken it.
func (w *worker) send(ctx context.Context) error {
	raw, err := w.body(ctx, w.queue)
	if err != nil {
		return err
	}
	return w.put(ctx, strconv.FormatUint(w.queue.Through, 10), raw)
}

func (w *worker) put(ctx context.Context, id string, body []byte) error {
	_, err := w.k.call(ctx, w.service, http.MethodPut, body, "/_matrix/app/v1/transactions/"+id, "/transactions/"+id)
	return err
}

// taken notes that devices have what the queue's transaction had for them. Those of users
// whom others may act for, too, may still ask for it by /sync (MSC4203).
func (w *worker) taken(ctx context.Context) error {
	if w.queue.Rest == nil {
		return nil
	}
	var x extras
	if err := json.Unmarshal(w.queue.Rest, &x); err != nil {
		return err
	}
	return w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for _, m := range x.ToDevice {
			if w.service.Owns(m.User) {
				w.k.E2EE.AckToDevice(tx, m.User, m.Device, changes.Position(w.queue.Through))
			}
		}
		return nil
	})
}
