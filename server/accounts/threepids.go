package accounts

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// MediumEmail is the only kind of third-party identifier that this house can validate.
const MediumEmail = "email"

// MaxThreepids is how many third-party identifiers a user may have.
const MaxThreepids = 20

// threepidKey names a third-party identifier, in canonical form.
type threepidKey struct{ Medium, Address string }

// threepidRow is whose identifier it is.
type threepidRow struct {
	User      matrix.UserID `cbor:"1,keyasint"`
	Validated int64         `cbor:"2,keyasint"` // ms
	Added     int64         `cbor:"3,keyasint"` // ms
}

// Threepid is a third-party identifier of a user.
type Threepid struct {
	Medium, Address  string
	Validated, Added int64 // ms
}

// CanonicalEmail is the form in which an address is compared and stored (spec:
// appendices, 3PID types): case-folded. That it is an address is the caller's affair.
func CanonicalEmail(address string) string {
	capitals := strings.Map(func(c rune) rune {
		// The folding of x/text swaps the two cases of Cherokee, so that folded twice is not folded.
		if unicode.Is(unicode.Cherokee, c) {
			return unicode.ToUpper(c)
		}
		return c
	}, address)
	return norm.NFC.String(cases.Fold().String(capitals))
}

// canonicalThreepid is the form in which an identifier is stored.
func canonicalThreepid(medium, address string) threepidKey {
	if medium == MediumEmail {
		address = CanonicalEmail(address)
	}
	return threepidKey{medium, strings.TrimSpace(address)}
}

// ThreepidOwner is the user who has an identifier; false if nobody has.
func (k *Keeper) ThreepidOwner(r kv.Reader, medium, address string) (matrix.UserID, bool) {
	row, ok := k.threepids.Get(r, canonicalThreepid(medium, address))
	return row.User, ok
}

// Threepids yields the identifiers of a user. It looks through those of all users, which
// are few.
func (k *Keeper) Threepids(r kv.Reader, user matrix.UserID) iter.Seq[Threepid] {
	return func(yield func(Threepid) bool) {
		for key, row := range k.threepids.Scan(r, kv.All()) {
			if row.User == user && !yield(Threepid{key.Medium, key.Address, row.Validated, row.Added}) {
				return
			}
		}
	}
}

// AddThreepid gives a user an identifier that was validated. The errors are
// M_THREEPID_IN_USE if another user has it, M_NOT_FOUND and M_FORBIDDEN for too many.
func (k *Keeper) AddThreepid(tx *kv.WriteTx, user matrix.UserID, t Threepid) error {
	key := canonicalThreepid(t.Medium, t.Address)
	before, there := k.threepids.Get(tx, key)
	if there && before.User != user {
		return threepidInUse()
	}
	if !k.Exists(tx, user) {
		return matrix.NotFound(fmt.Sprintf("there is no account %s", user))
	}
	n := 0
	for range k.Threepids(tx, user) {
		n++
	}
	if !there && n >= MaxThreepids {
		return matrix.Forbidden(fmt.Sprintf("this account has %d addresses already", n))
	}
	row := threepidRow{User: user, Validated: t.Validated, Added: ms(k.now())}
	if there {
		row.Added = before.Added
	}
	k.threepids.Put(tx, key, row)
	return nil
}

func threepidInUse() error {
	return matrix.Refusal(http.StatusBadRequest, "M_THREEPID_IN_USE", "that address belongs to an account already")
}

// DeleteThreepid takes an identifier from its user; M_THREEPID_NOT_FOUND if the user has
// no such one, whoever else may have it.
func (k *Keeper) DeleteThreepid(tx *kv.WriteTx, user matrix.UserID, medium, address string) error {
	key := canonicalThreepid(medium, address)
	if row, ok := k.threepids.Get(tx, key); !ok || row.User != user {
		return matrix.Refusal(http.StatusBadRequest, "M_THREEPID_NOT_FOUND", "your account has no such address")
	}
	k.threepids.Delete(tx, key)
	return nil
}

// deleteThreepids takes all identifiers from a user.
func (k *Keeper) deleteThreepids(tx *kv.WriteTx, user matrix.UserID) {
	for key, row := range k.threepids.Scan(tx, kv.All()) {
		if row.User == user {
			k.threepids.Delete(tx, key)
		}
	}
}
