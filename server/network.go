package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/server/clientapi"
	"porchlight/server/discovery"
	"porchlight/server/matrix"
	"porchlight/server/setup"
	"porchlight/voip/relay"
)

// NetworkConfig is how the house is found, trusted and reached by devices near it. The zero
// value has none of it.
type NetworkConfig struct {
	// LocalName is what the board is called in the network, without ".local"; "auto": what
	// its server name says, or else the machine's own name; empty: it has no such name.
	LocalName string
	// ListenHTTPS are the addresses for HTTPS, beside those for HTTP; empty: none.
	ListenHTTPS []string
	// Turn offers clients the house's own TURN server, for calls that find no direct way.
	Turn bool
	// TurnPort is its UDP and TCP port; 0: any.
	TurnPort int
}

// AutoName is the LocalName that lets the house choose.
const AutoName = "auto"

// turnSecretSize is the size of the secret of TURN credentials in bytes.
const turnSecretSize = 32

// settleTime is how long a greeting waits for the board to have its name: probing takes one
// second, and some three if two boards begin at once.
const settleTime = 4 * time.Second

var (
	authoritySetting  = setup.NewSetting("certificate_authority", discovery.Stored{})
	turnSecretSetting = setup.NewSetting("turn_secret", []byte(nil))
)

// network is the parts that NetworkConfig asks for; each may be nil.
type network struct {
	names  *discovery.Names
	certs  *discovery.Certificates // nil with a certificate of the owner's own
	page   *discovery.Page
	relay  *relay.Relay
	secure *tls.Config // for the listeners for HTTPS
	closed []string    // sentences about addresses for HTTPS that could not be opened
}

// fill sets defaults and checks the rest.
func (c *NetworkConfig) fill(ownCertificate bool) error {
	var listen []string
	for _, addr := range c.ListenHTTPS {
		if addr != "" {
			listen = append(listen, addr)
		}
	}
	c.ListenHTTPS = withHosts(listen)
	if ownCertificate && len(listen) == 0 {
		return errors.New("a TLS certificate is for an address for HTTPS, and there is none")
	}
	if c.TurnPort < 0 || c.TurnPort > 65535 {
		return fmt.Errorf("%d is no port for TURN", c.TurnPort)
	}
	if c.LocalName != "" && c.LocalName != AutoName {
		_, err := discovery.LocalNames(c.LocalName)
		return err
	}
	return nil
}

// openNetwork makes the parts of the network, which need the board for calls.
func (s *Server) openNetwork(ctx context.Context) error {
	if s.Config.dataOnly {
		return nil
	}
	for _, step := range []func(context.Context) error{s.openNames, s.openHTTPS, s.openRelay} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// localName is the label of the name in the network.
func (s *Server) localName() string {
	if name := s.Config.Network.LocalName; name != AutoName && name != "" {
		return name
	}
	for _, full := range []string{serverHost(s.Setup.ServerName()), string(machineName())} {
		label, isLocal := strings.CutSuffix(full, ".local")
		if _, err := discovery.LocalNames(label); err == nil && isLocal {
			return label
		}
	}
	return "porchlight"
}

// serverHost is a server name without its port.
func serverHost(name matrix.ServerName) string {
	host := string(name)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

func (s *Server) openNames(context.Context) (err error) {
	if s.Config.Network.LocalName == "" {
		return nil
	}
	s.network.names, err = discovery.NewNames(discovery.NamesConfig{
		Label: s.localName(), Instance: "Porchlight " + string(s.Setup.ServerName()),
		Services: s.services, Log: s.Config.Log.With("part", "network"),
	})
	if err != nil {
		return err
	}
	s.runs("name", s.network.names.Run)
	return nil
}

// services are those announced under a name. There is no standard for finding Matrix
// servers nearby, so the TXT record says in our own words what a tool may want to know.
func (s *Server) services(name string) []discovery.Service {
	text := [][2]string{{"path", "/"}, {"server_name", string(s.Setup.ServerName())}, {"version", Version()}}
	base := ""
	var all []discovery.Service
	if port := portOf(fromOutside(s.secure)); port != 0 {
		base = "https://" + net.JoinHostPort(name, strconv.Itoa(port))
		all = append(all, discovery.Service{Type: "_https._tcp", Port: port, Text: text})
	}
	if port := portOf(fromOutside(s.listeners)); port != 0 {
		base = cmp.Or(base, "http://"+net.JoinHostPort(name, strconv.Itoa(port)))
		all = append(all, discovery.Service{Type: "_http._tcp", Port: port, Text: text})
	}
	if len(all) > 0 {
		all = append(all, discovery.Service{Type: "_matrix._tcp", Port: all[0].Port, Text: append([][2]string{{"base_url", base}}, text...)})
	}
	return all
}

// portOf is the port of the first of some listeners, 0 if there is none.
func portOf(all []net.Listener) int {
	for _, l := range all {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			return tcp.Port
		}
	}
	return 0
}

// fromOutside are the listeners that other machines can reach: not those bound to a loopback
// address, as behind a proxy.
func fromOutside(all []net.Listener) (reachable []net.Listener) {
	for _, l := range all {
		if ip := boundTo(l); ip == nil || !ip.IsLoopback() {
			reachable = append(reachable, l)
		}
	}
	return reachable
}

// boundTo is the one address that a listener is bound to; nil if it is all of them.
func boundTo(l net.Listener) net.IP {
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		return tcp.IP
	}
	return nil
}

