package relay

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/pion/turn/v5"
)

var (
	errQuota = errors.New("relay: too many allocations")
	errTCP   = errors.New("relay: peers are reached by UDP only")
)

// generator opens the sockets of allocations that are asked for at one address.
//
// It is a turn.RelayAddressGenerator.
type generator struct {
	r    *Relay
	addr netip.Addr
}

// Validate implements turn.RelayAddressGenerator.
func (g *generator) Validate() error { return nil }

// AllocateListener implements turn.RelayAddressGenerator.
func (g *generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errTCP
}

// AllocateConn implements turn.RelayAddressGenerator.
func (g *generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errTCP }

// AllocatePacketConn implements turn.RelayAddressGenerator. The socket is on the address
// that the client asked at, or on another one if it wants the other family.
func (g *generator) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	addr, err := g.address(strings.HasSuffix(c.Network, "6"))
	if err != nil {
		return nil, nil, err
	}
	udp, err := net.ListenUDP(c.Network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(c.RequestedPort))))
	if err != nil {
		return nil, nil, err
	}
	a := &allocation{UDPConn: udp, r: g.r, user: c.UserID, addr: addrPort(udp.LocalAddr())}
	if err := g.r.add(a); err != nil {
		return nil, nil, errors.Join(err, udp.Close())
	}
	return a, udp.LocalAddr(), nil
}

func (g *generator) address(v6 bool) (netip.Addr, error) {
	if g.addr.Is6() == v6 {
		return g.addr, nil
	}
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	i := slices.IndexFunc(g.r.local, func(a netip.Addr) bool { return a.Is6() == v6 })
	if i < 0 {
		return netip.Addr{}, errors.New("relay: this machine has no address of the family asked for")
	}
	return g.r.local[i], nil
}

// allocation is the socket that stands for a client: packets go through it only from and to
// whom a call of the house can go.
type allocation struct {
	*net.UDPConn
	r     *Relay
	user  string // empty: pion only looks for a free port
	addr  netip.AddrPort
	close sync.Once
}

// ReadFrom passes over packets of strangers.
func (a *allocation) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := a.UDPConn.ReadFrom(p)
		if err != nil || a.r.relayed(addrPort(from), n) {
			return n, from, err
		}
	}
}

// WriteTo drops packets for strangers, without telling: a relay is a network, and networks
// lose packets.
func (a *allocation) WriteTo(p []byte, to net.Addr) (int, error) {
	if !a.r.relayed(addrPort(to), len(p)) {
		return len(p), nil
	}
	return a.UDPConn.WriteTo(p, to)
}

// Close ends the allocation. There is no error that anybody could mend.
func (a *allocation) Close() error {
	a.close.Do(func() {
		if err := a.UDPConn.Close(); err != nil {
			a.r.log.Debug("relay: closing an allocation", "error", err)
		}
		a.r.remove(a)
	})
	return nil
}

// add counts an allocation in. The quota was asked before, but maybe by two at once.
func (r *Relay) add(a *allocation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.user != "" {
		if !r.room(a.user) {
			return errQuota
		}
		r.stats.Allocated++
		r.users[a.user]++
	}
	r.relays[a.addr] = a
	return nil
}

func (r *Relay) remove(a *allocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.relays[a.addr] == a {
		delete(r.relays, a.addr)
	}
	if a.user != "" {
		if r.users[a.user]--; r.users[a.user] == 0 {
			delete(r.users, a.user)
		}
	}
	r.idle.Broadcast()
}

// room says whether a user may have one more allocation; r.mu is held.
func (r *Relay) room(user string) bool {
	if r.users[user] < r.cfg.PerUser && len(r.relays) < r.cfg.Total {
		return true
	}
	r.stats.OverQuota++
	return false
}

// quota is a turn.QuotaHandler.
func (r *Relay) quota(user, _ string, _ net.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.room(user)
}

// permit is a turn.PermissionHandler: the first gate, which knows of addresses only.
func (r *Relay) permit(_ net.Addr, peer net.IP) bool {
	addr, _ := netip.AddrFromSlice(peer)
	addr = addr.Unmap()
	r.refreshPeers(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.local, addr) {
		return true
	}
	for p := range r.peers {
		if p.Addr() == addr {
			return true
		}
	}
	r.stats.PeersRefused++
	return false
}

// relayed says whether a packet may come from or go to peer, and counts it.
func (r *Relay) relayed(peer netip.AddrPort, size int) bool {
	r.mu.Lock()
	known := r.peers[peer] || r.relays[peer] != nil
	r.mu.Unlock()
	if !known {
		r.gates.dropped.Add(1)
		return false
	}
	r.gates.packets.Add(1)
	r.gates.bytes.Add(uint64(size))
	return true
}

// refreshPeers asks where the board's calls are at the moment, and notes the machine's
// addresses unless local is nil.
func (r *Relay) refreshPeers(local []netip.Addr) {
	peers := map[netip.AddrPort]bool{}
	if r.cfg.Peers != nil {
		for _, p := range r.cfg.Peers() {
			peers[netip.AddrPortFrom(p.Addr().Unmap(), p.Port())] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = peers
	if local != nil {
		r.local = local
	}
}

// onAuth hears of each signature that pion has checked.
func (r *Relay) onAuth(_, _ net.Addr, _, _, _, _ string, good bool) {
	if !good {
		r.unauthorised()
	}
}

// unauthorised counts credentials that were not good. Each exchange begins with a request
// without any, which does not count.
func (r *Relay) unauthorised() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Unauthorised++
}

// addrPort is the address as it is in our maps; zero if it is none of UDP.
func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := udp.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}
