package agent

import (
	"context"
	"encoding/json"

	"porchlight/server/matrix"
)

// elsewhereText is said in a room in which the board does not answer what was asked there.
const elsewhereText = "Others could read my answer here, so I write it in our own chat."

// request is what somebody asks of the board in a room, and to which it answers.
type request struct {
	Event
	// may says who may ask for this; nil: those who may command. All who can read the room
	// have to, or the answer goes to the asker alone.
	may  func(ctx context.Context, user matrix.UserID) bool
	told bool // that answers go elsewhere
}

// inCall is a request by somebody whom the board is in a call with.
func (a *Agent) inCall(c *activeCall) *request {
	return &request{Event: Event{Room: c.key.room, Sender: c.state.Peer()}, may: a.mayCall}
}

// answerRoom is the room in which a request is answered at this moment; false: there is none.
func (a *Agent) answerRoom(ctx context.Context, r *request) (matrix.RoomID, bool) {
	if a.private(ctx, r) {
		return r.Room, true
	}
	room, ok := a.ownRoom(ctx, r.Sender)
	if ok && room != r.Room && !r.told {
		r.told = true
		a.say(ctx, r.Room, elsewhereText)
	}
	return room, ok
}

// private says whether nobody can read the room of a request who may not make it.
func (a *Agent) private(ctx context.Context, r *request) bool {
	in, err := a.House.Audience(ctx, r.Room)
	if err != nil {
		a.Log.Error("it cannot be told who reads a room", "room", r.Room, "error", err)
		return false
	}
	if in.Open {
		return false
	}
	may := r.may
	if may == nil {
		may = a.mayCommand
	}
	for _, user := range in.People {
		if user != r.Sender && !may(ctx, user) {
			return false
		}
	}
	return true
}

// reply answers a request with a plain sentence.
func (a *Agent) reply(ctx context.Context, r *request, text string) {
	if room, ok := a.answerRoom(ctx, r); ok {
		a.say(ctx, room, text)
	}
}

// ownRoom is the room that the board made for a person and still controls. It is asked for
// anew at each use, since the person can let others in.
func (a *Agent) ownRoom(ctx context.Context, user matrix.UserID) (matrix.RoomID, bool) {
	room, err := a.House.DirectRoom(ctx, user)
	if err != nil {
		a.Log.Error("somebody cannot be reached", "user", user, "error", err)
		return "", false
	}
	return room, true
}

// tell says something to a person of the board's own accord.
func (a *Agent) tell(ctx context.Context, user matrix.UserID, text string) {
	if room, ok := a.ownRoom(ctx, user); ok {
		a.say(ctx, room, text)
	}
}

// show sends a person a picture of the board's own accord, or without one only the words.
func (a *Agent) show(ctx context.Context, user matrix.UserID, p *posted, text string) {
	switch room, ok := a.ownRoom(ctx, user); {
	case !ok:
	case p == nil:
		a.say(ctx, room, text)
	default:
		a.post(ctx, room, *p, text)
	}
}

// note tells the owner something in the control room, unless it was said there already: said
// is where. It returns false if there is no owner.
func (a *Agent) note(ctx context.Context, said matrix.RoomID, text string) bool {
	owner, err := a.House.Owner(ctx)
	if err != nil {
		a.Log.Error("the owner cannot be found", "error", err)
	}
	if owner == "" {
		return false
	}
	if room, ok := a.ownRoom(ctx, owner); ok && room != said {
		a.say(ctx, room, text)
	}
	return true
}

// say writes a plain sentence into a room. Whether it may be read there is the caller's to know.
func (a *Agent) say(ctx context.Context, room matrix.RoomID, text string) {
	content, err := json.Marshal(map[string]string{"msgtype": "m.notice", "body": text})
	if err == nil {
		err = a.House.Send(ctx, room, "m.room.message", content)
	}
	if err != nil {
		a.Log.Error("the board could not write", "room", room, "error", err)
	}
}
