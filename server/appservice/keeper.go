package appservice

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// Config is what a Keeper works with; all but Log and Now have to be there.
type Config struct {
	DB       *kv.DB
	Changes  *changes.Keeper
	Accounts *accounts.Keeper
	Rooms    *rooms.Keeper
	// Ephemeral and E2EE are what services are told besides events.
	Ephemeral *ephemeral.Keeper
	E2EE      *e2ee.Keeper
	Client    *http.Client // to reach services
	Log       *slog.Logger
	Now       func() time.Time
}

// Keeper owns the registrations and what the services have to be told.
type Keeper struct {
	Config
	services *kv.Table[string, serviceRow]
	queues   *kv.Table[string, queueRow]
	listed   *kv.Table[listedKey, listedRow]

	known     atomic.Pointer[[]*Service] // replaced as a whole, in the order of the IDs
	queries   queries
	volatiles atomic.Uint64 // transactions of typing and presence since the start

	mu      sync.Mutex // guards workers
	workers map[string]*worker
}

// serviceRow is a registration as it is stored.
type serviceRow struct {
	URL         string      `cbor:"1,keyasint,omitempty"`
	AppToken    []byte      `cbor:"2,keyasint"` // SHA-256
	HouseToken  string      `cbor:"3,keyasint"`
	Sender      string      `cbor:"4,keyasint"`
	Users       []Namespace `cbor:"5,keyasint,omitempty"`
	Aliases     []Namespace `cbor:"6,keyasint,omitempty"`
	Rooms       []Namespace `cbor:"7,keyasint,omitempty"`
	Protocols   []string    `cbor:"8,keyasint,omitempty"`
	RateLimited bool        `cbor:"9,keyasint,omitempty"`
	Ephemeral   bool        `cbor:"10,keyasint,omitempty"`
	OldEph      bool        `cbor:"11,keyasint,omitempty"`
	Encryption  bool        `cbor:"12,keyasint,omitempty"`
}

// queueRow is how far a service was told, and the transaction that it may have got.
type queueRow struct {
	Done    uint64   `cbor:"1,keyasint"`           // all changes up to here
	Through uint64   `cbor:"2,keyasint,omitempty"` // where the transaction ends, and its ID
	Events  []uint64 `cbor:"3,keyasint,omitempty"` // positions of its events
	Rest    []byte   `cbor:"4,keyasint,omitempty"` // what else is in it, as JSON
	Made    int64    `cbor:"5,keyasint,omitempty"` // when it was put together, in ms
}

// pending says whether there is a transaction.
func (q queueRow) pending() bool { return q.Through > q.Done }

// after says whether a queue has got further than another one.
func (q queueRow) after(other queueRow) bool {
	return q.Done > other.Done || q.Done == other.Done && q.Through > other.Through
}

// listedKey is a room in the directory of a network.
type listedKey struct {
	Service, Network string
	Room             matrix.RoomID
}

type listedRow struct{}

// Service is a registered application service.
type Service struct {
	Registration
	Sender                matrix.UserID
	users, aliases, rooms []namespace
}

type namespace struct {
	Namespace
	match *regexp.Regexp
}

// New opens the registrations. It starts nothing; Run does.
func New(ctx context.Context, c Config) (*Keeper, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Keeper{
		Config:   c,
		services: kv.NewTable[string, serviceRow](c.DB, kv.Appservices),
		queues:   kv.NewTable[string, queueRow](c.DB, kv.AppserviceQueues),
		listed:   kv.NewTable[listedKey, listedRow](c.DB, kv.AppserviceRooms),
		workers:  map[string]*worker{},
	}
	c.DB.AddCheck("appservice", k.check)
	return k, c.DB.View(ctx, func(tx *kv.ReadTx) error {
		all, err := k.read(tx)
		k.known.Store(&all)
		return err
	})
}

