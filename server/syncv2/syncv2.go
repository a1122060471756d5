// Package syncv2 answers GET /sync: what a client has not heard yet.
//
// It only reads, in one read transaction for each look, and keeps nothing for any token.
// A first answer goes through the rooms of the user; every later one is a single scan of
// the change log from where the token stands, so that its cost grows with the news and not
// with the rooms. A token that is far behind is good, too: then the rooms are gone through
// again, so that no answer costs more than some first one. Who waits is woken by the change log's hub, looks again from where the
// last look ended, and is answered when there is something for that very user.
//
// The state of a room that an answer carries, with the state events of its timeline on
// top, is the room's state at the end of the timeline, whatever a filter leaves out of
// either; a client that applies all answers since any token has the state that a fresh
// sync tells.
package syncv2

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/ephemeral"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// The limits, where Config names no others.
const (
	// DefaultMaxWait is how long an empty answer is held back at most.
	DefaultMaxWait = 60 * time.Second
	// DefaultTimeline is how many events of a room are told where no filter says so.
	DefaultTimeline = 10
	// DefaultMaxTimeline is how many events of a room one answer holds at most.
	DefaultMaxTimeline = 250
	// DefaultScanLimit is how many events of a room one answer reads at most to find
	// those that the filter lets through.
	DefaultScanLimit = 2000
	// DefaultFarBehind is how many changes are read one by one for a later answer. For a
	// token that is farther behind, the rooms are looked at instead.
	DefaultFarBehind = 10_000
	// maxToDevice is how many messages to the device one answer carries at most
	// (spec: send-to-device messaging, server behaviour).
	maxToDevice = 100
)

// Accounts is what /sync asks of the accounts keeper.
type Accounts interface {
	// AccountData is the content of one type in a room; with no room, of the global kind.
	AccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID, dataType string) (json.RawMessage, bool)
	// AllAccountData yields every type that there is, with its content.
	AllAccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID) iter.Seq2[string, json.RawMessage]
	// Filter is a stored filter, as JSON; an M_NOT_FOUND if there is none.
	Filter(r kv.Reader, user matrix.UserID, id string) (json.RawMessage, error)
}

// Crypto is what /sync asks of the e2ee keeper.
type Crypto interface {
	ToDevice(r kv.Reader, user matrix.UserID, device matrix.DeviceID, after, upTo changes.Position, limit int) (events []json.RawMessage, next changes.Position, err error)
	// AckToDevice notes that the device has the messages up to a position. It writes
	// later, with another commit.
	AckToDevice(r kv.Reader, user matrix.UserID, device matrix.DeviceID, upTo changes.Position)
	KeyCounts(r kv.Reader, user matrix.UserID, device matrix.DeviceID) map[string]int
	UnusedFallback(r kv.Reader, user matrix.UserID, device matrix.DeviceID) []string
	DeviceListChanges(r kv.Reader, viewer matrix.UserID, from, to changes.Position) (changed, left []matrix.UserID)
	// WholeDeviceList is for a client of which it is not known whose keys it has.
	WholeDeviceList(r kv.Reader, viewer matrix.UserID) []matrix.UserID
}

// Unread is what /sync asks of the push keeper.
type Unread interface {
	// Unread counts what the user has not read in a room; with threads, those of each
	// thread apart by its root.
	Unread(r kv.Reader, user matrix.UserID, room matrix.RoomID, threads bool) (Counts, map[string]Counts)
	// Hidden says whether the counts of a room may depend on whom the user ignores.
	Hidden(r kv.Reader, user matrix.UserID, room matrix.RoomID) bool
}

