package accounts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// The types of account data that the house itself writes.
const (
	TypeTag       = "m.tag"
	TypeFullyRead = "m.fully_read"
	TypePushRules = "m.push_rules"
	// These are the user's, but the house obeys them.
	TypeInvitePermission = "m.invite_permission_config"
	TypeIgnored          = "m.ignored_user_list"
)

const (
	// MaxAccountDataBytes is the largest content of one type.
	MaxAccountDataBytes = 64 << 10
	// MaxAccountDataTypes is how many types a user may have, globally or in a room.
	MaxAccountDataTypes = 1000
)

// accountDataKey names account data; Room is empty for the global kind.
type accountDataKey struct {
	User matrix.UserID
	Room matrix.RoomID
	Type string
}

// AccountData is the content of one type of account data, in a room or, if room is
// empty, global; false if there is none.
func (k *Keeper) AccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID, typ string) (json.RawMessage, bool) {
	content, ok := k.accountData.Get(r, accountDataKey{user, room, typ})
	return content, ok
}

// AllAccountData yields a user's account data of a room or, if room is empty, the
// global kind, by type.
func (k *Keeper) AllAccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		for key, content := range k.accountData.Scan(r, kv.Prefix(user, room)) {
			if !yield(key.Type, content) {
				return
			}
		}
	}
}

// SetAccountData is what a client may do: as StoreAccountData, but types that the
// house writes itself are refused with 405 M_BAD_JSON (spec: client config, server
// behaviour).
func (k *Keeper) SetAccountData(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID, typ string, content json.RawMessage) error {
	if typ == TypeFullyRead || typ == TypePushRules {
		return matrix.Refusal(http.StatusMethodNotAllowed, "M_BAD_JSON", fmt.Sprintf("%s cannot be set through this operation", typ))
	}
	return k.StoreAccountData(tx, user, room, typ, content)
}

// StoreAccountData writes account data, in canonical form, and tells the user's devices
// if it is other than before. The errors are M_BAD_JSON if content is no object, M_INVALID_PARAM,
// M_TOO_LARGE, M_NOT_FOUND if there is no such user, M_FORBIDDEN if there are too many types, and
// M_RESOURCE_LIMIT_EXCEEDED if the user has too much in all.
func (k *Keeper) StoreAccountData(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID, typ string, content json.RawMessage) error {
	switch {
	case typ == "" || len(typ) > matrix.MaxIDBytes:
		return matrix.InvalidParam(fmt.Sprintf("a type has 1 to %d bytes", matrix.MaxIDBytes))
	case !k.Exists(tx, user):
		return matrix.NotFound("there is no such user here")
	}
	if _, err := matrix.ParseObject(content); err != nil {
		return err
	}
	content, err := matrix.CanonicalLenient(content)
	if err != nil {
		return err
	}
	if len(content) > MaxAccountDataBytes {
		return matrix.TooLarge(fmt.Sprintf("account data of a type may have at most %d bytes", MaxAccountDataBytes))
	}
	key := accountDataKey{user, room, typ}
	before, there := k.accountData.Get(tx, key)
	if there && bytes.Equal(before, content) {
		return nil
	}
	if !there {
		n := 0
		for range k.accountData.Keys(tx, kv.Prefix(user, room)) {
			n++
		}
		if n >= MaxAccountDataTypes {
			return matrix.Forbidden("there are too many types of account data")
		}
	}
	if err := k.growAccountData(tx, key, before, content, there); err != nil {
		return err
	}
	k.accountData.Put(tx, key, content)
	k.changes.Append(tx, changes.Change{Kind: changes.AccountData, User: user, Room: room, Key: typ})
	return nil
}
