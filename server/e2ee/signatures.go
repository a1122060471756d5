package e2ee

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// maxSignedKeys is how many keys one /keys/signatures/upload may sign.
const maxSignedKeys = 2000

// SignedKeys are the keys that a user signed, with the signatures, which have been looked at.
type SignedKeys struct {
	signer matrix.UserID
	keys   []signedKey
	seals  seals
}

type signedKey struct {
	owner  matrix.UserID
	name   string
	object matrix.Object // nil: what came is no key
}

// newSignature is a signature that is not stored yet.
type newSignature struct {
	id        matrix.KeyID
	signature string
	public    string // of the key that should have made it; empty: it may not sign that
}

// CheckSignatures reads signatures and tries them on the keys that are stored, outside of
// any write transaction. raw is a map of user to key to signed object. The errors are
// M_BAD_JSON for another form, and M_TOO_LARGE.
func (k *Keeper) CheckSignatures(ctx context.Context, signer matrix.UserID, raw []byte) (*SignedKeys, error) {
	users, err := matrix.ParseObject(raw)
	if err != nil {
		return nil, err
	}
	s := &SignedKeys{signer: signer, seals: seals{}}
	for _, owner := range slices.Sorted(maps.Keys(users)) {
		keys, ok := users.Object(owner)
		if !ok {
			return nil, matrix.BadJSON("the signatures of each user have to be an object")
		}
		if len(s.keys)+len(keys) > maxSignedKeys {
			return nil, matrix.TooLarge(fmt.Sprintf("at most %d keys can be signed at once", maxSignedKeys))
		}
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			o, err := parseCanonical(keys[name], maxDeviceKeys, "a signed key")
			if err != nil {
				o = nil
			}
			s.keys = append(s.keys, signedKey{matrix.UserID(owner), name, o})
		}
	}
	fresh := make([][]newSignature, len(s.keys))
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for i, key := range s.keys {
			fresh[i], _, _ = k.compare(tx, signer, key) // refusals are told when it is stored
		}
		return nil
	})
	for i, key := range s.keys {
		for _, n := range fresh[i] {
			if n.public != "" {
				s.seals.verify(key.object, n.signature, n.public)
			}
		}
	}
	return s, err
}

// UploadSignatures stores the signatures that a user made on own devices, the own master
// key and other users' master keys. What cannot be taken is told for each key; the rest
// is stored all the same (spec: uploadCrossSigningSignatures).
func (k *Keeper) UploadSignatures(tx *kv.WriteTx, s *SignedKeys) map[string]map[string]Failure {
	failures := map[string]map[string]Failure{}
	changed := map[matrix.UserID]bool{}
	for _, key := range s.keys {
		stored, err := k.sign(tx, s, key)
		if err != nil {
			owner := string(key.owner)
			if failures[owner] == nil {
				failures[owner] = map[string]Failure{}
			}
			failures[owner][key.name] = Failure{err.Code, err.Message}
		}
		if stored && !changed[key.owner] {
			changed[key.owner] = true
			k.announceSignature(tx, s.signer, key.owner)
		}
	}
	return failures
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
func (k *Keeper) sign(tx *kv.WriteTx, s *SignedKeys, key signedKey) (stored bool, refusal *matrix.Error) {
	fresh, known, refusal := k.compare(tx, s.signer, key)
	if refusal != nil {
		return false, refusal
	}
	for _, n := range fresh {
		if n.public == "" || !s.seals.verify(key.object, n.signature, n.public) {
			return stored, invalidSignature()
		}
		k.signatures.Put(tx, signatureKey{key.owner, key.name, s.signer, n.id}, n.signature)
		stored = true
	}
	if !stored && known == 0 {
		return false, invalidSignature()
	}
	return stored, nil
}

// compare holds a signed key to the one that is stored: which signatures of the signer are
// new, in the order of their keys' IDs, and how many are not.
func (k *Keeper) compare(r kv.Reader, signer matrix.UserID, key signedKey) (fresh []newSignature, known int, refusal *matrix.Error) {
	if key.object == nil {
		return nil, 0, matrix.BadJSON("that is no key")
	}
	stored, signers, refusal := k.signable(r, signer, key.owner, key.name)
	if refusal != nil {
		return nil, 0, refusal
	}
	was, err := matrix.ParseObject(stored)
	if err != nil || !bytes.Equal(was.SigningBytes(), key.object.SigningBytes()) {
		return nil, 0, matrix.InvalidParam("the signed key is not the one that is stored")
	}
	had := was.Signatures()[string(signer)]
	made := key.object.Signatures()[string(signer)]
	for _, id := range slices.Sorted(maps.Keys(made)) {
		earlier, ok := had[id]
		if !ok {
			earlier, ok = k.signatures.Get(r, signatureKey{key.owner, key.name, signer, id})
		}
		if ok && made[id] == earlier {
			known++
			continue
		}
		fresh = append(fresh, newSignature{id, made[id], signers[id]})
	}
	return fresh, known, nil
}

func invalidSignature() *matrix.Error {
	return unsigned("the signature is missing, does not match, or is by a key that may not sign this one")
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
