// Package rooms builds, authorises and appends events, and answers what the state of a
// room is or was.
//
// It owns rooms, their timelines, state, memberships, aliases and the directory. An event
// has one place: its position, which orders it in its room and in the change log alike.
// The state of a room at a position is, for each type and state key, the latest event that
// took effect at or before it; nothing is stored per event or per member to know that.
//
// Invariants, which Check proves: every event has its row in the id index; the current
// state is the end of the state history; a membership row says what the member event says;
// each room has events, and each event a room; a relation leads from an event to a later one
// of its room that is not redacted.
//
// It does not page, search, sync or notify: history, syncv2 and push read from here.
package rooms

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// Profiles tells the name and picture that member events carry. Both may be empty.
type Profiles interface {
	MemberProfile(r kv.Reader, user matrix.UserID) (displayName, avatarURL string)
	// UserExists says whether a user of this server exists and is not deactivated.
	UserExists(r kv.Reader, user matrix.UserID) bool
}

// People tells what else of a user decides who comes into a room, and what is seen there.
type People interface {
	// InvitesBlocked says whether the user wants no invitations (spec: client-server API,
	// invite permission).
	InvitesBlocked(r kv.Reader, user matrix.UserID) bool
	// IsGuest says whether the user's account is a guest's.
	IsGuest(r kv.Reader, user matrix.UserID) bool
	// Ignored is whom the user does not want to hear, nil if nobody (spec: client-server
	// API, ignoring users).
	Ignored(r kv.Reader, user matrix.UserID) map[matrix.UserID]bool
	// ErasedAt is when the user asked that what they said be hidden from those who come
	// later; false if they did not.
	ErasedAt(r kv.Reader, user matrix.UserID) (changes.Position, bool)
}

// Witness is told of each event in the transaction that appends it. Its error refuses
// the event.
type Witness interface {
	EventAppended(tx *kv.WriteTx, e *Event) error
}

// Config is what a Keeper is made with.
type Config struct {
	DB      *kv.DB
	Changes *changes.Keeper
	// Profiles is asked when somebody joins or is invited.
	Profiles Profiles
	// People is asked when somebody joins, is invited or reads; nil: nobody is a guest,
	// blocks invitations, ignores others or wants to be forgotten.
	People People
	Server matrix.ServerName
	KeyID  matrix.KeyID
	Key    ed25519.PrivateKey
	// DefaultVersion is the version of rooms whose maker asked for none; empty for
	// roomver.Default.
	DefaultVersion string
	// MaxState is how many bytes the state of a room may have; 0: DefaultMaxState; negative:
	// any number. Rooms that have more keep it.
	MaxState int64
	// TaskRooms is to how many rooms one transaction writes when a change touches all rooms of
	// a user; Run does the rest. 0: 20.
	TaskRooms int
	Log       *slog.Logger     // nil: slog.Default()
	Now       func() time.Time // nil: time.Now
	Random    io.Reader        // nil: crypto/rand
}

// Keeper owns the rooms. Run has to run for changes that touch very many rooms to come to
// their end.
type Keeper struct {
	Config
	rooms       *kv.Table[matrix.RoomID, RoomRow]
	events      *kv.Table[eventKey, eventRow]
	eventIDs    *kv.Table[matrix.EventID, placeRow]
	state       *kv.Table[stateKey, uint64]
	history     *kv.Table[stateAtKey, none]
	memberships *kv.Table[membershipKey, Membership]
	relations   *kv.Table[relationKey, relationRow]
	aliases     *kv.Table[matrix.RoomAlias, AliasRow]
	roomAliases *kv.Table[roomAliasKey, none]
	public      *kv.Table[matrix.RoomID, none]
	sizes       *kv.Tally[matrix.RoomID] // bytes of current state
	tasks       *kv.Table[taskKey, taskRow]
	witnesses   []Witness
	// visibilities remembers what the events that set the history visibility say.
	visibilities visibilities
	wake         chan struct{} // holds one: there are tasks
	// begun counts tasks that did not end at once, landed those of them that are on disk, and
	// settled those that Run has seen the end of. While there are others, there may be tasks.
	begun, landed, settled atomic.Int64
}

// RoomRow is what is known of a room as a whole. It does not change as the room goes on: the
// parent of the next event is the last one in the timeline, and no message has to write that.
type RoomRow struct {
	Version string        `cbor:"1,keyasint"`
	Creator matrix.UserID `cbor:"2,keyasint"`
	Type    string        `cbor:"5,keyasint,omitempty"`
}

type eventKey struct {
	Room     matrix.RoomID
	Position uint64
}

