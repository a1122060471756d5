package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// UserRow is an account.
type UserRow struct {
	Password    string `cbor:"1,keyasint,omitempty"` // PHC string; empty: no login by password
	Created     int64  `cbor:"2,keyasint,omitempty"` // ms
	Deactivated bool   `cbor:"3,keyasint,omitempty"` // closed for good
	Locked      bool   `cbor:"4,keyasint,omitempty"` // may do nothing but log out
	Suspended   bool   `cbor:"5,keyasint,omitempty"` // may read and leave only
	Admin       bool   `cbor:"6,keyasint,omitempty"` // may administer the house
	Guest       bool   `cbor:"7,keyasint,omitempty"`
	Erased      bool   `cbor:"8,keyasint,omitempty"` // asked to be forgotten

	DisplayName string                     `cbor:"9,keyasint,omitempty"`
	AvatarURL   string                     `cbor:"10,keyasint,omitempty"` // mxc URI
	Fields      map[string]json.RawMessage `cbor:"11,keyasint,omitempty"` // of the profile, all but the two above

	Terms map[string]string `cbor:"12,keyasint,omitempty"` // versions of the policies that were accepted

	ErasedAt changes.Position `cbor:"13,keyasint,omitempty"` // when they asked for it
	Erasing  bool             `cbor:"14,keyasint,omitempty"` // some of what they had is still to be deleted
}

// NewUser is what an account is made of.
type NewUser struct {
	Localpart    string
	PasswordHash string // from HashPassword; empty: no login by password
	DisplayName  string // empty: none
	Admin        bool
	Guest        bool
	Terms        map[string]string // versions of the policies that they accepted
	// Historical takes a name by the old, wider grammar, with capitals: one that another
	// program has chosen, as a bridge's sender (spec: appendices, historical user IDs).
	Historical bool
}

// generatedLocalpart is the form of names for those who did not choose one; they sort
// and read as what they are.
const generatedLocalpart = "guest-%s"

// smallLetters is the one form in which the names of users are made and found: A to Z become
// a to z. Other letters stay as they are. Unicode has some that it makes a letter of ASCII, as
// the Kelvin sign, so that a name would find one which it does not look like.
func smallLetters(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c - 'A' + 'a'
		}
		return c
	}, s)
}

// ParseLocalpart says what a new user of this name would be called. Capitals become
// small letters. The error is M_INVALID_USERNAME.
func (k *Keeper) ParseLocalpart(localpart string) (matrix.UserID, error) {
	localpart = smallLetters(localpart)
	if !matrix.ValidLocalpart(localpart) {
		return "", matrix.InvalidUsername("a user name has the letters a to z, digits, and the signs . _ = - / + only")
	}
	user := matrix.NewUserID(localpart, k.ServerName())
	if len(user) > matrix.MaxIDBytes {
		return "", matrix.InvalidUsername("that user name is too long")
	}
	return user, nil
}

// Available says whether a new user may take this name: M_INVALID_USERNAME or
// M_USER_IN_USE if not. Names of closed accounts are never given again.
func (k *Keeper) Available(r kv.Reader, localpart string) (matrix.UserID, error) {
	user, err := k.ParseLocalpart(localpart)
	if err != nil {
		return "", err
	}
	if k.users.Has(r, user) {
		return "", matrix.UserInUse()
	}
	return user, nil
}

// availableHistorical is Available for names by the old grammar.
func (k *Keeper) availableHistorical(r kv.Reader, localpart string) (matrix.UserID, error) {
	user := matrix.NewUserID(localpart, k.ServerName())
	if !matrix.HistoricalLocalpart(localpart) || len(user) > matrix.MaxIDBytes {
		return "", matrix.InvalidUsername("that is no name of a user")
	}
	if k.users.Has(r, user) {
		return "", matrix.UserInUse()
	}
	return user, nil
}

// Create makes an account; an empty Localpart gets a generated name. The errors are
// M_INVALID_USERNAME and M_USER_IN_USE, and those of SetProfileField for the display name.
func (k *Keeper) Create(tx *kv.WriteTx, n NewUser) (matrix.UserID, error) {
	if n.Localpart == "" {
		n.Localpart = fmt.Sprintf(generatedLocalpart, strings.ToLower(randomID(10)))
	}
	available := k.Available
	if n.Historical {
		available = k.availableHistorical
	}
	user, err := available(tx, n.Localpart)
	if err != nil {
		return "", err
	}
	if len(n.DisplayName) > MaxDisplayNameBytes {
		return "", matrix.InvalidParam(fmt.Sprintf("a display name may have at most %d bytes", MaxDisplayNameBytes))
	}
	k.users.Put(tx, user, UserRow{
		Password: n.PasswordHash, Created: ms(k.now()), DisplayName: n.DisplayName, Admin: n.Admin, Guest: n.Guest,
		Terms: n.Terms,
	})
	if n.DisplayName != "" {
		k.changes.Append(tx, changes.Change{Kind: changes.Profile, User: user, Key: FieldDisplayName})
	}
	return user, nil
}

