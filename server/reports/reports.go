// Package reports keeps what users report as inappropriate: events, rooms, users
// (spec: client-server API, reporting content).
//
// It owns the reports, and tells a witness of each one. Who may report what, it does not
// decide. Reports stay until the owner of the house removes them; of too many, the oldest
// go first.
package reports

import (
	"encoding/json"
	"iter"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// MaxReasonBytes is the longest reason.
	MaxReasonBytes = 4096
	// DefaultMaxReports is how many reports are kept if Config does not say.
	DefaultMaxReports = 10_000
)

// Report is what somebody reported. Event, Room and About name as much as the report is
// about; Content is the event's at that time, since it may be redacted later.
type Report struct {
	TS      int64           `cbor:"1,keyasint"` // ms
	By      matrix.UserID   `cbor:"2,keyasint"`
	Reason  string          `cbor:"3,keyasint,omitempty"`
	Room    matrix.RoomID   `cbor:"4,keyasint,omitempty"`
	Event   matrix.EventID  `cbor:"5,keyasint,omitempty"`
	About   matrix.UserID   `cbor:"6,keyasint,omitempty"` // the sender, or the user reported
	Type    string          `cbor:"7,keyasint,omitempty"` // of the event
	Content json.RawMessage `cbor:"8,keyasint,omitempty"`
}

// Witness is told of each report, in its transaction.
type Witness interface {
	Reported(tx *kv.WriteTx, number uint64, r Report) error
}

// Config is what a Keeper is made with.
type Config struct {
	DB         *kv.DB
	Now        func() time.Time // nil: time.Now
	MaxReports int              // 0: DefaultMaxReports
	Witness    Witness          // nil: nobody is told
}

// Keeper owns the reports.
type Keeper struct {
	Config
	reports *kv.Table[uint64, Report]
}

// New opens the table.
func New(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxReports <= 0 {
		c.MaxReports = DefaultMaxReports
	}
	return &Keeper{c, kv.NewTable[uint64, Report](c.DB, kv.Reports)}
}

// Add stores a report and returns its number. The error is M_INVALID_PARAM for too long a
// reason.
func (k *Keeper) Add(tx *kv.WriteTx, r Report) (uint64, error) {
	if len(r.Reason) > MaxReasonBytes {
		return 0, matrix.InvalidParam("the reason is too long")
	}
	first, last := uint64(0), uint64(0)
	for n := range k.reports.Keys(tx, kv.All()) {
		first = n
		break
	}
	for n := range k.reports.Keys(tx, kv.All().Reverse()) {
		last = n
		break
	}
	// Numbers are dense but for what was removed, so this keeps at most MaxReports.
	if first > 0 && last-first+1 >= uint64(k.MaxReports) {
		k.reports.Delete(tx, first)
	}
	number := last + 1
	r.TS = k.Now().UnixMilli()
	k.reports.Put(tx, number, r)
	if k.Witness == nil {
		return number, nil
	}
	return number, k.Witness.Reported(tx, number, r)
}

// All yields the reports by number, oldest first.
func (k *Keeper) All(r kv.Reader) iter.Seq2[uint64, Report] { return k.reports.Scan(r, kv.All()) }

// Remove takes a report away that has been dealt with; M_NOT_FOUND.
func (k *Keeper) Remove(tx *kv.WriteTx, number uint64) error {
	if !k.reports.Has(tx, number) {
		return matrix.NotFound("there is no report of that number")
	}
	k.reports.Delete(tx, number)
	return nil
}
