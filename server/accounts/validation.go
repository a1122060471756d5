package accounts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// ValidationLife is how long an address that is being validated has for it, and
	// afterwards to be used.
	ValidationLife = time.Hour
	// MaxMails is how many mails go to one address in a MailWindow, whoever asks.
	MaxMails = 5
	// MailWindow is the time in which MaxMails are counted.
	MailWindow = time.Hour
	// maxMailKeys bounds the memory that strangers can make the house use.
	maxMailKeys = 4096
	// maxValidations bounds the rows that strangers can make the house write.
	maxValidations = 1000
)

// Purpose is what an address is validated for; what was validated for one purpose does
// not count for another, since the mail told its reader of that one.
type Purpose string

// The purposes of validation.
const (
	PurposeRegister Purpose = "register" // to make an account
	PurposeAdd      Purpose = "add"      // to add it to an account
	PurposeReset    Purpose = "reset"    // to set another password
)

// validationRow is an address on its way to be validated.
type validationRow struct {
	Purpose   Purpose   `cbor:"1,keyasint"`
	Address   string    `cbor:"2,keyasint"` // canonical
	Secret    tokenHash `cbor:"3,keyasint"` // of the client
	Token     tokenHash `cbor:"4,keyasint"` // in the mail
	Attempt   int64     `cbor:"5,keyasint"` // the last one that a mail was sent for
	Expires   int64     `cbor:"6,keyasint"` // ms
	Validated int64     `cbor:"7,keyasint,omitempty"`
	NextLink  string    `cbor:"8,keyasint,omitempty"`
}

// NewValidation is a client's wish to have an address validated.
type NewValidation struct {
	Purpose  Purpose
	Address  string // an e-mail address
	Secret   string // made up by the client
	Attempt  int64
	NextLink string // where the reader of the mail goes next; empty: nowhere
}

// validationID is the name of a session: the same for the same wish, so that a repeated
// request finds it.
func validationID(n NewValidation) string {
	h := sha256.New()
	for _, part := range []string{string(n.Purpose), CanonicalEmail(n.Address), n.Secret} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// BeginValidation opens a session, or finds the one that is open. The token is for the
// mail; it is empty if the mail for this attempt was sent already. The error is
// M_LIMIT_EXCEEDED after too many mails to that address.
func (k *Keeper) BeginValidation(tx *kv.WriteTx, n NewValidation) (sid, token string, err error) {
	sid, now := validationID(n), k.now()
	row, ok := k.validations.Get(tx, sid)
	open := ok && ms(now) < row.Expires
	if open && (row.Validated != 0 || n.Attempt <= row.Attempt) {
		return sid, "", nil
	}
	if err := k.mails.take(CanonicalEmail(n.Address), now); err != nil {
		return "", "", err
	}
	if !open {
		if err := k.roomForValidation(tx, now); err != nil {
			return "", "", err
		}
		row = validationRow{Purpose: n.Purpose, Address: CanonicalEmail(n.Address), Secret: hashToken(n.Secret)}
	}
	token = newToken()
	row.Token, row.Attempt, row.NextLink, row.Expires = hashToken(token), n.Attempt, n.NextLink, ms(now.Add(ValidationLife))
	k.validations.Put(tx, sid, row)
	return sid, token, nil
}

// roomForValidation removes what has expired when there is too much.
func (k *Keeper) roomForValidation(tx *kv.WriteTx, now time.Time) error {
	n := 0
	for sid, row := range k.validations.Scan(tx, kv.All()) {
		if ms(now) >= row.Expires {
			k.validations.Delete(tx, sid)
			continue
		}
		n++
	}
	if n >= maxValidations {
		return matrix.LimitExceeded(ValidationLife)
	}
	return nil
}

// AbandonValidation forgets a session whose mail could not be sent, so that the client may
// try again.
func (k *Keeper) AbandonValidation(tx *kv.WriteTx, sid string) { k.validations.Delete(tx, sid) }

// Validation is what the page behind the link in the mail has to know.
type Validation struct {
	Purpose  Purpose
	Address  string
	NextLink string
}

// openValidation is the session that the link in a mail is for.
func (k *Keeper) openValidation(r kv.Reader, sid, token string) (validationRow, error) {
	row, ok := k.validations.Get(r, sid)
	hash := hashToken(token)
	if !ok || ms(k.now()) >= row.Expires || subtle.ConstantTimeCompare(row.Token[:], hash[:]) != 1 {
		return row, matrix.Forbidden("this link is not valid, or no longer: please ask for another mail")
	}
	return row, nil
}

// PendingValidation is the session that the link in a mail is for. The error is M_FORBIDDEN.
func (k *Keeper) PendingValidation(r kv.Reader, sid, token string) (Validation, error) {
	row, err := k.openValidation(r, sid, token)
	return Validation{row.Purpose, row.Address, row.NextLink}, err
}

// ConfirmValidation notes that the reader of the mail has followed its link. The error is
// M_FORBIDDEN.
func (k *Keeper) ConfirmValidation(tx *kv.WriteTx, sid, token string) (Validation, error) {
	row, err := k.openValidation(tx, sid, token)
	if err != nil {
		return Validation{}, err
	}
	if row.Validated == 0 {
		row.Validated = ms(k.now())
		row.Expires = ms(k.now().Add(ValidationLife))
		k.validations.Put(tx, sid, row)
	}
	return Validation{row.Purpose, row.Address, row.NextLink}, nil
}

// Validated is the address that a session has validated for a purpose. The error is
// M_THREEPID_AUTH_FAILED.
func (k *Keeper) Validated(r kv.Reader, purpose Purpose, sid, secret string) (Threepid, error) {
	row, ok := k.validations.Get(r, sid)
	hash := hashToken(secret)
	if !ok || ms(k.now()) >= row.Expires || row.Validated == 0 || row.Purpose != purpose || !bytes.Equal(row.Secret[:], hash[:]) {
		return Threepid{}, matrix.Refusal(http.StatusBadRequest, "M_THREEPID_AUTH_FAILED",
			"that address is not validated yet: please follow the link in the mail first")
	}
	return Threepid{Medium: MediumEmail, Address: row.Address, Validated: row.Validated}, nil
}

// SpendValidation ends a session whose address was used.
func (k *Keeper) SpendValidation(tx *kv.WriteTx, sid string) { k.validations.Delete(tx, sid) }

func (k *Keeper) cleanValidations(ctx context.Context) error {
	return k.db.Update(ctx, func(tx *kv.WriteTx) error {
		for sid, row := range k.validations.Scan(tx, kv.All()) {
			if ms(k.now()) >= row.Expires {
				k.validations.Delete(tx, sid)
			}
		}
		return nil
	})
}

// mailCounter counts mails by address, in memory only.
type mailCounter struct {
	mu     sync.Mutex
	counts map[string]mailCount
}

type mailCount struct {
	sent  int
	since time.Time
}

// take counts one mail, or refuses it with M_LIMIT_EXCEEDED.
func (m *mailCounter) take(address string, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for a, c := range m.counts {
		if now.Sub(c.since) >= MailWindow {
			delete(m.counts, a)
		}
	}
	c, ok := m.counts[address]
	switch {
	case c.sent >= MaxMails:
		return matrix.LimitExceeded(c.since.Add(MailWindow).Sub(now))
	case !ok && len(m.counts) >= maxMailKeys:
		return matrix.LimitExceeded(MailWindow)
	case !ok:
		c.since = now
	}
	if m.counts == nil {
		m.counts = map[string]mailCount{}
	}
	c.sent++
	m.counts[address] = c
	return nil
}
