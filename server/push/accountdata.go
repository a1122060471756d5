package push

import (
	"encoding/json"
	"iter"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
)

// AccountData is the users' account data with the push rules among it, under which type
// clients look for them although they are not stored there.
type AccountData struct {
	*accounts.Keeper
	Push *Keeper
}

// AccountData is the content of one type of account data, in a room or, if room is empty,
// global; false if there is none.
func (d AccountData) AccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID, typ string) (json.RawMessage, bool) {
	if room != "" || typ != accounts.TypePushRules {
		return d.Keeper.AccountData(r, user, room, typ)
	}
	content, err := d.Push.Content(r, user)
	return content, err == nil
}

// AllAccountData yields a user's account data of a room or, if room is empty, the global
// kind; the push rules come last.
func (d AccountData) AllAccountData(r kv.Reader, user matrix.UserID, room matrix.RoomID) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		for typ, content := range d.Keeper.AllAccountData(r, user, room) {
			if !yield(typ, content) {
				return
			}
		}
		if room == "" {
			if content, err := d.Push.Content(r, user); err == nil {
				yield(accounts.TypePushRules, content)
			}
		}
	}
}