// openHTTPS makes what certificates come from: the owner's files, or the house's authority.
func (s *Server) openHTTPS(ctx context.Context) error {
	c := s.Config
	if len(c.Network.ListenHTTPS) == 0 {
		return nil
	}
	if c.TLSCert != "" {
		files, err := discovery.OpenFiles(c.TLSCert, c.TLSKey, c.Now, c.Log.With("part", "network"))
		if err != nil {
			return err
		}
		s.network.secure = files.TLS()
		return nil
	}
	authority, err := s.authority(ctx)
	if err != nil {
		return fmt.Errorf("the certificate authority: %w", err)
	}
	certs, err := discovery.NewCertificates(discovery.CertificatesConfig{
		Authority: authority, Identity: s.identity, Now: c.Now, Log: c.Log.With("part", "network"),
	})
	if err != nil {
		return err
	}
	if s.network.page, err = discovery.NewPage(authority, s.where); err != nil {
		return err
	}
	s.network.certs, s.network.secure = certs, certs.TLS()
	s.runs("certificates", certs.Run)
	return nil
}

// authority is the stored one, or a new one if there is none that will do.
func (s *Server) authority(ctx context.Context) (a *discovery.Authority, err error) {
	need, names := s.authorityNames()
	now := s.Config.Now()
	var made bool
	err = s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		stored, found, err := setup.Stored(s.Setup, tx, authoritySetting)
		if err != nil {
			return err
		}
		if found {
			if a, err = discovery.OpenAuthority(stored); err != nil {
				return setup.Unusable(authoritySetting, err)
			}
			if a.Serves(now, need) {
				return nil
			}
			s.Config.Log.Warn("the certificate authority does not fit any more: the server has other names, or its dates do not hold. "+
				"A new one is made, which devices have to trust again", "names", need, "begins", a.Begins(), "ends", a.Until())
		}
		if a, err = discovery.NewAuthority(now, s.localName(), names); err != nil {
			return err
		}
		made = true
		if stored, err = a.Store(); err != nil {
			return err
		}
		return setup.Set(s.Setup, tx, authoritySetting, stored)
	})
	if err == nil && made {
		s.Config.Log.Info("made a certificate authority for the house", "fingerprint", a.Fingerprint())
	}
	return a, err
}

// authorityNames lists the DNS names that certificates are needed for, and all that an
// authority is made for: a board whose machine is called otherwise one day does not need
// another authority for that.
func (s *Server) authorityNames() (need, all []string) {
	need, err := discovery.LocalNames(s.localName())
	if err != nil { // fill has checked it
		s.Config.Log.Error("the board's local name", "error", err)
	}
	need = append(need, s.ownHosts()...)
	return need, append(slices.Clone(need), machineHosts()...)
}

