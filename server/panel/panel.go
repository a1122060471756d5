package panel

import (
	"context"
	"mime"
	"net/http"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/setup"
	"porchlight/server/web"
)

// maxClaimBody is the largest claim in bytes.
const maxClaimBody = 4 << 10

// maxRingBody is the largest request to ring in bytes.
const maxRingBody = 8 << 10

// maxRingTimeout is the longest that one person is rung.
const maxRingTimeout = 5 * time.Minute

// Config is what a Panel is made of. The functions may be called from any goroutine, and
// those that are nil have nothing to tell.
type Config struct {
	DB       *kv.DB
	Setup    *setup.Keeper
	Accounts *accounts.Keeper
	Push     *push.Keeper
	Now      func() time.Time // nil: time.Now

	Gateway      func() string   // the address of the house's push gateway, as the house sees it
	Topics       string          // who may listen to the house's topics: "secret", "open" or "off"
	Version      string          // of the software
	PublicURL    string          // where clients reach the house; empty: where the browser does
	Address      func() string   // where others in the same network reach it
	Secure       func() []string // where they reach it with TLS, the best first
	Trust        bool            // whether /trust tells how to trust its certificates
	Registration string          // "closed", "token" or "open"
	BoardUser    matrix.UserID   // empty: there is no board
	Calls        func() any      // the board's calls, as JSON shows them
	About        func() []string // what the board has, in plain sentences
	Ring         RingFunc        // has the board ring people
	// OwnerMade is called in the transaction that makes the owner; its error undoes all.
	OwnerMade func(tx *kv.WriteTx, owner matrix.UserID) error
}

// RingFunc has the board ring people, or those of its ring list if there are none, in a
// mode ("all" or "turn") or as set. The error is for whoever asked.
type RingFunc func(ctx context.Context, people []matrix.UserID, mode string, timeout time.Duration) error

// Panel answers for the page and its operations.
type Panel struct {
	Config
	// Page serves the files of the page; it is for what no operation has.
	Page    http.Handler
	started time.Time
}

// New makes a Panel. The error says that the page in the binary is no good.
func New(c Config) (*Panel, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	page, err := newPage(pageFiles)
	if err != nil {
		return nil, err
	}
	return &Panel{Config: c, Page: page, started: c.Now()}, nil
}

// Routes is the table of the panel's own operations.
func (p *Panel) Routes() []web.Route {
	return []web.Route{
		{Op: "porchlightInfo", Method: http.MethodGet, Path: "/_porchlight/info", Access: web.Optional, Handler: web.Read(p.info)},
		{Op: "porchlightClaim", Method: http.MethodPost, Path: "/_porchlight/claim", Access: web.Anyone, RateLimited: true, Limit: web.Login, MaxBody: maxClaimBody, Handler: web.Plain(p.claim)},
		{Op: "porchlightStatus", Method: http.MethodGet, Path: "/_porchlight/status", Access: web.User, Handler: web.Plain(p.status)},
		{Op: "porchlightPush", Method: http.MethodGet, Path: "/_porchlight/push", Access: web.User, Handler: web.Read(p.push)},
		{Op: "porchlightRenewPush", Method: http.MethodPost, Path: "/_porchlight/push/renew", Access: web.Anyone, RateLimited: true, Limit: web.Login, MaxBody: maxRenewBody, Handler: web.Write(p.renewPush)},
		{Op: "porchlightNewSecret", Method: http.MethodPost, Path: "/_porchlight/push/secrets", Access: web.User, RateLimited: true, MaxBody: maxSecretBody, Handler: web.Write(p.newSecret)},
		{Op: "porchlightDeleteSecret", Method: http.MethodDelete, Path: "/_porchlight/push/secrets/{id}", Access: web.User, RateLimited: true, Handler: web.Write(p.deleteSecret)},
		{Op: "porchlightRing", Method: http.MethodPost, Path: "/_porchlight/ring", Access: web.User, RateLimited: true, MaxBody: maxRingBody, Handler: web.Plain(p.ring)},
	}
}

type infoOut struct {
	ServerName   matrix.ServerName `json:"server_name"`
	PublicURL    string            `json:"public_url,omitempty"` // as configured
	Address      string            `json:"address,omitempty"`    // in the network at home
	Secure       string            `json:"secure,omitempty"`     // in the network at home, with TLS
	Trust        bool              `json:"trust,omitempty"`      // /trust tells how to trust that
	Version      string            `json:"version"`
	Claimed      bool              `json:"claimed"`
	Board        bool              `json:"board"`
	BoardUser    matrix.UserID     `json:"board_user,omitempty"`
	Registration string            `json:"registration"`
	Owner        bool              `json:"owner,omitempty"` // whoever asks is the owner
}

