package relay

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxTCP and maxTCPPerAddress bound the TCP connections, in all and of one client
	// address or IPv6 network of 64 bits.
	maxTCP           = 128
	maxTCPPerAddress = 32
	// frameTime is how long a frame may take that has begun, and the first one to begin.
	frameTime = 10 * time.Second
	// idleTime is how long a connection may say nothing. Clients refresh a permission
	// every four or five minutes.
	idleTime = 10 * time.Minute
	// writeTime is how long a client may take to read what it is sent.
	writeTime = 5 * time.Second
	// maxFrame is the largest frame in bytes; pion's buffers have that size.
	maxFrame = 1600
	// stunHeader and channelHeader are what precedes the length's payload, in bytes.
	stunHeader, channelHeader = 20, 4
)

var errFrame = errors.New("relay: this is neither STUN nor channel data, or too long")

// gates counts what goes through all doors.
type gates struct {
	packets, bytes, dropped atomic.Uint64

	mu        sync.Mutex
	conns     int
	byAddress map[netip.Prefix]int
	work      sync.WaitGroup // connections
}

func (g *gates) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns
}

func (g *gates) wait() { g.work.Wait() }

// enter says whether a client may have one more connection.
func (g *gates) enter(client netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns >= maxTCP || g.byAddress[client] >= maxTCPPerAddress {
		return false
	}
	if g.byAddress == nil {
		g.byAddress = map[netip.Prefix]int{}
	}
	g.conns++
	g.byAddress[client]++
	g.work.Add(1)
	return true
}

func (g *gates) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns--
	if g.byAddress[client]--; g.byAddress[client] == 0 {
		delete(g.byAddress, client)
	}
	g.work.Done()
}

// addressBlock is what one client is taken to have: an IPv4 address or an IPv6 network of 64
// bits.
func addressBlock(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = a.BitLen()
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// listener accepts bounded connections.
type listener struct {
	*net.TCPListener
	gates *gates
	r     *Relay

	mu    sync.Mutex
	conns map[*conn]bool
	shut  bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		client := addressBlock(tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
		if !l.gates.enter(client) {
			_ = tcp.Close() // refused: there is nothing to lose
			continue
		}
		c := &conn{TCPConn: tcp, listener: l, client: client, patience: frameTime, screen: screen{r: l.r, local: tcp.LocalAddr()}}
		l.mu.Lock()
		if l.conns == nil {
			l.conns = map[*conn]bool{}
		}
		l.conns[c] = true
		shut := l.shut
		l.mu.Unlock()
		if shut { // while it was being accepted
			_ = c.Close()
			continue
		}
		return c, nil
	}
}

// closeConnections closes those that were accepted; no more will be.
func (l *listener) closeConnections() {
	l.mu.Lock()
	l.shut = true
	var all []*conn
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // its reader sees it
	}
}

// conn is one client by TCP. Each Read gives exactly one frame: pion would otherwise keep
// and go over the bits of a frame once per packet that brings some of it.
type conn struct {
	*net.TCPConn
	listener *listener
	client   netip.Prefix
	patience time.Duration // until the next frame begins
	closing  sync.Once
	screen   screen
}

// Read implements net.Conn: one frame, which has to fit into p.
func (c *conn) Read(p []byte) (int, error) {
	if reply, _ := c.screen.settle(); reply != nil {
		if err := c.write(reply); err != nil {
			return 0, err
		}
	}
	for {
		size, err := c.readFrame(p)
		if err != nil {
			return size, err
		}
		reply := c.screen.judge(p[:size], c.RemoteAddr())
		if reply == nil {
			return size, nil
		}
		if err := c.write(reply); err != nil {
			return 0, err
		}
	}
}

func (c *conn) readFrame(p []byte) (int, error) {
	if len(p) < channelHeader {
		return 0, io.ErrShortBuffer
	}
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c.TCPConn, p[:1]); err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(time.Now().Add(frameTime)); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c.TCPConn, p[1:channelHeader]); err != nil {
		return 0, err
	}
	size, ok := frameSize([channelHeader]byte(p[:channelHeader]))
	if !ok || size > len(p) {
		return 0, errFrame
	}
	c.patience = idleTime
	_, err := io.ReadFull(c.TCPConn, p[channelHeader:size])
	return size, err
}

// Write implements net.Conn. Who does not read loses the connection, not others their time.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.write(c.screen.answer(p, c.RemoteAddr())); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *conn) write(p []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := c.TCPConn.Write(p)
	return err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	c.closing.Do(func() {
		c.listener.mu.Lock()
		delete(c.listener.conns, c)
		c.listener.mu.Unlock()
		c.listener.gates.leave(c.client)
	})
	return err
}

// frameSize is the length of a frame in bytes by its first four; false if it is none.
//
// spec: RFC 8656, 12.5: over TCP, channel data is padded to four bytes; RFC 8489, 5
func frameSize(head [channelHeader]byte) (int, bool) {
	length := int(binary.BigEndian.Uint16(head[2:]))
	size := 0
	switch head[0] >> 6 {
	case 0:
		size = stunHeader + length
	case 1:
		size = channelHeader + (length+3)&^3
	default:
		return 0, false
	}
	return size, size <= maxFrame
}
