package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"porchlight/server/matrix"
)

// SettingType is the type of a state event that makes a setting of the board, in the
// control room. Its state key is the setting's name, its content is a SettingContent.
const SettingType = "local.porchlight.board"

// SettingContent is the content of such an event. One without a value takes the setting
// back to what the house was started with.
type SettingContent struct {
	Value *string `json:"value,omitempty"`
	// Confirm are the words that switching some settings off takes.
	Confirm string `json:"confirm,omitempty"`
}

// settingEvent takes a setting from the control room, and says what came of it. Whoever may
// not make settings gets no answer.
func (a *Agent) settingEvent(ctx context.Context, e Event) {
	owner, err := a.House.Owner(ctx)
	if err != nil || owner == "" {
		return
	}
	room, err := a.House.ControlRoom(ctx)
	if err != nil || room == "" {
		return
	}
	if e.Sender != owner {
		if e.Room == room {
			a.Log.Warn("somebody who does not own the house tried to make a setting of the board", "sender", e.Sender)
		}
		return
	}
	name := *e.StateKey
	if e.Room != room {
		a.tell(ctx, owner, fmt.Sprintf("Settings are made in this room. I did not take %q from the other one.", name))
		return
	}
	r := &request{Event: e, may: func(context.Context, matrix.UserID) bool { return false }} // the owner only
	var c SettingContent
	switch err = json.Unmarshal(e.Content, &c); {
	case err != nil:
		err = matrix.InvalidParam("the content has to be an object with the text \"value\"")
	case a.Settings.secret(name):
		err = matrix.InvalidParam(name + " is a secret, and a room remembers: set it by \"porchlight board set\"")
	case c.Value == nil:
		err = a.Settings.Unset(ctx, name)
	default:
		err = a.Settings.Set(ctx, name, *c.Value, c.Confirm)
	}
	if err != nil {
		a.reply(ctx, r, "The setting was not taken: "+sentence(err)+".")
		return
	}
	set, err := a.Settings.Get(name)
	if err != nil {
		a.fail(ctx, r, err)
		return
	}
	a.reply(ctx, r, fmt.Sprintf("%s is \"%s\" now.", name, set.Value))
}

// sentence is an error for a person: its message alone where it is one of the standard's.
func sentence(err error) string {
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return refused.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it took too long"
	}
	return err.Error()
}
