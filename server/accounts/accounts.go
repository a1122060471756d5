// Package accounts keeps the users of the house: passwords, devices, tokens,
// interactive authentication, profiles, account data, filters, and the answers to
// requests that may be repeated.
//
// It owns no room, no key of a device and no rule of who may write to whom: what
// others must do when a device or a user goes or a profile changes, they do as
// witnesses, in the same transaction.
//
// Invariants:
//   - A password is stored as an argon2id hash only, a token as its SHA-256 only.
//   - A token that was withdrawn is refused from the moment of the commit on.
//   - Hashing passwords happens outside of transactions, one at a time.
//   - What clients must hear of stands in the change log of the same commit.
package accounts

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/setup"
)

// Config is what a Keeper is made of.
type Config struct {
	DB      *kv.DB
	Setup   *setup.Keeper
	Changes *changes.Keeper
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: slog.Default()
	Hashing HashCost         // zero: DefaultHashCost
	// AccessTokenLife is how long an access token lasts whose client can refresh
	// it; zero is DefaultAccessTokenLife. Other clients get tokens without end.
	AccessTokenLife time.Duration
	// MaxAccountData is how many bytes of account data a user may have in all; 0:
	// DefaultMaxAccountData; negative: any number. Who has more keeps it.
	MaxAccountData int64
	// MaxDevices is how many devices a user may have; 0: the constant of that name.
	MaxDevices int
	// LoginTokenLife is how long a token for m.login.token lasts; zero is DefaultLoginTokenLife.
	LoginTokenLife time.Duration
	// LoginTokenEvery is how long a user waits for the next one; zero is
	// DefaultLoginTokenEvery, a negative time is no wait.
	LoginTokenEvery time.Duration
	// GuestLife is how long a guest's account is kept that nobody uses; zero is for ever.
	GuestLife time.Duration
}

// DeviceWitness is told that a device is going, so that what else belongs to it
// (keys, messages, pushers) goes in the same transaction.
type DeviceWitness interface {
	DeviceDeleted(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) error
}

// LogoutWitness is told that a user is logged out everywhere but on one device, or everywhere
// if except is empty, after the devices have gone: what belongs to no device ends with it.
type LogoutWitness interface {
	LoggedOutEverywhere(tx *kv.WriteTx, user matrix.UserID, except matrix.DeviceID) error
}

// UserWitness is told that a user is closing the account. Erase says that the user
// wants what they said to be hidden as well (spec: client-server API, account
// deactivation).
type UserWitness interface {
	UserDeactivated(tx *kv.WriteTx, user matrix.UserID, erase bool) error
}

// SuspensionWitness is told that an account is suspended, or no longer is.
type SuspensionWitness interface {
	UserSuspended(tx *kv.WriteTx, user matrix.UserID, suspended bool) error
}

// ProfileWitness is told that a user's display name or avatar is another now; the
// rooms send the membership events that say so (spec: client-server API, events on
// change of profile information).
type ProfileWitness interface {
	ProfileChanged(tx *kv.WriteTx, user matrix.UserID) error
}

// Keeper owns the tables of the accounts. Its methods may be called from any goroutine.
type Keeper struct {
	db      *kv.DB
	setup   *setup.Keeper
	changes *changes.Keeper
	now     func() time.Time
	log     *slog.Logger

	users         *kv.Table[matrix.UserID, UserRow]
	devices       *kv.Table[DeviceKey, DeviceRow]
	accessTokens  *kv.Table[tokenHash, accessTokenRow]
	refreshTokens *kv.Table[tokenHash, refreshTokenRow]
	deviceTokens  *kv.Table[deviceTokenKey, deviceTokenRow]
	loginTokens   *kv.Table[tokenHash, loginTokenRow]
	regTokens     *kv.Table[string, RegistrationToken]
	accountData   *kv.Table[accountDataKey, []byte]
	filters       *kv.Table[filterKey, []byte]
	answers       *kv.Table[answerKey, answerRow]
	threepids     *kv.Table[threepidKey, threepidRow]
	validations   *kv.Table[string, validationRow]
	openIDTokens  *kv.Table[tokenHash, loginTokenRow]

	hasher         *hasher
	sizes          *kv.Tally[matrix.UserID] // bytes of account data
	maxAccountData int64
	maxDevices     int

	accessLife time.Duration
	loginLife  time.Duration
	loginEvery time.Duration
	guestLife  time.Duration

	deviceWitnesses     []DeviceWitness
	logoutWitnesses     []LogoutWitness
	userWitnesses       []UserWitness
	suspensionWitnesses []SuspensionWitness
	profileWitnesses    []ProfileWitness
	erasing             chan struct{} // holds one: some of what erased users had is left

	seen       seenDevices
	superseded supersededTokens
	uia        interactive
	polls      polls
	failures   failureCounter
	mails      mailCounter
	logins     loginTokenTimes
}

