package server

import (
	"cmp"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/appservice"
	"porchlight/server/matrix"
	"porchlight/server/panel"
	"porchlight/server/web"
	"porchlight/voip/agent"
)

// doorkeeper shows the accounts to package web, which must not know them.
type doorkeeper struct {
	accounts *accounts.Keeper
	services *appservice.Keeper
}

// Authenticate implements web.Authenticator.
func (d doorkeeper) Authenticate(r kv.Reader, token string, now time.Time) (web.Requester, error) {
	if s := d.services.ByToken(token); s != nil {
		return web.Requester{User: s.Sender, Service: s.ID, Unlimited: true}, nil
	}
	s, err := d.accounts.Authenticate(r, token, now)
	if err != nil {
		return web.Requester{}, err
	}
	return web.Requester{User: s.User, Device: s.Device, Guest: s.Guest, Owner: s.Owner, Locked: s.Locked, Suspended: s.Suspended}, nil
}

// Assert is web.Config.Assert. Whoever acts for a user has none of the rights that the user
// has over the house.
func (d doorkeeper) Assert(r kv.Reader, who web.Requester, user matrix.UserID, device matrix.DeviceID) (web.Requester, error) {
	s := d.services.Service(who.Service)
	if s == nil {
		return who, matrix.UnknownToken(false)
	}
	user, err := d.services.Assert(r, s, user, device)
	if err != nil {
		return who, err
	}
	row, _ := d.accounts.User(r, user)
	return web.Requester{
		User: user, Device: device, Locked: row.Locked, Suspended: row.Suspended,
		Service: s.ID, Unlimited: user == s.Sender || !s.RateLimited,
	}, nil
}

// Exempt is web.Config.Exempt.
func (d doorkeeper) Exempt(token string) bool {
	s := d.services.ByToken(token)
	return s != nil && !s.RateLimited
}

// Seen is web.Config.Seen.
func (d doorkeeper) Seen(who web.Requester, ip string, now time.Time) {
	d.accounts.Seen(who.User, who.Device, ip, now)
}

// Answer implements web.OnceStore.
func (d doorkeeper) Answer(r kv.Reader, k web.OnceKey) ([]byte, bool) {
	return d.accounts.Answer(r, k.User, k.Device, k.PathHash)
}

// Remember implements web.OnceStore.
func (d doorkeeper) Remember(tx *kv.WriteTx, k web.OnceKey, answer []byte, now time.Time) {
	d.accounts.Remember(tx, k.User, k.Device, k.PathHash, answer, now)
}

// profiles shows the accounts to package rooms.
type profiles struct{ accounts *accounts.Keeper }

// MemberProfile implements rooms.Profiles.
func (p profiles) MemberProfile(r kv.Reader, user matrix.UserID) (displayName, avatarURL string) {
	return p.accounts.DisplayProfile(r, user)
}

// UserExists implements rooms.Profiles.
func (p profiles) UserExists(r kv.Reader, user matrix.UserID) bool { return p.accounts.Exists(r, user) }

// InvitesBlocked implements rooms.People (spec: client-server API,
// m.invite_permission_config).
func (p profiles) InvitesBlocked(r kv.Reader, user matrix.UserID) bool {
	raw, _ := p.accounts.AccountData(r, user, "", accounts.TypeInvitePermission)
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return false
	}
	action, _ := content.Text("default_action")
	return action == "block"
}

// IsGuest implements rooms.People.
func (p profiles) IsGuest(r kv.Reader, user matrix.UserID) bool {
	row, _ := p.accounts.User(r, user)
	return row.Guest
}

// Ignored implements rooms.People.
func (p profiles) Ignored(r kv.Reader, user matrix.UserID) map[matrix.UserID]bool {
	raw, _ := p.accounts.AccountData(r, user, "", "m.ignored_user_list")
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

// panel is the page, with what it shows of the house.
func (s *Server) panel() (*panel.Panel, error) {
	c := panel.Config{
		DB: s.DB, Setup: s.Setup, Accounts: s.Accounts, Push: s.Push, Now: s.Config.Now,
		Gateway: s.ownGateway, Topics: cmp.Or(s.Config.Push.Topics, TopicsSecret),
		Version: Version(), PublicURL: strings.TrimSuffix(s.Config.PublicURL, "/"), Registration: s.Config.Registration,
		OwnerMade: s.MakeOwner,
		Address:   s.URL,
		Secure:    s.SecureURLs,
		Trust:     s.network.page != nil,
	}
	if s.board != nil {
		c.BoardUser, c.About = s.BoardUser(), s.BoardAbout
		c.Ring = s.Ring
		c.Calls = func() any { return append([]agent.CallStatus{}, s.BoardStatus()...) } // [], never null
	}
	return panel.New(c)
}
