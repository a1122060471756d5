package clientapi

import (
	"context"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/reports"
	"porchlight/server/rooms"
	"porchlight/server/web"
)

// refusedReportTime is when a refused report of an event is answered, counted from its
// arrival. It is longer than any of the reasons takes to find, so that the time does not
// tell which one it was (spec: MSC2249, security considerations).
const refusedReportTime = 50 * time.Millisecond

type reportEventIn struct {
	Room   matrix.RoomID  `path:"roomId"`
	Event  matrix.EventID `path:"eventId"`
	Reason string         `json:"reason"`
}

// reportEvent: spec: client-server API, POST rooms report event; MSC2249. Whoever is not in
// the room, cannot see the event, or made it up, gets one and the same answer.
func (a *API) reportEvent(c *web.Call, in reportEventIn) (web.Empty, error) {
	answer, cancel := context.WithTimeout(c.Ctx, refusedReportTime)
	defer cancel()
	err := a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		e, err := a.reportable(tx, c.User, in.Room, in.Event)
		if err != nil {
			return err
		}
		_, err = a.Reports.Add(tx, reports.Report{
			By: c.User, Reason: in.Reason, Room: in.Room, Event: in.Event, About: e.Sender, Type: e.Type, Content: e.Content,
		})
		return err
	})
	if matrix.IsCode(err, "M_NOT_FOUND") {
		<-answer.Done()
	}
	return web.Empty{}, err
}

func (a *API) reportable(r kv.Reader, user matrix.UserID, room matrix.RoomID, id matrix.EventID) (*rooms.Event, error) {
	joined := a.Rooms.Membership(r, room, user) == "join"
	e, ok := a.Rooms.Event(r, id)
	if !ok || !joined || e.Room != room || !a.Rooms.Visible(r, user, e) {
		return nil, matrix.NotFound("The event was not found or you are not joined to the room.")
	}
	return e, nil
}

type reportRoomIn struct {
	Room   matrix.RoomID `path:"roomId"`
	Reason string        `json:"reason" required:"true"`
}

// reportRoom: spec: client-server API, POST rooms report. Whoever reports need not be in the
// room.
func (a *API) reportRoom(c *web.Call, tx *kv.WriteTx, in reportRoomIn) (web.Empty, error) {
	if !a.Rooms.Exists(tx, in.Room) {
		return web.Empty{}, matrix.NotFound("The room was not found.")
	}
	_, err := a.Reports.Add(tx, reports.Report{By: c.User, Reason: in.Reason, Room: in.Room})
	return web.Empty{}, err
}

type reportUserIn struct {
	User   matrix.UserID `path:"userId"`
	Reason string        `json:"reason" required:"true"`
}

// reportUser: spec: client-server API, POST users report. Whoever reports need not share a
// room with the user.
func (a *API) reportUser(c *web.Call, tx *kv.WriteTx, in reportUserIn) (web.Empty, error) {
	if _, ok := a.Accounts.User(tx, in.User); !ok {
		return web.Empty{}, matrix.NotFound("The user was not found.")
	}
	_, err := a.Reports.Add(tx, reports.Report{By: c.User, Reason: in.Reason, About: in.User})
	return web.Empty{}, err
}
