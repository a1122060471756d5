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
	board    matrix.UserID // for whom nobody else acts; empty: there is none
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
	if err == nil && user == d.board && d.board != "" {
		err = matrix.Forbidden("an application service cannot act for the board")
	}
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
func (d doorkeeper) Seen(who web.Requester, ip, agent string, now time.Time) {
	d.accounts.Seen(who.User, who.Device, ip, agent, now)
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
		About:     s.storageAbout,
	}
	if s.board != nil {
		c.BoardUser = s.BoardUser()
		c.About = func() []string { return append(s.storageAbout(), s.BoardAbout()...) }
		c.Ring = s.Ring
		c.Calls = func() any { return append([]agent.CallStatus{}, s.BoardStatus()...) } // [], never null
	}
	return panel.New(c)
}
