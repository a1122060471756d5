package clientapi

import (
	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// isAdmin says whether the caller may administer the house. An application service that acts
// for somebody may not, whoever that is.
func (a *API) isAdmin(c *web.Call, r kv.Reader) bool {
	if c.Service != "" {
		return false
	}
	row, _ := a.Accounts.User(r, c.User)
	return c.Owner || row.Admin
}

type whoisConnection struct {
	IP       string `json:"ip,omitempty"`
	LastSeen int64  `json:"last_seen"`
	Agent    string `json:"user_agent,omitempty"`
}

type whoisSession struct {
	Connections []whoisConnection `json:"connections"`
}

type whoisDevice struct {
	Sessions []whoisSession `json:"sessions"`
}

type getWhoIsOut struct {
	User    matrix.UserID                   `json:"user_id"`
	Devices map[matrix.DeviceID]whoisDevice `json:"devices"`
}

// getWhoIs: spec: client-server API, GET admin/whois/{userId}. A device has one session, of
// which the last connection is known.
func (a *API) getWhoIs(c *web.Call, tx *kv.ReadTx, in userIn) (out getWhoIsOut, err error) {
	if in.User != c.User && !a.isAdmin(c, tx) {
		return out, matrix.Forbidden("only administrators may look up others")
	}
	if _, ok := a.Accounts.User(tx, in.User); !ok {
		return out, matrix.NotFound("there is no such user here")
	}
	out = getWhoIsOut{User: in.User, Devices: map[matrix.DeviceID]whoisDevice{}}
	for id, d := range a.Accounts.Devices(tx, in.User) {
		session := whoisSession{Connections: []whoisConnection{}}
		if d.SeenAt != 0 {
			session.Connections = append(session.Connections, whoisConnection{IP: d.SeenIP, LastSeen: d.SeenAt, Agent: d.SeenAgent})
		}
		out.Devices[id] = whoisDevice{Sessions: []whoisSession{session}}
	}
	return out, nil
}

// moderated checks what all of account moderation checks (spec: client-server API,
// admin/suspend and admin/lock): first who asks, so that nobody learns who lives here.
func (a *API) moderated(c *web.Call, r kv.Reader, user matrix.UserID) error {
	if !a.isAdmin(c, r) {
		return matrix.Forbidden("only administrators may do that")
	}
	if user.Server() != a.Accounts.ServerName() {
		return matrix.InvalidParam("that user is not of this server")
	}
	row, ok := a.Accounts.User(r, user)
	switch {
	case !ok || row.Deactivated:
		return matrix.NotFound("there is no such account")
	case user == c.User:
		return nil // they may look; moderate refuses the rest
	case row.Admin || a.Accounts.IsOwner(r, user):
		return matrix.Forbidden("that account is another administrator's")
	}
	return nil
}

// moderate is moderated for changes, which nobody may do to themselves.
func (a *API) moderate(c *web.Call, r kv.Reader, user matrix.UserID) error {
	if err := a.moderated(c, r, user); err != nil {
		return err
	}
	if user == c.User {
		return matrix.Forbidden("you cannot do that to your own account")
	}
	return nil
}

type suspendedOut struct {
	Suspended bool `json:"suspended"`
}

// getAdminSuspendUser: spec: client-server API, GET admin/suspend/{userId}.
func (a *API) getAdminSuspendUser(c *web.Call, tx *kv.ReadTx, in userIn) (suspendedOut, error) {
	if err := a.moderated(c, tx, in.User); err != nil {
		return suspendedOut{}, err
	}
	row, _ := a.Accounts.User(tx, in.User)
	return suspendedOut{row.Suspended}, nil
}

type setAdminSuspendUserIn struct {
	userIn
	Suspended bool `json:"suspended" required:"true"`
}

// setAdminSuspendUser: spec: client-server API, PUT admin/suspend/{userId}.
func (a *API) setAdminSuspendUser(c *web.Call, tx *kv.WriteTx, in setAdminSuspendUserIn) (suspendedOut, error) {
	if err := a.moderate(c, tx, in.User); err != nil {
		return suspendedOut{}, err
	}
	return suspendedOut{in.Suspended}, a.Accounts.SetSuspended(tx, in.User, in.Suspended)
}

type lockedOut struct {
	Locked bool `json:"locked"`
}

// getAdminLockUser: spec: client-server API, GET admin/lock/{userId}.
func (a *API) getAdminLockUser(c *web.Call, tx *kv.ReadTx, in userIn) (lockedOut, error) {
	if err := a.moderated(c, tx, in.User); err != nil {
		return lockedOut{}, err
	}
	row, _ := a.Accounts.User(tx, in.User)
	return lockedOut{row.Locked}, nil
}

type setAdminLockUserIn struct {
	userIn
	Locked bool `json:"locked" required:"true"`
}

// setAdminLockUser: spec: client-server API, PUT admin/lock/{userId}.
func (a *API) setAdminLockUser(c *web.Call, tx *kv.WriteTx, in setAdminLockUserIn) (lockedOut, error) {
	if err := a.moderate(c, tx, in.User); err != nil {
		return lockedOut{}, err
	}
	return lockedOut{in.Locked}, a.Accounts.SetLocked(tx, in.User, in.Locked)
}
