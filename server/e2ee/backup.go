package e2ee

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// maxAuthData is the size of a backup's auth_data in bytes.
	maxAuthData = 64 << 10
	// maxSessionData is the size of one backed-up session's data in bytes.
	maxSessionData = 64 << 10
	// maxBackupName is the length of an algorithm, room or session name in bytes.
	maxBackupName = 255
)

type versionKey struct {
	User    matrix.UserID
	Version uint64
}

// versionRow stays when a version is deleted, so that its number is never used again.
type versionRow struct {
	Algorithm string `cbor:"1,keyasint"`
	AuthData  []byte `cbor:"2,keyasint"` // JSON
	ETag      uint64 `cbor:"3,keyasint,omitempty"`
	Count     uint64 `cbor:"4,keyasint,omitempty"`
	Deleted   bool   `cbor:"5,keyasint,omitempty"`
}

// BackupVersion says what a key backup is (spec: getRoomKeysVersion).
type BackupVersion struct {
	Version   string  `json:"version"`
	Algorithm string  `json:"algorithm"`
	AuthData  rawJSON `json:"auth_data"`
	Count     int     `json:"count"`
	ETag      string  `json:"etag"`
}

// BackupState is what every change of a backup's keys is answered with.
type BackupState struct {
	Count int    `json:"count"`
	ETag  string `json:"etag"`
}

func (row versionRow) state() BackupState {
	return BackupState{int(row.Count), strconv.FormatUint(row.ETag, 10)}
}

// CreateBackup begins a new version, which is the current one from now on, and returns
// its name.
func (k *Keeper) CreateBackup(tx *kv.WriteTx, user matrix.UserID, algorithm string, authData []byte) (string, error) {
	if err := checkBackup(algorithm, authData); err != nil {
		return "", err
	}
	last := uint64(0)
	for id := range k.versions.Keys(tx, kv.Prefix(user).Reverse()) {
		last = id.Version
		break
	}
	version := k.unused(tx, last)
	k.versions.Put(tx, versionKey{user, version}, versionRow{Algorithm: algorithm, AuthData: authData})
	return strconv.FormatUint(version, 10), nil
}

func checkBackup(algorithm string, authData []byte) error {
	if algorithm == "" || len(algorithm) > maxBackupName {
		return matrix.MissingParam("a backup needs the name of its algorithm")
	}
	if len(authData) > maxAuthData {
		return matrix.TooLarge(fmt.Sprintf("auth_data may have at most %d bytes", maxAuthData))
	}
	if _, err := matrix.ParseObject(authData); err != nil {
		return matrix.BadJSON("auth_data has to be an object")
	}
	return nil
}

// Backup is a version of the user's backup; the current one for an empty name. The error
// is M_NOT_FOUND.
func (k *Keeper) Backup(r kv.Reader, user matrix.UserID, version string) (BackupVersion, error) {
	id, row, err := k.version(r, user, version)
	if err != nil {
		return BackupVersion{}, err
	}
	state := row.state()
	return BackupVersion{
		Version: strconv.FormatUint(id.Version, 10), Algorithm: row.Algorithm,
		AuthData: row.AuthData, Count: state.Count, ETag: state.ETag,
	}, nil
}

// version finds a version that is not deleted, by name or the current one.
func (k *Keeper) version(r kv.Reader, user matrix.UserID, name string) (versionKey, versionRow, error) {
	if name == "" {
		for id, row := range k.versions.Scan(r, kv.Prefix(user).Reverse()) {
			if !row.Deleted {
				return id, row, nil
			}
		}
		return versionKey{}, versionRow{}, matrix.NotFound("there is no key backup")
	}
	id, ok := versionID(user, name)
	row, there := k.versions.Get(r, id)
	if !ok || !there || row.Deleted {
		return versionKey{}, versionRow{}, matrix.NotFound("there is no such version of the key backup")
	}
	return id, row, nil
}

// versionID reads the name of a version in the one form that it is given out in.
func versionID(user matrix.UserID, name string) (versionKey, bool) {
	n, err := strconv.ParseUint(name, 10, 64)
	return versionKey{user, n}, err == nil && strconv.FormatUint(n, 10) == name
}

// UpdateBackup replaces the auth_data of a version; the algorithm has to stay. The errors
// are M_NOT_FOUND, M_INVALID_PARAM and those of CreateBackup.
func (k *Keeper) UpdateBackup(tx *kv.WriteTx, user matrix.UserID, version, algorithm string, authData []byte) error {
	if err := checkBackup(algorithm, authData); err != nil {
		return err
	}
	id, row, err := k.version(tx, user, version)
	if err != nil {
		return err
	}
	if row.Algorithm != algorithm {
		return matrix.InvalidParam("the algorithm of a backup cannot be changed")
	}
	if !bytes.Equal(row.AuthData, authData) {
		row.AuthData = authData
		k.versions.Put(tx, id, row)
	}
	return nil
}

// DeleteBackup deletes a version with all its keys. Doing it twice is no error; for a
// version that never was, it is M_NOT_FOUND.
func (k *Keeper) DeleteBackup(tx *kv.WriteTx, user matrix.UserID, version string) error {
	id, ok := versionID(user, version)
	row, there := k.versions.Get(tx, id)
	if !ok || !there {
		return matrix.NotFound("there is no such version of the key backup")
	}
	if row.Deleted {
		return nil
	}
	for key := range k.backup.Keys(tx, kv.Prefix(user, id.Version)) {
		k.backup.Delete(tx, key)
	}
	k.backupSizes.Forget(tx, id)
	k.versions.Put(tx, id, versionRow{Algorithm: row.Algorithm, Deleted: true})
	return nil
}

// writable finds the version if keys may be written to it: it has to be the current one
// (spec: M_WRONG_ROOM_KEYS_VERSION).
func (k *Keeper) writable(r kv.Reader, user matrix.UserID, version string) (versionKey, versionRow, error) {
	id, row, err := k.version(r, user, "")
	if err != nil {
		return id, row, err
	}
	if current := strconv.FormatUint(id.Version, 10); current != version {
		return id, row, matrix.Refusal(http.StatusForbidden, "M_WRONG_ROOM_KEYS_VERSION",
			"keys can only be written to the current version of the backup").With("current_version", current)
	}
	return id, row, nil
}

func (k *Keeper) checkBackups(r kv.Reader, report func(string, ...any)) {
	counts := map[versionKey]uint64{}
	for key := range k.backup.Keys(r, kv.All()) {
		counts[versionKey{key.User, key.Version}]++
	}
	for id, row := range k.versions.Scan(r, kv.All()) {
		if counts[id] != row.Count {
			report("backup %v has %d keys and a count of %d", id, counts[id], row.Count)
		}
		delete(counts, id)
	}
	for id, n := range counts {
		report("%d keys lie in backup %v, which there is not", n, id)
	}
}
