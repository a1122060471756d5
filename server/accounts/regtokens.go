package accounts

import (
	"fmt"
	"iter"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// MaxRegistrationTokenBytes is the longest registration token (spec: client-server
// API, token-authenticated registration).
const MaxRegistrationTokenBytes = 64

// RegistrationToken is an invitation to make an account.
type RegistrationToken struct {
	Uses    uint32 `cbor:"1,keyasint,omitempty"` // accounts it may make; 0: any number
	Used    uint32 `cbor:"2,keyasint,omitempty"` // accounts it has made
	Expires int64  `cbor:"3,keyasint,omitempty"` // ms; 0: never
	Created int64  `cbor:"4,keyasint,omitempty"` // ms
}

// CreateRegistrationToken makes a token; an empty text gets a random one. uses 0 is any
// number, a zero expiry is never. The errors are M_INVALID_PARAM and, if the token is
// there already, M_INVALID_PARAM too.
func (k *Keeper) CreateRegistrationToken(tx *kv.WriteTx, text string, uses uint32, expires time.Time) (string, error) {
	if text == "" {
		text = randomID(16)
	}
	if !validRegistrationToken(text) {
		return "", matrix.InvalidParam(fmt.Sprintf(
			"a registration token has 1 to %d letters, digits, and signs . _ ~ -", MaxRegistrationTokenBytes))
	}
	if k.regTokens.Has(tx, text) {
		return "", matrix.InvalidParam("there is such a registration token already")
	}
	row := RegistrationToken{Uses: uses, Created: ms(k.now())}
	if !expires.IsZero() {
		row.Expires = ms(expires)
	}
	k.regTokens.Put(tx, text, row)
	return text, nil
}

// validRegistrationToken is the grammar of opaque identifiers (spec: appendices).
func validRegistrationToken(s string) bool {
	if s == "" || len(s) > MaxRegistrationTokenBytes {
		return false
	}
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}

// RegistrationTokens yields all tokens, spent ones included.
func (k *Keeper) RegistrationTokens(r kv.Reader) iter.Seq2[string, RegistrationToken] {
	return k.regTokens.Scan(r, kv.All())
}

// DeleteRegistrationToken withdraws a token; M_NOT_FOUND if there is none.
func (k *Keeper) DeleteRegistrationToken(tx *kv.WriteTx, text string) error {
	if !k.regTokens.Has(tx, text) {
		return matrix.NotFound("there is no such registration token")
	}
	k.regTokens.Delete(tx, text)
	return nil
}

// RegistrationTokenValid says whether an account could be made with the token now.
// Those who have shown it and not finished yet count as if they had.
func (k *Keeper) RegistrationTokenValid(r kv.Reader, text string) bool {
	return k.tokenValid(r, text, "")
}

// tokenValid is RegistrationTokenValid for one who may have shown the token before, in
// the session named.
func (k *Keeper) tokenValid(r kv.Reader, text, session string) bool {
	if !validRegistrationToken(text) {
		return false
	}
	row, ok := k.regTokens.Get(r, text)
	return ok && k.tokenHolds(row, uint32(k.uia.pending(text, session, k.now())))
}

func (k *Keeper) tokenHolds(row RegistrationToken, pending uint32) bool {
	if row.Expires != 0 && ms(k.now()) >= row.Expires {
		return false
	}
	return row.Uses == 0 || uint64(row.Used)+uint64(pending) < uint64(row.Uses)
}

// UseRegistrationToken counts an account against the token, in the transaction that
// makes it. The error is M_FORBIDDEN if the token no longer holds.
func (k *Keeper) UseRegistrationToken(tx *kv.WriteTx, text string) error {
	row, ok := k.regTokens.Get(tx, text)
	if !ok || !k.tokenHolds(row, 0) {
		return matrix.Forbidden("that registration token is not valid, or no longer")
	}
	row.Used++
	k.regTokens.Put(tx, text, row)
	return nil
}