// Config is what a View is made with.
type Config struct {
	DB        *kv.DB
	Changes   *changes.Keeper
	Rooms     *rooms.Keeper
	History   *history.Keeper
	Ephemeral *ephemeral.Keeper
	Accounts  Accounts
	Crypto    Crypto
	Unread    Unread // nil: nothing is ever unread
	Seal      changes.Seal
	// Ahead is called for a position that this server gave out and that the log does not
	// reach: the database is an older copy. nil: nobody wants to know.
	Ahead func(ctx context.Context, at changes.Position) error
	// Closing is closed when the server is about to stop: who waits is answered at once.
	Closing <-chan struct{}

	MaxWait     time.Duration    // 0: DefaultMaxWait
	MaxTimeline int              // events of a room; 0: DefaultMaxTimeline
	ScanLimit   int              // events of a room; 0: DefaultScanLimit
	FarBehind   changes.Position // changes; 0: DefaultFarBehind
}

// View answers /sync.
type View struct {
	Config
	members sentMembers
}

// New makes a View.
func New(c Config) *View {
	if c.MaxWait <= 0 {
		c.MaxWait = DefaultMaxWait
	}
	if c.MaxTimeline <= 0 {
		c.MaxTimeline = DefaultMaxTimeline
	}
	if c.ScanLimit <= 0 {
		c.ScanLimit = DefaultScanLimit
	}
	if c.FarBehind == 0 {
		c.FarBehind = DefaultFarBehind
	}
	return &View{Config: c}
}

// Request is what a client asks of /sync.
type Request struct {
	Viewer        rooms.Viewer
	Since         string        // token of an earlier answer; empty: a first sync
	Timeout       time.Duration // how long to wait for something to tell
	FullState     bool
	Filter        string // ID or JSON of a filter; empty: none
	SetPresence   string // empty: online
	UseStateAfter bool   // tell the state at the end of the timeline
}

// Sync answers at once if there is something to tell, and otherwise as soon as there is,
// at the latest after the time-out. The error is an M_INVALID_PARAM, M_BAD_JSON or
// M_NOT_FOUND for a bad token or filter.
func (v *View) Sync(ctx context.Context, req Request) (*Response, error) {
	q := query{Request: req, first: req.Since == ""}
	if !q.first {
		var err error
		if q.since, err = v.ReadToken(ctx, req.Viewer.User, req.Since); err != nil {
			return nil, err
		}
	}
	if err := v.begin(ctx, &q); err != nil {
		return nil, err
	}
	deadline := time.NewTimer(min(max(req.Timeout, 0), v.MaxWait))
	defer deadline.Stop()
	done, err := v.Ephemeral.Connect(req.Viewer.User, req.Viewer.Device, req.SetPresence)
	if err != nil {
		return nil, err
	}
	defer done()
	for {
		wake := v.Changes.Wait() // before the look, so that nothing slips through
		res, err := v.look(ctx, &q)
		if err != nil || res.news || q.first || req.FullState || req.Timeout <= 0 {
			return res, err
		}
		q.since = res.next // nothing happened in between
		select {
		case <-wake:
		case <-deadline.C:
			return res, nil
		case <-v.Closing:
			return res, nil
		case <-ctx.Done():
			return res, nil
		}
	}
}

// query is a request, understood.
type query struct {
	Request
	first  bool
	since  Token
	filter history.Filter
	fields fieldPaths
}

// begin reads the filter, and notes what the token says that the client has received.
func (v *View) begin(ctx context.Context, q *query) error {
	return v.DB.View(ctx, func(tx *kv.ReadTx) error {
		if !q.first && !v.Foreign(tx, q.since) {
			v.Crypto.AckToDevice(tx, q.Viewer.User, q.Viewer.Device, q.since.ToDevice)
		}
		if q.Filter == "" {
			return nil
		}
		raw := json.RawMessage(q.Filter)
		var err error
		if q.Filter[0] != '{' {
			if raw, err = v.Accounts.Filter(tx, q.Viewer.User, q.Filter); err != nil {
				return err
			}
		}
		q.filter, err = history.ParseFilter(raw)
		q.fields = parseFieldPaths(q.filter.EventFields)
		return err
	})
}