// eventRow is an event at its place. The PDU is kept as it is signed; what clients are
// told besides is kept beside it.
type eventRow struct {
	ID         matrix.EventID  `cbor:"1,keyasint"`
	PDU        []byte          `cbor:"2,keyasint"` // canonical JSON
	Device     matrix.DeviceID `cbor:"3,keyasint,omitempty"`
	TxnID      string          `cbor:"4,keyasint,omitempty"`
	Replaces   uint64          `cbor:"5,keyasint,omitempty"` // position of the state event before
	RedactedBy matrix.EventID  `cbor:"6,keyasint,omitempty"`
	Notice     *Notice         `cbor:"7,keyasint,omitempty"`
	Automatic  bool            `cbor:"8,keyasint,omitempty"`
}

type placeRow struct {
	Room     matrix.RoomID `cbor:"1,keyasint"`
	Position uint64        `cbor:"2,keyasint"`
}

type stateKey struct {
	Room           matrix.RoomID
	Type, StateKey string
}

type stateAtKey struct {
	Room           matrix.RoomID
	Type, StateKey string
	Position       uint64
}

type membershipKey struct {
	User matrix.UserID
	Room matrix.RoomID
}

// Membership is a user's relation to a room.
type Membership struct {
	State    string           `cbor:"1,keyasint"` // join, invite, leave, ban, knock
	Position changes.Position `cbor:"2,keyasint"` // of the member event that says so
	// Forgotten rooms are not shown to the user any more.
	Forgotten bool `cbor:"3,keyasint,omitempty"`
	// WasJoined: the user has been in the room at some time, so there may be history to see.
	WasJoined bool `cbor:"4,keyasint,omitempty"`
}

// AliasRow is where an alias leads.
type AliasRow struct {
	Room    matrix.RoomID `cbor:"1,keyasint"`
	Creator matrix.UserID `cbor:"2,keyasint"`
}

type roomAliasKey struct {
	Room  matrix.RoomID
	Alias matrix.RoomAlias
}

type none struct{}

