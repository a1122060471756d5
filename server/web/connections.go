package web

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// reportEvery is how often the log says at most that connections are refused, or that none can
// be accepted.
const reportEvery = time.Minute

// Connections bounds the connections of several listeners together. TLS handshakes and
// connections on which nothing has been said yet count as well, since each takes memory.
type Connections struct {
	limits  Limits
	proxied bool // all addresses are those of the proxy
	log     *slog.Logger
	now     func() time.Time

	mu        sync.Mutex
	open      int
	byAddress map[string]int
	refused   uint64 // since the start
	told      uint64 // of refused, those that the log knows of
	toldAt    time.Time
	failedAt  time.Time // when the log heard last that accepting fails
}

// NewConnections makes the bound. With trustProxy, nothing is counted by address: then the
// requests are, by the address that the proxy names. now may be nil: time.Now.
func NewConnections(limits Limits, trustProxy bool, log *slog.Logger, now func() time.Time) *Connections {
	if now == nil {
		now = time.Now
	}
	return &Connections{limits: limits.Filled(), proxied: trustProxy, log: log, now: now, byAddress: map[string]int{}}
}

// Listen returns l with the bound: connections beyond it are closed at once.
func (c *Connections) Listen(l net.Listener) net.Listener {
	return &countingListener{Listener: l, all: c}
}

// Open is how many connections there are, Refused how many were closed for being too many.
func (c *Connections) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Refused is how many connections were closed since the start for being too many.
func (c *Connections) Refused() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// enter counts a connection, or refuses it.
func (c *Connections) enter(block string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open < c.limits.Connections && (block == "" || c.byAddress[block] < c.limits.PerAddress) {
		c.open++
		if block != "" {
			c.byAddress[block]++
		}
		return true
	}
	c.refused++
	if now := c.now(); c.toldAt.IsZero() || now.Sub(c.toldAt) >= reportEvery {
		c.log.Warn("connections are refused: too many are open", "refused", c.refused-c.told,
			"open", c.open, "of", c.limits.Connections, "last", block, "per_address", c.limits.PerAddress)
		c.told, c.toldAt = c.refused, now
	}
	return false
}

func (c *Connections) leave(block string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if block == "" {
		return
	}
	if c.byAddress[block]--; c.byAddress[block] == 0 {
		delete(c.byAddress, block)
	}
}

// failed tells the owner that nobody gets in, as when the process has no file descriptors left.
// net/http would try again and say so among the mistakes of clients.
func (c *Connections) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.failedAt.IsZero() || now.Sub(c.failedAt) >= reportEvery {
		c.log.Error("new connections cannot be accepted", "error", err, "open", c.open)
		c.failedAt = now
	}
}

// block is what a connection counts as, besides in all; empty: nothing.
func (c *Connections) block(remote net.Addr) string {
	a, err := netip.ParseAddrPort(remote.String())
	if err != nil || c.proxied || a.Addr().Unmap().IsLoopback() {
		return ""
	}
	return addressBlock(a.Addr().Unmap().WithZone("").String())
}

type countingListener struct {
	net.Listener
	all *Connections
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				l.all.failed(err)
			}
			return nil, err
		}
		block := l.all.block(conn.RemoteAddr())
		if l.all.enter(block) {
			return &countedConn{Conn: conn, leave: func() { l.all.leave(block) }}, nil
		}
		_ = conn.Close() // nothing has been said on it
	}
}

// countedConn is counted until it is closed.
type countedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}

// underway counts the requests of each address, which one HTTP/2 connection can have many of
// and a proxy brings on its own connections.
type underway struct {
	most int

	mu sync.Mutex
	by map[string]int
}

// enter counts a request, or refuses it. An empty block is not counted.
func (u *underway) enter(block string) bool {
	if block == "" {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[block] >= u.most {
		return false
	}
	u.by[block]++
	return true
}

func (u *underway) leave(block string) {
	if block == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[block]--; u.by[block] == 0 {
		delete(u.by, block)
	}
}

// requestBlock is what requests of an address count as; empty: nothing.
func requestBlock(ip string) string {
	if a, err := netip.ParseAddr(ip); err != nil || a.IsLoopback() {
		return ""
	}
	return addressBlock(ip)
}