// New opens the accounts. It starts no goroutine; Run does the cleaning.
func New(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Hashing == (HashCost{}) {
		c.Hashing = DefaultHashCost
	}
	k := &Keeper{
		db: c.DB, setup: c.Setup, changes: c.Changes, now: c.Now, log: c.Log, erasing: make(chan struct{}, 1),
		users:          kv.NewTable[matrix.UserID, UserRow](c.DB, kv.Users),
		devices:        kv.NewTable[DeviceKey, DeviceRow](c.DB, kv.Devices),
		accessTokens:   kv.NewTable[tokenHash, accessTokenRow](c.DB, kv.AccessTokens),
		refreshTokens:  kv.NewTable[tokenHash, refreshTokenRow](c.DB, kv.RefreshTokens),
		deviceTokens:   kv.NewTable[deviceTokenKey, deviceTokenRow](c.DB, kv.DeviceTokens),
		loginTokens:    kv.NewTable[tokenHash, loginTokenRow](c.DB, kv.LoginTokens),
		regTokens:      kv.NewTable[string, RegistrationToken](c.DB, kv.RegTokens),
		accountData:    kv.NewTable[accountDataKey, []byte](c.DB, kv.AccountData),
		filters:        kv.NewTable[filterKey, []byte](c.DB, kv.Filters),
		answers:        kv.NewTable[answerKey, answerRow](c.DB, kv.OnceAnswers),
		threepids:      kv.NewTable[threepidKey, threepidRow](c.DB, kv.Threepids),
		validations:    kv.NewTable[string, validationRow](c.DB, kv.Validations),
		openIDTokens:   kv.NewTable[tokenHash, loginTokenRow](c.DB, kv.OpenIDTokens),
		hasher:         newHasher(c.Hashing),
		maxAccountData: cmp.Or(c.MaxAccountData, DefaultMaxAccountData),
		maxDevices:     cmp.Or(c.MaxDevices, MaxDevices),
		accessLife:     cmp.Or(c.AccessTokenLife, DefaultAccessTokenLife),
		loginLife:      cmp.Or(c.LoginTokenLife, DefaultLoginTokenLife),
		loginEvery:     cmp.Or(c.LoginTokenEvery, DefaultLoginTokenEvery),
		guestLife:      c.GuestLife,
	}
	rand.Read(k.uia.key[:]) // never fails: see crypto/rand
	k.sizes = k.newSizes()
	c.DB.AddCheck("accounts", k.check)
	return k
}

// AddDeviceWitness adds one who is told of devices that go. Call it before serving.
func (k *Keeper) AddDeviceWitness(w DeviceWitness) { k.deviceWitnesses = append(k.deviceWitnesses, w) }

// AddLogoutWitness adds one who is told of users who are logged out everywhere. Call it before
// serving.
func (k *Keeper) AddLogoutWitness(w LogoutWitness) { k.logoutWitnesses = append(k.logoutWitnesses, w) }

// AddUserWitness adds one who is told of accounts that close. Call it before serving.
func (k *Keeper) AddUserWitness(w UserWitness) { k.userWitnesses = append(k.userWitnesses, w) }

// AddSuspensionWitness adds one who is told of accounts that are suspended. Call it before
// serving.
func (k *Keeper) AddSuspensionWitness(w SuspensionWitness) {
	k.suspensionWitnesses = append(k.suspensionWitnesses, w)
}

// AddProfileWitness adds one who is told of profiles that change. Call it before serving.
func (k *Keeper) AddProfileWitness(w ProfileWitness) {
	k.profileWitnesses = append(k.profileWitnesses, w)
}

// ServerName is the name of the house that these users belong to.
func (k *Keeper) ServerName() matrix.ServerName { return k.setup.ServerName() }

// cleanEvery is how often Run removes what has expired.
const cleanEvery = time.Hour

// Run removes expired answers and login tokens from time to time, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		if err := k.eraseRest(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("what erased users had was not deleted", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.erasing:
			continue
		case <-tick.C:
		}
		if err := k.Clean(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("expired rows of the accounts were not removed", "error", err)
		}
	}
}

func (k *Keeper) wakeErase() {
	select {
	case k.erasing <- struct{}{}:
	default:
	}
}

// Clean removes the once-only answers, short-lived tokens and validations that have
// expired, and the guests that nobody is any more, in small transactions.
func (k *Keeper) Clean(ctx context.Context) error {
	for _, clean := range []func(context.Context) error{
		k.cleanAnswers, k.cleanLoginTokens, k.cleanOpenIDTokens, k.cleanValidations, k.cleanGuests,
	} {
		if err := clean(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ms is a time as the rows and the standard count it.
func ms(t time.Time) int64 { return t.UnixMilli() }

// check reports rows that contradict each other.
func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	for user := range k.users.Scan(r, kv.All()) {
		if user.Server() != k.ServerName() {
			report("user %s is not of this house", user)
		}
	}
	for d := range k.devices.Keys(r, kv.All()) {
		if u, ok := k.users.Get(r, d.User); !ok || u.Deactivated {
			report("device %s of %s has no living user", d.Device, d.User)
		}
	}
	for key, row := range k.deviceTokens.Scan(r, kv.All()) {
		if !k.devices.Has(r, DeviceKey{key.User, key.Device}) {
			report("a token of %s %s has no device", key.User, key.Device)
		}
		if row.Refresh && !k.refreshTokens.Has(r, key.Hash) || !row.Refresh && !k.accessTokens.Has(r, key.Hash) {
			report("%s %s lists a token that is not there", key.User, key.Device)
		}
	}
	for hash, t := range k.accessTokens.Scan(r, kv.All()) {
		if !k.deviceTokens.Has(r, deviceTokenKey{t.User, t.Device, hash}) {
			report("an access token of %s %s is not listed with its device", t.User, t.Device)
		}
	}
	for hash, t := range k.refreshTokens.Scan(r, kv.All()) {
		if !k.deviceTokens.Has(r, deviceTokenKey{t.User, t.Device, hash}) {
			report("a refresh token of %s %s is not listed with its device", t.User, t.Device)
		}
	}
	for key, row := range k.threepids.Scan(r, kv.All()) {
		if !k.Exists(r, row.User) {
			report("%s %s belongs to nobody (%s)", key.Medium, key.Address, row.User)
		}
	}
	for key := range k.accountData.Keys(r, kv.All()) {
		if !k.users.Has(r, key.User) {
			report("account data %s belongs to nobody (%s)", key.Type, key.User)
		}
	}
}
