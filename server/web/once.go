package web

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// OnceKey names a request that may be repeated: whose it is, of which device, and a
// hash of method and path, transaction ID included (spec: MSC3970).
type OnceKey struct {
	User     matrix.UserID
	Device   matrix.DeviceID
	PathHash [32]byte
}

// OnceStore keeps the answers to once-only requests. server/accounts implements it.
type OnceStore interface {
	// Answer is the stored answer, if the request was answered before.
	Answer(r kv.Reader, k OnceKey) (answer []byte, ok bool)
	// Remember stores an answer in the transaction that has the effect.
	Remember(tx *kv.WriteTx, k OnceKey, answer []byte, now time.Time)
}

// onceKey is the key of this request. The path counts as the route's first path with
// its parameters unescaped, so that neither an alias nor another way of escaping makes
// a retransmission look new.
func (x *exchange) onceKey() OnceKey {
	h := sha256.New()
	var size [8]byte
	write := func(s string) {
		binary.BigEndian.PutUint64(size[:], uint64(len(s)))
		h.Write(size[:])
		h.Write([]byte(s))
	}
	write(x.op.route.Method)
	write(x.op.route.Path)
	for _, value := range x.path {
		write(value)
	}
	k := OnceKey{User: x.call.User, Device: x.call.Device}
	h.Sum(k.PathHash[:0])
	return k
}

// answered takes the stored answer of a repeated request as this one's.
func (x *exchange) answered(r kv.Reader) bool {
	if !x.op.route.Once {
		return false
	}
	answer, ok := x.server.once.Answer(r, x.onceKey())
	if ok {
		x.answer = answer
	}
	return ok
}
