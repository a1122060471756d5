package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Somebody who opens a connection to the call port and says nothing holds nothing up, and
// there is a bound to how many may.
func TestSilentTCPConnections(t *testing.T) {
	checkLeaks(t)
	b, err := New(Config{Media: newMedia(), Interfaces: []string{"lo"}, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	var conns []net.Conn
	for range maxTCPConns + 1 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Port()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	closed := make(chan error, len(conns))
	for _, conn := range conns {
		go func() {
			_, err := conn.Read(make([]byte, 1))
			closed <- err
		}()
	}
	select {
	case <-closed: // the one over the bound
	case <-time.After(patience):
		t.Fatal("there is no bound")
	}
	select {
	case <-closed:
		t.Error("more connections are closed than are over the bound")
	default:
	}
	cancel()
	select {
	case err := <-ran:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the bridge waits for connections on which nothing comes")
	}
	for range maxTCPConns {
		<-closed
	}
}

// callerFrom is a connection that says where it comes from.
type callerFrom struct {
	net.Conn
	from string
}

func (c callerFrom) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}
func (c callerFrom) Close() error { return nil }

// queue is a listener at which connections come one after the other.
type queue []string

func (q *queue) Accept() (net.Conn, error) {
	if len(*q) == 0 {
		return nil, net.ErrClosed
	}
	from := (*q)[0]
	*q = (*q)[1:]
	return callerFrom{from: from}, nil
}

func (q *queue) Close() error   { return nil }
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// TestTCPConnectionsOfOneAddress sees that one address does not take the places of all.
func TestTCPConnectionsOfOneAddress(t *testing.T) {
	tests := []struct {
		name string
		from func(i int) string
		come int
		want int
	}{
		{"one address, below", func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i+1) }, maxTCPPerAddress - 1, maxTCPPerAddress - 1},
		{"one address, at", func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i+1) }, maxTCPPerAddress, maxTCPPerAddress},
		{"one address, above", func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i+1) }, 2 * maxTCPConns, maxTCPPerAddress},
		{"one IPv6 network", func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i+1) }, maxTCPConns, maxTCPPerAddress},
		{"this machine", func(i int) string { return fmt.Sprintf("127.0.0.1:%d", i+1) }, 2 * maxTCPConns, maxTCPConns},
		{"many addresses", func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i+1) }, 2 * maxTCPConns, maxTCPConns},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var all queue
			for i := range tt.come {
				all = append(all, tt.from(i))
			}
			l := newTCPListener(&all)
			var taken []net.Conn
			for {
				c, err := l.Accept()
				if err != nil {
					break
				}
				taken = append(taken, c)
			}
			if len(taken) != tt.want {
				t.Errorf("%d of %d, want %d", len(taken), tt.come, tt.want)
			}
			for _, c := range taken {
				c.Close()
				c.Close() // counts once
			}
			if len(l.open) != 0 || len(l.byAddress) != 0 {
				t.Errorf("left: %d, %v", len(l.open), l.byAddress)
			}
		})
	}
}
