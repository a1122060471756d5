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
		a.join(ctx, e)
	case m.Membership == "leave" || m.Membership == "ban":
		a.left(ctx, e.Room, user)
	}
}

// join accepts an invitation, and says at once if the board can read nothing in the room.
func (a *Agent) join(ctx context.Context, e Event) {
	err := a.House.Join(ctx, e.Room)
	if matrix.IsCode(err, "M_FORBIDDEN") {
		return // it was taken back
	}
	var in Audience
	if err == nil {
		in, err = a.House.Audience(ctx, e.Room)
	}
	if err != nil {
		a.Log.Error("an invitation could not be accepted", "room", e.Room, "error", err)
		return
	}
	if in.Encrypted {
		a.unreadable(ctx, e)
	}
}

// unreadableText is said in an encrypted room.
const unreadableText = "This room is encrypted, so I can read nothing here and cannot be called here. " +
	"Use our chat without encryption, into which I have invited you, or the web page of this server."

// unreadable says once in a room of somebody who may talk to the board that it can read nothing
// there, and sees to it that there is another one.
func (a *Agent) unreadable(ctx context.Context, e Event) {
	if !a.mayTalk(ctx, e.Sender) {
		return
	}
	first, err := a.Settings.first(ctx, toldKey{"encrypted", string(e.Room)}, a.Now())
	if err != nil {
		a.Log.Error("it cannot be told what was said already", "room", e.Room, "error", err)
		return
	}
	if !first {
		return
	}
	if _, ok := a.ownRoom(ctx, e.Sender); ok {
		a.say(ctx, e.Room, unreadableText)
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
