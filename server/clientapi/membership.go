package clientapi

// The operations of inviting.yaml, joining.yaml, leaving.yaml, kicking.yaml, banning.yaml
// and knocking.yaml: all of them are one change of membership.

import (
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

// inviteUserIn is also what inviteBy3PID takes: the two operations share their path.
type inviteUserIn struct {
	Room          matrix.RoomID `path:"roomId"`
	User          matrix.UserID `json:"user_id"`
	Reason        string        `json:"reason"`
	Medium        *string       `json:"medium"`
	Address       *string       `json:"address"`
	IDServer      *string       `json:"id_server"`
	IDAccessToken *string       `json:"id_access_token"`
}

// queryInvited lets application services make users of theirs that are invited and not there
// (spec: application service API, querying).
func (a *API) queryInvited(c *web.Call, invited ...matrix.UserID) error {
	var missing []matrix.UserID
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		for _, user := range invited {
			if _, known := a.Accounts.User(tx, user); !known && !slices.Contains(missing, user) {
				missing = append(missing, user)
			}
		}
		return nil
	})
	for _, user := range missing {
		if err == nil {
			_, err = a.Services.QueryUser(c.Ctx, user, a.service(c))
		}
	}
	return err
}

// inviteUser: spec: client-server API, POST invite, in both of its forms.
func (a *API) inviteUser(c *web.Call, tx *kv.WriteTx, in inviteUserIn) (web.Empty, error) {
	if in.User == "" {
		return web.Empty{}, a.inviteBy3PID(c, tx, in)
	}
	_, err := a.Rooms.SetMembership(tx, rooms.MemberArgs{
		Room: in.Room, Sender: c.User, Device: c.Device, Target: in.User, Membership: "invite", Reason: in.Reason,
	})
	return web.Empty{}, err
}

// inviteBy3PID: spec: client-server API, POST invite, the form with a third-party
// identifier. Only members hear that no identity server is trusted.
func (a *API) inviteBy3PID(c *web.Call, tx *kv.WriteTx, in inviteUserIn) error {
	for name, value := range map[string]*string{
		"medium": in.Medium, "address": in.Address, "id_server": in.IDServer, "id_access_token": in.IDAccessToken,
	} {
		if value == nil {
			return matrix.MissingParam("either user_id says who is invited, or medium, address, id_server and id_access_token do; " + name + " is missing")
		}
	}
	if a.Rooms.Membership(tx, in.Room, c.User) != "join" {
		return matrix.Forbidden("you are not in that room")
	}
	return noIdentityServer()
}

type joinRoomByIDIn struct {
	Room   matrix.RoomID     `path:"roomId"`
	Reason string            `json:"reason"`
	Signed *thirdPartySigned `json:"third_party_signed"`
}

// thirdPartySigned is an identity server's word that the user owns the address that was
// invited. It only has to be well-formed: who is invited needs no more of it, and who is
// not cannot come in by it, since no identity server is asked.
type thirdPartySigned struct {
	User       matrix.UserID                `json:"mxid" required:"true"`
	Sender     matrix.UserID                `json:"sender" required:"true"`
	Token      string                       `json:"token" required:"true"`
	Signatures map[string]map[string]string `json:"signatures" required:"true"`
}

// joinRoomById: spec: client-server API, POST rooms join.
func (a *API) joinRoomById(c *web.Call, tx *kv.WriteTx, in joinRoomByIDIn) (roomIDOut, error) {
	return a.enter(c, tx, in.Room, "join", in.Reason)
}

type joinRoomIn struct {
	RoomOrAlias string            `path:"roomIdOrAlias"`
	Reason      string            `json:"reason"`
	Signed      *thirdPartySigned `json:"third_party_signed"`
}

// queryAlias lets an application service make the room of an alias that is not there (spec:
// application service API, querying).
func (a *API) queryAlias(c *web.Call, in joinRoomIn) error {
	if c.Suspended {
		return nil // there is hardly a room that they may enter
	}
	err := a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		_, err := a.roomOf(tx, in.RoomOrAlias)
		return err
	})
	if !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	_, err = a.Services.QueryAlias(c.Ctx, matrix.RoomAlias(in.RoomOrAlias), a.service(c))
	return err
}

