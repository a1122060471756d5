package agent

import (
	"context"
	"encoding/json"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// member follows invitations, and people who leave in the middle of a call.
func (a *Agent) member(ctx context.Context, e Event) {
	var m struct {
		Membership string `json:"membership"`
	}
	if err := json.Unmarshal(e.Content, &m); err != nil {
		return
	}
	user := matrix.UserID(*e.StateKey)
	switch {
	case user == a.Self && m.Membership == "invite":
		// Others' invitations wait, unanswered, so that they cost nothing however many there are.
		if !a.mayTalk(ctx, e.Sender) {
			return
		}
		if err := a.House.Join(ctx, e.Room); err != nil && !matrix.IsCode(err, "M_FORBIDDEN") {
			a.Log.Error("an invitation could not be accepted", "room", e.Room, "error", err)
		}
	case m.Membership == "leave" || m.Membership == "ban":
		a.left(ctx, e.Room, user)
	}
}

// left ends the calls of somebody who went out of the room.
func (a *Agent) left(ctx context.Context, room matrix.RoomID, user matrix.UserID) {
	for _, c := range a.calls {
		if c.key.room != room {
			continue
		}
		joined, err := a.House.Joined(ctx, room)
		if err != nil {
			a.Log.Error("the members of a room cannot be read", "room", room, "error", err)
		}
		a.step(ctx, c, call.Left{User: user, Alone: err == nil && len(joined) <= 1})
	}
}
