package e2ee

import (
	"context"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// DefaultMaxInbox is how many bytes of messages may wait for a device.
	DefaultMaxInbox = 16 << 20
	// inboxShare is the part of that which one sender may have, as a divisor; what a user
	// sends to the own devices has no such part.
	inboxShare = 4
	// messageOverhead is added for each message, so that many small ones count, too.
	messageOverhead = 128
	// DefaultMaxBackup is how many bytes the keys of one backup may have.
	DefaultMaxBackup = 16 << 20
	// sessionOverhead is added for each backed-up session.
	sessionOverhead = 64
)

// inboxSizeKey names what a sender has waiting for a device; an empty Sender is all.
type inboxSizeKey struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Sender matrix.UserID
}

func (m messageRow) size() int64 {
	return int64(len(m.Sender)+len(m.Type)+len(m.Content)) + messageOverhead
}

func (k *Keeper) openSizes() {
	k.inboxSizes = kv.NewTally(k.DB, kv.InboxSizes, k.countInbox, func(r kv.Reader, key inboxSizeKey) bool {
		if key.Sender != "" {
			return true // a sender without a row has nothing, or what is older than the counting
		}
		for range k.inbox.Keys(r, kv.Prefix(key.User, key.Device)) {
			return false
		}
		return true
	})
	k.backupSizes = kv.NewTally(k.DB, kv.BackupSizes, k.countBackup, func(r kv.Reader, key versionKey) bool {
		for range k.backup.Keys(r, kv.Prefix(key.User, key.Version)) {
			return false
		}
		return true
	})
}

func (k *Keeper) countInbox(r kv.Reader, key inboxSizeKey) (n int64) {
	for _, m := range k.inbox.Scan(r, kv.Prefix(key.User, key.Device)) {
		if key.Sender == "" || key.Sender == m.Sender {
			n += m.size()
		}
	}
	return n
}

// hasRoom says whether a message may still wait for a device: all that wait together, and
// those of one sender, are bounded, so that nobody can keep others from writing to it.
func (k *Keeper) hasRoom(r kv.Reader, user matrix.UserID, device matrix.DeviceID, m messageRow) bool {
	if k.MaxInbox < 0 {
		return true
	}
	if all, known := k.inboxSizes.Get(r, inboxSizeKey{user, device, ""}); known && all+m.size() > k.MaxInbox {
		return false
	}
	theirs, _ := k.inboxSizes.Get(r, inboxSizeKey{user, device, m.Sender})
	return m.Sender == user || theirs+m.size() <= k.MaxInbox/inboxShare
}

// countMessage counts a message that comes, or goes if by is -1.
func (k *Keeper) countMessage(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, m messageRow, by int64) {
	for _, sender := range []matrix.UserID{"", m.Sender} {
		k.inboxSizes.Add(tx, inboxSizeKey{user, device, sender}, by*m.size())
	}
}

// forgetInbox drops the counts of a device whose messages are deleted.
func (k *Keeper) forgetInbox(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) {
	for key := range k.inboxSizes.All(tx, kv.Prefix(user, device)) {
		k.inboxSizes.Forget(tx, key)
	}
}

func inboxFull() error {
	return matrix.ResourceLimit("too much waits for that device already: its owner has to come online with it, or to log it out")
}

func (row backupRow) size(at backupKey) int64 {
	return int64(len(at.Room)+len(at.Session)+len(row.Data)) + sessionOverhead
}

func (k *Keeper) countBackup(r kv.Reader, id versionKey) (n int64) {
	for at, row := range k.backup.Scan(r, kv.Prefix(id.User, id.Version)) {
		n += row.size(at)
	}
	return n
}

// growBackup counts sessions that come into a backup. The error is M_RESOURCE_LIMIT_EXCEEDED.
func (k *Keeper) growBackup(tx *kv.WriteTx, id versionKey, delta int64) error {
	size, known := k.backupSizes.Get(tx, id)
	if known && k.MaxBackup > 0 && delta > 0 && size+delta > k.MaxBackup {
		return matrix.ResourceLimit(fmt.Sprintf("this key backup has %d of %d bytes: there is no room for more", size, k.MaxBackup))
	}
	k.backupSizes.Add(tx, id, delta)
	return nil
}

// BackupSize is how many bytes the keys of a version have; false if there is no such version,
// or that is not known yet.
func (k *Keeper) BackupSize(r kv.Reader, user matrix.UserID, version string) (int64, bool) {
	id, _, err := k.version(r, user, version)
	if err != nil {
		return 0, false
	}
	return k.backupSizes.Get(r, id)
}

// RunInboxSizes and RunBackupSizes count what is older than the counting.
func (k *Keeper) RunInboxSizes(ctx context.Context) error { return k.inboxSizes.Run(ctx) }

// RunBackupSizes counts the backups that are older than the counting.
func (k *Keeper) RunBackupSizes(ctx context.Context) error { return k.backupSizes.Run(ctx) }