// UpgradeGuest makes a guest's account an ordinary one that has a password (spec:
// client-server API, guest access). The errors are M_NOT_FOUND, and M_FORBIDDEN if the
// account is no guest's.
func (k *Keeper) UpgradeGuest(tx *kv.WriteTx, user matrix.UserID, n NewUser) error {
	if row, _ := k.users.Get(tx, user); !row.Guest {
		return matrix.Forbidden("that is no guest's account")
	}
	return k.change(tx, user, func(u *UserRow) { u.Guest, u.Password, u.Terms = false, n.PasswordHash, n.Terms })
}

// User is the account of a user of this house; false if there never was one.
func (k *Keeper) User(r kv.Reader, user matrix.UserID) (UserRow, bool) { return k.users.Get(r, user) }

// Exists says whether the user has an account that is not closed.
func (k *Keeper) Exists(r kv.Reader, user matrix.UserID) bool {
	row, ok := k.users.Get(r, user)
	return ok && !row.Deactivated
}

// IsOwner says whether the user owns the house.
func (k *Keeper) IsOwner(r kv.Reader, user matrix.UserID) bool { return user == k.setup.Owner(r) }

// HasPassword says whether the user can prove who they are with a password.
func (k *Keeper) HasPassword(r kv.Reader, user matrix.UserID) bool {
	row, _ := k.users.Get(r, user)
	return row.Password != ""
}

// Users yields all accounts, closed ones included, by user ID.
func (k *Keeper) Users(r kv.Reader) iter.Seq2[matrix.UserID, UserRow] {
	return k.users.Scan(r, kv.All())
}

// Resolve is the user that a person means by a localpart or a full user ID, whether
// there is such a user or not. Names are tried as given first, then in small letters.
func (k *Keeper) Resolve(r kv.Reader, name string) matrix.UserID {
	user := matrix.UserID(name)
	if !strings.HasPrefix(name, "@") {
		user = matrix.NewUserID(name, k.ServerName())
	}
	if !k.users.Has(r, user) {
		small := matrix.NewUserID(smallLetters(user.Localpart()), user.Server())
		if strings.EqualFold(string(user.Server()), string(k.ServerName())) {
			small = matrix.NewUserID(small.Localpart(), k.ServerName())
		}
		if k.users.Has(r, small) {
			return small
		}
	}
	return user
}

// change rewrites an account that is not closed; M_NOT_FOUND if there is none.
func (k *Keeper) change(tx *kv.WriteTx, user matrix.UserID, edit func(*UserRow)) error {
	row, ok := k.users.Get(tx, user)
	if !ok || row.Deactivated {
		return matrix.NotFound(fmt.Sprintf("there is no account %s", user))
	}
	edit(&row)
	k.users.Put(tx, user, row)
	return nil
}

// SetPasswordHash replaces the password by one that HashPassword made. Whoever was about to
// reset it by mail has to begin again; what becomes of the user's devices is the caller's
// affair. The error is M_NOT_FOUND.
func (k *Keeper) SetPasswordHash(tx *kv.WriteTx, user matrix.UserID, hash string) error {
	k.endResets(tx, user)
	return k.change(tx, user, func(u *UserRow) { u.Password = hash })
}

// SetAdmin says whether the user may administer the house. The error is M_NOT_FOUND.
func (k *Keeper) SetAdmin(tx *kv.WriteTx, user matrix.UserID, admin bool) error {
	return k.change(tx, user, func(u *UserRow) { u.Admin = admin })
}

// SetLocked locks or unlocks an account (spec: client-server API, account locking). The
// errors are M_NOT_FOUND, and M_FORBIDDEN for the owner's.
func (k *Keeper) SetLocked(tx *kv.WriteTx, user matrix.UserID, locked bool) error {
	if locked && k.IsOwner(tx, user) {
		return matrix.Forbidden("this account owns the house and cannot be locked")
	}
	if locked {
		tx.AfterCommit(func() { k.polls.end(user) })
	}
	return k.change(tx, user, func(u *UserRow) { u.Locked = locked })
}

