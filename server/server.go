package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"porchlight/kv"
	"porchlight/media"
	"porchlight/server/accounts"
	"porchlight/server/appservice"
	"porchlight/server/changes"
	"porchlight/server/clientapi"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/history"
	"porchlight/server/mail"
	"porchlight/server/notices"
	"porchlight/server/ntfy"
	"porchlight/server/push"
	"porchlight/server/reports"
	"porchlight/server/rooms"
	"porchlight/server/search"
	"porchlight/server/setup"
	"porchlight/server/slidingsync"
	"porchlight/server/syncv2"
	"porchlight/server/web"
	"porchlight/voip/agent"
)

// Server is the whole house. Its keepers are exported for the commands and the tests.
type Server struct {
	Config    Config
	DB        *kv.DB
	Setup     *setup.Keeper
	Changes   *changes.Keeper
	Accounts  *accounts.Keeper
	Rooms     *rooms.Keeper
	Ephemeral *ephemeral.Keeper
	History   *history.Keeper
	Search    *search.Keeper
	E2EE      *e2ee.Keeper
	Push      *push.Keeper
	Media     *media.Keeper
	Notices   *notices.Keeper
	Reports   *reports.Keeper
	Services  *appservice.Keeper
	Handler   http.Handler // all doors
	topics    *ntfy.Server
	board     *board // nil: there is none
	// boardSettings is there also while the house does not run; nil: there is no board.
	boardSettings *agent.Store
	boardJournal  *agent.Journal
	restoring     sync.Mutex // guards the beginning of an incarnation
	closing       chan struct{}
	closeOnce     sync.Once
	ready         chan struct{} // closed once the doors are open
	network       network
	servicesAbout []string       // what is wrong with registrations
	listeners     []net.Listener // HTTP
	secure        []net.Listener // HTTPS
	control       net.Listener   // a Unix socket in the data folder
	connections   *web.Connections
	readOnly      bool // from the start on: the disk takes no writes
	space         *space
	runners       []runner
}

// runner is a part that runs until its context ends.
type runner struct {
	name string
	run  func(context.Context) error
	// first is for who is told first that the house stops, while everything else still works
	// and clients still hear what it has to say.
	first bool
}

// New opens the data and makes every part, but opens no door and starts nothing: that is
// Run's. Close it when it is not needed any more.
func New(ctx context.Context, c Config) (*Server, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, err
	}
	if err := warnOfOpenFolder(c); err != nil {
		return nil, err
	}
	s := &Server{
		Config: c, closing: make(chan struct{}), ready: make(chan struct{}),
		connections: web.NewConnections(c.Limits.RequestLimits, c.TrustProxy, c.Log, c.Now),
	}
	if err := unfinishedRestore(c.Data); err != nil {
		return nil, err
	}
	db, err := kv.Open(kv.Options{Path: c.dbFile(), Log: c.Log, Now: c.Now, Probe: c.AfterFault})
	if err != nil {
		return nil, storageFault(err)
	}
	s.DB, s.readOnly = db, db.Unwritable() != nil
	if err := removeLeftovers(c.Data); err != nil {
		c.Log.Warn("what a killed command left in the data folder cannot be removed", "error", err)
	}
	if err := s.keepers(ctx); err != nil {
		return nil, storageFault(errors.Join(err, db.Close()))
	}
	for _, step := range []func() error{
		func() error { return s.openBoard(ctx) }, func() error { return s.readServices(ctx) },
		func() error { return s.openNetwork(ctx) }, func() error { return s.doors(ctx) },
	} {
		if err := step(); err != nil {
			return nil, storageFault(errors.Join(err, s.Close()))
		}
	}
	return s, nil
}

// warnOfOpenFolder says so where others may write into the data folder: they could put another
// database or control socket there. The owner may have meant it, so it is not changed.
func warnOfOpenFolder(c Config) error {
	const writableByOthers = 0o022
	st, err := os.Stat(c.Data)
	if err != nil {
		return err
	}
	if mode := st.Mode().Perm(); mode&writableByOthers != 0 && !c.dataOnly {
		c.Log.Warn("other users of this machine can write into the data folder, and so take the server over; chmod 700 ends that",
			"folder", c.Data, "mode", mode)
	}
	return nil
}

