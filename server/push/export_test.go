package push

import (
	"porchlight/kv"
	"porchlight/server/matrix"
)

// Forgetful is the same keeper without anything in memory.
func (k *Keeper) Forgetful() *Keeper { return &Keeper{Config: k.Config, rules: k.rules} }

// Letter is the mail that tells a user of all that is unread.
func (k *Keeper) Letter(r kv.Reader, user matrix.UserID) string {
	w := &worker{k: k, key: pusherKey{User: user}}
	text, _ := w.letter(r, 1)
	return text
}
