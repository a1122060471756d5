package e2ee

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// The usages of cross-signing keys (spec: cross-signing).
const (
	usageMaster = "master"
	usageSelf   = "self_signing"
	usageUser   = "user_signing"
)

// maxCrossKey is the size of a cross-signing key, in bytes of canonical JSON.
const maxCrossKey = 16 << 10

// CrossSigning is the body of /keys/device_signing/upload; a part that is absent stays nil.
type CrossSigning struct {
	Master, SelfSigning, UserSigning json.RawMessage
}

// byUsage are the keys that are there, the master key first.
func (c CrossSigning) byUsage() []usedKey {
	var all []usedKey
	for _, u := range []usedKey{{usageMaster, c.Master}, {usageSelf, c.SelfSigning}, {usageUser, c.UserSigning}} {
		if present(u.raw) {
			all = append(all, u)
		}
	}
	return all
}

type usedKey struct {
	usage string
	raw   json.RawMessage
}

// CheckedCrossSigning are CrossSigning keys of the right form, whose signatures have been
// looked at.
type CheckedCrossSigning struct {
	user  matrix.UserID
	keys  map[string]matrix.Object // by usage
	seals seals
}

// CheckCrossSigning reads cross-signing keys and looks at their signatures, outside of any
// transaction. The errors are M_INVALID_PARAM and M_BAD_JSON for keys of the wrong form.
func (k *Keeper) CheckCrossSigning(ctx context.Context, user matrix.UserID, uploaded CrossSigning) (*CheckedCrossSigning, error) {
	c := &CheckedCrossSigning{user: user, keys: map[string]matrix.Object{}, seals: seals{}}
	for _, u := range uploaded.byUsage() {
		o, err := parseCrossKey(u.raw, user, u.usage)
		if err != nil {
			return nil, err
		}
		c.keys[u.usage] = o
	}
	master := ""
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error { master, _ = k.masterFor(tx, c); return nil })
	if err == nil && master != "" {
		c.unsigned(master)
	}
	return c, err
}

// unsigned is the usage of a key that is not signed by the master key; empty if all are.
func (c *CheckedCrossSigning) unsigned(master string) string {
	for _, usage := range []string{usageSelf, usageUser} {
		if o := c.keys[usage]; o != nil && !c.seals.byUser(o, c.user, master) {
			return usage
		}
	}
	return ""
}

// masterFor is the public master key that an upload goes by, and the one that is stored:
// the same, unless the upload brings another one. Both are empty if there is none.
func (k *Keeper) masterFor(r kv.Reader, c *CheckedCrossSigning) (master, stored string) {
	stored, _ = k.crossPublicKey(r, c.user, usageMaster)
	if o := c.keys[usageMaster]; o != nil {
		return crossPublicKey(o), stored
	}
	return stored, stored
}

// NeedsUIA says whether the upload has to be confirmed by interactive authentication:
// there is a master key, and the upload has a key that is not stored already
// (spec: uploadCrossSigningKeys, 1.11).
func (k *Keeper) NeedsUIA(r kv.Reader, c *CheckedCrossSigning) bool {
	if !k.crossKeys.Has(r, crossKey{c.user, usageMaster}) {
		return false
	}
	for usage, o := range c.keys {
		if stored, _ := k.crossPublicKey(r, c.user, usage); stored != crossPublicKey(o) {
			return true
		}
	}
	return false
}

// UploadCrossSigning stores cross-signing keys and tells those who share rooms with the
// user. The errors are M_MISSING_PARAM without any master key, M_INVALID_SIGNATURE for a key
// that the master key did not sign, M_FORBIDDEN for a key that is named like a device.
func (k *Keeper) UploadCrossSigning(tx *kv.WriteTx, c *CheckedCrossSigning) error {
	user := c.user
	for _, o := range c.keys {
		if _, taken := k.Accounts.Device(tx, user, matrix.DeviceID(crossPublicKey(o))); taken {
			return matrix.Forbidden("a cross-signing key may not be named like a device")
		}
	}
	master, oldMaster := k.masterFor(tx, c)
	if master == "" {
		return matrix.MissingParam("there is no master signing key yet: please upload one along")
	}
	if usage := c.unsigned(master); usage != "" {
		return unsigned(fmt.Sprintf("the %s key is not signed by the master key", usage))
	}
	if oldMaster != "" && master != oldMaster {
		// What the old identity signed is worth nothing under the new one.
		for _, usage := range []string{usageMaster, usageSelf, usageUser} {
			k.deleteCrossKey(tx, user, usage)
		}
	}
	for usage, o := range c.keys {
		if old, had := k.crossPublicKey(tx, user, usage); had && old != crossPublicKey(o) {
			k.deleteCrossKey(tx, user, usage)
		}
		k.crossKeys.Put(tx, crossKey{user, usage}, o.Encode())
	}
	if len(c.keys) > 0 {
		k.announce(tx, user)
	}
	return nil
}

// parseCrossKey checks the form of a cross-signing key: exactly one key, named after
// itself, of the right user and usage.
func parseCrossKey(raw []byte, user matrix.UserID, usage string) (matrix.Object, error) {
	o, err := parseCanonical(raw, maxCrossKey, "a cross-signing key")
	if err != nil {
		return nil, err
	}
	delete(o, "unsigned")
	if u, _ := o.Text("user_id"); u != string(user) {
		return nil, matrix.InvalidParam("user_id in a cross-signing key has to be the user who is logged in")
	}
	var usages []string
	if json.Unmarshal(o["usage"], &usages) != nil || !slices.Contains(usages, usage) {
		return nil, matrix.InvalidParam(fmt.Sprintf("usage in the %s key has to name %q", usage, usage))
	}
	keys, err := textMap(o, "keys")
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, matrix.InvalidParam("a cross-signing key has exactly one key in keys")
	}
	for name, public := range keys {
		if name != matrix.Ed25519+":"+public || !isEd25519(public) {
			return nil, matrix.InvalidParam("a cross-signing key has to be named \"ed25519:\" and its public key")
		}
	}
	return o, checkSignatures(o, false)
}

func isEd25519(public string) bool {
	b, err := matrix.DecodeBase64(public)
	return err == nil && len(b) == ed25519.PublicKeySize
}

// crossPublicKey is the public key in a cross-signing key that was parsed; it is the
// key's name as well.
func crossPublicKey(o matrix.Object) string {
	keys, _ := o.Object("keys")
	for name := range keys {
		return strings.TrimPrefix(name, matrix.Ed25519+":")
	}
	return ""
}

// crossPublicKey is the stored public key of a usage.
func (k *Keeper) crossPublicKey(r kv.Reader, user matrix.UserID, usage string) (string, bool) {
	raw, ok := k.crossKeys.Get(r, crossKey{user, usage})
	if !ok {
		return "", false
	}
	o, err := matrix.ParseObject(raw)
	return crossPublicKey(o), err == nil
}

// IsCrossSigningKey says whether a cross-signing key of the user is called so: no device
// may be.
func (k *Keeper) IsCrossSigningKey(r kv.Reader, user matrix.UserID, name string) bool {
	for _, usage := range []string{usageMaster, usageSelf, usageUser} {
		if public, ok := k.crossPublicKey(r, user, usage); ok && public == name {
			return true
		}
	}
	return false
}

func (k *Keeper) deleteCrossKey(tx *kv.WriteTx, user matrix.UserID, usage string) {
	if public, ok := k.crossPublicKey(tx, user, usage); ok {
		k.dropSignatures(tx, user, public)
		k.crossKeys.Delete(tx, crossKey{user, usage})
	}
}
