package e2ee

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// maxDeviceKeys is the size of a device's identity keys, in bytes of canonical JSON.
	maxDeviceKeys = 16 << 10
	// maxAlgorithms is how many algorithms a device may name, and have one-time and fallback
	// keys of.
	maxAlgorithms = 50
	// maxKeysPerObject is how many public keys or signatures one object may hold.
	maxKeysPerObject = 50
)

// Upload is the body of /keys/upload; a part that is absent stays nil.
type Upload struct {
	DeviceKeys   json.RawMessage
	OneTimeKeys  json.RawMessage
	FallbackKeys json.RawMessage
}

// CheckedUpload is an Upload of the right form, whose signatures have been looked at.
type CheckedUpload struct {
	user       matrix.UserID
	device     matrix.DeviceID
	deviceKeys matrix.Object // nil: none
	oneTime    []publicKey
	fallback   []publicKey
	seals      seals
}

// CheckUpload reads the keys of a device and checks their signatures, outside of any
// transaction. The errors are M_BAD_JSON, M_INVALID_PARAM and M_TOO_LARGE for keys of the
// wrong form, and M_INVALID_SIGNATURE for device keys that the device did not sign.
func (k *Keeper) CheckUpload(ctx context.Context, user matrix.UserID, device matrix.DeviceID, u Upload) (*CheckedUpload, error) {
	c := &CheckedUpload{user: user, device: device, seals: seals{}}
	public := ""
	var err error
	if present(u.DeviceKeys) {
		if c.deviceKeys, public, err = parseDeviceKeys(u.DeviceKeys, user, device, c.seals); err != nil {
			return nil, err
		}
	} else {
		err := k.DB.View(ctx, func(tx *kv.ReadTx) error { public = k.signingKey(tx, user, device); return nil })
		if err != nil {
			return nil, err
		}
	}
	if present(u.OneTimeKeys) {
		if c.oneTime, err = parsePublicKeys(u.OneTimeKeys, "one_time_keys"); err != nil {
			return nil, err
		}
	}
	if present(u.FallbackKeys) {
		if c.fallback, err = parseFallbackKeys(u.FallbackKeys); err != nil {
			return nil, err
		}
	}
	for _, keys := range [][]publicKey{c.oneTime, c.fallback} {
		for _, key := range keys {
			// What comes of it matters for keys that are new only, which is to be seen later.
			c.signedBy(key, public)
		}
	}
	return c, nil
}

// signedBy says whether a one-time or fallback key is signed as it has to be, or nothing can
// be said, while the device has no ed25519 key. Only for signed_curve25519 does the standard
// say by whom a key is signed.
func (c *CheckedUpload) signedBy(key publicKey, public string) bool {
	return public == "" || key.algorithm != signedCurve25519 || c.seals.byDevice(key.object, c.user, c.device, public)
}

