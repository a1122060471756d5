package e2ee

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

const (
	// maxKeyObject is the size of a one-time or fallback key, in bytes of canonical JSON.
	maxKeyObject = 4 << 10
	// maxUploaded is how many one-time keys one upload may have, known ones among them.
	maxUploaded = 2000
	// maxOneTimeKeys is how many unclaimed keys of an algorithm a device may have.
	maxOneTimeKeys = 1000
	// keepClaimed is how many names of claimed keys are remembered per algorithm.
	keepClaimed = 100
)

// signedCurve25519 is the algorithm of the one-time keys of Olm. Its count is always
// told, 0 as well: clients upload keys when they see it.
const signedCurve25519 = "signed_curve25519"

// publicKey is a one-time or fallback key as it was uploaded.
type publicKey struct {
	algorithm, id string
	json          []byte        // canonical
	object        matrix.Object // nil for a plain string
}

func (p publicKey) name() string { return p.algorithm + ":" + p.id }

func (p publicKey) unsigned() error {
	return unsigned(fmt.Sprintf("the key %.64q is not signed by the device", p.name()))
}

// parsePublicKeys checks a map of "algorithm:id" to keys and returns it in order.
func parsePublicKeys(raw []byte, what string) ([]publicKey, error) {
	o, err := matrix.ParseObject(raw)
	if err != nil {
		return nil, matrix.BadJSON(what + " has to be an object")
	}
	if len(o) > maxUploaded {
		return nil, matrix.TooLarge(fmt.Sprintf("%s may have at most %d keys at once", what, maxUploaded))
	}
	all := make([]publicKey, 0, len(o))
	for _, name := range slices.Sorted(maps.Keys(o)) {
		algorithm, id, ok := strings.Cut(name, ":")
		if !ok || algorithm == "" || id == "" || len(name) > matrix.MaxIDBytes {
			return nil, matrix.InvalidParam("a key in " + what + " has to be named \"algorithm:key_id\"")
		}
		canonical, err := matrix.Canonical(o[name])
		if err != nil {
			return nil, err
		}
		if len(canonical) > maxKeyObject {
			return nil, matrix.TooLarge(fmt.Sprintf("a key may have at most %d bytes", maxKeyObject))
		}
		key, err := checkPublicKey(algorithm, canonical)
		if err != nil {
			return nil, err
		}
		all = append(all, publicKey{algorithm, id, canonical, key})
	}
	return all, nil
}

// checkPublicKey: a key is a string, or an object with key and signatures; for
// signed_curve25519 it is the object (spec: key algorithms).
func checkPublicKey(algorithm string, canonical []byte) (matrix.Object, error) {
	if canonical[0] == '"' && algorithm != signedCurve25519 {
		return nil, nil
	}
	o, err := matrix.ParseObject(canonical)
	if err != nil {
		return nil, matrix.BadJSON("a signed key has to be an object with key and signatures")
	}
	if _, ok := o.Text("key"); !ok {
		return nil, matrix.BadJSON("a signed key needs a string \"key\"")
	}
	return o, checkSignatures(o, true)
}

// checkAlgorithms refuses an upload that would give a device keys of more algorithms than
// anybody has use for: all are told in each sync.
func (k *Keeper) checkAlgorithms(r kv.Reader, c *CheckedUpload) error {
	all := map[string]bool{}
	for _, key := range slices.Concat(c.oneTime, c.fallback) {
		all[key.algorithm] = true
	}
	for key := range k.counts.Keys(r, kv.Prefix(c.user, c.device)) {
		all[key.Algorithm] = true
	}
	for key := range k.fallback.Keys(r, kv.Prefix(c.user, c.device)) {
		all[key.Algorithm] = true
	}
	if len(all) > maxAlgorithms {
		return matrix.TooLarge(fmt.Sprintf("a device may have keys of at most %d algorithms", maxAlgorithms))
	}
	return nil
}

