package bridge

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"

	"porchlight/voip/pionlog"
)

const (
	// bindAttempts is how often another number is tried if the system's choice for
	// one address is taken on another.
	bindAttempts = 20
	// tcpReadQueue is how many packets a TCP candidate may have waiting.
	tcpReadQueue = 64
	// tcpWriteBuffer bounds what waits for a slow TCP peer, in bytes.
	tcpWriteBuffer = 1 << 20
)

// ports is one UDP port on each address, behind one mux each, since a mux on the
// unspecified address ignores which interfaces may be used; and a TCP port of the
// same number. Addresses that come and go are followed by refresh.
//
// It is an ice.UDPMux.
type ports struct {
	cfg     Config
	log     *slog.Logger
	number  int
	tcp     net.Listener // nil without TCP
	tcpMux  *ice.TCPMuxDefault
	paths   failover
	factory logging.LoggerFactory

	mu      sync.Mutex
	started bool
	conns   map[netip.Addr]net.PacketConn
	muxes   map[netip.Addr]*ice.UDPMuxDefault
	refused map[netip.Addr]bool // those on which the port cannot be opened
}

// bind opens the ports, without any goroutine yet.
func bind(cfg Config) (*ports, error) {
	p := &ports{
		cfg: cfg, log: cfg.Log, factory: pionlog.New(cfg.Log),
		conns: map[netip.Addr]net.PacketConn{}, muxes: map[netip.Addr]*ice.UDPMuxDefault{},
		refused: map[netip.Addr]bool{}, paths: failover{dead: map[string]bool{}},
	}
	var err error
	for range bindAttempts {
		if err = p.tryBind(cfg.Port); err == nil || cfg.Port != 0 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bridge: opening the media ports: %w", err)
	}
	return p, nil
}

func (p *ports) tryBind(number int) error {
	addrs, err := p.addresses()
	if err != nil {
		return err
	}
	if !p.cfg.NoTCP {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: number})
		if err != nil {
			return err
		}
		p.tcp = newTCPListener(l)
		number = l.Addr().(*net.TCPAddr).Port
	}
	for _, a := range addrs {
		conn, err := p.listenUDP(a, number)
		if err != nil {
			p.closeSockets()
			return err
		}
		number = conn.LocalAddr().(*net.UDPAddr).Port
		p.conns[a] = conn
	}
	p.number = number
	return nil
}

func (p *ports) listenUDP(a netip.Addr, port int) (net.PacketConn, error) {
	at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(port)))
	if p.cfg.net != nil {
		return p.cfg.net.ListenUDP("udp", at)
	}
	return net.ListenUDP("udp", at)
}

// addresses lists those that peers may be told.
func (p *ports) addresses() ([]netip.Addr, error) {
	var list []netip.Addr
	err := p.eachInterface(func(i net.Interface, addrs func() ([]net.Addr, error)) {
		if i.Flags&net.FlagUp == 0 || !p.useInterface(i.Name) {
			return
		}
		all, err := addrs()
		if err != nil {
			return // the interface went away meanwhile
		}
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && p.useIP(n.IP) {
				if addr, ok := netip.AddrFromSlice(n.IP); ok {
					list = append(list, addr.Unmap())
				}
			}
		}
	})
	return list, err
}

// eachInterface shows the network's interfaces, each with what lists its addresses.
func (p *ports) eachInterface(see func(net.Interface, func() ([]net.Addr, error))) error {
	if p.cfg.net != nil {
		all, err := p.cfg.net.Interfaces()
		for _, i := range all {
			see(i.Interface, i.Addrs)
		}
		return err
	}
	all, err := net.Interfaces()
	for _, i := range all {
		see(i, i.Addrs)
	}
	return err
}

func (p *ports) useInterface(name string) bool {
	return len(p.cfg.Interfaces) == 0 || slices.Contains(p.cfg.Interfaces, name)
}

