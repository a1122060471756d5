package notices

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// suspensionNotice is the server_notice_type of what is told to who is suspended.
const suspensionNotice = "porchlight.suspension"

// What those are told whose account is suspended, and no longer is.
const (
	suspendedText = "Your account is suspended. You can read, and leave rooms; you can write to nobody but in this room, " +
		"to whoever runs this server."
	freeText = "Your account is no longer suspended."
)

// Holds says whether the room is the one in which the house writes to the user.
func (k *Keeper) Holds(r kv.Reader, user matrix.UserID, room matrix.RoomID) bool {
	row, ok := k.noticeRooms.Get(r, user)
	return ok && row.Room == room
}

// UserSuspended implements accounts.SuspensionWitness: who is suspended is told so, and can
// speak about it with the owner of the house, in the room of their notices (spec:
// client-server API, account suspension).
func (k *Keeper) UserSuspended(tx *kv.WriteTx, user matrix.UserID, suspended bool) error {
	text := freeText
	if suspended {
		text = suspendedText
	}
	sent, err := k.Send(tx, user, suspensionNotice, text)
	if err != nil || !sent {
		return err
	}
	row, _ := k.noticeRooms.Get(tx, user)
	if !suspended {
		return k.letTalk(tx, row.Room, user, false)
	}
	if err := k.letTalk(tx, row.Room, user, true); err != nil {
		return err
	}
	return k.askOwner(tx, row.Room)
}

// letTalk lets somebody write in a room of notices, or no longer.
func (k *Keeper) letTalk(tx *kv.WriteTx, room matrix.RoomID, user matrix.UserID, may bool) error {
	e, ok := k.Rooms.State(tx, room, "m.room.power_levels", "")
	if !ok {
		return nil // everybody may, in a room that is not one of ours any more
	}
	content, err := matrix.ParseObject(e.Content)
	if err != nil {
		return err
	}
	users, ok := content.Object("users")
	if !ok {
		users = matrix.Object{}
	}
	if users.Has(string(user)) == may {
		return nil
	}
	delete(users, string(user))
	if may {
		users[string(user)] = json.RawMessage("0")
	}
	content["users"] = users.Encode()
	_, err = k.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: e.Sender, Type: "m.room.power_levels", StateKey: new(string), Content: content.Encode()})
	return err
}

// askOwner asks the owner of the house into somebody's room, to speak with them.
func (k *Keeper) askOwner(tx *kv.WriteTx, room matrix.RoomID) error {
	owner := k.Setup.Owner(tx)
	if owner == "" || k.Rooms.Membership(tx, room, owner) != "leave" || k.Rooms.People.InvitesBlocked(tx, owner) {
		return nil
	}
	if err := k.letTalk(tx, room, owner, true); err != nil {
		return err
	}
	from, err := k.writer(tx)
	if err != nil {
		return err
	}
	_, err = k.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: from, Target: owner, Membership: "invite"})
	return err
}
