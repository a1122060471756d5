package rooms

import (
	"porchlight/kv"
	"porchlight/server/matrix"
)

// Resolve is the room that an alias of this server leads to.
func (k *Keeper) Resolve(r kv.Reader, alias matrix.RoomAlias) (matrix.RoomID, bool) {
	row, ok := k.aliases.Get(r, alias)
	return row.Room, ok
}

// SetAlias makes an alias lead to a room. The error is M_INVALID_PARAM for another
// server's alias, 409 M_UNKNOWN for a taken one, M_FORBIDDEN when the user is not in the
// room.
func (k *Keeper) SetAlias(tx *kv.WriteTx, alias matrix.RoomAlias, room matrix.RoomID, user matrix.UserID) error {
	if alias.Server() != k.Server {
		return matrix.InvalidParam("an alias made here has to end in \":" + string(k.Server) + "\"")
	}
	if k.aliases.Has(tx, alias) {
		return matrix.AliasInUse("the alias " + string(alias) + " is taken")
	}
	if k.Membership(tx, room, user) != "join" {
		return notInRoom()
	}
	k.putAlias(tx, alias, room, user)
	return nil
}

func (k *Keeper) putAlias(tx *kv.WriteTx, alias matrix.RoomAlias, room matrix.RoomID, user matrix.UserID) {
	k.aliases.Put(tx, alias, AliasRow{Room: room, Creator: user})
	k.roomAliases.Put(tx, roomAliasKey{room, alias}, none{})
}

// DeleteAlias removes an alias. Its maker, members with the power to set the canonical
// alias, and the owner of the house (admin) may. M_NOT_FOUND, M_FORBIDDEN.
func (k *Keeper) DeleteAlias(tx *kv.WriteTx, alias matrix.RoomAlias, user matrix.UserID, admin bool) error {
	row, ok := k.aliases.Get(tx, alias)
	if !ok {
		return matrix.NotFound("there is no alias " + string(alias))
	}
	if row.Creator != user && !admin {
		levels := k.Power(tx, row.Room)
		mayName := levels.User(user) >= levels.Event("m.room.canonical_alias", true)
		if !mayName || k.Membership(tx, row.Room, user) != "join" {
			return matrix.Forbidden("only who made the alias or who may set the room's main alias can delete it")
		}
	}
	k.aliases.Delete(tx, alias)
	k.roomAliases.Delete(tx, roomAliasKey{row.Room, alias})
	return nil
}

// Aliases are the aliases of a room on this server, in order.
func (k *Keeper) Aliases(r kv.Reader, room matrix.RoomID) []matrix.RoomAlias {
	all := []matrix.RoomAlias{}
	for key := range k.roomAliases.Keys(r, kv.Prefix(room)) {
		all = append(all, key.Alias)
	}
	return all
}

// SetPublic shows a room in the directory, or no longer.
func (k *Keeper) SetPublic(tx *kv.WriteTx, room matrix.RoomID, public bool) {
	if public {
		k.public.Put(tx, room, none{})
		return
	}
	k.public.Delete(tx, room)
}

// IsPublic says whether the directory shows the room.
func (k *Keeper) IsPublic(r kv.Reader, room matrix.RoomID) bool { return k.public.Has(r, room) }