// useIP leaves out link-local addresses, which mean nothing without a zone.
func (p *ports) useIP(ip net.IP) bool {
	return !ip.IsLinkLocalUnicast() && !ip.IsMulticast() && (p.cfg.Loopback || !ip.IsLoopback())
}

// start puts the muxes, each of which has a goroutine, on the sockets.
func (p *ports) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	for a, conn := range p.conns {
		p.muxes[a] = p.newMux(conn)
	}
	if p.tcp != nil {
		p.tcpMux = ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener: p.tcp, Logger: p.factory.NewLogger("tcp"),
			ReadBufferSize: tcpReadQueue, WriteBufferSize: tcpWriteBuffer,
		})
	}
}

func (p *ports) newMux(conn net.PacketConn) *ice.UDPMuxDefault {
	return ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: p.factory.NewLogger("udp")})
}

// refresh follows the addresses of the machine: a board often starts before its
// network does, and keeps running when the router gives it another address.
//
// It returns the addresses that can be used now, and whether some of them have come or gone.
func (p *ports) refresh() (now []netip.Addr, more, less bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addrs, err := p.addresses()
	if err != nil {
		p.log.Warn("bridge: cannot list the network's addresses", "error", err)
		return slices.Collect(maps.Keys(p.muxes)), false, false
	}
	maps.DeleteFunc(p.refused, func(a netip.Addr, _ bool) bool { return !slices.Contains(addrs, a) })
	for a, mux := range p.muxes {
		if !slices.Contains(addrs, a) {
			if err := mux.Close(); err != nil {
				p.log.Debug("bridge: closing the port of an address that is gone", "error", err)
			}
			delete(p.muxes, a)
			delete(p.conns, a)
			less = true
		}
	}
	for _, a := range addrs {
		if p.muxes[a] != nil {
			continue
		}
		conn, err := p.listenUDP(a, p.number)
		if err != nil { // an address of IPv6 is not ours yet at first
			if !p.refused[a] {
				p.log.Warn("bridge: cannot open the media port on a new address", "address", a, "error", err)
			}
			p.refused[a] = true
			continue
		}
		delete(p.refused, a)
		p.conns[a] = conn
		p.muxes[a] = p.newMux(conn)
		more = true
	}
	return slices.Collect(maps.Keys(p.muxes)), more, less
}

// stop closes what start made, and waits for it.
func (p *ports) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, mux := range p.muxes {
		err = errors.Join(err, mux.Close())
	}
	if p.tcpMux != nil {
		err = errors.Join(err, p.tcpMux.Close())
	}
	if err != nil {
		p.log.Debug("bridge: closing the ports", "error", err)
	}
	p.closeSockets()
}

// abandon frees the sockets of a bridge that never ran.
func (p *ports) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		p.closeSockets()
	}
}

// closeSockets closes what may have been closed with its mux already; an error
// says no more than that.
func (p *ports) closeSockets() {
	for a, conn := range p.conns {
		_ = conn.Close()
		delete(p.conns, a)
	}
	if p.tcp != nil {
		_ = p.tcp.Close()
	}
}

// GetConn is that of ice.UDPMux.
func (p *ports) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("bridge: %s is no UDP address", addr)
	}
	p.mu.Lock()
	mux := p.muxes[udp.AddrPort().Addr().Unmap()]
	p.mu.Unlock()
	if mux == nil {
		return nil, fmt.Errorf("bridge: no port on %s", addr)
	}
	return mux.GetConn(ufrag, addr)
}

// RemoveConnByUfrag is that of ice.UDPMux.
func (p *ports) RemoveConnByUfrag(ufrag string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mux := range p.muxes {
		mux.RemoveConnByUfrag(ufrag)
	}
}

// GetListenAddresses is that of ice.UDPMux.
func (p *ports) GetListenAddresses() []net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []net.Addr
	for _, mux := range p.muxes {
		list = append(list, mux.GetListenAddresses()...)
	}
	return list
}

// Close is that of ice.UDPMux. The ports outlive each peer connection.
func (p *ports) Close() error { return nil }