// info is what the page needs to know before anybody is signed in; who is signed in
// learns whether the house is theirs.
func (p *Panel) info(c *web.Call, tx *kv.ReadTx, _ web.Empty) (infoOut, error) {
	out := infoOut{
		ServerName: p.Setup.ServerName(), PublicURL: p.PublicURL, Version: p.Version, Claimed: p.Setup.Owner(tx) != "",
		Board: p.BoardUser != "", BoardUser: p.BoardUser, Registration: p.Registration, Owner: c.Owner,
	}
	if p.Address != nil {
		out.Address = p.Address()
	}
	if p.Secure != nil {
		if all := p.Secure(); len(all) > 0 {
			out.Secure, out.Trust = all[0], p.Trust
		}
	}
	return out, nil
}

type claimIn struct {
	Code        string `json:"code" required:"true"`
	Username    string `json:"username" required:"true"` // a localpart, or a full user ID of this house
	Password    string `json:"password" required:"true"`
	DisplayName string `json:"display_name"`
}

type claimOut struct {
	UserID matrix.UserID `json:"user_id"`
}

// claim makes the owner's account for whoever knows the claim's code. Logging in is the
// page's next step, by the same operation as any client's.
func (p *Panel) claim(c *web.Call, in claimIn) (out claimOut, err error) {
	// A page of another site can send anything but this type without asking first.
	if kind, _, err := mime.ParseMediaType(c.R.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return out, matrix.Refusal(http.StatusUnsupportedMediaType, "M_NOT_JSON", "a claim has to be sent with the content type application/json")
	}
	from := accounts.Network(c.IP)
	if err := p.Setup.CheckClaim(in.Code, from); err != nil {
		return out, err
	}
	localpart := p.localpart(in.Username)
	if localpart == "" {
		return out, matrix.InvalidUsername("a user name is needed")
	}
	err = p.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		_, err := p.Accounts.Available(tx, localpart)
		return err
	})
	if err != nil {
		return out, err
	}
	hash, err := p.Accounts.HashPassword(c.Ctx, in.Password, localpart, accounts.Asker{IP: c.IP})
	if err != nil {
		return out, err
	}
	err = p.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		user, err := p.Accounts.Create(tx, accounts.NewUser{
			Localpart: localpart, PasswordHash: hash, DisplayName: strings.TrimSpace(in.DisplayName), Admin: true,
		})
		if err != nil {
			return err
		}
		if err := p.Setup.Claim(tx, in.Code, from, user); err != nil {
			return err
		}
		out.UserID = user
		if p.OwnerMade == nil {
			return nil
		}
		return p.OwnerMade(tx, user)
	})
	return out, err
}

// localpart is the part of a name that is the person's own: people type "@ada:house" as
// well as "ada".
func (p *Panel) localpart(name string) string {
	name = strings.TrimPrefix(strings.TrimSpace(name), "@")
	return strings.TrimSuffix(name, ":"+string(p.Setup.ServerName()))
}

type statusOut struct {
	Version       string   `json:"version"`
	UptimeSeconds int64    `json:"uptime_s"`
	DatabaseBytes int64    `json:"database_bytes"`
	Users         int      `json:"users"`
	Calls         any      `json:"calls"`
	About         []string `json:"about"`
}

// status is how the house does, for its owner.
func (p *Panel) status(c *web.Call, _ web.Empty) (out statusOut, err error) {
	if !c.Owner {
		return out, matrix.Forbidden("only the owner of the house may see how it does")
	}
	out = statusOut{Version: p.Version, UptimeSeconds: int64(c.Now.Sub(p.started).Seconds()), Calls: []string{}, About: []string{}}
	if out.DatabaseBytes, err = p.DB.Size(); err != nil {
		return out, err
	}
	err = p.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		for user, row := range p.Accounts.Users(tx) {
			if !row.Deactivated && user != p.BoardUser {
				out.Users++
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	if p.Calls != nil {
		out.Calls = p.Calls()
	}
	if p.About != nil {
		out.About = p.About()
	}
	return out, nil
}

type ringIn struct {
	People []matrix.UserID `json:"people"` // none: the ring list
	// Mode is "all" or "turn"; empty: as set.
	Mode    string `json:"mode"`
	Timeout int64  `json:"timeout"` // milliseconds for each; 0: as set
}

// ring is the door's button for the owner's own automations.
func (p *Panel) ring(c *web.Call, in ringIn) (web.Empty, error) {
	switch {
	case !c.Owner:
		return web.Empty{}, matrix.Forbidden("only the owner of the house may have the board ring")
	case p.Ring == nil:
		return web.Empty{}, matrix.NotFound("there is no board that could ring")
	case in.Mode != "" && in.Mode != "all" && in.Mode != "turn":
		return web.Empty{}, matrix.InvalidParam("the mode is all or turn")
	case in.Timeout < 0 || in.Timeout > maxRingTimeout.Milliseconds():
		return web.Empty{}, matrix.InvalidParam("the timeout is out of range: milliseconds, up to five minutes")
	}
	return web.Empty{}, p.Ring(c.Ctx, in.People, in.Mode, time.Duration(in.Timeout)*time.Millisecond)
}
