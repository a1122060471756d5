package push

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/webpush"
)

// Config is what a Keeper is made with.
type Config struct {
	DB        *kv.DB
	Changes   *changes.Keeper
	Accounts  *accounts.Keeper
	Rooms     *rooms.Keeper
	Ephemeral *ephemeral.Keeper
	// Client asks the push gateways; it has to refuse addresses that gateways must not have.
	// nil: http.DefaultClient.
	Client *http.Client
	// OwnGateway says whether the address of a push gateway is this house's; Contact is an
	// address ("mailto:…" or "https:…") at which push services on the web reach the owner.
	// Both are for Web Push; without OwnGateway there is none.
	OwnGateway func(*url.URL) bool
	Contact    string
	// Mail sends an e-mail; nil: there are no e-mail pushers.
	Mail func(ctx context.Context, to, subject, text string) error
	// ActiveDelay is how long a push waits for a user who is plainly active on another device,
	// to be read there; 0: 5 seconds, negative: not at all.
	ActiveDelay time.Duration
	// MailAfter is how long something is unread before a mail tells of it; 0: 10 minutes.
	// MailEvery is how often a pusher sends a mail at most; 0: every hour.
	MailAfter, MailEvery time.Duration

	// LookBack is how many of the newest events of a room can be unread, at least; what is
	// before them, and before half as many more, counts as read. 0: 20,000.
	LookBack int64

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

// Keeper owns the push rules and pushers, and knows what is unread.
type Keeper struct {
	Config
	rules   *kv.Table[matrix.UserID, rulesRow]
	pushers *kv.Table[pusherKey, pusherRow]
	secrets *kv.Table[secretHash, secretRow]
	owners  *kv.Table[string, ownerRow]
	topics  *kv.Table[uint64, []byte]
	keys    *kv.Table[string, []byte]
	vapid   *webpush.Key // nil: no Web Push
	sets    ruleSets
	rosters rosters
	tallies tallies
	sender  sender
}

// New opens the rules and pushers.
func New(c Config) *Keeper {
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.ActiveDelay = cmp.Or(c.ActiveDelay, activeDelay)
	c.LookBack = cmp.Or(c.LookBack, lookBack)
	c.MailAfter, c.MailEvery = cmp.Or(c.MailAfter, mailAfter), cmp.Or(c.MailEvery, mailEvery)
	k := &Keeper{
		Config:  c,
		rules:   kv.NewTable[matrix.UserID, rulesRow](c.DB, kv.PushRules),
		pushers: kv.NewTable[pusherKey, pusherRow](c.DB, kv.Pushers),
		secrets: kv.NewTable[secretHash, secretRow](c.DB, kv.PushSecrets),
		owners:  kv.NewTable[string, ownerRow](c.DB, kv.PushOwners),
		topics:  kv.NewTable[uint64, []byte](c.DB, kv.PushTopics),
		keys:    kv.NewTable[string, []byte](c.DB, kv.PushKeys),
	}
	c.DB.AddCheck("push", k.check)
	return k
}
