package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/turn/v5"

	"porchlight/voip/pionlog"
)

const (
	// DefaultPort is the number that TURN is registered under.
	DefaultPort = 3478
	// DefaultPerUser is how many allocations a user may have at once. A browser asks for
	// one per network interface and transport, and again when it restarts ICE.
	DefaultPerUser = 32
	// DefaultTotal is how many there may be in all.
	DefaultTotal = 128
	// minSecret is the shortest secret in bytes.
	minSecret = 16
	// scanEvery is how often the machine's addresses are looked through.
	scanEvery = 5 * time.Second
	// numberAttempts is how many numbers are tried until one is free on all addresses.
	numberAttempts = 20
)

// Config says how a Relay is to work. Only Secret is required.
type Config struct {
	// Secret is what credentials are made with: at least 16 random bytes, the same
	// after a restart.
	Secret []byte
	// Port is the number of the UDP and TCP ports; 0 takes any.
	Port int
	// Peers lists the ports of the board's own calls; nil: there are none. It may be
	// called from any goroutine.
	Peers func() []netip.AddrPort
	// Loopback also serves the addresses of the loopback interface: for tests.
	Loopback bool
	// PerUser and Total bound the allocations at once; 0: DefaultPerUser, DefaultTotal.
	PerUser, Total int
	// Log takes what happens; nil discards it.
	Log *slog.Logger
	// Allowed says whether a user may still be relayed, at each request; nil: all may.
	Allowed func(user string) bool
	// Now is the clock of credentials; nil is time.Now.
	Now func() time.Time
}

// Stats is what a Relay counts, from its start on unless said otherwise.
type Stats struct {
	Allocations    int    // open now
	TCPConnections int    // open now
	Allocated      uint64 // allocations made
	Unauthorised   uint64 // requests with credentials that are not good
	OverQuota      uint64 // allocations refused because there were too many
	PeersRefused   uint64 // permissions refused
	Packets, Bytes uint64 // relayed, both ways
	Dropped        uint64 // packets from or to whom no call goes
}

// Relay is the TURN server. It opens nothing before its Run.
type Relay struct {
	cfg   Config
	log   *slog.Logger
	ready chan struct{} // closed once Run has opened what can be opened
	gates gates
	// owners knows whose the allocations are.
	owners owners

	mu      sync.Mutex
	port    int
	doors   map[netip.Addr]*door
	failing map[netip.Addr]bool // those that could not be opened, told already
	peers   map[netip.AddrPort]bool
	local   []netip.Addr
	relays  map[netip.AddrPort]*allocation
	users   map[string]int // allocations of each
	stats   Stats
	idle    *sync.Cond // allocations and connections became fewer
}

// door is the server on one address.
type door struct {
	server *turn.Server
	tcp    *listener
}

// New makes a Relay. The error says what is wrong with the Config.
func New(cfg Config) (*Relay, error) {
	if len(cfg.Secret) < minSecret {
		return nil, fmt.Errorf("relay: a secret of %d bytes is too short: %d are needed", len(cfg.Secret), minSecret)
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		return nil, fmt.Errorf("relay: %d is no port", cfg.Port)
	}
	if cfg.PerUser <= 0 {
		cfg.PerUser = DefaultPerUser
	}
	if cfg.Total <= 0 {
		cfg.Total = DefaultTotal
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Relay{
		cfg: cfg, log: cfg.Log, ready: make(chan struct{}), port: cfg.Port,
		doors: map[netip.Addr]*door{}, failing: map[netip.Addr]bool{},
		relays: map[netip.AddrPort]*allocation{}, users: map[string]int{},
	}
	r.idle = sync.NewCond(&r.mu)
	return r, nil
}

// Ready is closed once Run has opened its ports, as far as they can be opened.
func (r *Relay) Ready() <-chan struct{} { return r.ready }

// Port is the number of the ports in use, and whether any is open. It is not while another
// program has them: then Run keeps trying.
func (r *Relay) Port() (int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.port, len(r.doors) > 0
}

// Stats is what was counted so far.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Allocations = len(r.relays)
	s.TCPConnections = r.gates.open()
	s.Packets, s.Bytes, s.Dropped = r.gates.packets.Load(), r.gates.bytes.Load(), r.gates.dropped.Load()
	return s
}

