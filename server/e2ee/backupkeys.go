package e2ee

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// rawJSON is JSON that is passed on as it is.
type rawJSON = json.RawMessage

type backupKey struct {
	User    matrix.UserID
	Version uint64
	Room    matrix.RoomID
	Session string
}

type backupRow struct {
	FirstIndex uint64 `cbor:"1,keyasint,omitempty"`
	Forwarded  uint64 `cbor:"2,keyasint,omitempty"`
	Verified   bool   `cbor:"3,keyasint,omitempty"`
	Data       []byte `cbor:"4,keyasint"` // JSON
}

// BackedUpSession is one session's key in a backup (spec: KeyBackupData). The pointers
// tell what is missing.
type BackedUpSession struct {
	FirstMessageIndex *uint64 `json:"first_message_index"`
	ForwardedCount    *uint64 `json:"forwarded_count"`
	IsVerified        *bool   `json:"is_verified"`
	SessionData       rawJSON `json:"session_data"`
}

// RoomBackup is the sessions of a room in a backup.
type RoomBackup struct {
	Sessions map[string]BackedUpSession `json:"sessions"`
}

func (s BackedUpSession) row() (backupRow, error) {
	if s.FirstMessageIndex == nil || s.ForwardedCount == nil || s.IsVerified == nil {
		return backupRow{}, matrix.BadJSON("a backed-up session needs first_message_index, forwarded_count and is_verified")
	}
	if len(s.SessionData) > maxSessionData {
		return backupRow{}, matrix.TooLarge(fmt.Sprintf("session_data may have at most %d bytes", maxSessionData))
	}
	if _, err := matrix.ParseObject(s.SessionData); err != nil {
		return backupRow{}, matrix.BadJSON("session_data has to be an object")
	}
	return backupRow{*s.FirstMessageIndex, *s.ForwardedCount, *s.IsVerified, s.SessionData}, nil
}

func (row backupRow) session() BackedUpSession {
	return BackedUpSession{&row.FirstIndex, &row.Forwarded, &row.Verified, row.Data}
}

// betterThan is the standard's rule of which of two keys of a session to keep
// (spec: server-side key backups).
func (row backupRow) betterThan(old backupRow) bool {
	switch {
	case row.Verified != old.Verified:
		return row.Verified
	case row.FirstIndex != old.FirstIndex:
		return row.FirstIndex < old.FirstIndex
	default:
		return row.Forwarded < old.Forwarded
	}
}

// PutBackupKeys writes sessions to the current version; a session that is there is
// replaced only by a better key. The errors are M_NOT_FOUND without a backup,
// M_WRONG_ROOM_KEYS_VERSION for another version than the current, M_BAD_JSON, and
// M_RESOURCE_LIMIT_EXCEEDED if the backup has no room for more.
func (k *Keeper) PutBackupKeys(tx *kv.WriteTx, user matrix.UserID, version string, rooms map[matrix.RoomID]RoomBackup) (BackupState, error) {
	id, row, err := k.writable(tx, user, version)
	if err != nil {
		return BackupState{}, err
	}
	changed := false
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		for session, s := range rooms[room].Sessions {
			if room == "" || session == "" || len(room) > maxBackupName || len(session) > maxBackupName {
				return BackupState{}, matrix.InvalidParam(fmt.Sprintf("room and session have names of 1 to %d bytes", maxBackupName))
			}
			key, err := s.row()
			if err != nil {
				return BackupState{}, err
			}
			at := backupKey{user, id.Version, room, session}
			old, had := k.backup.Get(tx, at)
			if had && !key.betterThan(old) {
				continue
			}
			delta := key.size(at)
			if had {
				delta -= old.size(at)
			} else {
				row.Count++
			}
			if err := k.growBackup(tx, id, delta); err != nil {
				return BackupState{}, err
			}
			changed = changed || !had || !bytes.Equal(old.Data, key.Data)
			k.backup.Put(tx, at, key)
		}
	}
	if changed {
		row.ETag = k.unused(tx, row.ETag)
		k.versions.Put(tx, id, row)
	}
	return row.state(), nil
}

// BackupKeys returns the sessions of a version: all, those of a room, or one. For an empty
// room and session, it is all. The error is M_NOT_FOUND for a version that there is not.
func (k *Keeper) BackupKeys(r kv.Reader, user matrix.UserID, version string, room matrix.RoomID, session string) (map[matrix.RoomID]RoomBackup, error) {
	id, _, err := k.version(r, user, version)
	if err != nil {
		return nil, err
	}
	rooms := map[matrix.RoomID]RoomBackup{}
	for key, row := range k.backup.Scan(r, backupRange(id, room, session)) {
		if rooms[key.Room].Sessions == nil {
			rooms[key.Room] = RoomBackup{map[string]BackedUpSession{}}
		}
		rooms[key.Room].Sessions[key.Session] = row.session()
	}
	return rooms, nil
}

// DeleteBackupKeys deletes the sessions that BackupKeys would return.
func (k *Keeper) DeleteBackupKeys(tx *kv.WriteTx, user matrix.UserID, version string, room matrix.RoomID, session string) (BackupState, error) {
	id, row, err := k.version(tx, user, version)
	if err != nil {
		return BackupState{}, err
	}
	deleted := uint64(0)
	for key, s := range k.backup.Scan(tx, backupRange(id, room, session)) {
		k.backupSizes.Add(tx, id, -s.size(key))
		k.backup.Delete(tx, key)
		deleted++
	}
	if deleted > 0 {
		row.Count -= deleted
		row.ETag = k.unused(tx, row.ETag)
		k.versions.Put(tx, id, row)
	}
	return row.state(), nil
}

func backupRange(id versionKey, room matrix.RoomID, session string) kv.Range {
	switch {
	case room == "":
		return kv.Prefix(id.User, id.Version)
	case session == "":
		return kv.Prefix(id.User, id.Version, room)
	default:
		return kv.Prefix(id.User, id.Version, room, session)
	}
}
