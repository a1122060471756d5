package e2ee

import (
	"cmp"
	"encoding/json"
	"iter"
	"sync"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// Accounts is what this package asks about users and their devices; *accounts.Keeper is it.
type Accounts interface {
	Exists(r kv.Reader, user matrix.UserID) bool
	Device(r kv.Reader, user matrix.UserID, device matrix.DeviceID) (accounts.DeviceRow, bool)
	// Devices are all devices of a user, with or without keys.
	Devices(r kv.Reader, user matrix.UserID) iter.Seq2[matrix.DeviceID, accounts.DeviceRow]
	// CreateDehydratedDevice makes a device that nobody can log in to.
	CreateDehydratedDevice(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error
	SetDeviceName(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error
	// DeleteDevice deletes a device and, through DeviceDeleted, what is kept for it here.
	DeleteDevice(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) error
}

// Rooms is what this package asks about who shares a room with whom; *rooms.Keeper is it.
type Rooms interface {
	Membership(r kv.Reader, room matrix.RoomID, user matrix.UserID) string
	MembershipAt(r kv.Reader, room matrix.RoomID, user matrix.UserID, at changes.Position) string
	MembershipRow(r kv.Reader, room matrix.RoomID, user matrix.UserID) (rooms.Membership, bool)
	Memberships(r kv.Reader, user matrix.UserID) iter.Seq2[matrix.RoomID, rooms.Membership]
	Members(r kv.Reader, room matrix.RoomID) iter.Seq2[matrix.UserID, string]
	EncryptedAt(r kv.Reader, room matrix.RoomID, at changes.Position) bool
	SharesRoom(r kv.Reader, a, b matrix.UserID) bool
	SharesEncryptedRoom(r kv.Reader, a, b matrix.UserID) bool
	EventAt(r kv.Reader, room matrix.RoomID, at changes.Position) (*rooms.Event, bool)
}

// Config is what a Keeper is made with.
type Config struct {
	DB       *kv.DB
	Changes  *changes.Keeper
	Accounts Accounts
	Rooms    Rooms
	Server   matrix.ServerName // users of other servers are not looked for here
	// FarBehind is how many changes are read one by one to find whose devices changed, and
	// whom the viewer met or parted from; who is farther behind is told of everybody. 0:
	// DefaultFarBehind.
	FarBehind changes.Position
	// MaxInbox is how many bytes of messages may wait for a device, MaxBackup how many the keys
	// of a backup may have; 0: DefaultMaxInbox, DefaultMaxBackup; negative: any number. What
	// is more already stays.
	MaxInbox, MaxBackup int64
}

// DefaultFarBehind is Config.FarBehind, where none is named.
const DefaultFarBehind = 10_000

// Keeper owns the keys and the inboxes.
type Keeper struct {
	Config
	deviceKeys *kv.Table[deviceKey, []byte]
	oneTime    *kv.Table[oneTimeKey, []byte]
	counts     *kv.Table[algorithmKey, countRow]
	fallback   *kv.Table[algorithmKey, fallbackRow]
	crossKeys  *kv.Table[crossKey, []byte]
	signatures *kv.Table[signatureKey, string]
	inbox      *kv.Table[inboxKey, messageRow]
	versions   *kv.Table[versionKey, versionRow]
	backup     *kv.Table[backupKey, backupRow]
	dehydrated *kv.Table[matrix.UserID, dehydratedRow]

	inboxSizes  *kv.Tally[inboxSizeKey]
	backupSizes *kv.Tally[versionKey]

	mu    sync.Mutex
	acked map[deviceKey]changes.Position // up to where a device has taken its messages
}

type deviceKey struct {
	User   matrix.UserID
	Device matrix.DeviceID
}

type oneTimeKey struct {
	User      matrix.UserID
	Device    matrix.DeviceID
	Algorithm string
	Batch     uint64
	KeyID     string
}

type algorithmKey struct {
	User      matrix.UserID
	Device    matrix.DeviceID
	Algorithm string
}

type countRow struct {
	Left    uint64   `cbor:"1,keyasint,omitempty"`
	Batch   uint64   `cbor:"2,keyasint,omitempty"` // of the latest upload
	Claimed []string `cbor:"3,keyasint,omitempty"` // names of the keys claimed last, at most keepClaimed
}

type fallbackRow struct {
	KeyID string `cbor:"1,keyasint"`
	JSON  []byte `cbor:"2,keyasint"`
	Used  bool   `cbor:"3,keyasint,omitempty"`
}

type crossKey struct {
	User  matrix.UserID
	Usage string // master, self_signing, user_signing
}

// signatureKey says whose key was signed, and by whose key. Key is a device ID or the
// public key of a cross-signing key.
type signatureKey struct {
	User       matrix.UserID
	Key        string
	Signer     matrix.UserID
	SigningKey matrix.KeyID
}

type inboxKey struct {
	User     matrix.UserID
	Device   matrix.DeviceID
	Position uint64
}

type messageRow struct {
	Sender  matrix.UserID `cbor:"1,keyasint"`
	Type    string        `cbor:"2,keyasint"`
	Content []byte        `cbor:"3,keyasint"` // JSON
}

// New opens the tables.
func New(c Config) *Keeper {
	if c.FarBehind == 0 {
		c.FarBehind = DefaultFarBehind
	}
	c.MaxInbox = cmp.Or(c.MaxInbox, DefaultMaxInbox)
	c.MaxBackup = cmp.Or(c.MaxBackup, DefaultMaxBackup)
	k := &Keeper{
		Config:     c,
		deviceKeys: kv.NewTable[deviceKey, []byte](c.DB, kv.DeviceKeys),
		oneTime:    kv.NewTable[oneTimeKey, []byte](c.DB, kv.OneTimeKeys),
		counts:     kv.NewTable[algorithmKey, countRow](c.DB, kv.KeyCounts),
		fallback:   kv.NewTable[algorithmKey, fallbackRow](c.DB, kv.FallbackKeys),
		crossKeys:  kv.NewTable[crossKey, []byte](c.DB, kv.CrossSigning),
		signatures: kv.NewTable[signatureKey, string](c.DB, kv.KeySignatures),
		inbox:      kv.NewTable[inboxKey, messageRow](c.DB, kv.ToDevice),
		versions:   kv.NewTable[versionKey, versionRow](c.DB, kv.BackupVersion),
		backup:     kv.NewTable[backupKey, backupRow](c.DB, kv.BackupKeys),
		dehydrated: kv.NewTable[matrix.UserID, dehydratedRow](c.DB, kv.Dehydrated),
		acked:      map[deviceKey]changes.Position{},
	}
	k.openSizes()
	c.DB.AddCheck("e2ee", k.check)
	return k
}

// DeviceDeleted removes all that is kept for a device. It is a witness of
// server/accounts, which logs that the user's devices are others now.
func (k *Keeper) DeviceDeleted(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) error {
	k.dropOneTimeKeys(tx, user, device)
	for key := range k.inbox.Keys(tx, kv.Prefix(user, device)) {
		k.inbox.Delete(tx, key)
	}
	k.forgetInbox(tx, user, device)
	k.dropSignatures(tx, user, string(device))
	k.deviceKeys.Delete(tx, deviceKey{user, device})
	if row, ok := k.dehydrated.Get(tx, user); ok && row.Device == device {
		k.dehydrated.Delete(tx, user)
	}
	return nil
}

// announce logs that the device list of a user is another one now.
func (k *Keeper) announce(tx *kv.WriteTx, user matrix.UserID) {
	k.Changes.Append(tx, changes.Change{Kind: changes.DeviceList, User: user})
}

// announceTo logs that only one viewer sees other keys of a user now.
func (k *Keeper) announceTo(tx *kv.WriteTx, viewer, user matrix.UserID) {
	k.Changes.Append(tx, changes.Change{Kind: changes.DeviceList, User: user, Key: string(viewer)})
}

func (k *Keeper) isLocal(user matrix.UserID) bool { return user.Server() == k.Server }

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	for id, raw := range k.deviceKeys.Scan(r, kv.All()) {
		o, err := matrix.ParseObject(raw)
		user, _ := o.Text("user_id")
		device, _ := o.Text("device_id")
		if err != nil || user != string(id.User) || device != string(id.Device) {
			report("the keys of %s %s are not that device's", id.User, id.Device)
		}
	}
	left := map[algorithmKey]uint64{}
	for id := range k.oneTime.Keys(r, kv.All()) {
		key := algorithmKey{id.User, id.Device, id.Algorithm}
		left[key]++
		if row, _ := k.counts.Get(r, key); id.Batch > row.Batch {
			report("one-time key %v comes from upload %d of %d", id, id.Batch, row.Batch)
		}
	}
	for key, row := range k.counts.Scan(r, kv.All()) {
		if left[key] != row.Left {
			report("%v has %d one-time keys and a count of %d", key, left[key], row.Left)
		}
		delete(left, key)
	}
	for key, n := range left {
		report("%v has %d one-time keys and no count", key, n)
	}
	for id, raw := range k.crossKeys.Scan(r, kv.All()) {
		if _, err := parseCrossKey(raw, id.User, id.Usage); err != nil {
			report("the %s key of %s: %v", id.Usage, id.User, err)
		}
	}
	last := k.Changes.Last(r)
	for id, m := range k.inbox.Scan(r, kv.All()) {
		if changes.Position(id.Position) > last || !json.Valid(m.Content) {
			report("the message %v is from the future or no JSON", id)
		}
	}
	for user, row := range k.dehydrated.Scan(r, kv.All()) {
		if d, ok := k.Accounts.Device(r, user, row.Device); !ok || !d.Dehydrated {
			report("the dehydrated device %s of %s is no dehydrated device of the account", row.Device, user)
		}
	}
	k.checkBackups(r, report)
}