// putOneTimeKeys adds keys behind those of earlier uploads. A name that is known has to
// carry the same key; one that was claimed lately is passed over. What the device did not
// sign with its key, public, is refused: whoever claims it would throw it away, and be
// without one.
func (k *Keeper) putOneTimeKeys(tx *kv.WriteTx, c *CheckedUpload, public string) error {
	user, device := c.user, c.device
	stored := map[string][]byte{}
	if len(c.oneTime) > 0 {
		for id, key := range k.oneTime.Scan(tx, kv.Prefix(user, device)) {
			stored[id.Algorithm+":"+id.KeyID] = key
		}
	}
	counts := map[string]countRow{}
	for _, key := range c.oneTime {
		if old, known := stored[key.name()]; known {
			if !sameKey(old, key.json) {
				return matrix.Unknown(http.StatusBadRequest,
					fmt.Sprintf("there is another one-time key named %q already", key.name()))
			}
			continue
		}
		at := algorithmKey{user, device, key.algorithm}
		row, begun := counts[key.algorithm]
		if !begun {
			row, _ = k.counts.Get(tx, at)
			row.Batch++
		}
		if slices.Contains(row.Claimed, key.id) {
			continue
		}
		if !c.signedBy(key, public) {
			return key.unsigned()
		}
		if row.Left++; row.Left > maxOneTimeKeys {
			return matrix.TooLarge(fmt.Sprintf("a device may have at most %d unclaimed one-time keys", maxOneTimeKeys))
		}
		k.oneTime.Put(tx, oneTimeKey{user, device, key.algorithm, row.Batch, key.id}, key.json)
		counts[key.algorithm] = row
	}
	for algorithm, row := range counts {
		k.counts.Put(tx, algorithmKey{user, device, algorithm}, row)
	}
	return nil
}

// sameKey says whether two uploads are of one public key. Signatures and what is unsigned are about a key, not part of
// it: a client that signs a key once more uploads the same one.
func sameKey(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	keyA, errA := matrix.ParseObject(a)
	keyB, errB := matrix.ParseObject(b)
	if errA != nil || errB != nil {
		return false // a plain string, which is nothing but the key
	}
	textA, okA := keyA.Text("key")
	textB, okB := keyB.Text("key")
	return okA && okB && textA == textB
}

// signingKey is the ed25519 key of a device; empty if it has uploaded none.
func (k *Keeper) signingKey(r kv.Reader, user matrix.UserID, device matrix.DeviceID) string {
	stored, _ := k.deviceKeys.Get(r, deviceKey{user, device})
	return publicSigningKey(stored, device)
}

// dropOneTimeKeys deletes all one-time and fallback keys of a device.
func (k *Keeper) dropOneTimeKeys(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) {
	for key := range k.oneTime.Keys(tx, kv.Prefix(user, device)) {
		k.oneTime.Delete(tx, key)
	}
	for key := range k.counts.Keys(tx, kv.Prefix(user, device)) {
		k.counts.Delete(tx, key)
	}
	for key := range k.fallback.Keys(tx, kv.Prefix(user, device)) {
		k.fallback.Delete(tx, key)
	}
}

// parseFallbackKeys is parsePublicKeys for fallback keys, of which there is one for each
// algorithm.
func parseFallbackKeys(raw []byte) ([]publicKey, error) {
	keys, err := parsePublicKeys(raw, "fallback_keys")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, key := range keys {
		if seen[key.algorithm] {
			return nil, matrix.InvalidParam("there can be only one fallback key for each algorithm")
		}
		seen[key.algorithm] = true
	}
	return keys, nil
}

// putFallbackKeys replaces the fallback key of each algorithm that is named.
func (k *Keeper) putFallbackKeys(tx *kv.WriteTx, c *CheckedUpload, public string) error {
	for _, key := range c.fallback {
		if !c.signedBy(key, public) {
			return key.unsigned()
		}
		at := algorithmKey{c.user, c.device, key.algorithm}
		old, had := k.fallback.Get(tx, at)
		row := fallbackRow{KeyID: key.id, JSON: key.json}
		if had && old.KeyID == key.id && sameKey(old.JSON, key.json) {
			row.Used = old.Used // repeated: a key that was used does not become fresh by it
		}
		k.fallback.Put(tx, at, row)
	}
	return nil
}

