package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"porchlight/kv"
	"porchlight/server/dialguard"
	"porchlight/server/mail"
	"porchlight/server/matrix"
	"porchlight/server/ntfy"
	"porchlight/server/push"
	"porchlight/server/syncv2"
)

const (
	// gatewayConnect is how long connecting to a push gateway may take, TLS included.
	gatewayConnect = 10 * time.Second
	// maxGatewayHead is the largest head of a push gateway's answer in bytes.
	maxGatewayHead = 32 << 10
	// gatewayIdle is how long a connection to a push gateway is kept without use.
	gatewayIdle = time.Minute
)

// openPush makes the keeper of push rules, counts and pushers.
func (s *Server) openPush() error {
	c := push.Config{
		DB: s.DB, Changes: s.Changes, Accounts: s.Accounts, Rooms: s.Rooms, Ephemeral: s.Ephemeral,
		Client: s.gatewayClient(), Log: s.Config.Log, Now: s.Config.Now,
	}
	if relay := s.Config.People.Mail; relay.Host != "" {
		sender, err := mail.New(relay)
		if err != nil {
			return err
		}
		c.Mail = func(ctx context.Context, to, subject, text string) error {
			return sender.Send(ctx, mail.Message{To: to, Subject: subject, Text: text})
		}
	}
	s.Push = push.New(c)
	s.Rooms.AddWitness(s.Push)
	s.Accounts.AddDeviceWitness(s.Push)
	s.Accounts.AddUserWitness(s.Push)
	s.runs("push", s.Push.Run)
	return nil
}

// gatewayClient asks push gateways: those on the internet, this house itself, and those in
// the household's network if the owner allows it.
func (s *Server) gatewayClient() *http.Client {
	dialer := net.Dialer{Timeout: gatewayConnect, Control: s.mayDial}
	return &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: gatewayConnect, IdleConnTimeout: gatewayIdle,
		MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: maxGatewayHead, ForceAttemptHTTP2: true,
	}}
}

// mayDial is for net.Dialer.Control: it refuses the addresses that a push gateway must not
// have.
func (s *Server) mayDial(network, address string, raw syscall.RawConn) error {
	if s.Config.AllowPrivateNetworks || s.isOurs(address) {
		return nil
	}
	return dialguard.Control(network, address, raw)
}

// isOurs says whether somebody who connects to an address, as "192.0.2.1:8008", reaches this
// very house and not something else on the same machine.
func (s *Server) isOurs(address string) bool {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	ports := map[uint16]bool{}
	if u, err := url.Parse(s.Config.PublicURL); err == nil && u.Host != "" {
		port := uint16(443)
		if u.Scheme == "http" {
			port = 80
		}
		if host, err := netip.ParseAddrPort("[::]:" + u.Port()); err == nil {
			port = host.Port()
		}
		ports[port] = true
	}
	for _, a := range s.Addrs() {
		if tcp, ok := a.(*net.TCPAddr); ok {
			ports[tcp.AddrPort().Port()] = true
		}
	}
	if !ports[to.Port()] {
		return false
	}
	ip := to.Addr().Unmap()
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if own, err := netip.ParsePrefix(a.String()); err == nil && own.Addr() == ip {
			return true
		}
	}
	return false
}

// topics is the push gateway of this house, and the topics that it publishes to; all other
// paths are next's.
func (s *Server) topics(next http.Handler) *ntfy.Server {
	return ntfy.New(ntfy.Config{PublicURL: s.Config.PublicURL, Next: next, Closing: s.closing, Now: s.Config.Now})
}

// unread shows the counts of package push to syncv2.
type unread struct{ push *push.Keeper }

// Unread implements syncv2.Unread.
func (u unread) Unread(r kv.Reader, user matrix.UserID, room matrix.RoomID, apart bool) (syncv2.Counts, map[string]syncv2.Counts) {
	sum, threads := u.push.Unread(r, user, room, apart)
	if threads == nil {
		return syncv2.Counts(sum), nil
	}
	shown := make(map[string]syncv2.Counts, len(threads))
	for thread, n := range threads {
		shown[thread] = syncv2.Counts(n)
	}
	return syncv2.Counts(sum), shown
}
