package clientapi

// The operations of key_backup.yaml.

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/e2ee"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type backupVersionIn struct {
	Version string `path:"version"`
}

type backupIn struct {
	Algorithm string          `json:"algorithm" required:"true"`
	AuthData  json.RawMessage `json:"auth_data" required:"true"`
}

type postRoomKeysVersionOut struct {
	Version string `json:"version"`
}

// postRoomKeysVersion: spec: client-server API, POST room_keys/version.
func (a *API) postRoomKeysVersion(c *web.Call, tx *kv.WriteTx, in backupIn) (postRoomKeysVersionOut, error) {
	version, err := a.E2EE.CreateBackup(tx, c.User, in.Algorithm, in.AuthData)
	return postRoomKeysVersionOut{version}, err
}

// getRoomKeysVersionCurrent: spec: client-server API, GET room_keys/version.
func (a *API) getRoomKeysVersionCurrent(c *web.Call, tx *kv.ReadTx, _ web.Empty) (e2ee.BackupVersion, error) {
	return a.E2EE.Backup(tx, c.User, "")
}

// getRoomKeysVersion: spec: client-server API, GET room_keys/version/{version}.
func (a *API) getRoomKeysVersion(c *web.Call, tx *kv.ReadTx, in backupVersionIn) (e2ee.BackupVersion, error) {
	return a.E2EE.Backup(tx, c.User, in.Version)
}

type putRoomKeysVersionIn struct {
	backupVersionIn
	backupIn
	BodyVersion *string `json:"version"`
}

// putRoomKeysVersion: spec: client-server API, PUT room_keys/version/{version}.
func (a *API) putRoomKeysVersion(c *web.Call, tx *kv.WriteTx, in putRoomKeysVersionIn) (web.Empty, error) {
	if in.BodyVersion != nil && *in.BodyVersion != in.Version {
		return web.Empty{}, matrix.InvalidParam("the version in the body is not the one in the path")
	}
	return web.Empty{}, a.E2EE.UpdateBackup(tx, c.User, in.Version, in.Algorithm, in.AuthData)
}

// deleteRoomKeysVersion: spec: client-server API, DELETE room_keys/version/{version}.
func (a *API) deleteRoomKeysVersion(c *web.Call, tx *kv.WriteTx, in backupVersionIn) (web.Empty, error) {
	return web.Empty{}, a.E2EE.DeleteBackup(tx, c.User, in.Version)
}

// backupKeysIn says which keys of a backup: all, those of a room, or of one session.
type backupKeysIn struct {
	Version string `query:"version,required"`
}

type backupRoomIn struct {
	backupKeysIn
	Room matrix.RoomID `path:"roomId"`
}

type backupSessionIn struct {
	backupRoomIn
	Session string `path:"sessionId"`
}

type putRoomKeysIn struct {
	backupKeysIn
	Rooms map[matrix.RoomID]e2ee.RoomBackup `json:"rooms" required:"true"`
}

// putRoomKeys: spec: client-server API, PUT room_keys/keys.
func (a *API) putRoomKeys(c *web.Call, tx *kv.WriteTx, in putRoomKeysIn) (e2ee.BackupState, error) {
	return a.E2EE.PutBackupKeys(tx, c.User, in.Version, in.Rooms)
}

type putRoomKeysByRoomIDIn struct {
	backupRoomIn
	Sessions map[string]e2ee.BackedUpSession `json:"sessions" required:"true"`
}

// putRoomKeysByRoomId: spec: client-server API, PUT room_keys/keys/{roomId}.
func (a *API) putRoomKeysByRoomId(c *web.Call, tx *kv.WriteTx, in putRoomKeysByRoomIDIn) (e2ee.BackupState, error) {
	return a.E2EE.PutBackupKeys(tx, c.User, in.Version, map[matrix.RoomID]e2ee.RoomBackup{in.Room: {Sessions: in.Sessions}})
}

type putRoomKeyBySessionIDIn struct {
	backupSessionIn
	e2ee.BackedUpSession
}

// putRoomKeyBySessionId: spec: client-server API, PUT room_keys/keys/{roomId}/{sessionId}.
func (a *API) putRoomKeyBySessionId(c *web.Call, tx *kv.WriteTx, in putRoomKeyBySessionIDIn) (e2ee.BackupState, error) {
	sessions := map[string]e2ee.BackedUpSession{in.Session: in.BackedUpSession}
	return a.E2EE.PutBackupKeys(tx, c.User, in.Version, map[matrix.RoomID]e2ee.RoomBackup{in.Room: {Sessions: sessions}})
}

type getRoomKeysOut struct {
	Rooms map[matrix.RoomID]e2ee.RoomBackup `json:"rooms"`
}

// getRoomKeys: spec: client-server API, GET room_keys/keys.
func (a *API) getRoomKeys(c *web.Call, tx *kv.ReadTx, in backupKeysIn) (getRoomKeysOut, error) {
	rooms, err := a.E2EE.BackupKeys(tx, c.User, in.Version, "", "")
	return getRoomKeysOut{rooms}, err
}

// getRoomKeysByRoomId: spec: client-server API, GET room_keys/keys/{roomId}.
func (a *API) getRoomKeysByRoomId(c *web.Call, tx *kv.ReadTx, in backupRoomIn) (e2ee.RoomBackup, error) {
	rooms, err := a.E2EE.BackupKeys(tx, c.User, in.Version, in.Room, "")
	out := rooms[in.Room]
	if out.Sessions == nil {
		out.Sessions = map[string]e2ee.BackedUpSession{}
	}
	return out, err
}

// getRoomKeyBySessionId: spec: client-server API, GET room_keys/keys/{roomId}/{sessionId}.
func (a *API) getRoomKeyBySessionId(c *web.Call, tx *kv.ReadTx, in backupSessionIn) (e2ee.BackedUpSession, error) {
	rooms, err := a.E2EE.BackupKeys(tx, c.User, in.Version, in.Room, in.Session)
	if err != nil {
		return e2ee.BackedUpSession{}, err
	}
	session, ok := rooms[in.Room].Sessions[in.Session]
	if !ok {
		return e2ee.BackedUpSession{}, matrix.NotFound("that session is not in the backup")
	}
	return session, nil
}

// deleteRoomKeys: spec: client-server API, DELETE room_keys/keys.
func (a *API) deleteRoomKeys(c *web.Call, tx *kv.WriteTx, in backupKeysIn) (e2ee.BackupState, error) {
	return a.E2EE.DeleteBackupKeys(tx, c.User, in.Version, "", "")
}

// deleteRoomKeysByRoomId: spec: client-server API, DELETE room_keys/keys/{roomId}.
func (a *API) deleteRoomKeysByRoomId(c *web.Call, tx *kv.WriteTx, in backupRoomIn) (e2ee.BackupState, error) {
	return a.E2EE.DeleteBackupKeys(tx, c.User, in.Version, in.Room, "")
}

// deleteRoomKeyBySessionId: spec: client-server API, DELETE room_keys/keys/{roomId}/{sessionId}.
func (a *API) deleteRoomKeyBySessionId(c *web.Call, tx *kv.WriteTx, in backupSessionIn) (e2ee.BackupState, error) {
	return a.E2EE.DeleteBackupKeys(tx, c.User, in.Version, in.Room, in.Session)
}
