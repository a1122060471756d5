package accounts

import (
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

// Purposes are all purposes.
func Purposes() []Purpose { return []Purpose{PurposeRegister, PurposeAdd, PurposeReset} }

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

	// Who asked for the last mail, for its reader.
	User  matrix.UserID `cbor:"9,keyasint,omitempty"`
	IP    string        `cbor:"10,keyasint,omitempty"`
	Asked int64         `cbor:"11,keyasint,omitempty"` // ms
}

// NewValidation is a client's wish to have an address validated.
type NewValidation struct {
	Purpose  Purpose
	Address  string // an e-mail address, as CanonicalEmail has it
	Secret   string // made up by the client
	Attempt  int64
	NextLink string // where the reader of the mail goes next; empty: nowhere
	IP       string // who asks
	// User is the account that it is about: the one whose password would be reset, or that
	// asks for the address to be added. Nobody else can use the session then. Empty: not known.
	User matrix.UserID
}

// validationID is the name of a session: the same for the same wish, so that a repeated
// request finds it.
func validationID(n NewValidation) string {
	h := sha256.New()
	parts := []string{string(n.Purpose), CanonicalEmail(n.Address), n.Secret}
	if n.User != "" {
		parts = append(parts, string(n.User))
	}
	for _, part := range parts {
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
		row = validationRow{Purpose: n.Purpose, Address: CanonicalEmail(n.Address), Secret: hashToken(n.Secret), User: n.User}
	}
	token = newToken()
	row.Token, row.Attempt, row.NextLink, row.Expires = hashToken(token), n.Attempt, n.NextLink, ms(now.Add(ValidationLife))
	row.IP, row.Asked = n.IP, ms(now)
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
	User     matrix.UserID // as NewValidation.User
	IP       string        // where it was asked from; empty in sessions of earlier releases
	Asked    time.Time     // when; zero in sessions of earlier releases
}

func (row validationRow) shown() Validation {
	v := Validation{Purpose: row.Purpose, Address: row.Address, NextLink: row.NextLink, User: row.User, IP: row.IP}
	if row.Asked != 0 {
		v.Asked = time.UnixMilli(row.Asked)
	}
	return v
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
	return row.shown(), err
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
	return row.shown(), nil
}

// Validated is the address that a session has validated for a purpose, and for an account if
// the session is bound to one. The error is M_THREEPID_AUTH_FAILED.
func (k *Keeper) Validated(r kv.Reader, purpose Purpose, user matrix.UserID, sid, secret string) (Threepid, error) {
	row, ok := k.validations.Get(r, sid)
	hash := hashToken(secret)
	if !ok || ms(k.now()) >= row.Expires || row.Validated == 0 || row.Purpose != purpose ||
		row.User != "" && row.User != user || subtle.ConstantTimeCompare(row.Secret[:], hash[:]) != 1 {
		return Threepid{}, matrix.Refusal(http.StatusBadRequest, "M_THREEPID_AUTH_FAILED",
			"that address is not validated yet: please follow the link in the mail first")
	}
	return Threepid{Medium: MediumEmail, Address: row.Address, Validated: row.Validated}, nil
}

// validating is the address of a session, validated or not; empty if there is no such session.
func (k *Keeper) validating(r kv.Reader, sid string) string {
	row, _ := k.validations.Get(r, sid)
	return row.Address
}

// endResets ends the sessions in which a user's password was about to be reset. There are at
// most maxValidations to look through.
func (k *Keeper) endResets(tx *kv.WriteTx, user matrix.UserID) {
	for sid, row := range k.validations.Scan(tx, kv.All()) {
		if row.Purpose != PurposeReset {
			continue
		}
		if owner, _ := k.ThreepidOwner(tx, MediumEmail, row.Address); owner == user || row.User == user {
			k.validations.Delete(tx, sid)
		}
	}
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
