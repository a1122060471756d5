package accounts

import (
	"crypto/rand"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

const (
	// MaxDevices is how many devices a user may have at a time, where Config names no other
	// number.
	MaxDevices = 200
	// MaxDeviceNameBytes is the longest display name of a device.
	MaxDeviceNameBytes = 256
	// seenEvery is how exact the time is at which a device was last seen; each
	// further step costs the card a write per active device.
	seenEvery = 10 * time.Minute
	// maxAgentBytes is how much is kept of a client's User-Agent.
	maxAgentBytes = 256
)

// DeviceKey names a device.
type DeviceKey struct {
	User   matrix.UserID
	Device matrix.DeviceID
}

// DeviceRow is a device as it is stored.
type DeviceRow struct {
	Name    string `cbor:"1,keyasint,omitempty"` // what the user calls it
	Created int64  `cbor:"2,keyasint,omitempty"` // ms
	SeenAt  int64  `cbor:"3,keyasint,omitempty"` // ms; 0: never
	SeenIP  string `cbor:"4,keyasint,omitempty"`
	// SeenAgent is what the client called itself then, at most maxAgentBytes.
	SeenAgent string `cbor:"6,keyasint,omitempty"`
	// LoginIP is where the device last logged in from; empty: an earlier release did not note it.
	LoginIP string `cbor:"7,keyasint,omitempty"`
	// Dehydrated devices have no tokens: messages are kept for them until a login of the
	// user takes them over (MSC3814).
	Dehydrated bool `cbor:"5,keyasint,omitempty"`
}

// randomID is n random capital letters and digits, 5 bits each.
func randomID(n int) string {
	id := rand.Text()
	for len(id) < n {
		id += rand.Text()
	}
	return id[:n]
}

// Device is a device of a user; false if there is none of that name.
func (k *Keeper) Device(r kv.Reader, user matrix.UserID, device matrix.DeviceID) (DeviceRow, bool) {
	key := DeviceKey{user, device}
	row, ok := k.devices.Get(r, key)
	if ok {
		k.seen.apply(key, &row)
	}
	return row, ok
}

// Devices yields the devices of a user, by device ID.
func (k *Keeper) Devices(r kv.Reader, user matrix.UserID) iter.Seq2[matrix.DeviceID, DeviceRow] {
	return func(yield func(matrix.DeviceID, DeviceRow) bool) {
		for key, row := range k.devices.Scan(r, kv.Prefix(user)) {
			k.seen.apply(key, &row)
			if !yield(key.Device, row) {
				return
			}
		}
	}
}

// CreateDevice makes a device without tokens, for an application service that acts for the
// user. The errors are M_INVALID_PARAM for an ID or name that is no good, and M_FORBIDDEN if
// the user has too many devices.
func (k *Keeper) CreateDevice(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error {
	if _, err := matrix.ParseDeviceID(string(device)); err != nil {
		return err
	}
	return k.addDevice(tx, DeviceKey{user, device}, DeviceRow{Name: name})
}

// CreateDehydratedDevice makes a device that nobody can log in to, only receives, and
// outlives all others (MSC3814). The errors are those of CreateDevice, and M_FORBIDDEN if
// there is a device of that name.
func (k *Keeper) CreateDehydratedDevice(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error {
	if _, err := matrix.ParseDeviceID(string(device)); err != nil {
		return err
	}
	if k.devices.Has(tx, DeviceKey{user, device}) {
		return matrix.Forbidden("you are logged in on a device of that name, which cannot be a dehydrated one as well")
	}
	return k.addDevice(tx, DeviceKey{user, device}, DeviceRow{Name: name, Dehydrated: true})
}

// addDevice makes a device unless it is there. The error is M_FORBIDDEN if the user
// has too many, M_INVALID_PARAM for a name that is too long.
func (k *Keeper) addDevice(tx *kv.WriteTx, key DeviceKey, row DeviceRow) error {
	if k.devices.Has(tx, key) {
		return nil
	}
	if err := checkDeviceName(row.Name); err != nil {
		return err
	}
	n := 0
	for range k.devices.Keys(tx, kv.Prefix(key.User)) {
		n++
	}
	if n >= k.maxDevices {
		return matrix.Forbidden(fmt.Sprintf("this account has %d devices already: log some of them out first", n))
	}
	row.Created = ms(k.now())
	k.devices.Put(tx, key, row)
	return nil
}

func checkDeviceName(name string) error {
	if len(name) > MaxDeviceNameBytes {
		return matrix.InvalidParam(fmt.Sprintf("a device name may have at most %d bytes", MaxDeviceNameBytes))
	}
	return nil
}

// SetDeviceName gives a device another display name. The errors are M_NOT_FOUND and
// M_INVALID_PARAM.
func (k *Keeper) SetDeviceName(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error {
	row, ok := k.devices.Get(tx, DeviceKey{user, device})
	if !ok {
		return matrix.NotFound("you have no device of that name")
	}
	if err := checkDeviceName(name); err != nil {
		return err
	}
	if row.Name == name {
		return nil
	}
	row.Name = name
	k.devices.Put(tx, DeviceKey{user, device}, row)
	k.changes.Append(tx, changes.Change{Kind: changes.DeviceList, User: user}) // others see the name with the keys
	return nil
}

// DeleteDevice logs a device out for good: its tokens, its once-only answers and what
// its witnesses keep go with it. A device that is not there is no error.
func (k *Keeper) DeleteDevice(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) error {
	key := DeviceKey{user, device}
	if !k.devices.Has(tx, key) {
		return nil
	}
	for _, w := range k.deviceWitnesses {
		if err := w.DeviceDeleted(tx, user, device); err != nil {
			return err
		}
	}
	k.deleteTokens(tx, key)
	for answer := range k.answers.Keys(tx, kv.Prefix(user, device)) {
		k.answers.Delete(tx, answer)
	}
	k.devices.Delete(tx, key)
	k.changes.Append(tx, changes.Change{Kind: changes.DeviceList, User: user})
	tx.AfterCommit(func() { k.seen.forget(key) })
	return nil
}

// DeleteAllDevices logs a user out everywhere but on one device, or everywhere if except is
// empty. A dehydrated device stays: it is there for the time in which the user is logged in
// nowhere, and gives nobody access to the account.
func (k *Keeper) DeleteAllDevices(tx *kv.WriteTx, user matrix.UserID, except matrix.DeviceID) error {
	err := k.deleteDevices(tx, user, func(device matrix.DeviceID, row DeviceRow) bool {
		return device != except && !row.Dehydrated
	})
	for _, w := range k.logoutWitnesses {
		if err != nil {
			break
		}
		err = w.LoggedOutEverywhere(tx, user, except)
	}
	return err
}

func (k *Keeper) deleteDevices(tx *kv.WriteTx, user matrix.UserID, which func(matrix.DeviceID, DeviceRow) bool) error {
	for key, row := range k.devices.Scan(tx, kv.Prefix(user)) {
		if !which(key.Device, row) {
			continue
		}
		if err := k.DeleteDevice(tx, user, key.Device); err != nil {
			return err
		}
	}
	return nil
}

// seenDevices is when devices were seen that the disk does not know of yet.
type seenDevices struct {
	mu   sync.Mutex
	last map[DeviceKey]seenAt
}

type seenAt struct {
	at      time.Time
	ip      string
	agent   string
	written bool
}

// maxSeen bounds the memory; beyond it, what is on disk already is forgotten.
const maxSeen = 2048

// Seen notes that a device made a request, from which address and with which User-Agent. It
// reaches the disk later, merged with others, and only every ten minutes per device, or when
// the address changes.
func (k *Keeper) Seen(user matrix.UserID, device matrix.DeviceID, ip, agent string, now time.Time) {
	key := DeviceKey{user, device}
	agent = strings.ToValidUTF8(agent[:min(len(agent), maxAgentBytes)], "")
	if device == "" || !k.seen.note(key, seenAt{at: now, ip: ip, agent: agent}) {
		return
	}
	k.db.Defer("accounts/seen/"+string(user)+"/"+string(device), func(tx *kv.WriteTx) error {
		row, ok := k.devices.Get(tx, key)
		if !ok { // it was logged out meanwhile
			tx.AfterCommit(func() { k.seen.forget(key) })
			return nil
		}
		k.seen.apply(key, &row)
		k.devices.Put(tx, key, row)
		tx.AfterCommit(func() { k.seen.wrote(key) })
		return nil
	})
}

// note remembers a request and says whether it is worth a write.
func (s *seenDevices) note(key DeviceKey, seen seenAt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[key]; ok && last.ip == seen.ip && seen.at.Sub(last.at) < seenEvery {
		return false
	}
	if s.last == nil || len(s.last) >= maxSeen {
		kept := map[DeviceKey]seenAt{}
		for k, v := range s.last {
			if !v.written {
				kept[k] = v
			}
		}
		s.last = kept
	}
	s.last[key] = seen
	return true
}

func (s *seenDevices) apply(key DeviceKey, row *DeviceRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[key]; ok && ms(last.at) > row.SeenAt {
		row.SeenAt, row.SeenIP, row.SeenAgent = ms(last.at), last.ip, last.agent
	}
}

func (s *seenDevices) wrote(key DeviceKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[key]; ok {
		last.written = true
		s.last[key] = last
	}
}

func (s *seenDevices) forget(key DeviceKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, key)
}