// ownHosts are the DNS names that the house was given by its owner.
func (s *Server) ownHosts() (hosts []string) {
	for _, host := range []string{serverHost(s.Setup.ServerName()), s.publicHost()} {
		if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
			hosts = append(hosts, strings.ToLower(host))
		}
	}
	return hosts
}

// publicHost is the host of the configured URL, or "".
func (s *Server) publicHost() string {
	u, err := url.Parse(s.Config.PublicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// machineHosts is what the machine is called by routers with a name service of their own.
func machineHosts() []string {
	host, err := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if _, bad := discovery.LocalNames(host); err != nil || bad != nil || host == "localhost" {
		return nil
	}
	return []string{host}
}

// identity is what certificates have to be good for at the moment.
func (s *Server) identity() discovery.Identity {
	id := discovery.Identity{Names: slices.Concat([]string{s.name().Name}, s.ownHosts(), machineHosts())}
	all, err := net.InterfaceAddrs()
	if err != nil {
		s.Config.Log.Warn("cannot list the network's addresses", "error", err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				id.Addresses = append(id.Addresses, addr)
			}
		}
	}
	return id
}

// name is the board's name now and as it was to be.
func (s *Server) name() (at discovery.Where) {
	if n := s.network.names; n != nil {
		return discovery.Where{Name: n.Name(), Wanted: n.Wanted()}
	}
	local := s.localName() + ".local" // maybe somebody else answers for it
	return discovery.Where{Name: local, Wanted: local}
}

// where is how the house can be reached at the moment.
func (s *Server) where() discovery.Where {
	at := s.name()
	at.Plain, at.Secure = s.URL(), s.SecureURLs()
	return at
}

// SecureURLs are the addresses with TLS that clients reach the house at, the best first;
// none if HTTPS is off or could not be opened. They are there once the house is Ready.
func (s *Server) SecureURLs() []string {
	port := portOf(s.secure)
	if port == 0 {
		return nil
	}
	// An address that nothing listens at must not be shown.
	bound, lan := boundTo(s.secure[0]), lanAddress()
	if bound != nil {
		lan = bound.String()
	}
	var hosts []string
	switch {
	case s.network.certs == nil: // what the owner's own certificate is for, the owner knows
		hosts = append(hosts, cmp.Or(s.publicHost(), serverHost(s.Setup.ServerName())))
	case s.network.names != nil && (bound == nil || !bound.IsLoopback()):
		hosts = append(hosts, s.network.names.Name())
	}
	if s.network.certs != nil && lan != "" {
		hosts = append(hosts, lan)
	}
	var urls []string
	for _, host := range hosts {
		urls = append(urls, "https://"+net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return urls
}

// listenHTTPS opens the addresses for HTTPS. That one cannot be opened is told, and does not
// keep the house from working without.
func (s *Server) listenHTTPS(ctx context.Context) {
	for _, addr := range s.Config.Network.ListenHTTPS {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			s.Config.Log.Error("cannot listen for HTTPS: secure pages, and with them microphones in browsers, do not work there",
				"address", addr, "error", err)
			s.network.closed = append(s.network.closed, fmt.Sprintf("HTTPS is off at %s: %v. Browsers use no microphone without it.", addr, err))
			continue
		}
		s.secure = append(s.secure, tls.NewListener(s.connections.Listen(l), s.network.secure))
	}
}

// pages puts the page about trust before another one.
func (s *Server) pages(other http.Handler) http.Handler {
	trust := s.network.page
	if trust == nil {
		return other
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if trust.Serves(r.URL.Path) {
			trust.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}

// openRelay makes the TURN server.
func (s *Server) openRelay(ctx context.Context) error {
	c := s.Config
	if !c.Network.Turn {
		return nil
	}
	var secret []byte
	err := s.DB.Update(ctx, func(tx *kv.WriteTx) error {
		stored, found, err := setup.Stored(s.Setup, tx, turnSecretSetting)
		if err != nil {
			return err
		}
		if found && len(stored) != turnSecretSize {
			return setup.Unusable(turnSecretSetting, fmt.Errorf("it has %d bytes, want %d", len(stored), turnSecretSize))
		}
		if secret = stored; found {
			return nil
		}
		secret = make([]byte, turnSecretSize)
		rand.Read(secret) // never fails: see crypto/rand
		return setup.Set(s.Setup, tx, turnSecretSetting, secret)
	})
	if err != nil {
		return err
	}
	conf := relay.Config{
		Allowed: s.MayBeRelayed,
		Secret:  secret, Port: c.Network.TurnPort, Loopback: c.Board.Loopback, Log: c.Log.With("part", "relay"), Now: c.Now,
	}
	if s.board != nil {
		conf.Peers = s.board.bridge.Addresses
	}
	if s.network.relay, err = relay.New(conf); err != nil {
		return err
	}
	s.runs("relay", s.network.relay.Run)
	return nil
}

// MayBeRelayed says whether the relay still serves a user who has credentials: they outlive the
// session that asked for them, by which nothing can be read, but not the account.
func (s *Server) MayBeRelayed(user string) (may bool) {
	err := s.DB.View(context.Background(), func(tx *kv.ReadTx) error {
		row, ok := s.Accounts.User(tx, matrix.UserID(user))
		may = ok && !row.Deactivated && !row.Locked
		return nil
	})
	if err != nil {
		s.Config.Log.Error("looking for a user of the relay", "error", err)
	}
	return may && err == nil
}

// turnServer is what a client is told that asked at an address of the house; nil if there is
// no TURN server at the moment.
func (s *Server) turnServer(user matrix.UserID, base string) *clientapi.TurnServer {
	if s.network.relay == nil {
		return nil
	}
	port, open := s.network.relay.Port()
	at, err := url.Parse(cmp.Or(base, s.Config.PublicURL))
	if !open || err != nil || at.Hostname() == "" {
		return nil
	}
	host := net.JoinHostPort(at.Hostname(), strconv.Itoa(port))
	c := s.network.relay.Credentials(string(user))
	return &clientapi.TurnServer{
		URIs:     []string{"turn:" + host + "?transport=udp", "turn:" + host + "?transport=tcp"},
		Username: c.Username, Password: c.Password, TTL: int(c.Lifetime.Seconds()),
	}
}

// RelayStats is what the TURN server counts; false if there is none.
func (s *Server) RelayStats() (relay.Stats, bool) {
	if s.network.relay == nil {
		return relay.Stats{}, false
	}
	return s.network.relay.Stats(), true
}

// relayAbout says in a sentence what the TURN server does; none without it.
func (s *Server) relayAbout() []string {
	st, on := s.RelayStats()
	if !on {
		return nil
	}
	line := fmt.Sprintf("The relay for calls: %d open, %d since the start, %d kB carried; refused: %d for wrong credentials, %d for being too many.",
		st.Allocations, st.Allocated, st.Bytes/1000, st.Unauthorised, st.OverQuota)
	if _, open := s.network.relay.Port(); !open {
		line = "The relay for calls cannot work: its port is taken."
	}
	return []string{line}
}

// networkAbout is how the house is reached with TLS, and relays calls, in plain sentences.
func (s *Server) networkAbout() (lines []string) {
	if n := s.network.names; n != nil {
		select {
		case <-n.Settled():
			if n.Name() != n.Wanted() {
				lines = append(lines, fmt.Sprintf("Another device is called %s already, so this one is %s.", n.Wanted(), n.Name()))
			}
		case <-time.After(settleTime): // no network yet
		case <-s.closing: // the house stops: nobody has to be told
		}
	}
	lines = append(lines, s.network.closed...)
	if urls := s.SecureURLs(); len(urls) > 0 {
		lines = append(lines, "With TLS, which calls from a browser need: "+strings.Join(urls, " or "))
		if s.network.page != nil {
			lines = append(lines, "How devices come to trust that: "+s.URL()+"/trust", "  fingerprint "+s.network.certs.Authority.Fingerprint())
		}
	}
	return lines
}
