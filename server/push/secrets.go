package push

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// MaxSecrets is how many devices of a user may have a secret for topics.
	MaxSecrets = 20
	// maxSecretName is the length of what a user calls such a device, in bytes.
	maxSecretName = 100
	// secretPrefix tells people and programs what a secret is for.
	secretPrefix = "tk_"
	// secretID is how many letters of its hash name a secret.
	secretID = 16
)

// Secret is what lets one device listen to the topics of this house, as a client sees it.
type Secret struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Made int64  `json:"made"` // ms
	// Device is the session that made it, with which it ends; empty: it was made by an earlier
	// release, and ends when the user is logged out everywhere.
	Device matrix.DeviceID `json:"device_id,omitempty"`
}

type secretHash [sha256.Size]byte

type secretRow struct {
	User   matrix.UserID   `cbor:"1,keyasint"`
	Name   string          `cbor:"2,keyasint"`
	Made   int64           `cbor:"3,keyasint"`           // ms
	Device matrix.DeviceID `cbor:"4,keyasint,omitempty"` // as Secret.Device
}

func (row secretRow) shown(hash secretHash) Secret {
	return Secret{hash.id(), row.Name, row.Made, row.Device}
}

func hashOf(secret string) secretHash { return sha256.Sum256([]byte(secret)) }

func (h secretHash) id() string { return hex.EncodeToString(h[:])[:secretID] }

// NewSecret makes a secret for a phone of a user, by a session with which it ends; only its
// hash is kept. The errors are M_INVALID_PARAM for a name that is no good, and M_TOO_LARGE.
func (k *Keeper) NewSecret(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) (string, Secret, error) {
	name = strings.Join(strings.Fields(name), " ")
	if name == "" || len(name) > maxSecretName || !utf8.ValidString(name) {
		return "", Secret{}, matrix.InvalidParam(fmt.Sprintf("a device has a name of 1 to %d bytes", maxSecretName))
	}
	if len(k.Secrets(tx, user)) >= MaxSecrets {
		return "", Secret{}, matrix.TooLarge(fmt.Sprintf("there can be at most %d devices", MaxSecrets))
	}
	secret := secretPrefix + strings.ToLower(rand.Text())
	row := secretRow{user, name, k.Now().UnixMilli(), device}
	hash := hashOf(secret)
	k.secrets.Put(tx, hash, row)
	return secret, row.shown(hash), nil
}

// Secrets are a user's secrets, the oldest first.
func (k *Keeper) Secrets(r kv.Reader, user matrix.UserID) []Secret {
	all := []Secret{}
	for hash, row := range k.secrets.Scan(r, kv.All()) {
		if row.User == user {
			all = append(all, row.shown(hash))
		}
	}
	slices.SortFunc(all, func(a, b Secret) int {
		if a.Made != b.Made {
			return int(a.Made - b.Made)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// DeleteSecret deletes a secret of a user by its ID. The error is M_NOT_FOUND.
func (k *Keeper) DeleteSecret(tx *kv.WriteTx, user matrix.UserID, id string) error {
	for hash, row := range k.secrets.Scan(tx, kv.All()) {
		if row.User == user && hash.id() == id {
			k.secrets.Delete(tx, hash)
			return nil
		}
	}
	return matrix.NotFound("there is no such device")
}

// deleteSecrets deletes the secrets of a user that which lets through.
func (k *Keeper) deleteSecrets(tx *kv.WriteTx, user matrix.UserID, which func(secretRow) bool) {
	for hash, row := range k.secrets.Scan(tx, kv.All()) {
		if row.User == user && which(row) {
			k.secrets.Delete(tx, hash)
		}
	}
}

// secretUser is the user whose secret it is, unless the account is closed or locked.
func (k *Keeper) secretUser(r kv.Reader, secret string) (matrix.UserID, bool) {
	row, ok := k.secrets.Get(r, hashOf(secret))
	if !ok {
		return "", false
	}
	user, ok := k.Accounts.User(r, row.User)
	return row.User, ok && !user.Deactivated && !user.Locked
}