// keepers makes those that own tables, each after those that it asks.
func (s *Server) keepers(ctx context.Context) (err error) {
	c := s.Config
	identity := setup.Config{DB: s.DB, ServerName: c.ServerName, FirstName: machineName()}
	if c.existing {
		identity.FirstName, identity.Existing = "", true
	}
	s.Setup, err = setup.New(ctx, identity)
	if err != nil {
		return err
	}
	if s.Changes, err = changes.New(ctx, s.DB); err != nil {
		return err
	}
	if c.RateLimitsOff {
		c.People.LoginTokenEvery = -1
	}
	s.Accounts = accounts.New(accounts.Config{
		DB: s.DB, Setup: s.Setup, Changes: s.Changes, Now: c.Now, Log: c.Log, Hashing: c.Hashing,
		LoginTokenLife: c.People.LoginTokenLife, LoginTokenEvery: c.People.LoginTokenEvery,
		GuestLife:       c.People.guestLife(),
		AccessTokenLife: c.People.AccessTokenLife,
		MaxAccountData:  c.Limits.AccountData, MaxDevices: c.Limits.Devices,
	})
	keyID, key := s.Setup.SigningKey()
	s.Rooms = rooms.New(rooms.Config{
		DB: s.DB, Changes: s.Changes, Profiles: profiles{s.Accounts}, People: s.Accounts,
		Server: s.Setup.ServerName(), KeyID: keyID, Key: key, DefaultVersion: c.RoomVersion, Log: c.Log, Now: c.Now,
		MaxState: c.Limits.RoomState,
	})
	s.History = history.New(history.Config{Rooms: s.Rooms})
	s.Search = search.New(search.Config{DB: s.DB, Changes: s.Changes, Rooms: s.Rooms})
	s.Ephemeral = ephemeral.New(ephemeral.Config{DB: s.DB, Changes: s.Changes, Rooms: s.Rooms, Now: c.Now})
	s.E2EE = e2ee.New(e2ee.Config{
		DB: s.DB, Changes: s.Changes, Accounts: s.Accounts, Rooms: s.Rooms, Server: s.Setup.ServerName(),
		MaxInbox: c.Limits.Inbox, MaxBackup: c.Limits.KeyBackup,
	})

	if s.Media, err = media.New(s.mediaConfig()); err != nil {
		return err
	}

	s.Accounts.AddDeviceWitness(s.E2EE)
	s.Accounts.AddProfileWitness(s.Rooms)
	s.Notices = notices.New(notices.Config{DB: s.DB, Setup: s.Setup, Accounts: s.Accounts, Rooms: s.Rooms})
	s.Reports = reports.New(reports.Config{DB: s.DB, Now: c.Now, Witness: s})
	s.Rooms.AddWitness(s.Notices)
	s.Accounts.AddSuspensionWitness(s.Notices)
	s.Rooms.AddWitness(mover{s})
	s.Accounts.AddUserWitness(s.Notices) // before the rooms, which make the user leave
	s.Accounts.AddUserWitness(s.Rooms)
	s.Rooms.AddWitness(s.Ephemeral)
	if err := s.openPush(ctx); err != nil {
		return err
	}
	if s.Services, err = appservice.New(ctx, appservice.Config{
		DB: s.DB, Changes: s.Changes, Accounts: s.Accounts, Rooms: s.Rooms,
		Ephemeral: s.Ephemeral, E2EE: s.E2EE, Client: serviceClient(), Log: c.Log, Now: c.Now,
	}); err != nil {
		return err
	}
	s.openSpace()
	s.runs("database", s.DB.Run)
	s.runs("storage", s.watchStorage)
	s.runs("appservice", s.Services.Run)
	s.runs("control", s.runControl)
	s.runs("accounts", s.Accounts.Run)
	s.runs("sizes of rooms", s.Rooms.RunSizes)
	s.runs("sizes of account data", s.Accounts.RunSizes)
	s.runs("sizes of inboxes", s.E2EE.RunInboxSizes)
	s.runs("sizes of key backups", s.E2EE.RunBackupSizes)
	s.runs("rooms", s.Rooms.Run)
	s.runs("media", s.Media.Run)
	s.runs("search", s.Search.Run)
	s.runs("ephemeral", s.Ephemeral.Run)
	return nil
}