// joinRoom: spec: client-server API, POST join.
func (a *API) joinRoom(c *web.Call, tx *kv.WriteTx, in joinRoomIn) (out roomIDOut, err error) {
	return a.enterNamed(c, tx, in, "join")
}

// knockRoom: spec: client-server API, POST knock.
func (a *API) knockRoom(c *web.Call, tx *kv.WriteTx, in joinRoomIn) (roomIDOut, error) {
	return a.enterNamed(c, tx, in, "knock")
}

func (a *API) enterNamed(c *web.Call, tx *kv.WriteTx, in joinRoomIn, membership string) (roomIDOut, error) {
	if c.Suspended && !a.Notices.Holds(tx, c.User, matrix.RoomID(in.RoomOrAlias)) {
		return roomIDOut{}, matrix.UserSuspended() // whether there is such a room or not
	}
	room, err := a.roomOf(tx, in.RoomOrAlias)
	if err != nil {
		return roomIDOut{}, err
	}
	return a.enter(c, tx, room, membership, in.Reason)
}

// enter makes the user join or knock. Who is suspended may only come where the house writes to
// them (spec: client-server API, account suspension).
func (a *API) enter(c *web.Call, tx *kv.WriteTx, room matrix.RoomID, membership, reason string) (roomIDOut, error) {
	if c.Suspended && !a.Notices.Holds(tx, c.User, room) {
		return roomIDOut{}, matrix.UserSuspended()
	}
	if !a.Rooms.Exists(tx, room) {
		return roomIDOut{}, matrix.NotFound("this server does not know that room")
	}
	_, err := a.Rooms.SetMembership(tx, rooms.MemberArgs{
		Room: room, Sender: c.User, Device: c.Device, Target: c.User, Membership: membership, Reason: reason,
	})
	return roomIDOut{room}, err
}

// roomOf parses what may be a room ID or an alias.
func (a *API) roomOf(r kv.Reader, s string) (matrix.RoomID, error) {
	if !strings.HasPrefix(s, "#") {
		return matrix.ParseRoomID(s)
	}
	alias, err := matrix.ParseRoomAlias(s)
	if err != nil {
		return "", err
	}
	room, ok := a.Rooms.Resolve(r, alias)
	if !ok {
		return "", matrix.NotFound("there is no room with the alias " + s)
	}
	return room, nil
}

// leaveRoom: spec: client-server API, POST leave.
func (a *API) leaveRoom(c *web.Call, tx *kv.WriteTx, in joinRoomByIDIn) (web.Empty, error) {
	_, err := a.Rooms.SetMembership(tx, rooms.MemberArgs{
		Room: in.Room, Sender: c.User, Device: c.Device, Target: c.User, Membership: "leave", Reason: in.Reason,
	})
	return web.Empty{}, err
}

type forgetRoomIn struct {
	Room matrix.RoomID `path:"roomId"`
}

// forgetRoom: spec: client-server API, POST forget.
func (a *API) forgetRoom(c *web.Call, tx *kv.WriteTx, in forgetRoomIn) (web.Empty, error) {
	return web.Empty{}, a.Rooms.Forget(tx, in.Room, c.User)
}

type targetIn struct {
	Room   matrix.RoomID `path:"roomId"`
	User   matrix.UserID `json:"user_id" required:"true"`
	Reason string        `json:"reason"`
}

func (in targetIn) args(c *web.Call) rooms.MemberArgs {
	return rooms.MemberArgs{Room: in.Room, Sender: c.User, Device: c.Device, Target: in.User, Reason: in.Reason}
}

// kick: spec: client-server API, POST kick.
func (a *API) kick(c *web.Call, tx *kv.WriteTx, in targetIn) (web.Empty, error) {
	_, err := a.Rooms.Kick(tx, in.args(c))
	return web.Empty{}, err
}

// ban: spec: client-server API, POST ban.
func (a *API) ban(c *web.Call, tx *kv.WriteTx, in targetIn) (web.Empty, error) {
	args := in.args(c)
	args.Membership = "ban"
	_, err := a.Rooms.SetMembership(tx, args)
	return web.Empty{}, err
}

// unban: spec: client-server API, POST unban.
func (a *API) unban(c *web.Call, tx *kv.WriteTx, in targetIn) (web.Empty, error) {
	_, err := a.Rooms.Unban(tx, in.args(c))
	return web.Empty{}, err
}
