package accounts

import (
	"encoding/json"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// MaxTagBytes is the longest name of a tag (spec: room tagging).
	MaxTagBytes = 255
	// MaxTags is how many tags a user may give to a room.
	MaxTags = 100
)

// Tags are a user's tags of a room, never nil. They are stored as the m.tag account
// data of the room (spec: room tagging).
func (k *Keeper) Tags(r kv.Reader, user matrix.UserID, room matrix.RoomID) map[string]json.RawMessage {
	content, _ := k.AccountData(r, user, room, TypeTag)
	if o, err := matrix.ParseObject(content); err == nil {
		if tags, ok := o.Object("tags"); ok {
			return tags
		}
	}
	return map[string]json.RawMessage{}
}

// SetTag gives a room a tag, with what the client says of it. The errors are M_INVALID_PARAM,
// M_BAD_JSON, M_FORBIDDEN if there are too many, and those of StoreAccountData.
func (k *Keeper) SetTag(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID, tag string, info json.RawMessage) error {
	if tag == "" || len(tag) > MaxTagBytes {
		return matrix.InvalidParam(fmt.Sprintf("the name of a tag has 1 to %d bytes", MaxTagBytes))
	}
	o, err := matrix.ParseObject(info)
	if err != nil {
		return err
	}
	if o.Has("order") {
		var order *float64
		if json.Unmarshal(o["order"], &order) != nil || order == nil || *order < 0 || *order > 1 {
			return matrix.InvalidParam("the order of a tag is a number from 0 to 1")
		}
	}
	tags := k.Tags(tx, user, room)
	tags[tag] = info
	if len(tags) > MaxTags {
		return matrix.Forbidden(fmt.Sprintf("a room may have at most %d tags", MaxTags))
	}
	return k.storeTags(tx, user, room, tags)
}

// DeleteTag takes a tag from a room; one that is not there is no error.
func (k *Keeper) DeleteTag(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID, tag string) error {
	tags := k.Tags(tx, user, room)
	if _, ok := tags[tag]; !ok {
		return nil
	}
	delete(tags, tag)
	return k.storeTags(tx, user, room, tags)
}

func (k *Keeper) storeTags(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID, tags matrix.Object) error {
	return k.StoreAccountData(tx, user, room, TypeTag, matrix.Object{"tags": tags.Encode()}.Encode())
}