// runs adds a part that Run starts.
func (s *Server) runs(name string, run func(context.Context) error) {
	s.runners = append(s.runners, runner{name: name, run: run})
}

// doors makes the HTTP side.
func (s *Server) doors(ctx context.Context) error {
	c := s.Config
	_, key := s.Setup.SigningKey()
	seal := changes.NewSeal(key.Seed())
	views := syncv2.New(syncv2.Config{
		DB: s.DB, Changes: s.Changes, Rooms: s.Rooms, History: s.History, Ephemeral: s.Ephemeral,
		Accounts: push.AccountData{Keeper: s.Accounts, Push: s.Push}, Crypto: s.E2EE, Unread: unread{s.Push}, Closing: s.closing,
		Seal: seal, Ahead: s.restored,
	})
	sliding := slidingsync.New(slidingsync.Config{
		DB: s.DB, Changes: s.Changes, Rooms: s.Rooms, History: s.History, Ephemeral: s.Ephemeral,
		Accounts: push.AccountData{Keeper: s.Accounts, Push: s.Push}, Crypto: s.E2EE, Closing: s.closing, Now: c.Now,
		Seal: seal, Ahead: s.restored,
	})
	people := &c.People
	terms, err := people.terms()
	if err != nil {
		return err
	}
	conf := clientapi.Config{
		DB: s.DB, Accounts: s.Accounts, Rooms: s.Rooms, History: s.History, Search: s.Search, Ephemeral: s.Ephemeral,
		E2EE: s.E2EE, Push: s.Push, Sync: views, Sliding: sliding, Media: s.Media, Reports: s.Reports, Notices: s.Notices, Services: s.Services,
		Registration: clientapi.Registration(c.Registration), SharedSecret: c.SharedSecret,
		PublicURL: strings.TrimSuffix(c.PublicURL, "/"), EncryptionHint: c.EncryptionHint, RoomVersion: c.RoomVersion,
		MediaElsewhere: strings.TrimSuffix(c.Media.Elsewhere, "/"),
		Guests:         people.Guests, Terms: terms, RegistrationEmail: clientapi.EmailUse(people.RegistrationEmail),
		NextLinkHosts: people.NextLinkHosts, Support: people.Support, PolicyKey: people.PolicyKey, Log: c.Log,
		AllUsers: people.Directory == "all" || people.Directory == "" && c.Registration != RegistrationOpen,
		Turn:     s.turnServer,
	}
	if s.board != nil {
		conf.BoardUser = s.BoardUser()
	}
	if people.Mail.Host != "" {
		if conf.Mail, err = mail.New(people.Mail); err != nil {
			return err
		}
	}
	api := clientapi.New(conf)
	page, err := s.panel()
	if err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	if err := s.openTopics(ctx, page.Page); err != nil {
		return err
	}
	page.Page = s.topics
	keeper := doorkeeper{s.Accounts, s.Services, conf.BoardUser}
	handler, err := web.New(web.Config{
		DB: s.DB, Auth: keeper, Once: keeper, Assert: keeper.Assert, Exempt: keeper.Exempt, Log: c.Log, Now: c.Now,
		Seen:   keeper.Seen,
		Limits: c.Limits.RequestLimits, Space: s.space,
		RateLimitsOff: c.RateLimitsOff, TrustProxy: c.TrustProxy, OnInternalError: c.OnInternalError,
		Fallback: s.pages(page.Page),
	}, append(append(api.Routes(), page.Routes()...), s.topics.Routes()...))
	if err != nil {
		return fmt.Errorf("the table of operations: %w", err)
	}
	s.topics.Client = handler.ClientNetwork
	s.Handler = handler
	return nil
}

// Close closes the data. Call it after Run has returned, or without Run.
func (s *Server) Close() error {
	s.stop()
	var err error
	if s.board != nil {
		err = errors.Join(s.board.bridge.Close(), s.board.devices.Close())
		s.board.pins.Close()
	}
	return errors.Join(err, s.Media.Close(), s.DB.Close())
}

// stop tells long polls to answer.
func (s *Server) stop() { s.closeOnce.Do(func() { close(s.closing) }) }