// New opens the tables.
func New(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.DefaultVersion == "" {
		c.DefaultVersion = roomver.Default
	}
	if c.MaxState == 0 {
		c.MaxState = DefaultMaxState
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.TaskRooms = cmp.Or(c.TaskRooms, taskRooms)
	k := &Keeper{
		Config:      c,
		wake:        make(chan struct{}, 1),
		rooms:       kv.NewTable[matrix.RoomID, RoomRow](c.DB, kv.Rooms),
		events:      kv.NewTable[eventKey, eventRow](c.DB, kv.Events),
		eventIDs:    kv.NewTable[matrix.EventID, placeRow](c.DB, kv.EventIDs),
		state:       kv.NewTable[stateKey, uint64](c.DB, kv.State),
		history:     kv.NewTable[stateAtKey, none](c.DB, kv.StateHistory),
		memberships: kv.NewTable[membershipKey, Membership](c.DB, kv.Memberships),
		relations:   kv.NewTable[relationKey, relationRow](c.DB, kv.Relations),
		aliases:     kv.NewTable[matrix.RoomAlias, AliasRow](c.DB, kv.Aliases),
		roomAliases: kv.NewTable[roomAliasKey, none](c.DB, kv.RoomAliases),
		public:      kv.NewTable[matrix.RoomID, none](c.DB, kv.PublicRooms),
		tasks:       kv.NewTable[taskKey, taskRow](c.DB, kv.RoomTasks),
	}
	k.sizes = k.newSizes()
	k.begun.Store(1) // there may be some from before
	k.landed.Store(1)
	c.DB.AddCheck("rooms", k.check)
	return k
}

// AddWitness adds a witness; call it before the first event.
func (k *Keeper) AddWitness(w Witness) { k.witnesses = append(k.witnesses, w) }

// Event is an event of a timeline, read back.
type Event struct {
	Position changes.Position
	ID       matrix.EventID
	Room     matrix.RoomID
	Sender   matrix.UserID
	Type     string
	StateKey *string // nil: no state event
	TS       int64   // origin_server_ts in ms
	Depth    int64
	Content  json.RawMessage
	Redacts  matrix.EventID // of a redaction, wherever its room version keeps it
	PDU      []byte         // canonical JSON

	Device     matrix.DeviceID // the sender's, if it is ours
	TxnID      string          // that Device gave
	Replaces   changes.Position
	RedactedBy matrix.EventID
	Notice     *Notice // nil: the event notifies nobody
	// Automatic: the server sent it in the sender's name because a name or picture changed, so
	// it does not show that the sender has been in the room.
	Automatic bool
}

// IsState says whether this is a state event, of any type and key.
func (e *Event) IsState() bool { return e.StateKey != nil }

// Is says whether this is a state event of that type and key.
func (e *Event) Is(eventType, key string) bool {
	return e.StateKey != nil && *e.StateKey == key && e.Type == eventType
}

// Membership is the membership that a member event speaks of; empty for other events.
func (e *Event) Membership() string {
	if e.Type != "m.room.member" || e.StateKey == nil {
		return ""
	}
	return contentText(e.Content, "membership")
}

// contentText is a text in the content of an event, "" if there is none. Content is read
// through matrix.Object where it decides anything: encoding/json takes "Membership" or
// "member\u017fhip" for "membership", and the rules of the room do not.
func contentText(content json.RawMessage, key string) string {
	o, err := matrix.ParseObject(content)
	if err != nil {
		return ""
	}
	text, _ := o.Text(key)
	return text
}

func (k *Keeper) event(r kv.Reader, key eventKey, row eventRow) *Event {
	f, err := matrix.ParseObject(row.PDU)
	if err != nil {
		k.DB.Fail(r, "rooms: event at "+string(key.Room), err)
		return nil
	}
	text := func(key string) string {
		value, _ := f.Text(key)
		return value
	}
	number := func(key string) int64 {
		value, numErr := strconv.ParseInt(string(f[key]), 10, 64)
		err = errors.Join(err, numErr)
		return value
	}
	e := &Event{
		Position: changes.Position(key.Position), ID: row.ID, Room: key.Room,
		Sender: matrix.UserID(text("sender")), Type: text("type"), TS: number("origin_server_ts"), Depth: number("depth"),
		Content: f["content"], Redacts: matrix.EventID(text("redacts")), PDU: row.PDU,
		Device: row.Device, TxnID: row.TxnID,
		Replaces: changes.Position(row.Replaces), RedactedBy: row.RedactedBy, Notice: row.Notice, Automatic: row.Automatic,
	}
	if err != nil {
		k.DB.Fail(r, "rooms: event at "+string(key.Room), err)
		return nil
	}
	if stateKey, ok := f.Text("state_key"); ok {
		e.StateKey = &stateKey
	}
	if e.Redacts == "" && e.Type == "m.room.redaction" {
		e.Redacts = matrix.EventID(contentText(e.Content, "redacts"))
	}
	return e
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	hasEvents, versions := map[matrix.RoomID]bool{}, k.versions(r)
	for key, row := range k.events.Scan(r, kv.All()) {
		hasEvents[key.Room] = true
		if v, known := versions[key.Room]; known {
			k.checkHash(v, key, row, report)
		}
		place, ok := k.eventIDs.Get(r, row.ID)
		if !ok || place.Room != key.Room || place.Position != key.Position {
			report("event %s of %s at %d is not in the id index", row.ID, key.Room, key.Position)
		}
	}
	for id, place := range k.eventIDs.Scan(r, kv.All()) {
		row, ok := k.events.Get(r, eventKey(place))
		if !ok || row.ID != id {
			report("event id %s leads nowhere", id)
		}
	}
	for id, room := range k.rooms.Scan(r, kv.All()) {
		if _, known := roomver.Get(room.Version); !known {
			report("room %s has the unknown version %q", id, room.Version)
		}
		if !hasEvents[id] {
			report("room %s has no events", id)
		}
		delete(hasEvents, id)
	}
	for id := range hasEvents {
		report("there are events of room %s, but no such room", id)
	}
	k.checkState(r, report)
	k.checkRelations(r, report)
	k.checkTasks(r, report)
}

func (k *Keeper) checkState(r kv.Reader, report func(string, ...any)) {
	latest := map[stateKey]uint64{}
	for at := range k.history.Keys(r, kv.All()) {
		key := stateKey{at.Room, at.Type, at.StateKey}
		latest[key] = max(latest[key], at.Position)
	}
	for key, pos := range k.state.Scan(r, kv.All()) {
		if latest[key] != pos {
			report("state %v: current %d, history ends at %d", key, pos, latest[key])
		}
		delete(latest, key)
		row, ok := k.events.Get(r, eventKey{key.Room, pos})
		if !ok {
			report("state %v: no event at %d", key, pos)
			continue
		}
		e := k.event(r, eventKey{key.Room, pos}, row)
		if e == nil || !e.Is(key.Type, key.StateKey) {
			report("state %v: the event at %d is another one", key, pos)
			continue
		}
		if key.Type == "m.room.member" {
			m, _ := k.memberships.Get(r, membershipKey{matrix.UserID(key.StateKey), key.Room})
			if m.State != e.Membership() || uint64(m.Position) != pos {
				report("membership of %s in %s is %+v, the event at %d says %s", key.StateKey, key.Room, m, pos, e.Membership())
			}
		}
	}
	for key := range latest {
		report("state %v has a history but no current row", key)
	}
}

// Exists says whether this server has the room.
func (k *Keeper) Exists(r kv.Reader, room matrix.RoomID) bool { return k.rooms.Has(r, room) }

// Room is what is known of a room as a whole, and whether this server has it.
func (k *Keeper) Room(r kv.Reader, room matrix.RoomID) (RoomRow, bool) { return k.rooms.Get(r, room) }

// All yields every room.
func (k *Keeper) All(ctx context.Context, r kv.Reader) func(func(matrix.RoomID, RoomRow) bool) {
	return func(yield func(matrix.RoomID, RoomRow) bool) {
		for id, row := range k.rooms.Scan(r, kv.All()) {
			if ctx.Err() != nil || !yield(id, row) {
				return
			}
		}
	}
}
