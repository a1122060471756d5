package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

// PushConfig is how people are told of what they miss. The zero value is the default.
type PushConfig struct {
	// Gateways are push gateways in private networks that pushers may use, each as "host" or
	// "host:port"; those on the internet, and this house's own, need not be named.
	Gateways []string
	// ActiveDelay is how long a push waits for somebody who is plainly active on another
	// device; 0: push's default, negative: not at all.
	ActiveDelay time.Duration
	// MailAfter is how long something is unread before a mail tells of it, MailEvery the least
	// time between two mails to one address; 0: push's defaults.
	MailAfter, MailEvery time.Duration
	// Topics is who may listen to the topics of this house: TopicsSecret (also if empty),
	// TopicsOpen or TopicsOff.
	Topics string
}

// Who may listen to the topics of the house.
const (
	TopicsSecret = "secret" // devices that have a secret
	TopicsOpen   = "open"   // whoever knows a topic's name
	TopicsOff    = "off"    // there are no topics
)

// check refuses what cannot be.
func (c *PushConfig) check() error {
	if !slices.Contains([]string{"", TopicsSecret, TopicsOpen, TopicsOff}, c.Topics) {
		return fmt.Errorf("topics are %s, %s or %s, not %q", TopicsSecret, TopicsOpen, TopicsOff, c.Topics)
	}
	for _, at := range c.Gateways {
		u, err := url.Parse("//" + at)
		if err != nil || u.Hostname() == "" || u.Host != at {
			return fmt.Errorf("the push gateway %q is neither a host nor host:port", at)
		}
	}
	return nil
}

// openPush makes the keeper of push rules, counts and pushers.
func (s *Server) openPush(ctx context.Context) error {
	c := push.Config{
		OwnGateway: s.isOwnGateway, Contact: "mailto:postmaster@" + serverHost(s.Setup.ServerName()),
		DB: s.DB, Changes: s.Changes, Accounts: s.Accounts, Rooms: s.Rooms, Ephemeral: s.Ephemeral,
		Client: s.gatewayClient(), Log: s.Config.Log, Now: s.Config.Now,
		ActiveDelay: s.Config.Push.ActiveDelay, MailAfter: s.Config.Push.MailAfter, MailEvery: s.Config.Push.MailEvery,
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
	if err := s.Push.OpenKeys(ctx); err != nil {
		return fmt.Errorf("the keys for push services: %w", err)
	}
	s.Rooms.AddWitness(s.Push)
	s.Accounts.AddDeviceWitness(s.Push)
	s.Accounts.AddLogoutWitness(s.Push)
	s.Accounts.AddUserWitness(s.Push)
	s.runs("push", s.Push.Run)
	return nil
}

// gatewayClient asks push gateways: those on the internet, this house itself, and those in
// the household's network that the owner allows.
func (s *Server) gatewayClient() *http.Client {
	guarded := net.Dialer{Timeout: gatewayConnect, Control: s.mayDial}
	open := net.Dialer{Timeout: gatewayConnect}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if s.isNamedGateway(address) {
			return open.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
	return &http.Client{Transport: &gateways{s, &http.Transport{
		DialContext: dial, TLSHandshakeTimeout: gatewayConnect, IdleConnTimeout: gatewayIdle,
		MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: maxGatewayHead, ForceAttemptHTTP2: true,
	}}}
}

// gateways is the way to push gateways. That of this house is asked without a network: a
// board need not find its own name there, nor trust its own certificate.
type gateways struct {
	s    *Server
	away http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g *gateways) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.s.isOwnGateway(r.URL) {
		return g.away.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	answer, err := g.s.topics.Notify(r.URL.Host, body)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)), Request: r,
	}, nil
}

// ownGateway is the address of this house's own push gateway, as the house itself knows it: it
// holds whatever the house is called by others.
func (s *Server) ownGateway() string {
	return fmt.Sprintf("http://localhost:%d%s", portOf(slices.Concat(s.listeners, s.secure)), ntfy.GatewayPath)
}

// isOwnGateway says whether a URL is that of this house's own push gateway.
func (s *Server) isOwnGateway(u *url.URL) bool { return u.Path == ntfy.GatewayPath && s.isOurURL(u) }

// isNamedGateway says whether the owner has named a host, as "host:port", as a push gateway.
func (s *Server) isNamedGateway(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && slices.ContainsFunc(s.Config.Push.Gateways, func(named string) bool {
		return strings.EqualFold(named, address) || strings.EqualFold(strings.Trim(named, "[]"), host)
	})
}

// isOurURL says whether a URL leads to this house, by one of its names or addresses.
func (s *Server) isOurURL(u *url.URL) bool {
	port, host := portOfURL(u), strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if public, err := url.Parse(s.Config.PublicURL); err == nil && public.Host != "" {
		if strings.EqualFold(public.Hostname(), host) && portOfURL(public) == port {
			return true
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return s.isOurs(netip.AddrPortFrom(ip, port).String())
	}
	names := slices.Concat([]string{"localhost", s.name().Name}, s.ownHosts(), machineHosts())
	return slices.ContainsFunc(s.Addrs(), func(a net.Addr) bool {
		tcp, ok := a.(*net.TCPAddr)
		return ok && tcp.AddrPort().Port() == port
	}) && slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
}

// portOfURL is the port of a URL, or that of its scheme; 0 if it is none.
func portOfURL(u *url.URL) uint16 {
	text := u.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
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
		ports[portOfURL(u)] = true
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

// openTopics makes the push gateway of this house, and the topics that it publishes to; all
// other paths are next's.
func (s *Server) openTopics(ctx context.Context, next http.Handler) error {
	c := ntfy.Config{
		Off: s.Config.Push.Topics == TopicsOff, Ours: s.isOurURL, Unlimited: s.Config.RateLimitsOff,
		Next: next, Closing: s.closing, Now: s.Config.Now,
	}
	if s.Config.Push.Topics != TopicsOpen {
		c.Allowed = s.mayUseTopics
	}
	lines, err := s.Push.TopicLines(ctx)
	if err != nil {
		return err
	}
	for _, line := range lines {
		c.Earlier = append(c.Earlier, ntfy.Kept(line))
	}
	c.Keep = func(all func() []ntfy.Kept) {
		s.Push.KeepTopicLines(func() (lines []push.TopicLine) {
			for _, kept := range all() {
				lines = append(lines, push.TopicLine(kept))
			}
			return lines
		})
	}
	s.topics, err = ntfy.New(c)
	return err
}

// mayUseTopics says whether a secret opens topics.
func (s *Server) mayUseTopics(ctx context.Context, secret string, topics []string) bool {
	may, err := s.Push.MayUseTopics(ctx, secret, topics)
	if err != nil && ctx.Err() == nil {
		s.Config.Log.Error("looking for a secret of topics", "error", err)
	}
	return may
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

// Hidden implements syncv2.Unread.
func (u unread) Hidden(r kv.Reader, user matrix.UserID, room matrix.RoomID) bool {
	return u.push.Hidden(r, user, room)
}
