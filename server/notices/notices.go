// Package notices writes to users in the name of the house, each in a room of their own
// (spec: client-server API, server notices).
//
// It owns which room that is. The room is made with the first notice: the user is invited
// by an account that the house keeps for this, cannot turn the invitation down, and can
// leave once in it; the next notice invites again. Whoever blocks invitations gets no
// notices, since there is no room to put them in. Only the house writes there, but while the
// user is suspended: then the user and the owner of the house do, too.
package notices

import (
	"encoding/json"
	"fmt"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/setup"
)

// tag marks the room for clients (spec: client-server API, server notices).
const tag = "m.server_notice"

// localpart is what the account that writes is called; if a person has that name already,
// a number is added.
const localpart = "notices"

// maxNames is how many names are tried.
const maxNames = 100

// writer is the account that writes; empty: none was made yet.
var writer = setup.NewSetting("notices_user", matrix.UserID(""))

// Config is what a Keeper is made with.
type Config struct {
	DB       *kv.DB
	Setup    *setup.Keeper
	Accounts *accounts.Keeper
	Rooms    *rooms.Keeper
}

// Keeper writes notices.
type Keeper struct {
	Config
	noticeRooms *kv.Table[matrix.UserID, noticeRoomRow]
}

type noticeRoomRow struct {
	Room matrix.RoomID `cbor:"1,keyasint"`
}

// New opens the table.
func New(c Config) *Keeper {
	k := &Keeper{Config: c, noticeRooms: kv.NewTable[matrix.UserID, noticeRoomRow](c.DB, kv.NoticeRooms)}
	c.DB.AddCheck("notices", k.check)
	return k
}

// Send writes a notice to a user of the house. kind is its server_notice_type, such as
// "porchlight.report". It returns false if the user gets none, for blocking invitations
// or not being there.
func (k *Keeper) Send(tx *kv.WriteTx, user matrix.UserID, kind, body string) (bool, error) {
	if !k.Accounts.Exists(tx, user) {
		return false, nil
	}
	row, _ := k.noticeRooms.Get(tx, user)
	there := row.Room != "" && k.Rooms.Membership(tx, row.Room, user) != "leave"
	if !there && k.Rooms.People != nil && k.Rooms.People.InvitesBlocked(tx, user) {
		return false, nil
	}
	from, err := k.writer(tx)
	if err != nil {
		return false, err
	}
	switch {
	case row.Room == "":
		row.Room, err = k.create(tx, from, user)
	case !there:
		_, err = k.Rooms.SetMembership(tx, rooms.MemberArgs{Room: row.Room, Sender: from, Target: user, Membership: "invite"})
	}
	if err != nil {
		return false, err
	}
	content, err := json.Marshal(map[string]string{"msgtype": "m.server_notice", "server_notice_type": kind, "body": body})
	if err != nil {
		return false, err
	}
	_, err = k.Rooms.Send(tx, rooms.SendArgs{Room: row.Room, Sender: from, Type: "m.room.message", Content: content})
	return err == nil, err
}

// create makes a user's room, in which only the house talks (see letTalk).
func (k *Keeper) create(tx *kv.WriteTx, from, user matrix.UserID) (matrix.RoomID, error) {
	room, err := k.Rooms.Create(tx, rooms.CreateArgs{
		Creator: from, Preset: "private_chat", Name: "Notices", Topic: "What this server has to tell you",
		Invite: []matrix.UserID{user}, PowerLevels: json.RawMessage(`{"users_default":-10}`),
	})
	if err != nil {
		return "", err
	}
	k.noticeRooms.Put(tx, user, noticeRoomRow{room})
	return room, k.Accounts.SetTag(tx, user, room, tag, json.RawMessage(`{}`))
}

// writer is the account that writes, made when it is first needed.
func (k *Keeper) writer(tx *kv.WriteTx) (matrix.UserID, error) {
	if user := setup.Get(k.Setup, tx, writer); user != "" && k.Accounts.Exists(tx, user) {
		return user, nil
	}
	for n := range maxNames {
		name := localpart
		if n > 0 {
			name = fmt.Sprintf("%s%d", localpart, n)
		}
		if _, err := k.Accounts.Available(tx, name); err != nil {
			continue
		}
		user, err := k.Accounts.Create(tx, accounts.NewUser{Localpart: name, DisplayName: "Notices"})
		if err != nil {
			return "", err
		}
		return user, setup.Set(k.Setup, tx, writer, user)
	}
	return "", fmt.Errorf("all names like %q are taken", localpart)
}

// EventAppended implements rooms.Witness: the invitation to one's notices cannot be turned
// down (spec: client-server API, server notices, client behaviour).
func (k *Keeper) EventAppended(tx *kv.WriteTx, e *rooms.Event) error {
	if e.Membership() != "leave" || *e.StateKey != string(e.Sender) {
		return nil
	}
	if row, ok := k.noticeRooms.Get(tx, e.Sender); !ok || row.Room != e.Room {
		return nil
	}
	if before, ok := k.Rooms.EventAt(tx, e.Room, e.Replaces); ok && before.Membership() == "invite" {
		return matrix.Refusal(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "this is where the server writes to you: the invitation cannot be turned down")
	}
	return nil
}

// UserDeactivated implements accounts.UserWitness; it has to be told before the rooms, which
// make the user leave.
func (k *Keeper) UserDeactivated(tx *kv.WriteTx, user matrix.UserID, _ bool) error {
	if _, ok := k.noticeRooms.Get(tx, user); ok {
		k.noticeRooms.Delete(tx, user)
	}
	return nil
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	for user, row := range k.noticeRooms.Scan(r, kv.All()) {
		if !k.Rooms.Exists(r, row.Room) {
			report("the notices of %s lie in %s, which is not there", user, row.Room)
		}
	}
}
