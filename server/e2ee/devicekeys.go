package e2ee

import (
	"bytes"
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
	// maxAlgorithms is how many algorithms a device may name.
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

// UploadKeys stores the keys of a device and returns how many one-time keys of each
// algorithm it has now (spec: uploadKeys). The errors are M_BAD_JSON and
// M_INVALID_PARAM for keys of the wrong form, M_INVALID_SIGNATURE for keys that the device
// did not sign, M_FORBIDDEN for a device whose ID is a cross-signing key, M_UNKNOWN for a
// one-time key that is another one under a known name.
func (k *Keeper) UploadKeys(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, u Upload) (map[string]int, error) {
	if present(u.DeviceKeys) {
		if err := k.putDeviceKeys(tx, user, device, u.DeviceKeys); err != nil {
			return nil, err
		}
	}
	if present(u.OneTimeKeys) {
		if err := k.putOneTimeKeys(tx, user, device, u.OneTimeKeys); err != nil {
			return nil, err
		}
	}
	if present(u.FallbackKeys) {
		if err := k.putFallbackKeys(tx, user, device, u.FallbackKeys); err != nil {
			return nil, err
		}
	}
	return k.KeyCounts(tx, user, device), nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (k *Keeper) putDeviceKeys(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, raw []byte) error {
	o, err := parseDeviceKeys(raw, user, device)
	if err != nil {
		return err
	}
	if k.IsCrossSigningKey(tx, user, string(device)) {
		return matrix.Forbidden("a device may not be named like a cross-signing key")
	}
	id, canonical := deviceKey{user, device}, o.Encode()
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

// parseDeviceKeys checks the form of a device's identity keys and returns them with
// canonical values and without "unsigned".
func parseDeviceKeys(raw []byte, user matrix.UserID, device matrix.DeviceID) (matrix.Object, error) {
	o, err := parseCanonical(raw, maxDeviceKeys, "the device keys")
	if err != nil {
		return nil, err
	}
	delete(o, "unsigned")
	if u, ok := o.Text("user_id"); !ok || u != string(user) {
		return nil, matrix.InvalidParam("user_id in the device keys has to be the user who is logged in")
	}
	if d, ok := o.Text("device_id"); !ok || d != string(device) {
		return nil, matrix.InvalidParam("device_id in the device keys has to be the device that is logged in")
	}
	var algorithms []string
	if json.Unmarshal(o["algorithms"], &algorithms) != nil || algorithms == nil || len(algorithms) > maxAlgorithms {
		return nil, matrix.BadJSON(fmt.Sprintf("algorithms in the device keys has to be a list of at most %d names", maxAlgorithms))
	}
	keys, err := textMap(o, "keys")
	if err != nil {
		return nil, err
	}
	for name := range keys {
		algorithm, of, ok := strings.Cut(name, ":")
		if !ok || algorithm == "" || of != string(device) {
			return nil, matrix.InvalidParam("a device key has to be named \"algorithm:device_id\"")
		}
	}
	if err := checkSignatures(o, true); err != nil {
		return nil, err
	}
	public := keys[matrix.Ed25519+":"+string(device)]
	if !isEd25519(public) {
		return nil, matrix.InvalidParam("the device keys need an ed25519 key of the device, by which they are signed")
	}
	if !signedByDevice(o, user, device, public) {
		return nil, unsigned("the device keys are not signed by the device")
	}
	return o, nil
}

// signedByDevice says whether the device's own ed25519 key signed the object (spec:
// client-server API, signing JSON; device keys, one-time keys).
func signedByDevice(o matrix.Object, user matrix.UserID, device matrix.DeviceID, public string) bool {
	id := matrix.KeyID(matrix.Ed25519 + ":" + string(device))
	return verify(o, o.Signatures()[string(user)][id], public)
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
