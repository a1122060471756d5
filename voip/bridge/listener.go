package bridge

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxTCPConns is the most TCP connections at once, of all calls and of whoever else knocks.
	maxTCPConns = 64
	// maxTCPPerAddress is the most of one address or IPv6 network of 64 bits, but for those of
	// this machine.
	maxTCPPerAddress = 16
)

// tcpListener knows the connections that it accepted, and closes them with itself. The
// mux behind it waits for each that it was handed, but closes only those from which it has
// heard: one that says nothing would hold up the end of the house.
type tcpListener struct {
	net.Listener

	mu        sync.Mutex
	open      map[*tcpConn]struct{}
	byAddress map[netip.Prefix]int
	closed    bool
}

func newTCPListener(l net.Listener) *tcpListener {
	return &tcpListener{Listener: l, open: map[*tcpConn]struct{}{}, byAddress: map[netip.Prefix]int{}}
}

// Accept is that of net.Listener. Connections beyond maxTCPConns and maxTCPPerAddress are
// closed at once.
func (l *tcpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &tcpConn{Conn: conn, l: l, block: addressBlock(conn.RemoteAddr())}
		l.mu.Lock()
		takes := !l.closed && len(l.open) < maxTCPConns && l.byAddress[c.block] < maxTCPPerAddress
		if takes {
			l.open[c] = struct{}{}
			if c.block.IsValid() {
				l.byAddress[c.block]++
			}
		}
		l.mu.Unlock()
		if takes {
			return c, nil
		}
		_ = conn.Close() // nobody has written to it
	}
}

// Close is that of net.Listener, and closes what was accepted.
func (l *tcpListener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	var rest []net.Conn
	for c := range l.open {
		rest = append(rest, c.Conn)
	}
	l.mu.Unlock()
	for _, c := range rest {
		_ = c.Close() // the mux may have closed it in the meantime
	}
	return err
}

// tcpConn is forgotten by its listener when it is closed.
type tcpConn struct {
	net.Conn
	l     *tcpListener
	block netip.Prefix
}

func (c *tcpConn) Close() error {
	c.l.mu.Lock()
	if _, counted := c.l.open[c]; counted && c.block.IsValid() {
		if c.l.byAddress[c.block]--; c.l.byAddress[c.block] == 0 {
			delete(c.l.byAddress, c.block)
		}
	}
	delete(c.l.open, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// addressBlock is what one client is taken to have: an IPv4 address or an IPv6 network of 64
// bits. It is not valid, and not counted, for this machine's own connections.
func addressBlock(remote net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(remote.String())
	a := at.Addr().Unmap().WithZone("")
	if err != nil || a.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 64
	if a.Is4() {
		bits = a.BitLen()
	}
	return netip.PrefixFrom(a, bits).Masked()
}
