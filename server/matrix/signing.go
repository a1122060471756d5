package matrix

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Ed25519 is the only signing algorithm of the standard; a KeyID starts with it
// and a colon (spec: appendices, signing details).
const Ed25519 = "ed25519"

// EncodeBase64 is unpadded base64 (spec: appendices, unpadded base64).
func EncodeBase64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// DecodeBase64 reads base64 with or without padding, in the standard or the
// URL-safe alphabet. The error is M_INVALID_PARAM.
func DecodeBase64(s string) ([]byte, error) {
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		encoding = base64.RawURLEncoding
	}
	b, err := encoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, InvalidParam("that is no base64")
	}
	return b, nil
}

// SignJSON adds to a JSON object the signature of an entity (a server name or a
// user ID) and returns it as canonical JSON (spec: appendices, signing JSON).
// "unsigned" and other signatures are kept and are not covered.
func SignJSON(raw []byte, entity string, id KeyID, key ed25519.PrivateKey) ([]byte, error) {
	canonical, err := Canonical(raw)
	if err != nil {
		return nil, err
	}
	o, err := ParseObject(canonical)
	if err != nil {
		return nil, err
	}
	if err := o.AddSignature(entity, id, ed25519.Sign(key, o.SigningBytes())); err != nil {
		return nil, err
	}
	return o.Encode(), nil
}

// VerifyJSON checks the signature that an entity made with one key on a JSON
// object (spec: appendices, checking for a signature). The error is M_FORBIDDEN,
// or what Canonical finds wrong.
func VerifyJSON(raw []byte, entity string, id KeyID, key ed25519.PublicKey) error {
	canonical, err := Canonical(raw)
	if err != nil {
		return err
	}
	o, err := ParseObject(canonical)
	if err != nil {
		return err
	}
	return VerifySignature(o.Signatures()[entity][id], o.SigningBytes(), key)
}

// VerifySignature checks a signature in base64 on a message. The error is M_FORBIDDEN.
func VerifySignature(signature string, message []byte, key ed25519.PublicKey) error {
	if signature == "" {
		return Forbidden("the signature is missing")
	}
	sig, err := DecodeBase64(signature)
	if err != nil || len(sig) != ed25519.SignatureSize || len(key) != ed25519.PublicKeySize {
		return Forbidden("the signature or its key is malformed")
	}
	if !ed25519.Verify(key, message, sig) {
		return Forbidden("the signature does not match")
	}
	return nil
}

// SigningBytes is what a signature covers: the object without "signatures" and
// "unsigned". The values have to be canonical.
func (o Object) SigningBytes() []byte {
	covered := make(Object, len(o))
	for key, value := range o {
		if key != "signatures" && key != "unsigned" {
			covered[key] = value
		}
	}
	return covered.Encode()
}

// Signatures is the "signatures" member by entity and key; entries of the wrong
// shape and of other algorithms are left out.
func (o Object) Signatures() map[string]map[KeyID]string {
	all := make(map[string]map[KeyID]string)
	entities, _ := o.Object("signatures")
	for entity := range entities {
		keys, _ := entities.Object(entity)
		for id := range keys {
			signature, ok := keys.Text(id)
			if !ok || !strings.HasPrefix(id, Ed25519+":") {
				continue
			}
			if all[entity] == nil {
				all[entity] = make(map[KeyID]string)
			}
			all[entity][KeyID(id)] = signature
		}
	}
	return all
}

// AddSignature puts one signature into "signatures" and leaves the others as they
// are. The error is M_BAD_JSON if what is there has the wrong shape.
func (o Object) AddSignature(entity string, id KeyID, signature []byte) error {
	member := func(in Object, key string) (Object, error) {
		if !in.Has(key) {
			return make(Object), nil
		}
		inner, ok := in.Object(key)
		if !ok {
			return nil, BadJSON(fmt.Sprintf("%q has to be an object", shorten(key)))
		}
		return inner, nil
	}
	signatures, err := member(o, "signatures")
	if err != nil {
		return err
	}
	keys, err := member(signatures, entity)
	if err != nil {
		return err
	}
	keys.SetText(string(id), EncodeBase64(signature))
	signatures[entity] = json.RawMessage(keys.Encode())
	o["signatures"] = signatures.Encode()
	return nil
}
