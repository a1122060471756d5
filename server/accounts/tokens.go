package accounts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// DefaultAccessTokenLife is how long an access token lasts that can be refreshed.
	DefaultAccessTokenLife = time.Hour
	// DefaultLoginTokenLife is how long a token for m.login.token lasts (spec: POST /login/get_token).
	DefaultLoginTokenLife = 2 * time.Minute
	// DefaultLoginTokenEvery is how long a user waits for the next one (spec: POST /login/get_token).
	DefaultLoginTokenEvery = time.Minute
)

// tokenHash is the SHA-256 of a token; the token itself is never stored.
type tokenHash [sha256.Size]byte

// newToken is 256 random bits as text.
func newToken() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

func hashToken(token string) tokenHash { return sha256.Sum256([]byte(token)) }

// accessTokenRow is what an access token stands for.
type accessTokenRow struct {
	User    matrix.UserID   `cbor:"1,keyasint"`
	Device  matrix.DeviceID `cbor:"2,keyasint"`
	Expires int64           `cbor:"3,keyasint,omitempty"` // ms; 0: never
	// Supersedes is the hash of the refresh token that this one was got with, until
	// this one is used and that one is void.
	Supersedes []byte `cbor:"4,keyasint,omitempty"`
}

// refreshTokenRow is what a refresh token stands for.
type refreshTokenRow struct {
	User        matrix.UserID   `cbor:"1,keyasint"`
	Device      matrix.DeviceID `cbor:"2,keyasint"`
	Access      []byte          `cbor:"3,keyasint,omitempty"` // hash of the access token given with it
	Supersedes  []byte          `cbor:"4,keyasint,omitempty"` // as in accessTokenRow
	NextAccess  []byte          `cbor:"5,keyasint,omitempty"` // hashes of what it was last
	NextRefresh []byte          `cbor:"6,keyasint,omitempty"` // exchanged for, until that is used
}

// deviceTokenKey lists the tokens of a device.
type deviceTokenKey struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Hash   tokenHash
}

type deviceTokenRow struct {
	Refresh bool `cbor:"1,keyasint,omitempty"`
}

// loginTokenRow is a short-lived token: for m.login.token, or of OpenID.
type loginTokenRow struct {
	User    matrix.UserID   `cbor:"1,keyasint"`
	Expires int64           `cbor:"2,keyasint"`           // ms
	Device  matrix.DeviceID `cbor:"3,keyasint,omitempty"` // that asked for it; empty: an application service, or an earlier release
	Made    int64           `cbor:"4,keyasint,omitempty"` // ms
}

// stands says whether a token still holds: its time is not over, the account is open, and the device that asked for it is still signed in.
func (row loginTokenRow) stands(r kv.Reader, k *Keeper) bool {
	if ms(k.now()) >= row.Expires {
		return false
	}
	if u, ok := k.users.Get(r, row.User); !ok || u.Deactivated {
		return false
	}
	if row.Device == "" {
		return true
	}
	d, ok := k.devices.Get(r, DeviceKey{row.User, row.Device})
	return ok && d.Created <= row.Made // else it was signed out, and in again under the same ID
}

// NewLogin says which device gets tokens.
type NewLogin struct {
	User       matrix.UserID
	Device     matrix.DeviceID // empty: a new one with a generated ID
	DeviceName string          // for a new device only
	IP         string          // where the user logs in from
	Refresh    bool            // the client can refresh its access token
}

// Login is what a device is given to act for its user.
type Login struct {
	User         matrix.UserID
	Device       matrix.DeviceID
	AccessToken  string
	RefreshToken string        // empty: the access token lasts until logout
	ExpiresIn    time.Duration // of the access token; 0: never
}

// Login makes tokens for a device of a user who has proved who they are. Tokens that
// the device had before are void (spec: client-server API, relationship between access
// tokens and devices). The errors are M_FORBIDDEN, M_USER_LOCKED and M_INVALID_PARAM.
func (k *Keeper) Login(tx *kv.WriteTx, n NewLogin) (Login, error) {
	row, ok := k.users.Get(tx, n.User)
	switch {
	case !ok || row.Deactivated:
		return Login{}, matrix.Forbidden("there is no such account")
	case row.Locked:
		return Login{}, matrix.UserLocked()
	}
	if n.Device == "" {
		n.Device = matrix.DeviceID(randomID(10))
	} else if _, err := matrix.ParseDeviceID(string(n.Device)); err != nil {
		return Login{}, err
	}
	key := DeviceKey{n.User, n.Device}
	device, there := k.devices.Get(tx, key)
	if device.Dehydrated {
		return Login{}, matrix.Forbidden("nobody can log in on a dehydrated device: please choose another device ID")
	}
	if there && device.LoginIP != n.IP {
		device.LoginIP = n.IP
		k.devices.Put(tx, key, device)
	}
	if err := k.addDevice(tx, key, DeviceRow{Name: n.DeviceName, LoginIP: n.IP}); err != nil {
		return Login{}, err
	}
	k.deleteTokens(tx, key)
	return k.issue(tx, key, n.Refresh, nil), nil
}