// KeyCounts is how many one-time keys of each algorithm nobody has claimed yet.
// signed_curve25519 is always among them.
func (k *Keeper) KeyCounts(r kv.Reader, user matrix.UserID, device matrix.DeviceID) map[string]int {
	all := map[string]int{signedCurve25519: 0}
	for id, row := range k.counts.Scan(r, kv.Prefix(user, device)) {
		if row.Left > 0 || id.Algorithm == signedCurve25519 {
			all[id.Algorithm] = int(row.Left)
		}
	}
	return all
}

// UnusedFallback are the algorithms for which the device has a fallback key that was
// never given out; never nil.
func (k *Keeper) UnusedFallback(r kv.Reader, user matrix.UserID, device matrix.DeviceID) []string {
	all := []string{}
	for id, row := range k.fallback.Scan(r, kv.Prefix(user, device)) {
		if !row.Used {
			all = append(all, id.Algorithm)
		}
	}
	return all
}

// Claimed is the answer of /keys/claim.
type Claimed struct {
	OneTimeKeys map[matrix.UserID]map[matrix.DeviceID]map[string]json.RawMessage `json:"one_time_keys"`
	Failures    map[matrix.ServerName]Failure                                    `json:"failures"`
}

// Failure says why a server could not be asked.
type Failure struct {
	Code    string `json:"errcode"`
	Message string `json:"error"`
}

// unreachable is the failure of every other server, as none is asked.
var unreachable = Failure{"M_UNKNOWN", "this server does not talk to other servers"}

// Claim gives out one key for each device and algorithm asked for: a one-time key, the
// oldest first, or the fallback key. What there is none of is left out
// (spec: claimKeys).
func (k *Keeper) Claim(tx *kv.WriteTx, want map[matrix.UserID]map[matrix.DeviceID]string) Claimed {
	out := Claimed{
		OneTimeKeys: map[matrix.UserID]map[matrix.DeviceID]map[string]json.RawMessage{},
		Failures:    map[matrix.ServerName]Failure{},
	}
	for _, user := range slices.Sorted(maps.Keys(want)) {
		if !k.isLocal(user) {
			out.Failures[user.Server()] = unreachable
			continue
		}
		for _, device := range slices.Sorted(maps.Keys(want[user])) {
			name, key, ok := k.claim(tx, algorithmKey{user, device, want[user][device]})
			if !ok {
				continue
			}
			if out.OneTimeKeys[user] == nil {
				out.OneTimeKeys[user] = map[matrix.DeviceID]map[string]json.RawMessage{}
			}
			out.OneTimeKeys[user][device] = map[string]json.RawMessage{name: key}
		}
	}
	return out
}

func (k *Keeper) claim(tx *kv.WriteTx, at algorithmKey) (name string, key json.RawMessage, ok bool) {
	for id, key := range k.oneTime.Scan(tx, kv.Prefix(at.User, at.Device, at.Algorithm)) {
		row, _ := k.counts.Get(tx, at)
		row.Left--
		row.Claimed = append(row.Claimed, id.KeyID)
		if len(row.Claimed) > keepClaimed {
			row.Claimed = row.Claimed[len(row.Claimed)-keepClaimed:]
		}
		k.oneTime.Delete(tx, id)
		k.counts.Put(tx, at, row)
		k.keysUsed(tx, at)
		return at.Algorithm + ":" + id.KeyID, key, true
	}
	row, ok := k.fallback.Get(tx, at)
	if !ok {
		return "", nil, false
	}
	if !row.Used {
		row.Used = true
		k.fallback.Put(tx, at, row)
		k.keysUsed(tx, at)
	}
	return at.Algorithm + ":" + row.KeyID, row.JSON, true
}

// keysUsed logs that a device should look at its counts.
func (k *Keeper) keysUsed(tx *kv.WriteTx, at algorithmKey) {
	k.Changes.Append(tx, changes.Change{Kind: changes.KeyCount, User: at.User, Device: at.Device})
}
