package clientapi

// What application services may do beyond ordinary clients: the operations of
// appservice_ping.yaml and appservice_room_directory.yaml, and the rules of the prose for
// registering, logging in, aliases and timestamps.

import (
	"strconv"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/appservice"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// maxTimestamp is the largest time of an event in milliseconds: the largest number that
// every client reads as it is.
const maxTimestamp = 1<<53 - 1

// service is the application service that acts, nil if it is an ordinary client.
func (a *API) service(c *web.Call) *appservice.Service {
	if c.Service == "" {
		return nil
	}
	return a.Services.Service(c.Service)
}

// claimedService is the application service whose token a request to register or to log in
// shows (spec: application service API, server admin style permissions).
func (a *API) claimedService(c *web.Call) (*appservice.Service, error) {
	token := c.Token()
	if token == "" {
		return nil, matrix.MissingToken()
	}
	s := a.Services.ByToken(token)
	if s == nil {
		return nil, matrix.UnknownToken(false)
	}
	return s, nil
}

// registerByService makes a user of an application service's namespaces.
func (a *API) registerByService(c *web.Call, in registerIn) (out loginOut, err error) {
	s, err := a.claimedService(c)
	if err != nil {
		return out, err
	}
	if in.Username == "" {
		return out, matrix.MissingParam("\"username\" is missing")
	}
	user, err := a.Accounts.ParseLocalpart(in.Username)
	if err != nil {
		return out, err
	}
	if err := a.Services.MayCreateUser(user, s); err != nil {
		return out, err
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		if user, err = a.Accounts.Create(tx, accounts.NewUser{Localpart: in.Username}); err != nil {
			return err
		}
		if in.InhibitLogin {
			out = loginOut{User: user}
			return nil
		}
		l, err := a.Accounts.Login(tx, in.of(c, user))
		out = a.loginOut(l)
		return err
	})
	return out, err
}

// loginByService is the user of an application service's namespaces that it logs in.
func (a *API) loginByService(c *web.Call, in loginIn) (user matrix.UserID, err error) {
	s, err := a.claimedService(c)
	if err != nil {
		return "", err
	}
	id := in.Identifier
	if id.Type == "" {
		id = accounts.Identifier{Type: accounts.IDUser, User: in.User}
	}
	if id.Type != accounts.IDUser || id.User == "" {
		return "", matrix.InvalidParam("an application service names whom it logs in by an identifier of the type m.id.user")
	}
	err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		user = a.Accounts.Resolve(tx, id.User)
		return nil
	})
	if err == nil && !s.HasUser(user) {
		err = matrix.Refusal(400, "M_EXCLUSIVE", "that user is not in the namespaces of this application service")
	}
	if err == nil {
		err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error { return a.refusePerson(tx, s, user) })
	}
	return user, err
}

// refusePerson refuses to log in somebody who is not the service's own: a token would have all
// the rights of a person over the server and the board. With its own token the service can act
// for them, and has none of these.
func (a *API) refusePerson(r kv.Reader, s *appservice.Service, user matrix.UserID) error {
	row, _ := a.Accounts.User(r, user)
	if row.Admin || a.Accounts.IsOwner(r, user) || user == a.BoardUser || row.Password != "" && !s.Owns(user) {
		return matrix.Forbidden("an application service cannot log in as a person, or as the board: please act for them with user_id and its own token")
	}
	return nil
}

// refuseToSpeak refuses what an application service says for a person in a room of the board:
// the board does what people say there, such as opening the door.
func (a *API) refuseToSpeak(c *web.Call, r kv.Reader, room matrix.RoomID) error {
	s := a.service(c)
	if s == nil || a.BoardUser == "" || s.Owns(c.User) || a.Rooms.Membership(r, room, a.BoardUser) != "join" {
		return nil
	}
	return matrix.Forbidden("an application service cannot speak for others in a room of the board")
}

// timestamp is the time that an application service gives an event, in milliseconds; nil
// if it gives none (spec: application service API, timestamp massaging).
func timestamp(c *web.Call) (*int64, error) {
	text := c.R.URL.Query().Get("ts")
	if c.Service == "" || text == "" {
		return nil, nil
	}
	ts, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ts < 0 || ts > maxTimestamp {
		return nil, matrix.InvalidParam("ts has to be a time in milliseconds since 1970")
	}
	return &ts, nil
}

type pingAppserviceIn struct {
	Service     string  `path:"appserviceId"`
	Transaction *string `json:"transaction_id"`
}

type pingAppserviceOut struct {
	Duration int64 `json:"duration_ms"`
}

// pingAppservice: spec: client-server API, POST appservice ping.
func (a *API) pingAppservice(c *web.Call, in pingAppserviceIn) (out pingAppserviceOut, err error) {
	s := a.service(c)
	if s == nil || s.ID != in.Service {
		return out, matrix.Forbidden("that token is not the one of this application service")
	}
	took, err := a.Services.Ping(c.Ctx, s, in.Transaction)
	return pingAppserviceOut{took.Milliseconds()}, err
}

type updateAppserviceRoomDirectoryVisibilityIn struct {
	Network    string        `path:"networkId"`
	Room       matrix.RoomID `path:"roomId"`
	Visibility string        `json:"visibility" required:"true"`
}

// updateAppserviceRoomDirectoryVisibility: spec: client-server API, PUT directory list
// appservice.
func (a *API) updateAppserviceRoomDirectoryVisibility(c *web.Call, tx *kv.WriteTx, in updateAppserviceRoomDirectoryVisibilityIn) (web.Empty, error) {
	s := a.service(c)
	switch {
	case s == nil:
		return web.Empty{}, matrix.Forbidden("only application services can do this")
	case in.Visibility != "public" && in.Visibility != "private":
		return web.Empty{}, matrix.InvalidParam("visibility has to be public or private")
	case in.Network == "" || len(in.Network) > matrix.MaxIDBytes || len(s.Protocols) == 0:
		// Services list rooms for a protocol or, as the ecosystem's do, for an instance of it.
		return web.Empty{}, matrix.InvalidParam("that is no network of this application service")
	case !a.Rooms.Exists(tx, in.Room):
		return web.Empty{}, matrix.NotFound("this server does not know that room")
	}
	a.Services.List(tx, s.ID, in.Network, in.Room, in.Visibility == "public")
	return web.Empty{}, nil
}