// UploadKeys stores the keys of a device and returns how many one-time keys of each
// algorithm it has now (spec: uploadKeys). The errors are M_INVALID_SIGNATURE for keys that
// the device did not sign, M_FORBIDDEN for a device whose ID is a cross-signing key,
// M_UNKNOWN for a one-time key that is another one under a known name, M_TOO_LARGE for more
// keys than a device may have.
func (k *Keeper) UploadKeys(tx *kv.WriteTx, c *CheckedUpload) (map[string]int, error) {
	if c.deviceKeys != nil {
		if err := k.putDeviceKeys(tx, c); err != nil {
			return nil, err
		}
	}
	if err := k.checkAlgorithms(tx, c); err != nil {
		return nil, err
	}
	public := k.signingKey(tx, c.user, c.device)
	if err := k.putOneTimeKeys(tx, c, public); err != nil {
		return nil, err
	}
	if err := k.putFallbackKeys(tx, c, public); err != nil {
		return nil, err
	}
	return k.KeyCounts(tx, c.user, c.device), nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (k *Keeper) putDeviceKeys(tx *kv.WriteTx, c *CheckedUpload) error {
	user, device := c.user, c.device
	if k.IsCrossSigningKey(tx, user, string(device)) {
		return matrix.Forbidden("a device may not be named like a cross-signing key")
	}
	id, canonical := deviceKey{user, device}, c.deviceKeys.Encode()
	old, had := k.deviceKeys.Get(tx, id)
	if had && bytes.Equal(old, canonical) {
		return nil // repeated: nobody has to hear of it
	}
	if had && !bytes.Equal(withoutSignatures(old), withoutSignatures(canonical)) {
		k.dropSignatures(tx, user, string(device)) // they were for the old keys
	}
	if was := publicSigningKey(old, device); had && was != "" && was != publicSigningKey(canonical, device) {
		k.dropOneTimeKeys(tx, user, device) // so were they, and nobody would take them
	}
	k.deviceKeys.Put(tx, id, canonical)
	k.announce(tx, user)
	return nil
}

// parseDeviceKeys checks the form of a device's identity keys, and that the device signed
// them. It returns them with canonical values and without "unsigned", and the device's
// ed25519 key.
func parseDeviceKeys(raw []byte, user matrix.UserID, device matrix.DeviceID, checked seals) (o matrix.Object, public string, err error) {
	o, err = parseCanonical(raw, maxDeviceKeys, "the device keys")
	if err != nil {
		return nil, "", err
	}
	delete(o, "unsigned")
	if u, ok := o.Text("user_id"); !ok || u != string(user) {
		return nil, "", matrix.InvalidParam("user_id in the device keys has to be the user who is logged in")
	}
	if d, ok := o.Text("device_id"); !ok || d != string(device) {
		return nil, "", matrix.InvalidParam("device_id in the device keys has to be the device that is logged in")
	}
	var algorithms []string
	if json.Unmarshal(o["algorithms"], &algorithms) != nil || algorithms == nil || len(algorithms) > maxAlgorithms {
		return nil, "", matrix.BadJSON(fmt.Sprintf("algorithms in the device keys has to be a list of at most %d names", maxAlgorithms))
	}
	keys, err := textMap(o, "keys")
	if err != nil {
		return nil, "", err
	}
	for name := range keys {
		algorithm, of, ok := strings.Cut(name, ":")
		if !ok || algorithm == "" || of != string(device) {
			return nil, "", matrix.InvalidParam("a device key has to be named \"algorithm:device_id\"")
		}
	}
	if err := checkSignatures(o, true); err != nil {
		return nil, "", err
	}
	public = keys[matrix.Ed25519+":"+string(device)]
	if !isEd25519(public) {
		return nil, "", matrix.InvalidParam("the device keys need an ed25519 key of the device, by which they are signed")
	}
	if !checked.byDevice(o, user, device, public) {
		return nil, "", unsigned("the device keys are not signed by the device")
	}
	return o, public, nil
}

// publicSigningKey is the ed25519 key in a device's stored keys; empty if there is none.
func publicSigningKey(stored []byte, device matrix.DeviceID) string {
	o, err := matrix.ParseObject(stored)
	if err != nil {
		return "" // none are stored
	}
	keys, _ := o.Object("keys")
	public, _ := keys.Text(matrix.Ed25519 + ":" + string(device))
	return public
}

func unsigned(message string) *matrix.Error {
	return matrix.Refusal(http.StatusBadRequest, "M_INVALID_SIGNATURE", message)
}

// checkSignatures looks at the form of "signatures", not at what was signed.
func checkSignatures(o matrix.Object, required bool) error {
	if !o.Has("signatures") {
		if required {
			return matrix.BadJSON("signatures is missing")
		}
		return nil
	}
	signers, ok := o.Object("signatures")
	if !ok {
		return matrix.BadJSON("signatures has to be an object")
	}
	for signer := range signers {
		if _, err := textMap(signers, signer); err != nil {
			return err
		}
	}
	return nil
}

// textMap reads an object of strings.
func textMap(o matrix.Object, name string) (map[string]string, error) {
	inner, ok := o.Object(name)
	if !ok {
		return nil, matrix.BadJSON(fmt.Sprintf("%.64q has to be an object", name))
	}
	if len(inner) > maxKeysPerObject {
		return nil, matrix.BadJSON(fmt.Sprintf("%.64q has more than %d entries", name, maxKeysPerObject))
	}
	all := make(map[string]string, len(inner))
	for key := range inner {
		if all[key], ok = inner.Text(key); !ok {
			return nil, matrix.BadJSON(fmt.Sprintf("%.64q has to be an object of strings", name))
		}
	}
	return all, nil
}

// parseCanonical reads an object whose values are canonical JSON, as all that is signed is.
func parseCanonical(raw []byte, limit int, what string) (matrix.Object, error) {
	canonical, err := matrix.Canonical(raw)
	if err != nil {
		return nil, err
	}
	if len(canonical) > limit {
		return nil, matrix.TooLarge(fmt.Sprintf("%s may have at most %d bytes", what, limit))
	}
	return matrix.ParseObject(canonical)
}

// withoutSignatures is what signatures of a stored object cover.
func withoutSignatures(stored []byte) []byte {
	o, err := matrix.ParseObject(stored)
	if err != nil {
		return nil // Check reports such a row
	}
	return o.SigningBytes()
}
