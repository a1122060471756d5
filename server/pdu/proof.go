package pdu

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// contentHash covers the complete event, in base64
// (spec: server-server API, calculating the content hash for an event).
func contentHash(fields matrix.Object) string {
	covered := maps.Clone(fields)
	delete(covered, "unsigned")
	delete(covered, "signatures")
	delete(covered, "hashes")
	sum := sha256.Sum256(covered.Encode())
	return matrix.EncodeBase64(sum[:])
}

// referenceHash covers what survives redaction
// (spec: server-server API, calculating the reference hash for an event).
func referenceHash(v roomver.Version, fields matrix.Object) [sha256.Size]byte {
	return sha256.Sum256(redact(v, fields).SigningBytes())
}

// hashedID is the event ID in room versions where it is the reference hash.
func hashedID(v roomver.Version, fields matrix.Object) matrix.EventID {
	sum := referenceHash(v, fields)
	encoding := base64.RawURLEncoding
	if v.EventID == roomver.EventIDBase64 {
		encoding = base64.RawStdEncoding
	}
	return matrix.EventID("$" + encoding.EncodeToString(sum[:]))
}

// ReferenceHash is the event's reference hash in unpadded base64, for the
// ReferenceHashes of a Draft.
func (p *PDU) ReferenceHash() string {
	sum := referenceHash(p.Version, p.fields)
	return matrix.EncodeBase64(sum[:])
}

// CheckContentHash says whether the event is as its server hashed it. If not, it
// has to be taken for a redacted copy: use Redacted in its place
// (spec: server-server API, validating hashes and signatures on received events).
func (p *PDU) CheckContentHash() bool {
	hashes, _ := p.fields.Object("hashes")
	given, _ := hashes.Text("sha256")
	want, err := matrix.DecodeBase64(given)
	if err != nil {
		return false
	}
	got, err := matrix.DecodeBase64(contentHash(p.fields))
	return err == nil && bytes.Equal(got, want)
}

// Sign returns the event with one more signature: an invite is signed by the
// invited user's server too, a restricted join by the server that let the user in.
func (p *PDU) Sign(server matrix.ServerName, id matrix.KeyID, key ed25519.PrivateKey) (*PDU, error) {
	fields := maps.Clone(p.fields)
	signature := ed25519.Sign(key, redact(p.Version, fields).SigningBytes())
	if err := fields.AddSignature(string(server), id, signature); err != nil {
		return nil, err
	}
	return Parse(p.Version, fields.Encode())
}

// Signatures are the keys that a server signed the event with, in order; whether
// the signatures are right is for VerifySignature to say.
func (p *PDU) Signatures(server matrix.ServerName) []matrix.KeyID {
	return slices.Sorted(maps.Keys(p.fields.Signatures()[string(server)]))
}

// HasSignature says whether the event carries a signature of the server at all. It
// fits eventauth.Check for events whose signatures have been verified before.
func (p *PDU) HasSignature(server matrix.ServerName) bool {
	return len(p.Signatures(server)) > 0
}

// VerifySignature checks the signature that a server made with one key; it covers
// the redacted event. The error is M_FORBIDDEN.
func (p *PDU) VerifySignature(server matrix.ServerName, id matrix.KeyID, key ed25519.PublicKey) error {
	signature := p.fields.Signatures()[string(server)][id]
	return matrix.VerifySignature(signature, redact(p.Version, p.fields).SigningBytes(), key)
}

// RequiredSigners are the servers that have to have signed the event, in order
// (spec: server-server API, validating hashes and signatures on received events;
// spec: rooms/v8 auth 4.2).
func (p *PDU) RequiredSigners() []matrix.ServerName {
	servers := make(map[matrix.ServerName]bool)
	content, _ := p.fields.Object("content")
	if !p.isThirdPartyInvite(content) {
		servers[p.Sender.Server()] = true
	}
	if p.Version.EventIDServerSigns {
		_, host, _ := strings.Cut(string(p.ID), ":")
		servers[matrix.ServerName(host)] = true
	}
	if p.Version.Restricted && p.Type == "m.room.member" {
		if user, ok := content.Text("join_authorised_via_users_server"); ok && ValidUserID(user) {
			servers[matrix.UserID(user).Server()] = true
		}
	}
	return slices.Sorted(maps.Keys(servers))
}

// isThirdPartyInvite: such an invite may come from another server than the sender's.
func (p *PDU) isThirdPartyInvite(content matrix.Object) bool {
	membership, _ := content.Text("membership")
	return p.Type == "m.room.member" && membership == "invite" && content.Has("third_party_invite")
}
