package e2ee

import "porchlight/server/matrix"

// seal is a signature that is to be checked.
type seal struct{ message, signature, public string }

// seals remember which signatures are good. Checking one takes up to some milliseconds on a
// small board, and an upload has hundreds of them, while nobody else writes during a write
// transaction. So an upload is checked in two steps: the Check function reads it, finds out
// by which keys it should be signed and tries those; the function that stores it asks again,
// and learns what is known, unless the key has become another one in between.
type seals map[seal]bool

// verify says whether the signature on an object is by the key with this public part.
func (s seals) verify(o matrix.Object, signature, public string) bool {
	at := seal{string(o.SigningBytes()), signature, public}
	good, known := s[at]
	if !known {
		key, err := matrix.DecodeBase64(public)
		good = err == nil && matrix.VerifySignature(signature, []byte(at.message), key) == nil
		s[at] = good
	}
	return good
}

// byDevice says whether the device's own ed25519 key signed the object (spec: client-server
// API, signing JSON; device keys, one-time keys).
func (s seals) byDevice(o matrix.Object, user matrix.UserID, device matrix.DeviceID, public string) bool {
	id := matrix.KeyID(matrix.Ed25519 + ":" + string(device))
	return s.verify(o, o.Signatures()[string(user)][id], public)
}

// byUser says whether the user's cross-signing key with this public part signed the object.
func (s seals) byUser(o matrix.Object, user matrix.UserID, public string) bool {
	id := matrix.KeyID(matrix.Ed25519 + ":" + public)
	return s.verify(o, o.Signatures()[string(user)][id], public)
}
