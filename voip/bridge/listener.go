package bridge

import (
	"net"
	"sync"
)

// maxTCPConns is the most TCP connections at once, of all calls and of whoever else knocks.
const maxTCPConns = 64

// tcpListener knows the connections that it accepted, and closes them with itself. The
// mux behind it waits for each that it was handed, but closes only those from which it has
// heard: one that says nothing would hold up the end of the house.
type tcpListener struct {
	net.Listener

	mu     sync.Mutex
	open   map[*tcpConn]struct{}
	closed bool
}

func newTCPListener(l net.Listener) *tcpListener {
	return &tcpListener{Listener: l, open: map[*tcpConn]struct{}{}}
}

// Accept is that of net.Listener. Connections beyond maxTCPConns are closed at once.
func (l *tcpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &tcpConn{Conn: conn, l: l}
		l.mu.Lock()
		takes := !l.closed && len(l.open) < maxTCPConns
		if takes {
			l.open[c] = struct{}{}
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
	l *tcpListener
}

func (c *tcpConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.open, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
