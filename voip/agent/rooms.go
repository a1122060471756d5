package agent

import (
	"context"
	"encoding/json"
	"strings"

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

// message answers what somebody writes to the board in a room of two. It answers text
// only, never a notice, so that two robots do not talk for ever.
func (a *Agent) message(ctx context.Context, e Event) {
	var m struct {
		Type string `json:"msgtype"`
		Body string `json:"body"`
		// Relates is set on edits and the like, which are no new words.
		Relates json.RawMessage `json:"m.relates_to"`
	}
	if json.Unmarshal(e.Content, &m) != nil || m.Type != "m.text" || m.Relates != nil {
		return
	}
	may, err := a.House.MayCall(ctx, e.Sender)
	if err != nil || !may {
		return
	}
	joined, err := a.House.Joined(ctx, e.Room)
	if err != nil || len(joined) != 2 {
		return
	}
	switch strings.ToLower(strings.TrimSpace(m.Body)) {
	case "status":
		a.say(ctx, e.Room, a.statusText())
	case "hang up":
		a.say(ctx, e.Room, a.hangUpIn(ctx, e.Room))
	case "help":
		a.say(ctx, e.Room, "I am the board by the door. Call me to see and hear what I see and hear. "+
			"Write \"status\" and I tell how I am, or \"hang up\" and I end our call.")
	default:
		a.say(ctx, e.Room, "I did not understand that. Write \"help\" to see what I can do, or call me.")
	}
}

// hangUpIn ends the calls of a room and says so.
func (a *Agent) hangUpIn(ctx context.Context, room matrix.RoomID) string {
	text := "Nobody is calling me here."
	for _, c := range a.calls {
		if c.key.room == room {
			a.step(ctx, c, call.HangUp{})
			text = "I hung up."
		}
	}
	return text
}

func (a *Agent) say(ctx context.Context, room matrix.RoomID, text string) {
	content, err := json.Marshal(map[string]string{"msgtype": "m.notice", "body": text})
	if err == nil {
		err = a.House.Send(ctx, room, "m.room.message", content)
	}
	if err != nil {
		a.Log.Error("the board could not answer", "room", room, "error", err)
	}
}