// issue writes new tokens; supersedes is the refresh token that they replace once used.
func (k *Keeper) issue(tx *kv.WriteTx, key DeviceKey, refresh bool, supersedes []byte) Login {
	l := Login{User: key.User, Device: key.Device, AccessToken: newToken()}
	access := hashToken(l.AccessToken)
	row := accessTokenRow{User: key.User, Device: key.Device, Supersedes: supersedes}
	if refresh {
		l.RefreshToken, l.ExpiresIn = newToken(), k.accessLife
		row.Expires = ms(k.now().Add(k.accessLife))
		hash := hashToken(l.RefreshToken)
		k.refreshTokens.Put(tx, hash, refreshTokenRow{User: key.User, Device: key.Device, Access: access[:], Supersedes: supersedes})
		k.deviceTokens.Put(tx, deviceTokenKey{key.User, key.Device, hash}, deviceTokenRow{Refresh: true})
	}
	k.accessTokens.Put(tx, access, row)
	k.deviceTokens.Put(tx, deviceTokenKey{key.User, key.Device, access}, deviceTokenRow{})
	return l
}

// deleteTokens voids all tokens of a device.
func (k *Keeper) deleteTokens(tx *kv.WriteTx, key DeviceKey) {
	for t := range k.deviceTokens.Keys(tx, kv.Prefix(key.User, key.Device)) {
		k.deleteToken(tx, key, t.Hash[:])
	}
}

// deleteToken voids one token of a device, given by its hash.
func (k *Keeper) deleteToken(tx *kv.WriteTx, key DeviceKey, hash []byte) {
	if len(hash) != sha256.Size {
		return
	}
	h := tokenHash(hash)
	k.accessTokens.Delete(tx, h)
	k.refreshTokens.Delete(tx, h)
	k.deviceTokens.Delete(tx, deviceTokenKey{key.User, key.Device, h})
	tx.AfterCommit(func() { k.superseded.forget(h) })
}

// Session is who holds an access token.
type Session struct {
	User      matrix.UserID
	Device    matrix.DeviceID
	Guest     bool
	Owner     bool // owner of the house
	Suspended bool // may read and leave only
	Locked    bool // may do nothing but log out
}

// Authenticate finds the holder of an access token: two reads by key, so there is no
// cache that a logout would have to reach. The error is M_UNKNOWN_TOKEN, with
// soft_logout if the token has merely expired. That the account is locked is no error
// here, since a locked user may still log out.
func (k *Keeper) Authenticate(r kv.Reader, token string, now time.Time) (Session, error) {
	hash := hashToken(token)
	t, ok := k.accessTokens.Get(r, hash)
	if !ok {
		return Session{}, matrix.UnknownToken(false)
	}
	if t.Expires != 0 && ms(now) >= t.Expires {
		return Session{}, matrix.UnknownToken(true)
	}
	user, ok := k.users.Get(r, t.User)
	if !ok || user.Deactivated {
		return Session{}, matrix.UnknownToken(false)
	}
	if len(t.Supersedes) != 0 {
		k.supersede(hash, DeviceKey{t.User, t.Device}, t.Supersedes)
	}
	return Session{
		User: t.User, Device: t.Device, Guest: user.Guest, Owner: t.User == k.setup.Owner(r),
		Suspended: user.Suspended, Locked: user.Locked,
	}, nil
}

// supersede voids the refresh token that an access token was got with, now that the
// client shows that it has the new one: at once in memory, soon on disk.
func (k *Keeper) supersede(access tokenHash, key DeviceKey, old []byte) {
	k.superseded.add(tokenHash(old))
	k.db.Defer(fmt.Sprintf("accounts/supersede/%x", access), func(tx *kv.WriteTx) error {
		if t, ok := k.accessTokens.Get(tx, access); ok {
			t.Supersedes = nil
			k.accessTokens.Put(tx, access, t)
		}
		k.deleteRefreshPair(tx, key, old)
		return nil
	})
}

// deleteRefreshPair voids a refresh token and the access token that came with it.
func (k *Keeper) deleteRefreshPair(tx *kv.WriteTx, key DeviceKey, refresh []byte) {
	if old, ok := k.refreshTokens.Get(tx, tokenHash(refresh)); ok {
		k.deleteToken(tx, key, old.Access)
	}
	k.deleteToken(tx, key, refresh)
}