// Run serves until ctx ends. All allocations are gone when it returns.
func (r *Relay) Run(ctx context.Context) error {
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	defer r.closeAll()
	r.scan()
	close(r.ready)
	for {
		select {
		case <-tick.C:
			r.scan()
		case <-ctx.Done():
			return nil
		}
	}
}

// scan opens doors on addresses that came and closes those on addresses that went.
func (r *Relay) scan() {
	have, err := addresses(r.cfg.Loopback)
	if err != nil {
		r.log.Warn("relay: cannot list the network's addresses", "error", err)
		return
	}
	r.refreshPeers(have)
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, d := range r.doors {
		if !slices.Contains(have, addr) {
			delete(r.doors, addr)
			r.closeDoor(d)
		}
	}
	maps.DeleteFunc(r.failing, func(a netip.Addr, _ bool) bool { return !slices.Contains(have, a) })
	if r.cfg.Port == 0 && len(r.doors) == 0 {
		r.chooseNumber(have)
	}
	for _, addr := range have {
		if r.doors[addr] != nil {
			continue
		}
		d, err := r.openDoor(addr)
		if err != nil {
			if !r.failing[addr] {
				r.failing[addr] = true
				r.log.Warn("relay: cannot open the TURN port, and will try again", "address", addr, "port", r.port, "error", err)
			}
			continue
		}
		delete(r.failing, addr)
		r.doors[addr] = d
	}
}

// chooseNumber opens all doors on one number that is free on every address, where any number
// will do. One that the system gives for an address may be taken on another. r.mu is held.
func (r *Relay) chooseNumber(have []netip.Addr) {
	for range numberAttempts {
		r.port = 0
		for _, addr := range have {
			d, err := r.openDoor(addr)
			if err != nil {
				r.log.Debug("relay: a number is taken on another address", "address", addr, "port", r.port, "error", err)
				break
			}
			r.doors[addr] = d
		}
		if len(r.doors) == len(have) {
			return
		}
		for addr, d := range r.doors {
			delete(r.doors, addr)
			r.closeDoor(d)
		}
	}
	r.port = 0
}

// openDoor binds both ports of one address and serves them; r.mu is held.
func (r *Relay) openDoor(addr netip.Addr) (*door, error) {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(r.port))))
	if err != nil {
		return nil, err
	}
	number := udp.LocalAddr().(*net.UDPAddr).Port
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(number))))
	if err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	d := &door{tcp: &listener{TCPListener: tcp, gates: &r.gates, r: r}}
	from := &generator{r: r, addr: addr}
	d.server, err = turn.NewServer(turn.ServerConfig{
		Realm: realm, AuthHandler: r.authenticate, QuotaHandler: r.quota, LoggerFactory: pionlog.New(r.log),
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: &screenedUDP{PacketConn: udp, screen: screen{r: r, local: udp.LocalAddr()}}, RelayAddressGenerator: from, PermissionHandler: r.permit}},
		ListenerConfigs:   []turn.ListenerConfig{{Listener: d.tcp, RelayAddressGenerator: from, PermissionHandler: r.permit}},
		EventHandler:      r.events(),
	})
	if err != nil {
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	r.port = number
	return d, nil
}

// closeDoor ends what goes on behind a door; pion's goroutines then close the allocations.
func (r *Relay) closeDoor(d *door) {
	if err := d.server.Close(); err != nil {
		r.log.Debug("relay: closing a port", "error", err)
	}
	d.tcp.closeConnections()
}

// closeAll closes the doors and waits until nothing of what was behind them is left.
func (r *Relay) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, d := range r.doors {
		delete(r.doors, addr)
		r.closeDoor(d)
	}
	for len(r.relays) > 0 {
		r.idle.Wait()
	}
	r.gates.wait()
}

// addresses lists those of this machine that others can use. Link-local ones mean nothing
// without a zone.
func addresses(loopback bool) ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLinkLocalUnicast() || n.IP.IsMulticast() || n.IP.IsLoopback() && !loopback {
			continue
		}
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			list = append(list, addr.Unmap())
		}
	}
	return list, nil
}
