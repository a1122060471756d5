package e2ee

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// maxSignedKeys is how many keys one /keys/signatures/upload may sign.
const maxSignedKeys = 2000

// UploadSignatures stores the signatures that a user made on own devices, the own master
// key and other users' master keys. What cannot be taken is told for each key; the rest
// is stored all the same (spec: uploadCrossSigningSignatures). raw is a map of user to
// key to signed object.
func (k *Keeper) UploadSignatures(tx *kv.WriteTx, signer matrix.UserID, raw []byte) (map[string]map[string]Failure, error) {
	users, err := matrix.ParseObject(raw)
	if err != nil {
		return nil, err
	}
	failures := map[string]map[string]Failure{}
	seen := 0
	for _, owner := range slices.Sorted(maps.Keys(users)) {
		keys, ok := users.Object(owner)
		if !ok {
			return nil, matrix.BadJSON("the signatures of each user have to be an object")
		}
		if seen += len(keys); seen > maxSignedKeys {
			return nil, matrix.TooLarge(fmt.Sprintf("at most %d keys can be signed at once", maxSignedKeys))
		}
		changed := false
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			stored, err := k.sign(tx, signer, matrix.UserID(owner), name, keys[name])
			changed = changed || stored
			if err != nil {
				if failures[owner] == nil {
					failures[owner] = map[string]Failure{}
				}
				failures[owner][name] = Failure{err.Code, err.Message}
			}
		}
		if changed {
			k.announceSignature(tx, signer, matrix.UserID(owner))
		}
	}
	return failures, nil
}

// announceSignature tells those who see the signature: everybody who sees the user's own
// keys, or nobody but the signer.
func (k *Keeper) announceSignature(tx *kv.WriteTx, signer, owner matrix.UserID) {
	if signer == owner {
		k.announce(tx, owner)
	} else {
		k.announceTo(tx, signer, owner)
	}
}

// sign stores the signer's signatures on one key; it says whether there were new ones.
func (k *Keeper) sign(tx *kv.WriteTx, signer, owner matrix.UserID, name string, raw []byte) (bool, *matrix.Error) {
	o, err := parseCanonical(raw, maxDeviceKeys, "a signed key")
	if err != nil {
		return false, matrix.BadJSON("that is no key")
	}
	stored, signers, refusal := k.signable(tx, signer, owner, name)
	if refusal != nil {
		return false, refusal
	}
	was, err := matrix.ParseObject(stored)
	if err != nil || !bytes.Equal(was.SigningBytes(), o.SigningBytes()) {
		return false, matrix.InvalidParam("the signed key is not the one that is stored")
	}
	had := was.Signatures()[string(signer)]
	added, known := 0, 0
	for id, signature := range o.Signatures()[string(signer)] {
		if had[id] == signature {
			known++
			continue
		}
		public, ok := signers[id]
		if !ok || !verify(o, signature, public) {
			return added > 0, invalidSignature()
		}
		at := signatureKey{owner, name, signer, id}
		if old, ok := k.signatures.Get(tx, at); ok && old == signature {
			known++
			continue
		}
		k.signatures.Put(tx, at, signature)
		added++
	}
	if added+known == 0 {
		return false, invalidSignature()
	}
	return added > 0, nil
}

func invalidSignature() *matrix.Error {
	return matrix.Refusal(http.StatusBadRequest, "M_INVALID_SIGNATURE", "the signature is missing, does not match, or is by a key that may not sign this one")
}

// signable finds the stored key with that name, and which keys of the signer may sign it:
// own devices by the self-signing key, the own master key by devices, other users' master
// keys by the user-signing key.
func (k *Keeper) signable(r kv.Reader, signer, owner matrix.UserID, name string) (stored []byte, signers map[matrix.KeyID]string, err *matrix.Error) {
	signers = map[matrix.KeyID]string{}
	mayBe := func(usage string) {
		if public, ok := k.crossPublicKey(r, signer, usage); ok {
			signers[matrix.KeyID(matrix.Ed25519+":"+public)] = public
		}
	}
	if owner == signer {
		if raw, ok := k.deviceKeys.Get(r, deviceKey{owner, matrix.DeviceID(name)}); ok {
			mayBe(usageSelf)
			return raw, signers, nil
		}
	}
	master, ok := k.crossKeys.Get(r, crossKey{owner, usageMaster})
	if public, _ := k.crossPublicKey(r, owner, usageMaster); !ok || public != name {
		return nil, nil, matrix.NotFound("there is no such key that could be signed")
	}
	if owner != signer {
		mayBe(usageUser)
		return master, signers, nil
	}
	for id, raw := range k.deviceKeys.Scan(r, kv.Prefix(signer)) {
		o, err := matrix.ParseObject(raw)
		if err != nil {
			continue // Check reports such a row
		}
		name := matrix.KeyID(matrix.Ed25519 + ":" + string(id.Device))
		keys, _ := o.Object("keys")
		if public, ok := keys.Text(string(name)); ok {
			signers[name] = public
		}
	}
	return master, signers, nil
}

// dropSignatures forgets all signatures that were uploaded later for a key.
func (k *Keeper) dropSignatures(tx *kv.WriteTx, owner matrix.UserID, key string) {
	for id := range k.signatures.Keys(tx, kv.Prefix(owner, key)) {
		k.signatures.Delete(tx, id)
	}
}