// Refresh exchanges a refresh token for new tokens. The old one stays good until one
// of the new ones is used, so that a client that never got the answer can ask again
// (spec: client-server API, refreshing access tokens). The errors are M_UNKNOWN_TOKEN
// and M_USER_LOCKED.
func (k *Keeper) Refresh(tx *kv.WriteTx, token string) (Login, error) {
	hash := hashToken(token)
	row, ok := k.refreshTokens.Get(tx, hash)
	if !ok || k.superseded.has(hash) {
		return Login{}, matrix.UnknownToken(false)
	}
	user, ok := k.users.Get(tx, row.User)
	if !ok || user.Deactivated {
		return Login{}, matrix.UnknownToken(false)
	}
	if user.Locked {
		return Login{}, matrix.UserLocked()
	}
	key := DeviceKey{row.User, row.Device}
	if len(row.Supersedes) != 0 { // this one is in use: the one before it is void
		k.deleteRefreshPair(tx, key, row.Supersedes)
		if access, ok := k.accessTokens.Get(tx, tokenHash(row.Access)); ok {
			access.Supersedes = nil
			k.accessTokens.Put(tx, tokenHash(row.Access), access)
		}
	}
	k.deleteToken(tx, key, row.NextAccess) // of an answer that never arrived
	k.deleteToken(tx, key, row.NextRefresh)
	l := k.issue(tx, key, true, hash[:])
	nextAccess, nextRefresh := hashToken(l.AccessToken), hashToken(l.RefreshToken)
	row.Supersedes, row.NextAccess, row.NextRefresh = nil, nextAccess[:], nextRefresh[:]
	k.refreshTokens.Put(tx, hash, row)
	return l, nil
}

// supersededTokens are refresh tokens that are void, but not yet so on disk.
type supersededTokens struct {
	mu     sync.Mutex
	hashes map[tokenHash]bool
}

func (s *supersededTokens) add(h tokenHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hashes == nil {
		s.hashes = map[tokenHash]bool{}
	}
	s.hashes[h] = true
}

func (s *supersededTokens) has(h tokenHash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hashes[h]
}

func (s *supersededTokens) forget(h tokenHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hashes, h)
}

// LoginTokenLife is how long a token of NewLoginToken lasts.
func (k *Keeper) LoginTokenLife() time.Duration { return k.loginLife }

// CheckLoginTokenTurn says whether the user may have a login token now; M_LIMIT_EXCEEDED
// if the last one was given out too short a time ago.
func (k *Keeper) CheckLoginTokenTurn(user matrix.UserID) error {
	return k.logins.take(user, k.now(), k.loginEvery, false)
}

// TakeLoginTokenTurn is CheckLoginTokenTurn that counts: it is called once before
// NewLoginToken, outside of the transaction.
func (k *Keeper) TakeLoginTokenTurn(user matrix.UserID) error {
	return k.logins.take(user, k.now(), k.loginEvery, true)
}

// NewLoginToken makes a token by which one further device of the user can log in, once,
// within LoginTokenLife, and while the device that asks for it is signed in.
func (k *Keeper) NewLoginToken(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) string {
	return k.shortLived(tx, k.loginTokens, user, device, k.loginLife)
}

// shortLived makes a token that ends with the device that asks for it.
func (k *Keeper) shortLived(tx *kv.WriteTx, in *kv.Table[tokenHash, loginTokenRow], user matrix.UserID, device matrix.DeviceID, life time.Duration) string {
	token, now := newToken(), k.now()
	in.Put(tx, hashToken(token), loginTokenRow{User: user, Device: device, Made: ms(now), Expires: ms(now.Add(life))})
	return token
}

// loginTokenTimes is when users were last given a login token; in memory only.
type loginTokenTimes struct {
	mu   sync.Mutex
	last map[matrix.UserID]time.Time
}

// take says whether it is the user's turn and, if it counts, remembers it, in place of
// those that no longer matter.
func (l *loginTokenTimes) take(user matrix.UserID, now time.Time, every time.Duration, count bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.last[user]; ok && now.Before(last.Add(every)) {
		return matrix.LimitExceeded(last.Add(every).Sub(now))
	}
	if !count {
		return nil
	}
	for u, last := range l.last {
		if !now.Before(last.Add(every)) {
			delete(l.last, u)
		}
	}
	if l.last == nil {
		l.last = map[matrix.UserID]time.Time{}
	}
	l.last[user] = now
	return nil
}

// UseLoginToken is the user whom a login token is for; the token is spent. The error
// is M_FORBIDDEN.
func (k *Keeper) UseLoginToken(tx *kv.WriteTx, token string) (matrix.UserID, error) {
	hash := hashToken(token)
	row, ok := k.loginTokens.Get(tx, hash)
	if !ok || !row.stands(tx, k) {
		return "", matrix.Forbidden("that login token is not valid, was used already, or has expired")
	}
	k.loginTokens.Delete(tx, hash)
	return row.User, nil
}

func (k *Keeper) cleanLoginTokens(ctx context.Context) error {
	return k.db.Update(ctx, func(tx *kv.WriteTx) error {
		for hash, row := range k.loginTokens.Scan(tx, kv.All()) {
			if ms(k.now()) >= row.Expires {
				k.loginTokens.Delete(tx, hash)
			}
		}
		return nil
	})
}