// SetSuspended suspends an account or lets it act again (spec: client-server API,
// account suspension). The errors are M_NOT_FOUND, and M_FORBIDDEN for the owner's.
func (k *Keeper) SetSuspended(tx *kv.WriteTx, user matrix.UserID, suspended bool) error {
	if suspended && k.IsOwner(tx, user) {
		return matrix.Forbidden("this account owns the house and cannot be suspended")
	}
	was := false
	err := k.change(tx, user, func(u *UserRow) { was, u.Suspended = u.Suspended, suspended })
	if err != nil || was == suspended {
		return err
	}
	for _, w := range k.suspensionWitnesses {
		if err := w.UserSuspended(tx, user, suspended); err != nil {
			return err
		}
	}
	return nil
}

// Deactivate closes an account for good: password, devices, tokens and addresses go,
// the name stays taken. With erase, profile, account data and filters go as well. The owner's
// account cannot be closed (M_FORBIDDEN), since nobody could then open the house
// again; an unknown user is M_NOT_FOUND.
func (k *Keeper) Deactivate(tx *kv.WriteTx, user matrix.UserID, erase bool) error {
	if user == k.setup.Owner(tx) {
		return matrix.Forbidden("this account owns the house: give the house to another user first")
	}
	if !k.Exists(tx, user) {
		return matrix.NotFound(fmt.Sprintf("there is no account %s", user))
	}
	for _, w := range k.userWitnesses { // while the user still is somebody who can leave rooms
		if err := w.UserDeactivated(tx, user, erase); err != nil {
			return err
		}
	}
	all := func(matrix.DeviceID, DeviceRow) bool { return true }
	if err := k.deleteDevices(tx, user, all); err != nil {
		return err
	}
	k.endResets(tx, user)
	k.deleteThreepids(tx, user)
	erasing := erase && !k.erase(tx, user)
	if erasing {
		tx.AfterCommit(k.wakeErase)
	}
	if erase {
		k.changes.Append(tx, changes.Change{Kind: changes.Profile, User: user})
	}
	return k.change(tx, user, func(u *UserRow) {
		u.Password, u.Deactivated, u.Erased, u.Admin, u.Erasing = "", true, erase, false, erasing
		if erase {
			u.ErasedAt = k.changes.Last(tx)
			u.DisplayName, u.AvatarURL, u.Fields = "", "", nil
		}
	})
}

// VerifyPassword says whether this is the user's password: M_FORBIDDEN if it is not,
// or if there is no such user, which takes as long; M_LIMIT_EXCEEDED after too many
// wrong ones: see MaxPasswordFailures and MaxAccountFailures. It must not be called in a
// transaction.
func (k *Keeper) VerifyPassword(ctx context.Context, user matrix.UserID, password string, by Asker) error {
	var row UserRow
	var known bool
	err := k.db.View(ctx, func(tx *kv.ReadTx) error {
		row, _ = k.users.Get(tx, user)
		known = k.isKnown(tx, user, by)
		return nil
	})
	if err != nil {
		return err
	}
	keys := failureKeys(user, by, known)
	if err := k.failures.check(keys, k.now()); err != nil {
		return err
	}
	right, err := k.hasher.matches(ctx, hashTurn{by, known}, password, row.Password)
	if err != nil {
		return err
	}
	if !right {
		k.failures.count(keys, k.now())
		return matrix.Forbidden("the user name or the password is wrong")
	}
	k.failures.forget(keys[0])
	if k.hasher.needsRehash(row.Password) {
		k.rehash(ctx, user, password, row.Password, by)
	}
	return nil
}

// rehash stores the password at today's cost. Failing is no harm: the old hash works.
func (k *Keeper) rehash(ctx context.Context, user matrix.UserID, password, old string, by Asker) {
	hash, err := k.hasher.hash(ctx, hashTurn{by, true}, password)
	if err == nil {
		err = k.db.Update(ctx, func(tx *kv.WriteTx) error {
			if row, _ := k.users.Get(tx, user); row.Password != old {
				return nil // it was changed meanwhile
			}
			return k.change(tx, user, func(u *UserRow) { u.Password = hash })
		})
	}
	if err != nil {
		k.log.Warn("a password was not hashed anew", "user", user, "error", err)
	}
}
