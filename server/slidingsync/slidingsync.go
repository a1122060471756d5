// Package slidingsync answers simplified sliding sync (MSC4186): a client says which rooms
// it looks at, and is told what is new in those.
//
// As in package syncv2, everything is read in one transaction for each look, and who waits
// is woken by the change log's hub and looks again. Other than there, the house has to
// remember what it has told on a connection. It does so in memory only: after a restart, or
// when a connection has not been used for long, the client is told M_UNKNOWN_POS and begins
// anew, as the proposal has it.
//
// An answer may get lost, and the client then asks again from the one before. So what an
// answer adds to the memory of a connection counts only when the client comes back with that
// answer's pos.
package slidingsync

import (
	"context"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/history"
	"porchlight/server/rooms"
)

// The limits, where Config names no others.
const (
	// DefaultMaxWait is how long an empty answer is held back at most.
	DefaultMaxWait = 60 * time.Second
	// DefaultMaxTimeline is how many events of a room one answer holds at most.
	DefaultMaxTimeline = 100
	// DefaultScanLimit is how many events of a room one answer reads at most to fill a
	// timeline with those that the user may see.
	DefaultScanLimit = 2000
	// DefaultMaxConns is how many connections are remembered; the one that has not been
	// used for longest is forgotten first.
	DefaultMaxConns = 256
	// DefaultMaxDeviceConns is how many connections of one device are remembered.
	DefaultMaxDeviceConns = 8
	// maxBehind is how many changes a connection may be behind; beginning anew is faster
	// then.
	maxBehind = 50_000
	// maxToDevice is how many messages to the device one answer carries at most.
	maxToDevice = 100
)

// Config is what a View is made with.
type Config struct {
	DB        *kv.DB
	Changes   *changes.Keeper
	Rooms     *rooms.Keeper
	History   *history.Keeper
	Ephemeral *ephemeral.Keeper
	Accounts  Accounts
	Crypto    *e2ee.Keeper
	Seal      changes.Seal
	// Ahead is called for a position that this server gave out and that the log does not
	// reach: the database is an older copy. nil: nobody wants to know.
	Ahead func(ctx context.Context, at changes.Position) error
	// Closing is closed when the server is about to stop: who waits is answered at once.
	Closing <-chan struct{}
	Now     func() time.Time // nil: time.Now

	MaxWait        time.Duration // 0: DefaultMaxWait
	MaxTimeline    int           // events of a room; 0: DefaultMaxTimeline
	ScanLimit      int           // events of a room; 0: DefaultScanLimit
	MaxConns       int           // 0: DefaultMaxConns
	MaxDeviceConns int           // 0: DefaultMaxDeviceConns
}

// View answers sliding sync.
type View struct {
	Config
	conns conns
}

// New makes a View.
func New(c Config) *View {
	for _, limit := range []struct {
		value   *int
		instead int
	}{
		{&c.MaxTimeline, DefaultMaxTimeline}, {&c.ScanLimit, DefaultScanLimit},
		{&c.MaxConns, DefaultMaxConns}, {&c.MaxDeviceConns, DefaultMaxDeviceConns},
	} {
		if *limit.value <= 0 {
			*limit.value = limit.instead
		}
	}
	if c.MaxWait <= 0 {
		c.MaxWait = DefaultMaxWait
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &View{Config: c, conns: conns{all: map[connID]*conn{}, now: c.Now, most: c.MaxConns, mostOfDevice: c.MaxDeviceConns}}
}

// Sync answers at once if there is something to tell or the connection is new, and
// otherwise as soon as there is, at the latest after the time-out. The errors are
// M_UNKNOWN_POS for a pos that is not the connection's latest, and M_INVALID_PARAM.
func (v *View) Sync(ctx context.Context, req Request) (*Response, error) {
	done, err := v.Ephemeral.Connect(req.Viewer.User, req.Viewer.Device, req.SetPresence)
	if err != nil {
		return nil, err
	}
	defer done()
	s, ctx, err := v.conns.begin(ctx, connID{req.Viewer.User, req.Viewer.Device, req.Conn}, req.Pos)
	if err != nil {
		return nil, err
	}
	defer s.end()
	if s.base.at > 0 && v.Changes.Published() > s.base.at+maxBehind {
		return nil, unknownPos()
	}
	if err := v.acknowledge(ctx, req); err != nil {
		return nil, err
	}
	deadline := time.NewTimer(min(req.Timeout, v.MaxWait))
	defer deadline.Stop()
	for {
		wake := v.Changes.Wait() // before the look, so that nothing slips through
		res, told, err := v.look(ctx, &req, s)
		if err != nil {
			return nil, err
		}
		if res.news || req.Pos == "" || req.Timeout <= 0 {
			return res, s.commit(res, told)
		}
		select {
		case <-wake:
			continue
		case <-deadline.C:
		case <-v.Closing:
		case <-ctx.Done():
		}
		return res, s.commit(res, told)
	}
}

// acknowledge deletes the messages that the client says it has.
func (v *View) acknowledge(ctx context.Context, req Request) error {
	x := req.Extensions.ToDevice
	if x == nil || !x.Enabled || x.Since == "" || req.Viewer.Device == "" {
		return nil
	}
	since, sealed, err := v.parseToDevice(req.Viewer.User, x.Since)
	if err != nil {
		return err
	}
	ahead := false
	err = v.DB.View(ctx, func(tx *kv.ReadTx) error {
		ahead = since > v.Changes.Last(tx)
		if !v.foreign(tx, since) {
			v.Crypto.AckToDevice(tx, req.Viewer.User, req.Viewer.Device, since)
		}
		return nil
	})
	if err == nil && ahead && sealed && v.Ahead != nil {
		return v.Ahead(ctx, since)
	}
	return err
}

// foreign says whether a position was given out by another incarnation of the server, or
// is not from here: what its client knows may not be so.
func (v *View) foreign(r kv.Reader, at changes.Position) bool {
	return at < v.Changes.First(r) || at > v.Changes.Last(r)
}
