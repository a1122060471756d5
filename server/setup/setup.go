// Package setup keeps the identity of the house: its server name, its signing key,
// its settings, its owner, and the claim by which the owner is made.
//
// The server name is fixed at the first start, because it is part of every
// identifier ever given out. The signing key is made at the first start and lies in
// the settings table. Until there is an owner, each start makes a fresh claim, which
// lives in memory only: a long secret for a link and a short code for a person to
// type. Whoever shows one of them makes the owner account; then both are gone.
//
// It knows nothing of accounts: the owner is a user ID and no more.
package setup

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// ErrNoServerName is returned by New at the first start when no server name is given, or when
// there must be none.
var ErrNoServerName = errors.New("the first start needs a server name")

// RenamedError is returned by New when the configured server name is not the one
// that the house was founded with.
type RenamedError struct {
	Stored, Configured matrix.ServerName
}

// Error says both names and what to do.
func (e *RenamedError) Error() string {
	return fmt.Sprintf("this house is called %s and cannot become %s: the name is part of every identifier; "+
		"configure %s, or begin with an empty data folder", e.Stored, e.Configured, e.Stored)
}

// Config is what a Keeper is made of.
type Config struct {
	DB *kv.DB
	// ServerName is the configured name; empty means the stored one.
	ServerName matrix.ServerName
	// FirstName is the name of a house that is founded while ServerName is empty;
	// empty: such a house is refused.
	FirstName matrix.ServerName
	// Existing refuses to found a server where there is none, whatever the names.
	Existing bool
}

// Keeper owns the settings table.
type Keeper struct {
	settings *kv.Table[string, []byte]

	name  matrix.ServerName
	keyID matrix.KeyID
	key   ed25519.PrivateKey
	claim claim
}

// signingKeyRow is how the signing key is stored.
type signingKeyRow struct {
	ID   matrix.KeyID `json:"id"`
	Seed []byte       `json:"seed"` // 32 bytes, the private half
}

var (
	serverNameSetting = NewSetting("server_name", matrix.ServerName(""))
	signingKeySetting = NewSetting("signing_key", signingKeyRow{})
	ownerSetting      = NewSetting("owner", matrix.UserID(""))
)

// New opens the identity of the house, and founds it if there is none. The errors
// are ErrNoServerName, a RenamedError, M_INVALID_PARAM for a name that the standard
// does not allow, and what the database says.
func New(ctx context.Context, c Config) (*Keeper, error) {
	k := &Keeper{settings: kv.NewTable[string, []byte](c.DB, kv.Settings)}
	founded, owner := false, matrix.UserID("")
	var key signingKeyRow
	err := c.DB.View(ctx, func(tx *kv.ReadTx) error {
		var errs [3]error
		k.name, errs[0] = read(k, tx, serverNameSetting)
		key, errs[1] = read(k, tx, signingKeySetting)
		owner, errs[2] = read(k, tx, ownerSetting)
		founded = k.name != ""
		return errors.Join(errs[:]...)
	})
	if err == nil && !founded {
		key, err = k.found(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	if c.ServerName != "" && c.ServerName != k.name {
		return nil, &RenamedError{Stored: k.name, Configured: c.ServerName}
	}
	if len(key.Seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the stored signing key has %d bytes, want %d", len(key.Seed), ed25519.SeedSize)
	}
	k.keyID, k.key = key.ID, ed25519.NewKeyFromSeed(key.Seed)
	if owner == "" {
		k.claim.renew()
	}
	c.DB.AddCheck("setup", k.check)
	return k, nil
}

// found writes the name and a new signing key.
func (k *Keeper) found(ctx context.Context, c Config) (signingKeyRow, error) {
	if c.ServerName = cmp.Or(c.ServerName, c.FirstName); c.ServerName == "" || c.Existing {
		return signingKeyRow{}, ErrNoServerName
	}
	name, err := matrix.ParseServerName(string(c.ServerName))
	if err != nil {
		return signingKeyRow{}, err
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails: see crypto/rand
	key := signingKeyRow{ID: matrix.KeyID(matrix.Ed25519 + ":" + rand.Text()[:6]), Seed: seed}
	k.name = name
	return key, c.DB.Update(ctx, func(tx *kv.WriteTx) error {
		return errors.Join(Set(k, tx, serverNameSetting, name), Set(k, tx, signingKeySetting, key))
	})
}

// ServerName is the name of the house, the part behind the colon of its users' IDs.
func (k *Keeper) ServerName() matrix.ServerName { return k.name }

// SigningKey is the key that signs the house's events and its identifier.
func (k *Keeper) SigningKey() (matrix.KeyID, ed25519.PrivateKey) { return k.keyID, k.key }

// Owner is the user who owns the house; empty until it is claimed.
func (k *Keeper) Owner(r kv.Reader) matrix.UserID { return Get(k, r, ownerSetting) }

// SetOwner makes a user the owner, in place of whoever was, and ends the claim. That
// the account exists is the caller's affair.
func (k *Keeper) SetOwner(tx *kv.WriteTx, user matrix.UserID) error {
	if user.Server() != k.name {
		return matrix.InvalidParam("the owner has to be a user of this house")
	}
	tx.AfterCommit(k.claim.end)
	return Set(k, tx, ownerSetting, user)
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	if owner := k.Owner(r); owner != "" && owner.Server() != k.name {
		report("the owner %s is not of this house (%s)", owner, k.name)
	}
	if key := Get(k, r, signingKeySetting); len(key.Seed) != ed25519.SeedSize {
		report("the signing key %s has %d bytes", key.ID, len(key.Seed))
	}
}
