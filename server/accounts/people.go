package accounts

import (
	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// What others ask about a user before they let events through.

// IsGuest says whether the user's account is a guest's.
func (k *Keeper) IsGuest(r kv.Reader, user matrix.UserID) bool {
	row, _ := k.users.Get(r, user)
	return row.Guest
}

// InvitesBlocked says whether the user wants no invitations (spec: client-server API,
// m.invite_permission_config).
func (k *Keeper) InvitesBlocked(r kv.Reader, user matrix.UserID) bool {
	raw, _ := k.AccountData(r, user, "", TypeInvitePermission)
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return false // the user's own data, of any form
	}
	action, _ := content.Text("default_action")
	return action == "block"
}

// Ignored is whom the user does not want to hear, nil if nobody (spec: client-server API,
// m.ignored_user_list).
func (k *Keeper) Ignored(r kv.Reader, user matrix.UserID) map[matrix.UserID]bool {
	raw, _ := k.AccountData(r, user, "", TypeIgnored)
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return nil // the user's own data, of any form: it ignores nobody
	}
	list, _ := content.Object("ignored_users")
	ignored := map[matrix.UserID]bool{}
	for other := range list {
		ignored[matrix.UserID(other)] = true
	}
	return ignored
}

// ErasedAt is the position at which the user asked that what they said be hidden from those
// who come later; false if they did not (spec: client-server API, account deactivation).
func (k *Keeper) ErasedAt(r kv.Reader, user matrix.UserID) (changes.Position, bool) {
	row, _ := k.users.Get(r, user)
	return row.ErasedAt, row.Erased
}