// read makes the registrations on disk ready.
func (k *Keeper) read(r kv.Reader) ([]*Service, error) {
	var all []*Service
	for id, row := range k.services.Scan(r, kv.All()) {
		s, err := k.service(Registration{
			ID: id, URL: row.URL, HouseToken: row.HouseToken, AppToken: [sha256.Size]byte(row.AppToken), SenderLocalpart: row.Sender,
			Users: row.Users, Aliases: row.Aliases, Rooms: row.Rooms, Protocols: row.Protocols,
			RateLimited: row.RateLimited, Ephemeral: row.Ephemeral, OldEphemeral: row.OldEph, Encryption: row.Encryption,
		})
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (k *Keeper) service(reg Registration) (*Service, error) {
	s := &Service{Registration: reg, Sender: matrix.NewUserID(reg.SenderLocalpart, k.Accounts.ServerName())}
	for _, list := range []struct {
		from []Namespace
		to   *[]namespace
	}{{reg.Users, &s.users}, {reg.Aliases, &s.aliases}, {reg.Rooms, &s.rooms}} {
		for _, n := range list.from {
			match, err := n.compile()
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, namespace{n, match})
		}
	}
	return s, nil
}

// Services are all services, in the order of their IDs. The caller must not change them.
func (k *Keeper) Services() []*Service { return *k.known.Load() }

// Service is the service of this ID, nil if there is none.
func (k *Keeper) Service(id string) *Service {
	for _, s := range k.Services() {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// ByToken is the service that a token is of, nil if there is none. How long it takes tells
// nothing of the tokens.
func (k *Keeper) ByToken(token string) (found *Service) {
	hash := sha256.Sum256([]byte(token))
	for _, s := range k.Services() {
		if subtle.ConstantTimeCompare(hash[:], s.AppToken[:]) == 1 {
			found = s
		}
	}
	return found
}

// Add registers a service, or replaces what the service of the same ID was registered with.
// A new one is told what happens from now on. The errors are M_INVALID_PARAM for what clashes with
// another service, M_USER_IN_USE if somebody else has the name of its user.
func (k *Keeper) Add(tx *kv.WriteTx, reg Registration) error {
	s, err := k.service(reg)
	if err != nil {
		return err
	}
	all, err := k.read(tx)
	if err != nil {
		return err
	}
	steps := maxOverlapSteps
	for _, other := range all {
		if other.ID != s.ID {
			if err := clash(s, other, &steps); err != nil {
				return err
			}
		}
	}
	if user, ok := k.Accounts.User(tx, s.Sender); !ok {
		if _, err := k.Accounts.Create(tx, accounts.NewUser{Localpart: reg.SenderLocalpart, Historical: true}); err != nil {
			return err
		}
	} else if user.Deactivated || user.Password != "" || user.Admin || user.Guest || k.Accounts.IsOwner(tx, s.Sender) {
		return matrix.UserInUse()
	}
	before, was := k.services.Get(tx, s.ID)
	k.services.Put(tx, s.ID, serviceRow{
		URL: reg.URL, AppToken: reg.AppToken[:], HouseToken: reg.HouseToken, Sender: reg.SenderLocalpart,
		Users: reg.Users, Aliases: reg.Aliases, Rooms: reg.Rooms, Protocols: reg.Protocols,
		RateLimited: reg.RateLimited, Ephemeral: reg.Ephemeral, OldEph: reg.OldEphemeral, Encryption: reg.Encryption,
	})
	if !was || before.URL == "" {
		k.queues.Put(tx, s.ID, queueRow{Done: uint64(k.Changes.Last(tx))})
	}
	return k.changed(tx)
}

// clash says why two services cannot be there together.
func clash(s, other *Service, steps *int) error {
	switch {
	case s.AppToken == other.AppToken:
		return invalid("its as_token is that of %q as well", other.ID)
	case s.Sender == other.Sender:
		return invalid("its sender_localpart is that of %q as well", other.ID)
	}
	for _, kind := range []struct{ ours, theirs []Namespace }{
		{s.Users, other.Users}, {s.Aliases, other.Aliases}, {s.Rooms, other.Rooms},
	} {
		for _, a := range kind.ours {
			for _, b := range kind.theirs {
				if a.Exclusive && b.Exclusive && overlap(a.Regex, b.Regex, steps) {
					return invalid("its exclusive namespace %q overlaps %q of %q", a.Regex, b.Regex, other.ID)
				}
			}
		}
	}
	return nil
}

// Remove forgets a service and what it still had to be told. Its users stay. The error is
// M_NOT_FOUND.
func (k *Keeper) Remove(tx *kv.WriteTx, id string) error {
	if !k.services.Has(tx, id) {
		return matrix.NotFound("there is no application service of that ID")
	}
	k.services.Delete(tx, id)
	k.queues.Delete(tx, id)
	for key := range k.listed.Keys(tx, kv.Prefix(id)) {
		k.listed.Delete(tx, key)
	}
	return k.changed(tx)
}

// changed makes the registrations that tx sees those that hold once it is on disk.
func (k *Keeper) changed(tx *kv.WriteTx) error {
	all, err := k.read(tx)
	if err != nil {
		return err
	}
	tx.AfterCommit(func() {
		k.known.Store(&all)
		k.Changes.Poke()
	})
	return nil
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	for id := range k.services.Keys(r, kv.All()) {
		if !k.queues.Has(r, id) {
			report("application service %s has no place in the log", id)
		}
	}
	for id, q := range k.queues.Scan(r, kv.All()) {
		if !k.services.Has(r, id) {
			report("the queue of %s belongs to no application service", id)
		}
		if len(q.Events)+len(q.Rest) > 0 && !q.pending() {
			report("the transaction of %s ends at %d, before %d", id, q.Through, q.Done)
		}
	}
	for key := range k.listed.Keys(r, kv.All()) {
		if !k.services.Has(r, key.Service) {
			report("%s is listed for %s, which is no application service", key.Room, key.Service)
		}
	}
}
